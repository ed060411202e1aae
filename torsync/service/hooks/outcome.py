"""What became of a command of the configuration."""

from __future__ import annotations

from typing import NamedTuple


class HookOutcome(NamedTuple):
    """What became of a command.

    Attributes:
        exit_code: negative for the signal that ended it; None if it did not begin, or was ended.
        last_line: that it printed; empty if none.
        problem: why it did not begin or was ended, in a few words.
        is_cut_off: whether it was ended as the work shall stop.
    """

    exit_code: int | None
    last_line: str = ""
    problem: str = ""
    is_cut_off: bool = False

    @property
    def is_good(self) -> bool:
        """Whether it ended by itself, and with 0."""
        return self.exit_code == 0
