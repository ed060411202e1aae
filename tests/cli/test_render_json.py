"""``--json``: what scripts read."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.cli.render_samples import (
    HOSTILE,
    Clock,
    check_report,
    downloading,
    hashing,
    status_reports,
    verify_report,
)
from torsync.cli.render import make_renderer
from torsync.cli.render.json_lines import JsonRenderer
from torsync.cli.render.output import LineWriter
from torsync.model.errors import ConfigError, ExitCode, RemoteUnreachableError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted


class Output:
    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.stdout, self.stderr, self.clock = io.StringIO(), io.StringIO(), Clock()
        self.renderer = JsonRenderer(
            self.stdout, self.stderr, quiet=quiet, verbose=verbose, clock=self.clock
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.getvalue().splitlines()]

    def errors(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.getvalue().splitlines()]


def test_progress_is_written_at_most_twice_a_second_for_each_subscription_and_stage() -> None:
    output = Output()
    for _ in range(20):  # two seconds
        for name in ("skyrim", "wiki"):
            output.renderer.event(downloading(name))
            output.renderer.event(Progress(name, Stage.HASHING))
        output.clock.now_s += 0.1

    written = [(line["name"], line["stage"]) for line in output.lines()]

    assert len(written) == 16
    assert {written.count(key) for key in set(written)} == {4}


def test_seeding_goes_on_without_a_word() -> None:
    output = Output()
    output.renderer.event(Progress("skyrim", Stage.SEEDING, peers=3))

    assert output.lines() == []


def test_every_change_of_stage_is_written_at_once() -> None:
    output = Output()
    for stage in Stage:
        output.renderer.event(StageStarted("skyrim", stage, "why"))

    assert [line["stage"] for line in output.lines()] == [stage.value for stage in Stage]
    assert {line["detail"] for line in output.lines()} == {"why"}


def test_progress_carries_counts_rates_and_time_left() -> None:
    output = Output()
    output.renderer.event(downloading())

    assert output.lines() == [
        {
            "type": "progress",
            "name": "skyrim",
            "stage": "downloading",
            "detail": "",
            "files_done": 12,
            "files_total": 345,
            "bytes_done": 945_000_000,
            "bytes_total": 2_100_000_000,
            "download_rate": 12_300_000,
            "upload_rate": 120_000,
            "peers": 8,
            "eta_s": 94.0,
            "rate": 0,
            "path": "",
            "bytes_received": 0,
            "bytes_sent": 0,
        }
    ]


def test_progress_of_hashing_tells_the_file_and_how_fast_it_goes() -> None:
    output = Output()
    output.renderer.event(hashing("a/b.bsa"))

    (line,) = output.lines()
    assert (line["path"], line["rate"], line["files_done"]) == ("a/b.bsa", 2_900_000_000, 12)


@pytest.mark.parametrize("eta_s", [float("inf"), float("nan"), None])
def test_an_unknown_time_left_is_null(eta_s: float | None) -> None:
    output = Output()
    output.renderer.event(Progress("skyrim", Stage.DOWNLOADING, eta_s=eta_s))

    assert output.lines()[0]["eta_s"] is None


@pytest.mark.parametrize(
    ("quiet", "verbose", "levels"),
    [
        (False, False, ["info", "warning", "error"]),
        (True, False, ["warning", "error"]),
        (False, True, ["debug", "info", "warning", "error"]),
    ],
)
def test_quiet_and_verbose_choose_the_notices(
    quiet: bool, verbose: bool, levels: list[str]
) -> None:
    output = Output(quiet=quiet, verbose=verbose)
    for level in Level:
        output.renderer.event(Notice("skyrim", level, "a_code", "a message", "a hint"))

    assert [line["level"] for line in output.lines()] == levels


def test_quiet_writes_no_progress_but_reports_and_the_result() -> None:
    output = Output(quiet=True)
    output.renderer.event(StageStarted("skyrim", Stage.DOWNLOADING))
    output.renderer.event(downloading())
    output.renderer.check(check_report())
    output.renderer.result(ExitCode.OK, 1.0)

    assert [line["type"] for line in output.lines()] == ["subscription", "result"]


def test_each_report_is_one_subscription_object_with_its_type_first() -> None:
    output = Output()
    output.renderer.check(check_report())
    output.renderer.verify(verify_report())
    output.renderer.status(status_reports())
    output.renderer.added("skyrim", "https://x.example/a.torrent", "/games", "/etc/torsync.toml")

    assert [(line["command"], line["name"]) for line in output.lines()] == [
        ("check-now", "skyrim"),
        ("verify", "skyrim"),
        ("status", "skyrim"),
        ("status", "wiki"),
        ("init", "skyrim"),
    ]
    assert all(
        line.startswith('{"type": "subscription", "command": ')
        for line in output.stdout.getvalue().splitlines()
    )
    check = output.lines()[0]
    assert (check["fetched"], check["fetched_paths"][0]) == (12, "new/00.dds")


def test_the_result_tells_the_exit_code_and_the_time() -> None:
    output = Output()
    output.renderer.result(ExitCode.OK, 1.23456)
    output.renderer.result(ExitCode.DIFFERS, 2)

    assert output.lines() == [
        {"type": "result", "ok": True, "exit_code": 0, "seconds": 1.235},
        {"type": "result", "ok": False, "exit_code": 4, "seconds": 2},
    ]


def test_errors_go_to_standard_error_with_the_problems_of_a_configuration() -> None:
    output = Output()
    output.renderer.error(RemoteUnreachableError("no answer", hint="try later"), "skyrim")
    output.renderer.error(ConfigError("2 problems", problems=("line 3: a", "line 9: b")))

    assert output.lines() == []
    assert output.errors() == [
        {
            "type": "error",
            "name": "skyrim",
            "code": "remote_unreachable",
            "message": "no answer",
            "hint": "try later",
        },
        {
            "type": "error",
            "name": "",
            "code": "config",
            "message": "2 problems",
            "hint": "",
            "problems": ["line 3: a", "line 9: b"],
        },
    ]


def test_a_hostile_name_stays_on_its_line_and_comes_back_as_it_was() -> None:
    output = Output()
    report = check_report()
    report.fetched = [HOSTILE]
    output.renderer.check(report)

    assert output.stdout.getvalue().isascii()
    assert len(output.lines()) == 1
    assert output.lines()[0]["fetched_paths"] == [HOSTILE]


def test_lines_of_several_threads_do_not_mix() -> None:
    output = Output()

    def talk(name: str) -> None:
        for _ in range(200):
            output.renderer.event(Notice(name, Level.INFO, "a_code", "x" * 200))

    threads = [threading.Thread(target=talk, args=(f"sub{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(output.lines()) == 800


def test_a_closed_pipe_ends_the_output_silently() -> None:
    script = (
        "import sys\n"
        "from torsync.cli.render import make_renderer\n"
        "from torsync.model.errors import ExitCode\n"
        "renderer = make_renderer(json=True, quiet=False, verbose=False,\n"
        "                         stdout=sys.stdout, stderr=sys.stderr)\n"
        "sys.stdin.readline()\n"
        "for _ in range(1000):\n"
        "    renderer.result(ExitCode.OK, 1.0)\n"
        "renderer.close()\n"
        "sys.exit(7)\n"
    )
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    os.close(reading)
    _, complaints = process.communicate("go\n", timeout=60)

    assert complaints == ""
    assert process.returncode == 7


class FullDisk(io.StringIO):
    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_log_on_a_full_disk_does_not_stop_the_work_and_is_tried_again() -> None:
    stream = FullDisk()
    writer = LineWriter(stream)
    writer.line("lost")
    stream.is_full = False
    writer.line("written")

    assert stream.getvalue() == "written\n"


def test_a_closed_pipe_that_is_no_file_is_forgotten_too() -> None:
    class Gone(io.StringIO):
        writes = 0

        def write(self, _text: str) -> int:
            self.writes += 1
            raise BrokenPipeError

    stream = Gone()
    writer = LineWriter(stream)
    writer.line("one")
    writer.line("two")

    assert stream.writes == 1


def test_json_is_chosen_even_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    renderer = make_renderer(
        json=True, quiet=False, verbose=False, stdout=Terminal(), stderr=Terminal()
    )

    assert isinstance(renderer, JsonRenderer)
    renderer.close()
