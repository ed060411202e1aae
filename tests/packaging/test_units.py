"""The systemd units: systemd understands them, and they agree with the program."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import require
from torsync.model.errors import ExitCode
from torsync.service.systemd.units import (
    PACKAGED_SYSTEM,
    PACKAGED_USER,
    Scope,
    Unit,
    quoted,
    sysusers_text,
    trees_text,
    unit_text,
)

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM_EXPOSURE_AT_MOST = 20  # of 100, as systemd-analyze counts
SPACED = '/srv/a "b" 100%/$HOME/c\\d'


def lines_of(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def analyze(tmp_path: Path, unit: Unit, *words: str) -> str:
    """Ask systemd-analyze about a unit, with a program that is there."""
    program = require("systemd-analyze")
    there = Unit(
        unit.scope,
        (sys.executable,),
        unit.config,
        unit.state_dir,
        state_name=unit.state_name,
        specifiers=unit.specifiers,
    )
    file = tmp_path / "torsync.service"
    file.write_text(unit_text(there), encoding="utf-8")
    done = subprocess.run(
        [program, *words, str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.programs
@pytest.mark.parametrize("unit", [PACKAGED_SYSTEM, PACKAGED_USER], ids=["system", "user"])
def test_systemd_has_nothing_to_say_against_a_unit(tmp_path: Path, unit: Unit) -> None:
    said = analyze(tmp_path, unit, "verify", f"--{unit.scope.value}", "--man=no")
    assert [line for line in said.splitlines() if "torsync.service" in line] == []


@pytest.mark.programs
def test_systemd_complains_of_a_unit_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "torsync.service"
    text = unit_text(PACKAGED_SYSTEM).replace("/usr/bin/torsync", sys.executable)
    file.write_text(text.replace("Restart=on-failure", "Restart=sometimes"), encoding="utf-8")
    done = subprocess.run(
        [require("systemd-analyze"), "verify", "--system", "--man=no", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "sometimes" in done.stderr


@pytest.mark.programs
def test_the_system_service_is_hardened(tmp_path: Path) -> None:
    threshold = f"--threshold={SYSTEM_EXPOSURE_AT_MOST}"
    analyze(tmp_path, PACKAGED_SYSTEM, "security", "--offline=yes", "--no-pager", threshold)


@pytest.mark.programs
def test_the_account_can_be_made(tmp_path: Path) -> None:
    file = tmp_path / "torsync.conf"
    file.write_text(sysusers_text(), encoding="utf-8")
    (tmp_path / "etc").mkdir()
    subprocess.run(
        [require("systemd-sysusers"), f"--root={tmp_path}", str(file)], check=True, timeout=60
    )
    assert "torsync:" in (tmp_path / "etc/passwd").read_text()


@pytest.mark.programs
def test_the_account_s_home_may_have_any_name(tmp_path: Path) -> None:
    line = sysusers_text(home="/var/lib/my state 100%").splitlines()[1]
    (tmp_path / "etc").mkdir()
    program = require("systemd-sysusers")
    subprocess.run([program, f"--root={tmp_path}", "--inline", line], check=True, timeout=60)
    (account,) = [
        one for one in (tmp_path / "etc/passwd").read_text().splitlines() if "torsync" in one
    ]
    assert account.split(":")[5] == "/var/lib/my state 100%"


@pytest.mark.parametrize("unit", [PACKAGED_SYSTEM, PACKAGED_USER], ids=["system", "user"])
def test_what_a_person_has_to_mend_is_not_restarted(unit: Unit) -> None:
    text = unit_text(unit)
    assert lines_of(text, "RestartPreventExitStatus") == [str(ExitCode.USAGE.value)]
    assert lines_of(text, "SuccessExitStatus") == [str(ExitCode.INTERRUPTED.value)]
    assert lines_of(text, "Restart") == ["on-failure"]
    assert lines_of(text, "StartLimitIntervalSec") == ["0"]


@pytest.mark.parametrize("unit", [PACKAGED_SYSTEM, PACKAGED_USER], ids=["system", "user"])
def test_every_setting_is_explained(unit: Unit) -> None:
    lines = unit_text(unit).splitlines()
    service = lines[lines.index("[Service]") : lines.index("[Install]")]
    blocks, block = [], []
    for line in service[2:]:
        if line.startswith("#") and block and not block[-1].startswith("#"):
            blocks.append(block)
            block = []
        block.extend([line] if line else [])
    for found in [*blocks, block]:
        assert found[0].startswith("# "), found


def test_no_word_of_a_path_is_expanded() -> None:
    text = unit_text(Unit(Scope.USER, ("/opt/t s/torsync",), SPACED, "/state"))
    (start,) = lines_of(text, "ExecStart")
    escaped = '"/srv/a \\"b\\" 100%%/$$HOME/c\\\\d"'
    assert start == f'"/opt/t s/torsync" --config {escaped} --state-dir /state run'


def test_a_folder_to_write_to_may_have_any_name() -> None:
    assert quoted("/srv/$x") == "/srv/$x"
    assert lines_of(trees_text(["/srv/plain", "/srv/a b"]), "ReadWritePaths") == [
        "-/srv/plain",
        '-"/srv/a b"',
    ]
