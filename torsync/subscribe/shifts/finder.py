"""Whether and where hints are asked for one subscription's update."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from torsync.model.events import Level
from torsync.model.hints.worth import worth_asking
from torsync.model.shifts import NO_SHIFTS, Shifts
from torsync.subscribe.remote.references import hints_url
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.disk.tree import Tree
    from torsync.model.config import SubscriptionConfig
    from torsync.model.plan import Plan
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice

_DISTRUSTED = "distrusted_hints"
_MOVE = "the publisher should put them beside the `.torrent`"


class ShiftFinder:
    """Finds content of a subscription's tree at other places than a release has it."""

    def __init__(
        self,
        config: SubscriptionConfig,
        tree: Tree,
        state: TreeState,
        voice: Voice,
        stopping: Callable[[], bool],
    ) -> None:
        """Prepare.

        Args:
            config: of the subscription.
            tree: that is searched.
            state: of the tree; it knows whose hints were wrong.
            voice: says what is done.
            stopping: whether the work shall stop.
        """
        self._config = config
        self._tree = tree
        self._state = state
        self._voice = voice
        self._stopping = stopping

    def find(self, plan: Plan) -> Shifts:
        """Look for what a plan would fetch, with the hints of its release.

        Nothing is asked for where nothing can be gained. That hints cannot be had is no failure.

        Raises:
            InterruptedByUserError: that was asked for.
        """
        wanted = plan.wanted
        if not wanted.hints or self._state.get(_DISTRUSTED) == wanted.info_hash:
            return NO_SHIFTS
        if not worth_asking(plan):
            return NO_SHIFTS
        url = hints_url(self._config.url, wanted.hints)
        if url is None:
            said = f"{wanted.name} names hints at {wanted.hints!r}, where they may not be; "
            said += "without hints, more is fetched"
            self._voice.notice(Level.WARNING, HintsUnavailableError.code, said, _MOVE)
            return NO_SHIFTS
        from torsync.subscribe.remote.ranges import open_hints  # noqa: PLC0415 - start-up time
        from torsync.subscribe.shifts.search import find_shifts  # noqa: PLC0415 - start-up time

        opened = open_hints(
            url,
            origin=self._config.url,
            headers=self._config.headers,
            stopping=self._stopping,
        )
        with closing(opened) as source:
            return find_shifts(self._tree, plan, source, voice=self._voice, stopping=self._stopping)


def distrust_hints(state: TreeState, info_hash: str) -> None:
    """Note that the hints of a release were wrong: they are not asked for again."""
    state.put(**{_DISTRUSTED: info_hash})
