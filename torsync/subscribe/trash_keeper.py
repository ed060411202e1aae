"""Keeps the trash of one tree as small as the configuration says."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict

from torsync.disk.clock import COUNTS_SLEEP, awake_or_not_s
from torsync.model.errors import TorsyncError
from torsync.model.events import Level
from torsync.model.retention import (
    Tally,
    Trashed,
    freed_bytes,
    plan_retention,
    since_after_jump,
)
from torsync.model.stored import load_number
from torsync.model.units import format_size
from torsync.subscribe.room import total_bytes
from torsync.subscribe.trash_content import TrashRemoved, read_trash, remove_trashed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.disk.tree import Tree
    from torsync.model.config import SubscriptionConfig
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice

_EVERY_S = 24 * 3600.0
_PATHS_TOLD = 3
_SINCE = "trash_since"  # a fact in the state


class _Policy(TypedDict):
    now_s: float
    age_s: float
    limit_bytes: int


class _Offset:
    """Sees that the clock on the wall was set, by a clock that nobody sets."""

    def __init__(self, now_s: Callable[[], float], clock: Callable[[], float]) -> None:
        self._now_s, self._clock = now_s, clock
        self._offset_s = now_s() - clock()

    def jump_s(self) -> float:
        """By how much it was put forward since the last call; less than 0: back."""
        before, self._offset_s = self._offset_s, self._now_s() - self._clock()
        return self._offset_s - before


class TrashKeeper:
    """Gives up what is too old or too much; the tree's lock is held by the caller."""

    def __init__(
        self,
        config: SubscriptionConfig,
        tree: Tree,
        state: TreeState,
        voice: Voice,
        *,
        now_s: Callable[[], float],
        clock: Callable[[], float] = awake_or_not_s,
    ) -> None:
        """Prepare.

        Args:
            config: says how much is kept for how long.
            tree: whose trash it is.
            state: where it is remembered how full the trash is.
            voice: told what was given up early, and what could not be removed.
            now_s: gives the time in Unix seconds.
            clock: gives seconds that only grow, those that the machine sleeps included.
        """
        self._config = config
        self._tree = tree
        self._state = state
        self._voice = voice
        self._now_s = now_s
        self._clock = clock
        self._due_s = -math.inf
        self._offset = _Offset(now_s, clock)
        self._since_s = -math.inf
        with suppress(TorsyncError):
            since_s = load_number(state.get(_SINCE))
            self._since_s = -math.inf if since_s is None else since_s

    def heed(self) -> None:
        """Do it once a day; to be called often. See ``tidy``."""
        self._see_to_clock()
        if self._clock() >= self._due_s and self._tree.is_current():
            self.tidy()

    def after_update(self, added_bytes: int) -> None:
        """Do it if it may be needed; see ``tidy``.

        A trash that has been looked at today, and cannot be too full, is not looked at.

        Args:
            added_bytes: what the update put there takes on the disk, at most.
        """
        self._see_to_clock()
        with suppress(TorsyncError):  # the whole way finds out what is wrong, and tells
            tally = Tally.load(self._state.get("trash"))
            tally = tally.with_more(added_bytes) if tally else None
            if tally and tally.allows(**self._policy()):
                self._state.put(trash=tally.dump())
                return
        self.tidy()

    def tidy(self) -> None:
        """Give up what is too old or too much.

        What fails is a warning: an update that went well has not failed for that.
        """
        self._due_s = self._clock() + _EVERY_S
        try:
            self._tidy()
        except TorsyncError as error:
            self._voice.notice(Level.WARNING, "trash_unreadable", error.message, error.hint)

    def _tidy(self) -> None:
        content = read_trash(self._tree)
        self._warn(content.problems, "read")
        plan = plan_retention(content.files, **self._policy(), since_s=self._since_s)
        removed = TrashRemoved()
        if plan.aged or plan.early:
            removed = remove_trashed(self._tree, content, (*plan.aged, *plan.early))
            self._tell_early(set(plan.early), removed)
            self._warn(removed.problems, "removed")
        is_known = not (content.problems or removed.problems)
        with suppress(TorsyncError):  # without it the next update looks at all of it
            self._state.put(trash=plan.left.dump() if is_known else "")

    def _see_to_clock(self) -> None:
        """Have nothing grow old by a clock that is set; where sleep is not counted, it looks so."""
        jump_s = self._offset.jump_s() if COUNTS_SLEEP else 0.0
        since_s = since_after_jump(self._since_s, now_s=self._now_s(), jump_s=jump_s)
        if since_s != self._since_s:
            self._since_s = since_s
            with suppress(TorsyncError):  # known as long as this runs
                self._state.put(**{_SINCE: str(since_s)})

    def _policy(self) -> _Policy:
        return {
            "now_s": self._now_s(),
            "age_s": self._config.trash_age_s,
            "limit_bytes": self._config.trash_limit.of(total_bytes(self._tree)),
        }

    def _tell_early(self, early: set[Trashed], removed: TrashRemoved) -> None:
        """Say what is gone before its time, old releases' files and the user's apart."""
        for released, level, whose in (
            (True, Level.INFO, "of old releases"),
            (False, Level.WARNING, "that were edited here or in no release"),
        ):
            gone = [file for file in removed.files if file in early and file.released is released]
            if gone:
                size = format_size(freed_bytes(gone))
                self._voice.notice(
                    level,
                    "trash_given_up",
                    f"the trash is full: {_counted(gone)} {whose} ({size}) were given up before "
                    f"their time: {_some(sorted({file.path for file in gone}))}",
                    "`trash_size` in the configuration says how much is kept",
                )

    def _warn(self, problems: dict[str, str], what: str) -> None:
        if problems:
            path = min(problems)
            self._voice.notice(
                Level.WARNING,
                f"trash_not_{what}",
                f"{len(problems)} files or folders in the trash could not be {what}, the first: "
                f"{path!r}: {problems[path]}",
                "see to its permissions, or remove it by hand",
            )


def _counted(files: list[Trashed]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files):,} files"


def _some(paths: list[str]) -> str:
    more = len(paths) - _PATHS_TOLD
    shown = ", ".join(repr(path) for path in paths[:_PATHS_TOLD])
    return f"{shown} and {more:,} more" if more > 0 else shown
