"""``status --watch``, ``history`` and ``logs`` as lines, on a terminal and as JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.text import Text

from tests.cli.render_samples import (
    HOSTILE,
    HOSTILE_SHOWN,
    NOW_S,
    Clock,
    history_reports,
    live_status,
    log_records,
    publication_statuses,
    status_reports,
)
from tests.cli.test_render_rich import Terminal
from torsync.cli.render.discreet import discreet
from torsync.cli.render.json_lines import JsonRenderer
from torsync.cli.render.plain import PlainRenderer
from torsync.cli.render.rich_watch import Screen
from torsync.model.errors import RemoteUnreachableError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted
from torsync.model.secrets import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torsync.model.reports import StatusReport


class Plain:
    """A renderer of lines, and what it has written."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.stdout, self.stderr, self.clock = io.StringIO(), io.StringIO(), Clock()
        self.renderer = PlainRenderer(
            self.stdout,
            self.stderr,
            verbose=verbose,
            clock=self.clock,
            wall_clock=lambda: NOW_S,
        )

    def lines(self) -> list[str]:
        return self.stdout.getvalue().splitlines()


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def moved(report: StatusReport, bytes_done: int) -> StatusReport:
    assert report.progress is not None
    progress = dataclasses.replace(report.progress, bytes_done=bytes_done)
    return dataclasses.replace(report, progress=progress)


# --- status ---------------------------------------------------------------------------------


def test_a_live_status_says_how_far_it_is_and_what_comes_next() -> None:
    plain = Plain()
    plain.renderer.status([live_status()])
    assert plain.lines() == [
        (
            "skyrim: downloading (from peers), at pack-1.3 (1,219 files, 2.1 GB), "
            "pack-1.4 is there · 45%, 945 MB of 2.1 GB, 12 of 345 files, "
            "12.3 MB/s down, 120 kB/s up, 8 peers, 1 m 34 s left"
            " · next check in 3 m 20 s · begun again 1 time"
            " · checked 3 m 20 s ago · updated 2 d 7 h ago · held by process 4711"
        )
    ]


def test_a_table_has_a_line_for_what_is_live() -> None:
    terminal = Terminal(width=200)
    terminal.renderer.status([live_status()])
    assert terminal.lines()[2] == (
        "skyrim: from peers · 45%, 945 MB of 2.1 GB, 12 of 345 files, 12.3 MB/s down, "
        "120 kB/s up, 8 peers, 1 m 34 s left · next check in 3 m 20 s · begun again 1 time · "
        "pack-1.4 is there"
    )


@pytest.mark.parametrize(
    ("stage", "hint"),
    [
        ("paused", "`torsync resume skyrim` goes on"),
        (
            "needs approval",
            "`torsync plan skyrim` shows what it would do, `torsync apply skyrim` does it",
        ),
    ],
)
def test_what_waits_for_a_person_says_for_what(stage: str, hint: str) -> None:
    plain = Plain()
    plain.renderer.status([dataclasses.replace(status_reports()[0], stage=stage)])
    assert plain.lines()[1:] == [f"skyrim: hint: {hint}"]


def test_a_release_that_it_stays_at_is_told_while_the_service_seeds_it() -> None:
    report = dataclasses.replace(status_reports()[0], pinned=True, newest="pack-1.4")
    plain = Plain()
    plain.renderer.status([report])
    assert ", rolled back, pack-1.4 is there · " in plain.lines()[0]
    assert plain.lines()[1:] == ["skyrim: hint: `torsync apply skyrim` follows the newest again"]
    report.stage, report.newest = "rolled back", report.release
    plain = Plain()
    plain.renderer.status([report])
    assert ", a newer one is there · " in plain.lines()[0], "once is enough"


