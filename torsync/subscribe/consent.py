"""Whether a tree may be changed now: in the hours for that, and if the user's command agrees.

The fact ``postponed`` in the state of a tree says what an update waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from torsync.model.errors import PostponedError
from torsync.model.events import Level, Stage
from torsync.model.postponed import Postponed
from torsync.model.units import format_duration
from torsync.model.window import next_opening_in_s
from torsync.subscribe.approval import Approvals
from torsync.subscribe.asking import Superseded, tell_mended

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.config import SubscriptionConfig
    from torsync.model.reports import CheckReport
    from torsync.subscribe.asking import BringTo
    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings, Voice

_LOOK_OUT_EVERY_S = 0.5


class Consent:
    """Says whether one subscription's tree may be changed now.

    Attributes:
        reason: what an update waits for, in a few words; empty if none does.
    """

    def __init__(
        self,
        config: SubscriptionConfig,
        state: TreeState,
        releases: Releases,
        around: Surroundings,
        voice: Voice,
    ) -> None:
        self._config = config
        self._state = state
        self._releases = releases
        self._around = around
        self._voice = voice
        self._approvals = Approvals(state)
        self._is_timed = False
        self.reason = ""

    # --- hours ------------------------------------------------------------------------------

    @property
    def opens_in_s(self) -> float | None:
        """Seconds until the update that waits for its hours may be done; None if none waits."""
        window = self._config.update_window
        if window is None or not self._is_timed:
            return None
        return next_opening_in_s(window, self._around.now_s(), self._around.day_s)

    def is_held(self, release: Release) -> bool:
        """Whether the tree is not to be brought to a release at this hour.

        What a person asked for is not held, nor what only mends the tree. An update in place
        that has begun is finished, as the tree is of no release until then.
        """
        window = self._config.update_window
        if window is None or not self._around.terms().automatic:
            return False
        if window.is_open(self._around.day_s(self._around.now_s())):
            return False
        if release.digest in {self._state.pinned, self._approvals.approved}:
            return False
        synced = self._releases.synced()
        is_mended = synced is not None and synced.is_same_content(release)
        return not (is_mended or self._state.between()[0])

    def check_hours(self, release: Release) -> None:
        """See that the tree may be brought to a release at this hour; also while that goes on.

        Raises:
            PostponedError: it may not.
        """
        if self.is_held(release):
            error = self._not_now()
            self._note(release, error)
            raise error

    def hold_back(
        self,
        release: Release,
        *,
        needs_mending: Callable[[Release], bool],
        bring_to: BringTo,
        look_out: Callable[[], None],
    ) -> NoReturn:
        """Leave a release that is held for later, and mend the synced one meanwhile.

        Args:
            release: that is held.
            needs_mending: whether the tree may be otherwise than the synced release has it.
            bring_to: makes the tree equal to a release.
            look_out: raises ``Superseded`` if there is a newer release than this one.

        Raises:
            PostponedError: always, unless something else is raised.
            Superseded: the release may be had by now, or a newer one is there.
            TorsyncError: the tree could not be looked at or mended.
        """
        self._note(release, self._not_now())

        def look_out_for_hours() -> None:
            if not self.is_held(release):
                raise Superseded(release)
            look_out()

        synced = self._releases.synced()
        if synced is not None and needs_mending(synced):
            mended = bring_to(synced, look_out=look_out_for_hours, every_s=_LOOK_OUT_EVERY_S)
            if mended.changed:
                tell_mended(self._voice, synced, mended)
                self._around.hooks.updated(self._config, mended)
        error = self._not_now()
        self._note(release, error)
        raise error

    def _not_now(self) -> PostponedError:
        window = self._config.update_window
        assert window is not None, "without hours nothing waits for them"
        opens_in_s = next_opening_in_s(window, self._around.now_s(), self._around.day_s)
        return PostponedError(
            f"the update waits for {window}, in {format_duration(opens_in_s)}",
            reason=f"waits for {window}",
            is_timed=True,
            hint=f"`torsync check-now {self._config.name}` updates now",
        )

    # --- command ----------------------------------------------------------------------------

    def ask(self, release: Release, report: CheckReport) -> None:
        """Ask whether a tree may be changed, before anything is; not if nothing would be.

        Args:
            release: that the tree is to be brought to.
            report: what that would do.

        Raises:
            PostponedError: not now.
        """
        if not report.changed:
            return
        try:
            self._around.hooks.before_update(self._config, report)
        except PostponedError as error:
            self._note(release, error)
            raise

    # --- what is left of it -----------------------------------------------------------------

    def settle(self) -> None:
        """Forget that an update waited: it has been done, or is not wanted any more."""
        self._is_timed, self.reason = False, ""
        self._state.put(postponed="")

    def _note(self, release: Release, error: PostponedError) -> None:
        """Leave word for ``status``, and tell a person, of each release and cause once."""
        self._is_timed, self.reason = error.is_timed, error.reason
        known = Postponed.load(self._state.get("postponed"))
        now = Postponed(release.digest, error.is_timed, error.reason)
        if now == known:
            return
        self._state.put(postponed=now.dump())
        if self._around.terms().automatic and not now.is_same_cause(known):
            self._voice.notice(Level.INFO, error.code, error.message, error.hint)


def idle_stage(consent: Consent, otherwise: Stage) -> tuple[Stage, str]:
    """What a subscription does between checks, and more of it in a few words."""
    return (Stage.POSTPONED, consent.reason) if consent.reason else (otherwise, "")
