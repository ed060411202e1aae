"""On a terminal: what the running service was asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rich.text import Text

from torsync.cli.render.order_lines import reload_lines, summarise_paused
from torsync.cli.render.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from torsync.cli.render import Renderer
    from torsync.model.reports import PauseReport
    from torsync.service.desk import ReloadReport


class RichOrders(ABC):
    """A part of ``RichRenderer``."""

    _report_lines: Renderer | None

    @abstractmethod
    def _print(self, *lines: RenderableType) -> None:
        """Print all at once."""

    def paused(self, report: PauseReport, kind: str) -> None:
        """Print a line."""
        if self._report_lines is not None:
            self._report_lines.paused(report, kind)
            return
        name = (printable(report.name), "bold")
        self._print(Text.assemble(name, "  ", summarise_paused(report)))

    def reloaded(self, report: ReloadReport) -> None:
        """Print a line for each thing that was done."""
        if self._report_lines is not None:
            self._report_lines.reloaded(report)
            return
        lines = (Text(line, no_wrap=True, overflow="ignore") for line in reload_lines(report))
        self._print(*lines)
