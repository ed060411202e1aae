"""What the state of a subscription says, read without holding it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torsync.disk.lock import holder_command, holder_pid
from torsync.model.checkup import Finding, failed, failure, ok, skipped, warning
from torsync.model.config import UpdateMode
from torsync.model.errors import ManifestError, StateError
from torsync.model.metainfo import parse_metainfo
from torsync.model.postponed import Postponed
from torsync.model.stored import load_number
from torsync.model.units import format_duration
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.manifest import Manifest

_STALE_INTERVALS = 3


@dataclass(frozen=True)
class Remembered:
    """What is known of a tree; all empty before the first check.

    Attributes:
        synced: digest of the synced manifest.
        polled: digest of what the last poll of the URL got.
        manifest: of the newest release that is known; None if there is none.
        marker: id of the tree's folder.
        vouched: what vouches for the newest accepted release.
        is_held: whether some process holds the tree.
        holder: what that process said it is doing.
        findings: about the state itself, and what it says stands in the way.
    """

    synced: str = ""
    polled: str = ""
    manifest: Manifest | None = None
    marker: str = ""
    vouched: str = ""
    is_held: bool = False
    holder: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def is_pending(self) -> bool:
        """Whether a release is known that the tree is not in sync with."""
        return bool(self.polled) and self.polled != self.synced


def recall(config: SubscriptionConfig, folder: Path, now_s: float) -> Remembered:
    """Read the state of a subscription.

    Args:
        config: of it.
        folder: of the state; it need not be there.
        now_s: the time in Unix seconds.
    """
    hint = f"run `torsync check-now {config.name}`, or the service: `torsync run`"
    where = "check the permissions of the state directory, and its disk"
    try:
        if not (folder / "state.sqlite").exists():
            return Remembered(findings=(skipped("state.last", "it was never checked yet", hint),))
        state = TreeState(folder, read_only=True)
        try:
            return _read(config, state, folder, now_s)
        finally:
            state.close()
    except StateError as error:
        return Remembered(findings=(failure("state.database", error, where),))
    except OSError as error:
        said = f"the state in {str(folder)!r} cannot be read: {error.strerror}"
        return Remembered(findings=(failed("state.database", said, where),))


def _read(config: SubscriptionConfig, state: TreeState, folder: Path, now_s: float) -> Remembered:
    poll = state.load_poll()
    polled = poll.sha256 if poll is not None and poll.url == config.url else ""
    is_held = holder_pid(folder) is not None
    checked_s = load_number(state.get("last_check_s"))
    waits = Postponed.load(state.get("postponed"))
    findings = judge_state(
        config,
        is_paused=bool(state.get("paused")),
        is_pinned=bool(state.pinned),
        is_pending=bool(polled) and polled != state.synced,
        is_served=is_held and holder_command(folder) == "torsync run",
        between=state.between()[0],
        postponed=waits.reason if waits is not None else "",
        last_error=(state.get("last_error"), state.get("last_error_hint")),
        checked_ago_s=None if checked_s is None else now_s - checked_s,
    )
    return Remembered(
        synced=state.synced,
        polled=polled,
        manifest=_manifest(state, polled or state.synced),
        marker=state.get("marker"),
        vouched=state.get("vouched"),
        is_held=is_held,
        holder=holder_command(folder) if is_held else "",
        findings=tuple(findings),
    )


def _manifest(state: TreeState, digest: str) -> Manifest | None:
    body = state.load_body(digest) if digest else None
    try:
        return parse_metainfo(body) if body is not None else None
    except ManifestError:
        return None


def judge_state(
    config: SubscriptionConfig,
    *,
    is_paused: bool,
    is_pinned: bool,
    is_pending: bool,
    is_served: bool,
    between: str,
    postponed: str,
    last_error: tuple[str, str],
    checked_ago_s: float | None,
) -> list[Finding]:
    """Decide which of the things that are remembered keep a tree from moving.

    Args:
        config: of the subscription.
        is_paused: somebody paused it.
        is_pinned: somebody went back to an earlier release.
        is_pending: a release is known that the tree is not in sync with.
        is_served: the service holds it.
        between: the release whose files are being patched in place; empty if none.
        postponed: why an update waits; empty if none does.
        last_error: message and hint; empty if the last check went well.
        checked_ago_s: seconds since the last check; None if there was none.
    """
    name, found = config.name, []
    if is_paused:
        found.append(warning("state.paused", "it is paused", f"run `torsync resume {name}`"))
    if is_pinned:
        said = "it was rolled back, and stays at that release"
        found.append(warning("state.pinned", said, f"to go on: `torsync apply {name}`"))
    if is_pending and config.update is UpdateMode.ASK:
        said = 'a new release waits for approval, as update = "ask"'
        found.append(
            warning(
                "state.approval", said, f"see `torsync plan {name}`, then `torsync apply {name}`"
            )
        )
    if postponed:
        said = f"an update waits: {postponed}"
        again = "it is tried again by itself; see before_update and update_window, or do it now: "
        found.append(warning("state.postponed", said, f"{again}`torsync check-now {name}`"))
    if between and not is_served:
        said = f"an update to {between!r} was cut off in place"
        found.append(warning("state.between", said, f"run `torsync check-now {name}`"))
    message, hint = last_error
    if message:
        again = f"run `torsync check-now {name}` to see it again"
        found.append(warning("state.last", f"the last check failed: {message}", hint or again))
    elif checked_ago_s is None:
        again = f"run `torsync check-now {name}`"
        found.append(warning("state.last", "no check has ended yet", again))
    elif is_served and not is_paused and checked_ago_s > _STALE_INTERVALS * config.interval_s:
        said = f"the last check was {format_duration(checked_ago_s)} ago"
        found.append(
            warning("state.last", said, "see what the service does: `torsync status`, its log")
        )
    else:
        found.append(ok("state.last", f"the last check was {format_duration(checked_ago_s)} ago"))
    if config.update_window is not None:
        said = f"the service updates by itself only in {config.update_window}"
        found.append(ok("state.window", said))
    return found