def test_watching_writes_a_line_for_what_changed() -> None:
    plain, reports = Plain(), status_reports()
    publications = publication_statuses()
    plain.renderer.watch(reports, publications)
    whole = len(plain.lines())
    assert whole == 4 + 2 + 2, "each with error and hint"
    for _ in range(20):
        plain.clock.now_s += 1
        reports[1].last_check_s = reports[0].next_check_s = plain.clock.now_s
        plain.renderer.watch(reports, publications)
    assert len(plain.lines()) == whole
    reports[0] = dataclasses.replace(reports[0], stage="committing")
    plain.renderer.watch(reports, publications)
    assert [line.partition(",")[0] for line in plain.lines()[whole:]] == ["skyrim: committing"]


def test_watching_tells_of_progress_every_ten_seconds() -> None:
    plain = Plain()
    for second in range(31):
        plain.renderer.watch([moved(live_status(), second)], [])
        plain.clock.now_s += 1
    assert len(plain.lines()) == 4


def test_watching_as_json_gives_what_changed() -> None:
    stdout = io.StringIO()
    renderer = JsonRenderer(stdout, io.StringIO())
    for done in (1, 1, 2):
        renderer.watch([moved(live_status(), done), status_reports()[1]], publication_statuses())
    found = [json.loads(line) for line in stdout.getvalue().splitlines()]
    assert [one["name"] for one in found] == ["skyrim", "wiki", "maps", "wiki-dump", "skyrim"]
    assert found[-1]["progress"]["bytes_done"] == 2


@pytest.mark.parametrize("width", [40, 120])
def test_watching_on_a_terminal_draws_in_place_and_leaves_the_last_state(width: int) -> None:
    terminal = Terminal(width=width)
    for stage in ("staging", "downloading", "committing"):
        report = dataclasses.replace(live_status(), stage=stage)
        terminal.renderer.watch([report], publication_statuses()[:1])
    drawn = terminal.screen.getvalue()
    assert "\x1b[1A" in drawn, "it goes up again"
    assert "\x1b[?25l" in drawn, "the cursor is hidden"
    terminal.renderer.close()
    assert terminal.screen.getvalue().endswith("\x1b[?25h")
    assert "committing" in terminal.screen.getvalue()[len(drawn) :]


def test_what_does_not_fit_on_the_screen_is_cut_off_until_the_end() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=40, height=5, force_terminal=True, _environ={})
    shown = Screen(console)
    shown.show([Text(f"line {number}") for number in range(20)])
    assert "line 2" in screen.getvalue()
    assert "line 10" not in screen.getvalue()
    shown.close()
    assert "line 19" in screen.getvalue()
    shown.close()


# --- history and logs -----------------------------------------------------------------------


def test_a_history_has_a_line_for_each_update() -> None:
    plain = Plain()
    for report in history_reports():
        plain.renderer.history(report)
    what = "files: 12 added, 3 changed, 2 removed · 34.1 MB fetched · 50 MB hashed in 3.20 s"
    at = "2027-01-15 07:51:40"
    assert plain.lines() == [
        f"skyrim: {at}  pack-1.3, mended: {what}",
        f"skyrim: {at}  pack-1.3 cdcdcdcd to abababab: {what}",
        f"skyrim: {at}  {HOSTILE_SHOWN[:39]}… to pack-1.3: {what}",
        f"skyrim: {at}  pack-1.3: {what}",
        (
            "maps: 2027-01-15 08:00:00  release 2: files: 1 added, 1 changed, 1 moved, 2 removed · "
            "34.1 MB hashed in 0.25 s"
        ),
        "maps: 2027-01-15 08:00:00  release 1: files: 1,219 added · 2.1 GB hashed in 1.25 s",
        "empty: nothing changed yet",
        "unpublished: nothing was published yet",
    ]


def test_a_history_tells_the_paths_if_asked_to() -> None:
    plain = Plain(verbose=True)
    plain.renderer.history(history_reports()[1])
    assert plain.lines()[1:6] == [
        "maps:   added: new/a",
        f"maps:   changed: {HOSTILE_SHOWN}",
        "maps:   moved: b/moved",
        "maps:   removed: old/1",
        "maps:   removed: old/2",
    ]
    assert plain.lines()[-1] == "maps:   added: and 219 more"


