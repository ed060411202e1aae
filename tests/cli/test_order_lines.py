"""What the service was asked for, as people read it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.cli.render_samples import HOSTILE, HOSTILE_SHOWN
from torsync.cli.render.plain import PlainRenderer
from torsync.cli.render.rich_live import RichRenderer
from torsync.model.reports import PauseReport
from torsync.service.desk import ReloadReport


def said(*reports: PauseReport | ReloadReport) -> list[str]:
    """What the plain renderer writes, which is what the other one writes, too."""
    out, screen = io.StringIO(), io.StringIO()
    plain = PlainRenderer(out, io.StringIO())
    rich = RichRenderer(Console(file=screen, width=200), refresh_s=None)
    for report in reports:
        for renderer in (plain, rich):
            if isinstance(report, PauseReport):
                renderer.paused(report, "subscription")
            else:
                renderer.reloaded(report)
    lines = out.getvalue().splitlines()
    drawn = [line.replace("  ", ": ", 1).rstrip() for line in screen.getvalue().splitlines()]
    assert drawn == lines
    return lines


@pytest.mark.parametrize(
    ("paused", "changed", "words"),
    [
        (True, True, "paused"),
        (True, False, "was paused already"),
        (False, True, "resumed"),
        (False, False, "was not paused"),
    ],
)
def test_a_pause_says_what_is_so_now(paused: bool, changed: bool, words: str) -> None:
    assert said(PauseReport("pack", paused, changed)) == [f"pack: {words}"]


def test_a_reload_says_what_was_done() -> None:
    report = ReloadReport(("new", HOSTILE), ("gone",), ("other",), ("same", "too"))
    assert said(report) == [
        "stopped: gone",
        "restarted: other",
        f"started: new, {HOSTILE_SHOWN}",
        "reloaded; 2 others left alone",
    ]
    assert said(ReloadReport(started=("new",))) == ["started: new", "reloaded"]
    assert said(ReloadReport(unchanged=("same",), sections=("feed", "notify"))) == [
        "changed: [feed], [notify]",
        "reloaded; 1 other left alone",
    ]
    assert said(ReloadReport(unchanged=("same",))) == ["reloaded: nothing has changed"]


def test_quiet_says_nothing() -> None:
    out = io.StringIO()
    renderer = PlainRenderer(out, io.StringIO(), quiet=True)
    renderer.paused(PauseReport("pack", paused=True), "subscription")
    renderer.reloaded(ReloadReport(("new",)))
    assert out.getvalue() == ""
