"""``torsync service``: what the command line says of a service that was installed, or cannot be."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests.support.cli import Torsync
from torsync.cli.render.plain import PlainRenderer
from torsync.cli.render.rich_live import RichRenderer
from torsync.cli.service import own_program
from torsync.model.service_report import ServiceReport

if TYPE_CHECKING:
    from pathlib import Path

REPORT = ServiceReport(
    "service install",
    "torsync.service",
    "user",
    changed=True,
    started=True,
    written_paths=("/home/me/torsync.service",),
    commands=("systemctl --user daemon-reload",),
    next_steps=("say `loginctl enable-linger`",),
)


def plain(report: ServiceReport) -> list[str]:
    stdout = io.StringIO()
    PlainRenderer(stdout, io.StringIO()).service(report)
    return stdout.getvalue().splitlines()


def test_every_step_is_told() -> None:
    assert plain(REPORT) == [
        "torsync.service: a service of the user, written, enabled and started",
        "torsync.service: wrote /home/me/torsync.service",
        "torsync.service: ran `systemctl --user daemon-reload`",
        "hint: say `loginctl enable-linger`",
    ]


def test_a_terminal_shows_the_same_words() -> None:
    shown = io.StringIO()
    renderer = RichRenderer(Console(file=shown, width=120, force_terminal=False), verbose=False)
    renderer.service(REPORT)
    renderer.close()
    text = shown.getvalue()
    for line in plain(REPORT):
        for part in line.split(": ", 1):
            assert part in text


def test_an_example_can_be_copied_from_what_is_printed() -> None:
    example = "[program:torsync]\ncommand=torsync run\n"
    assert plain(ServiceReport("service install", example=example)) == example.splitlines()


def test_nothing_to_remove_is_said() -> None:
    (line,) = plain(ServiceReport("service uninstall", "x.service", "system"))
    assert line == "x.service: a service of the system, is not installed"


def test_the_unit_starts_this_installation() -> None:
    program = own_program()
    assert os.access(program[0], os.X_OK)
    assert os.path.dirname(program[0]) == os.path.dirname(sys.executable)


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd runs this machine")
def test_without_systemd_it_says_what_to_use(tmp_path: Path) -> None:
    with Torsync(tmp_path) as torsync:
        outcome = torsync.run("service", "install")
    assert (outcome.exit_code, outcome.error["code"]) == (1, "no_systemd")
    (told,) = outcome.of_type("service")
    assert str(torsync.config_file) in told["example"]
    assert told["commands"] == []


class TestTheProgramThatTheUnitStarts:
    """Without a script beside the Python that runs, as with ``pip install --target``."""

    @pytest.fixture(autouse=True)
    def bare_python(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python3"))

    def test_it_is_the_script_that_was_called(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = tmp_path / "torsync"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "argv", [str(script), "service", "install"])
        assert own_program() == [str(script)]
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["torsync"])
        assert own_program() == [str(script)], "found as the shell found it"

    @pytest.mark.parametrize("name", ["torsync", "-c", "pytest"])
    def test_else_it_is_the_module(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "argv", [name])
        assert own_program() == [sys.executable, "-m", "torsync"]