def test_a_history_on_a_terminal_is_under_its_name() -> None:
    terminal = Terminal()
    terminal.renderer.history(history_reports()[2])
    assert terminal.lines() == ["empty", "  nothing changed yet"]


def test_a_log_has_times_levels_and_hints() -> None:
    time_, plain, terminal = "2027-01-15T08:00:00.000Z", Plain(), Terminal(width=400)
    for record in log_records():
        plain.renderer.log(record)
        terminal.renderer.log(record)
    assert plain.lines() == [
        f"{time_} warning: skyrim (pack-1.3): {HOSTILE_SHOWN}",
        f"{time_} skyrim (pack-1.3): hint: wait\\n",
        f"{time_} maps: published",
        f"{time_} nothing changed",
    ]
    assert terminal.lines() == plain.lines()


# --- the journal ----------------------------------------------------------------------------


def test_lines_tell_the_journal_their_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / "stderr", "w+", encoding="utf-8") as stderr:
        seen = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{seen.st_dev}:{seen.st_ino}")
        stdout = io.StringIO()
        renderer = PlainRenderer(stdout, stderr, verbose=True)
        for level in Level:
            renderer.event(Notice("skyrim", level, "code", "said", "do", "pack-2"))
        renderer.event(StageStarted("skyrim", Stage.STAGING, release="skyrim"))
        renderer.error(RemoteUnreachableError("gone", hint="wait"), "skyrim")
        renderer.status(status_reports()[:1])
        stderr.seek(0)
        lines = stderr.read().splitlines()
    assert lines == [
        "<7>skyrim (pack-2): debug: said",
        "<7>skyrim (pack-2): hint: do",
        "<6>skyrim (pack-2): said",
        "<6>skyrim (pack-2): hint: do",
        "<4>skyrim (pack-2): warning: said",
        "<4>skyrim (pack-2): hint: do",
        "<3>skyrim (pack-2): error: said",
        "<3>skyrim (pack-2): hint: do",
        "<6>skyrim: staging",
        "<3>skyrim: error: gone",
        "<3>skyrim: hint: wait",
    ]
    assert not stdout.getvalue().startswith("<"), "that is not the journal"


@pytest.mark.parametrize("stream", ["1:2", "", "nonsense"])
def test_a_stream_that_is_not_the_journal_s_has_no_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream)
    with open(tmp_path / "stderr", "w+", encoding="utf-8") as stderr:
        renderer = PlainRenderer(io.StringIO(), stderr)
        renderer.event(Notice("skyrim", Level.ERROR, "code", "said"))
        stderr.seek(0)
        assert stderr.read() == "skyrim: error: said\n"


# --- secrets --------------------------------------------------------------------------------


def test_a_discreet_renderer_shows_no_secret() -> None:
    plain, redactor = Plain(), Redactor()
    renderer = discreet(plain.renderer, redactor)
    redactor.learn(["s3cret"])
    report = dataclasses.replace(
        live_status(), detail="s3cret", last_error="s3cret", last_error_hint="s3cret"
    )
    published = dataclasses.replace(publication_statuses()[0], last_error="s3cret")
    renderer.event(Notice("skyrim", Level.ERROR, "code", "it said s3cret", "s3cret"))
    renderer.event(Progress("skyrim", Stage.HASHING))
    renderer.error(RemoteUnreachableError("found s3cret", hint="s3cret"), "skyrim")
    renderer.status([report], [published])
    renderer.watch([dataclasses.replace(report, stage="staging")], [published])
    renderer.log(log_records()[0]._replace(message="s3cret", hint=HOSTILE + "s3cret"))
    renderer.close()
    said = plain.stdout.getvalue() + plain.stderr.getvalue()
    assert "s3cret" not in said
    assert said.count("***") >= 12
