"""Lines of text on a terminal that several views have in common."""

from __future__ import annotations

from rich.text import Text

from torsync.cli.render.text import printable

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
