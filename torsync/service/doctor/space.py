"""Whether what is to come fits: bytes and inodes of a tree's file system, and of the state's."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.tree import Tree
from torsync.model.checkup import Finding, failed, failure, ok, skipped, warning
from torsync.model.errors import InterruptedByUserError, TorsyncError
from torsync.model.events import discard
from torsync.model.patterns import selector
from torsync.model.selection import selected_bytes, unselected_files
from torsync.model.units import format_size
from torsync.subscribe.surroundings import Surroundings
from torsync.subscribe.trash_content import room_in_trash

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.manifest import Manifest
    from torsync.service.doctor.remembered import Remembered

PLAN_S = 12.0
_FEW_INODES = 1000
_STATE_BYTES = 64 * 1024**2
_ROOM = (
    "make room on it (`torsync trash empty`), or allow it: `torsync check-now NAME --allow space`"
)


class Room(NamedTuple):
    """What a file system has.

    Attributes:
        free_bytes: that this user may write.
        free_inodes: files that may be made; None where there is no limit.
        in_trash: bytes that torsync would take out of the trash if they were needed.
    """

    free_bytes: int
    free_inodes: int | None
    in_trash: int = 0


class Need(NamedTuple):
    """What an update takes.

    Attributes:
        staged_bytes: until the commit.
        files: that are made.
        why: what it is for.
    """

    staged_bytes: int
    files: int
    why: str


def measure(folder: Path) -> Room:
    """Ask the file system that a folder is on, or will be made on.

    Raises:
        OSError: it cannot be asked.
    """
    there = next(one for one in (folder, *folder.parents) if one.exists())
    found = os.statvfs(there)
    return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def check_space(
    config: SubscriptionConfig,
    folder: Path,
    known: Remembered,
    manifest: Manifest | None,
    newest: str,
) -> list[Finding]:
    """Compare what the pending update takes with what is free.

    Args:
        config: of the subscription.
        folder: of its state.
        known: what that says.
        manifest: of the newest release; None if it could not be had.
        newest: digest of what is at the URL now; empty if that could not be had.
    """
    room = measure(config.path)
    if config.path.is_dir():
        room = room._replace(in_trash=_trash(config.path))
    if not known.synced:
        if manifest is None:
            said = f"{format_size(room.free_bytes)} are free; no release is known that needs it"
            return [skipped("disk.space", said, f"run `torsync check-now {config.name}`")]
        return [judge_space(config.name, room, _first_need(config, manifest))]
    if newest not in {"", known.polled}:
        said = f"{format_size(room.free_bytes)} are free; a newer release was not polled yet"
        hint = f"what it takes: `torsync check-now --dry-run {config.name}`"
        return [skipped("disk.space", said, hint)]
    if not known.is_pending:
        return [judge_space(config.name, room, Need(0, 0, "no update is pending"))]
    try:
        return [judge_space(config.name, room, _foresee(config, folder))]
    except InterruptedByUserError:
        said = f"{format_size(room.free_bytes)} are free; to plan the update takes longer"
        return [skipped("disk.space", said, f"run `torsync plan {config.name}`")]
    except TorsyncError as error:
        return [failure("disk.space", error, f"run `torsync plan {config.name}`")]


def _first_need(config: SubscriptionConfig, manifest: Manifest) -> Need:
    unselected = unselected_files(manifest, selector(config.select))
    there = os.path.lexists(config.path) and any(config.path.iterdir())
    why = "the first sync" + (", if nothing that is there is used" if there else "")
    return Need(selected_bytes(manifest, unselected), len(manifest.files) - len(unselected), why)


def _foresee(config: SubscriptionConfig, folder: Path) -> Need:
    from torsync.subscribe.preview import preview  # noqa: PLC0415 - costs start-up time

    ends_s = time.monotonic() + PLAN_S

    def never() -> None:
        raise AssertionError  # a plan adds no torrent

    around = Surroundings(
        pool=never,  # type: ignore[arg-type]
        sink=discard,
        stopping=lambda: time.monotonic() > ends_s,
        wait=lambda _seconds: True,
    )
    report = preview(config, folder, around)
    files = len(report.fetched) + len(report.patched) + len(report.copied)
    return Need(report.space_needed, files, f"the update to {report.release!r}")


def _trash(path: Path) -> int:
    try:
        tree = Tree(path.resolve())
        try:
            return room_in_trash(tree)
        finally:
            tree.close()
    except TorsyncError:
        return 0  # told by the checks of the tree


def judge_space(name: str, room: Room, need: Need) -> Finding:
    """Decide whether an update fits."""
    free = f"{format_size(room.free_bytes)} are free"
    if room.in_trash:
        free += f", and {format_size(room.in_trash)} of old releases in the trash"
    takes = f"{need.why}: {format_size(need.staged_bytes)}" if need.staged_bytes else need.why
    said = f"{takes}; {free}"
    hint = _ROOM.replace("NAME", name)
    if need.staged_bytes > room.free_bytes + room.in_trash:
        return failed("disk.space", said, hint)
    if room.free_inodes is not None and room.free_inodes < need.files:
        files = f"{need.files:,} files are to be made, and {room.free_inodes:,} inodes are free"
        return failed("disk.space", files, "remove files on that file system; see `df -i`")
    if room.free_inodes is not None and room.free_inodes < _FEW_INODES:
        few = f"only {room.free_inodes:,} inodes are free"
        return warning("disk.space", few, "remove files on that file system; see `df -i`")
    return ok("disk.space", said)


def judge_state_space(state_dir: Path, room: Room) -> Finding:
    """Decide whether there is room for what torsync remembers."""
    said = f"{format_size(room.free_bytes)} are free for the state in {str(state_dir)!r}"
    if room.free_bytes < _STATE_BYTES or room.free_inodes == 0:
        return warning(
            "state_dir.space", said, "make room there, or put it elsewhere: `--state-dir`"
        )
    return ok("state_dir.space", said)
