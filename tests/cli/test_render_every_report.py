"""Each thing that a command can tell: to a pipe, to a terminal, to both, as JSON, quietly."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.render_samples import (
    HOSTILE,
    NOW_S,
    check_report,
    findings,
    history_reports,
    log_records,
    plan_report,
    publication_statuses,
    publish_reports,
    status_reports,
    trash_reports,
    verify_report,
)
from tests.cli.test_render_rich import Terminal
from torsync.cli.render.discreet import discreet
from torsync.cli.render.json_lines import JsonRenderer
from torsync.cli.render.plain import PlainRenderer
from torsync.model.errors import ExitCode
from torsync.model.key_report import KeyReport
from torsync.model.past import PastRelease
from torsync.model.reports import PastReport, PauseReport
from torsync.model.secrets import Redactor
from torsync.model.service_report import ServiceReport
from torsync.service.desk import ReloadReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.cli.render import Renderer

    Tell = Callable[[Renderer], None]

_PAST = PastReport(
    "skyrim",
    current="d1",
    releases=[
        PastRelease("d2", "cd" * 20, HOSTILE, NOW_S - 20),
        PastRelease("d1", "ab" * 20, "pack-1", NOW_S - 7200),
    ],
)
_INSTALLED = ServiceReport(
    *("service install", "torsync.service", "user"),
    changed=True,
    written_paths=("/home/a/.config/systemd/user/torsync.service",),
    commands=("systemctl --user daemon-reload",),
    next_steps=("log out and in again",),
)
_REMOVED = ServiceReport(
    *("service uninstall", "torsync.service", "system"), removed_paths=(f"/etc/{HOSTILE}",)
)

TOLD: dict[str, Tell] = {
    "check-now": lambda renderer: renderer.check(check_report()),
    "plan": lambda renderer: renderer.check(plan_report(), "plan"),
    "verify": lambda renderer: renderer.verify(verify_report()),
    "status": lambda renderer: renderer.status(status_reports(), publication_statuses()),
    "history": lambda renderer: renderer.history(history_reports()[0]),
    "log": lambda renderer: renderer.log(log_records()[0]),
    "publish": lambda renderer: renderer.publication(publish_reports()[1], "publish"),
    "releases": lambda renderer: renderer.past(_PAST),
    "no releases": lambda renderer: renderer.past(PastReport("skyrim")),
    "trash": lambda renderer: renderer.trash(trash_reports()[0]),
    "pause": lambda renderer: renderer.paused(PauseReport("skyrim", paused=True), "subscription"),
    "reload": lambda renderer: renderer.reloaded(ReloadReport(("a",), (HOSTILE,), sections=("x",))),
    "init": lambda renderer: renderer.added("skyrim", "https://a.example/", "/tree", "c.toml"),
    "keygen": lambda renderer: renderer.key(KeyReport("K1", "RWQ", "k.pub", "k$.key", True)),
    "doctor": lambda renderer: renderer.checkup(findings()),
    "service install": lambda renderer: renderer.service(_INSTALLED),
    "service uninstall": lambda renderer: renderer.service(_REMOVED),
}
told = pytest.mark.parametrize("tell", TOLD.values(), ids=TOLD)


class Plain:
    def __init__(self, *, quiet: bool = False) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.renderer = PlainRenderer(self.out, self.err, quiet=quiet, wall_clock=lambda: NOW_S)


def _plain(tell: Tell) -> str:
    plain = Plain()
    tell(plain.renderer)
    return plain.out.getvalue()


@told
def test_where_standard_output_is_a_pipe_it_gets_lines_and_the_terminal_nothing(tell: Tell) -> None:
    terminal = Terminal(plain_reports=True)
    terminal.renderer._report_lines._wall_clock = lambda: NOW_S  # type: ignore[union-attr]
    tell(terminal.renderer)
    assert terminal.stdout.getvalue() == _plain(tell) != ""
    assert terminal.text() == ""


@told
def test_nothing_that_is_told_steers_a_terminal(tell: Tell) -> None:
    terminal = Terminal(width=200)
    tell(terminal.renderer)
    for text in (terminal.text(), _plain(tell)):
        assert text
        assert text.replace("\n", "").isprintable()


@told
def test_what_is_redacted_is_told_as_well(tell: Tell) -> None:
    plain = Plain()
    redactor = Redactor()
    tell(discreet(plain.renderer, redactor))
    assert plain.out.getvalue() == _plain(tell)


@told
def test_as_json_it_is_objects_on_standard_output(tell: Tell) -> None:
    out, err = io.StringIO(), io.StringIO()
    tell(JsonRenderer(out, err))
    objects = [json.loads(line) for line in out.getvalue().splitlines()]
    assert objects
    assert all(one["type"] for one in objects)
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    "name",
    ["trash", "pause", "reload", "init", "keygen", "service install", "service uninstall"],
)
def test_quietly_it_is_done_and_not_told(name: str) -> None:
    plain = Plain(quiet=True)
    TOLD[name](plain.renderer)
    assert plain.out.getvalue() == plain.err.getvalue() == ""


def test_quietly_doctor_tells_of_problems_alone() -> None:
    plain = Plain(quiet=True)
    TOLD["doctor"](plain.renderer)
    assert [line.split(":")[1].strip() for line in plain.out.getvalue().splitlines()] == [
        *("tracker", "tracker", "url.http", "url.http")
    ]
    assert "ok" not in plain.out.getvalue().split()


def test_how_a_command_ended_goes_where_messages_go() -> None:
    terminal = Terminal(verbose=True, plain_messages=True)
    terminal.renderer.result(ExitCode.OK, 1.0)
    assert terminal.text() == ""
    assert "exit code 0 after 1" in terminal.stderr.getvalue()


def test_without_findings_of_a_kind_it_is_not_counted() -> None:
    plain = Plain()
    plain.renderer.checkup([])
    assert plain.out.getvalue() == "0 ok\n"
