"""What ``torsync service install`` says where there is no systemd."""

from __future__ import annotations

import configparser
import plistlib
import shlex

import pytest

from torsync.model.errors import ExitCode
from torsync.service.systemd.elsewhere import Instead, instead_of_systemd

COMMAND = ["/opt/a b/torsync", "--config", "/etc/100%.toml", "run"]


def instead(platform: str, *, in_container: bool = False) -> Instead:
    found = instead_of_systemd(platform, COMMAND, in_container=in_container)
    assert (found.error.exit_code, found.error.code) == (ExitCode.FAILED, "no_systemd")
    return found


def test_macos_gets_an_agent_for_launchd() -> None:
    found = instead("darwin")
    agent = plistlib.loads(found.example.encode())
    assert agent["ProgramArguments"] == COMMAND
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert "launchctl" in found.error.hint


def test_windows_gets_a_command_for_the_task_scheduler() -> None:
    assert '/TR "\\"/opt/a b/torsync\\" --config' in instead("win32").example


def test_a_container_gets_its_command() -> None:
    found = instead("linux", in_container=True)
    assert shlex.split(found.example) == COMMAND
    assert "container" in found.error.message


@pytest.mark.parametrize("platform", ["linux", "freebsd14"])
def test_others_get_supervisord_and_cron(platform: str) -> None:
    example = instead(platform).example
    section, _, cron = example.partition("# or cron: crontab -e\n")
    parser = configparser.RawConfigParser()
    parser.read_string(section)
    program = parser["program:torsync"]
    assert shlex.split(program["command"].replace("%%", "%")) == COMMAND
    assert program["exitcodes"] == "0,2,130"
    assert shlex.split(cron.removeprefix("@reboot ").replace("\\%", "%")) == COMMAND
