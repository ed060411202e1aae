"""Something that is drawn again and again in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType


class Screen:
    """A part of the terminal; what was drawn last stays there, whole, once it is closed.

    What does not fit is cut off below meanwhile.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def show(self, view: Sequence[RenderableType]) -> None:
        """Draw it."""
        if self._live is None:
            self._live = Live(
                Group(*view),
                console=self._console,
                auto_refresh=False,
                vertical_overflow="ellipsis",
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)
        else:
            self._live.update(Group(*view), refresh=True)

    def close(self) -> None:
        """Give the cursor back."""
        if self._live is not None:
            self._live.stop()
            self._live = None
