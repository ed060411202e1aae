"""Whose files a command would write."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest

from torsync.cli.account import WRITING, refuse_root
from torsync.cli.main import _COMMANDS
from torsync.model.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

SUDO = {"SUDO_UID": "1000"}


@pytest.fixture
def of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory that another account has."""
    uid = pwd.getpwnam("nobody").pw_uid
    real = os.stat

    def stat(path: object, **options: object) -> object:
        found = real(path, **options)  # type: ignore[call-overload]
        return os.stat_result([*found[:4], uid, *found[5:10]]) if path == tmp_path else found

    monkeypatch.setattr(os, "stat", stat)
    return tmp_path


def test_root_by_sudo_writes_nothing_into_the_state_of_an_account(of_nobody: Path) -> None:
    with pytest.raises(UsageError, match="belongs to 'nobody'") as caught:
        refuse_root(of_nobody, "pause", SUDO, 0)
    assert "`sudo -u nobody torsync …`" in caught.value.hint


@pytest.mark.parametrize(
    ("command", "environ", "uid"),
    [("status", SUDO, 0), ("pause", {}, 0), ("pause", SUDO, 1000)],
)
def test_who_only_reads_or_is_not_root_by_sudo_goes_on(
    of_nobody: Path, command: str, environ: dict[str, str], uid: int
) -> None:
    refuse_root(of_nobody, command, environ, uid)


def test_a_state_directory_of_root_or_none_at_all_is_fine(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        refuse_root(tmp_path, "run", SUDO, 0)
    refuse_root(tmp_path / "none", "run", SUDO, 0)


def test_the_commands_are_there() -> None:
    assert _COMMANDS.keys() >= WRITING
