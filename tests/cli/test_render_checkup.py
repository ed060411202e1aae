"""What ``doctor`` shows: lines, a table with marks, and only problems where it shall be quiet."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.cli.render_samples import HOSTILE_SHOWN, findings
from torsync.cli.render.plain import PlainRenderer
from torsync.cli.render.rich_checkup import checkup_view


def lines(*, quiet: bool = False) -> list[str]:
    stdout = io.StringIO()
    PlainRenderer(stdout, io.StringIO(), quiet=quiet).checkup(findings())
    return stdout.getvalue().splitlines()


def screen(width: int) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, _environ={})
    for line in checkup_view(findings(), width):
        console.print(line)
    return file.getvalue()


def test_each_finding_is_a_line_and_its_next_step_another() -> None:
    assert lines() == [
        "configuration.file: ok: it is right",
        "notify.urls: skipped: nobody is told",
        "skyrim: tracker: warning: it knows nobody",
        "skyrim: tracker: hint: start the seed",
        f"skyrim: url.http: failed: found {HOSTILE_SHOWN}",
        "skyrim: url.http: hint: run `torsync check-now skyrim`",
        "1 ok, 1 warning, 1 failed, 1 skipped",
    ]


def test_quiet_leaves_what_is_not_well() -> None:
    assert lines(quiet=True) == lines()[2:-1]


@pytest.mark.parametrize("width", [30, 59, 60, 80, 200])
def test_a_terminal_shows_marks_and_all_text_at_any_width(width: int) -> None:
    shown = screen(width)
    for mark in ("✓ ", "! ", "✗ ", "- "):
        assert mark in shown
    assert max(len(line) for line in shown.splitlines()) <= width
    words = "".join(shown.split())
    assert "".join(HOSTILE_SHOWN.split()) in words or width < 60
    assert "hint:" in words
    assert "1ok,1warning,1failed,1skipped" in words


def test_names_are_headings() -> None:
    shown = screen(100).splitlines()
    assert shown[0] == "torsync"
    assert shown.count("skyrim") == 1
