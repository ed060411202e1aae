"""Lines of text on a terminal that several views have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from torsync.cli.render.text import error_lines, printable
from torsync.model.events import Level

if TYPE_CHECKING:
    from torsync.model.errors import TorsyncError
    from torsync.model.events import Notice

LEVEL_STYLES = {
    "debug": "dim",
    "info": "",
    "warning": "yellow",
    "error": "bold red",
    "hint": "cyan",
}


def summary_line(name: str, summary: str, style_of_differences: str) -> Text:
    """A report's first line; what comes before its first colon has a colour."""
    outcome, colon, rest = summary.partition(": ")
    style = "green" if outcome.startswith("in sync") else style_of_differences
    return Text.assemble((printable(name), "bold"), "  ", (outcome, style), colon, rest)


def unbroken(text: Text) -> Text:
    """Leave a long line to the terminal, so that it can be copied whole."""
    text.no_wrap, text.overflow = True, "ignore"
    return text


def hint_line(text: str) -> Text:
    """What to do; one that has a command can be copied whole."""
    line = labelled_line("", "hint", text)
    has_command = "torsync " in text
    return unbroken(line) if has_command else line


def labelled_line(name: str, label: str, text: str) -> Text:
    """A text with what it is about, and what it is, before it."""
    line = Text()
    if name:
        line.append(printable(name), style="bold").append(": ")
    if label:
        line.append(f"{label}: ", style=LEVEL_STYLES[label])
    return line.append(text)


def error_view(error: TorsyncError, subscription: str) -> list[Text]:
    """An error, each of its problems and the hint."""
    lines = []
    for label, text in error_lines(error):
        if label == "hint":
            lines.append(hint_line(text))
        elif label:
            lines.append(labelled_line(subscription, label, text))
        else:
            lines.append(Text(f"  {text}"))
    return lines


def notice_view(notice: Notice) -> list[Text]:
    """A notice and its hint."""
    label = "" if notice.level is Level.INFO else notice.level.value
    lines = [labelled_line(notice.subscription, label, printable(notice.message))]
    if notice.hint:
        lines.append(hint_line(printable(notice.hint)))
    return lines
