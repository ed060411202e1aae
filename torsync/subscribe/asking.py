"""``update = "ask"``: which releases wait for a person, and what that person has been told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from torsync.model.config import UpdateMode
from torsync.model.events import Level, Stage
from torsync.subscribe.approval import Approvals

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.config import SubscriptionConfig
    from torsync.model.guard import Allowance
    from torsync.model.reports import CheckReport
    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice


_LOOK_FOR_APPROVAL_S = 1.0


class BringTo(Protocol):
    """Makes the tree equal to a release; ``look_out`` may end that while it is fetched."""

    def __call__(
        self,
        release: Release,
        *,
        look_out: Callable[[], None] | None = None,
        every_s: float | None = None,
    ) -> CheckReport:
        """Do it; ``look_out`` is called every so many seconds."""


class Superseded(Exception):  # noqa: N818 - not an error: there is another thing to do
    """A fetch ended early for the sake of another release; what it cost is told here."""

    def __init__(self, release: Release) -> None:
        super().__init__(release.digest)
        self.release = release
        self.bytes_fetched = 0
        self.bytes_hashed = 0
        self.bytes_hints = 0


class Asking:
    """Which release of one subscription waits for approval, if any."""

    def __init__(
        self,
        config: SubscriptionConfig,
        state: TreeState,
        releases: Releases,
        voice: Voice,
        *,
        glance: Callable[[Release], None],
        on_mended: Callable[[CheckReport], None],
    ) -> None:
        """Prepare.

        Args:
            config: of the subscription.
            state: of its tree.
            releases: that are known.
            voice: tells the person.
            glance: raises ``Superseded`` if a newer release than the given one is there.
            on_mended: told what was done to the synced release while another one waits.
        """
        self._config = config
        self._state = state
        self._releases = releases
        self._voice = voice
        self._glance = glance
        self._on_mended = on_mended
        self._approvals = Approvals(state)
        self._waiting: tuple[str, CheckReport] | None = None

    @property
    def idle_stage(self) -> Stage:
        """What a subscription does between checks."""
        return Stage.WAITING if self._waiting is None else Stage.NEEDS_APPROVAL

    def approve(self, release: Release, allowances: frozenset[Allowance]) -> None:
        """Have a release applied by all checks until it is in place, in spite of some guards."""
        self._approvals.give(release.digest, allowances)

    def needs_approval(self, release: Release) -> bool:
        """Whether a release has to wait: a synced one, or the same content, has not."""
        if self._config.update is UpdateMode.AUTO or self._approvals.approved == release.digest:
            return False
        synced = self._releases.synced()
        return synced is None or synced.manifest.info_hash != release.manifest.info_hash

    def hold_back(
        self,
        release: Release,
        *,
        preview: Callable[[Release], CheckReport],
        bring_to: BringTo,
    ) -> CheckReport:
        """Tell what a new release would do, and mend the synced one meanwhile.

        A person is told of each once. A release that changes no file is taken as it is.

        Args:
            release: that is new.
            preview: tells what a release would do to the tree.
            bring_to: makes the tree equal to a release.

        Raises:
            Superseded: the release was approved meanwhile, or a newer one is there.
            TorsyncError: the tree could not be looked at or mended.
        """
        if self._waiting is not None and self._waiting[0] == release.digest:
            report = self._waiting[1]
        else:
            report = preview(release)
            if not report.changed and not report.unreadable:
                return bring_to(release)
            self._tell(release)
            self._waiting = (release.digest, report)
        synced = self._releases.synced()
        if synced is not None:
            look_out = self._look_out(release)
            mended = bring_to(synced, look_out=look_out, every_s=_LOOK_FOR_APPROVAL_S)
            if mended.changed:
                tell_mended(self._voice, synced, mended)
                self._on_mended(mended)
                report = preview(release)
                report.bytes_fetched = mended.bytes_fetched
                report.bytes_hashed += mended.bytes_hashed
                self._waiting = (release.digest, report)
        return report

    def _tell(self, release: Release) -> None:
        name, label = self._config.name, release.manifest.name
        said = f"{label} is waiting: `torsync apply {name}` fetches it"
        hint = f"`torsync plan {name}` shows what it would do"
        self._voice.notice(Level.INFO, "needs_approval", said, hint)

    def take(self, release: Release) -> bool:
        """Whether an approval is for ``release``, the newest; one for another is void."""
        approved = self._approvals.approved
        if approved and approved != release.digest:
            self._approvals.void()
        return approved == release.digest

    def fulfil(self, report: CheckReport) -> None:
        """Note how a check or an apply ended; an approval of what is in place is done with."""
        if not report.dry_run:
            self._waiting = None
        synced = self._state.synced
        if synced and self._approvals.approved == synced:
            self._approvals.void()

    def _look_out(self, waiting: Release) -> Callable[[], None]:
        """Give what looks out while the synced release is mended and another one waits."""
        glances_s = time.monotonic() + self._config.interval_s

        def look_out() -> None:
            nonlocal glances_s
            if self._approvals.approved == waiting.digest:
                raise Superseded(waiting)
            if time.monotonic() > glances_s:
                glances_s = time.monotonic() + self._config.interval_s
                self._glance(waiting)

        return look_out


def tell_mended(voice: Voice, synced: Release, report: CheckReport) -> None:
    """Say that the synced release was mended while another one waits."""
    count = len({*report.fetched, *report.patched, *report.trashed})
    paths = "1 path was" if count == 1 else f"{count} paths were"
    said = f"{paths} not as {synced.manifest.name} has it, and mended"
    voice.notice(Level.INFO, "mended", said)
