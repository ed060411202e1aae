"""``torsync service install``: which files, which commands, and when it refuses."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from torsync.model.errors import ConfigError, RefusedError, UsageError
from torsync.service.config_file import load_config
from torsync.service.systemd.install import Installer, Wanted
from torsync.service.systemd.machine import Account, CommandError, Ended, Machine
from torsync.service.systemd.units import Scope, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "/opt/torsync/bin/torsync"
CONFIG = """\
[subscriptions.pack]
url = "https://x.example/pack.torrent"
path = "/srv/pack"

[publications.maps]
path = "/srv/maps"
torrent = "/srv/www/maps.torrent"
"""


@dataclass
class Systemd:
    """A machine in a folder, and what its systemctl was told."""

    root: Path
    uid: int = 0
    linger: str = "no"
    failing: str = "nothing that is run"
    accounts: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def run(self, words: Sequence[str]) -> Ended:
        line = " ".join(words)
        self.calls.append(line)
        if words[0] == "systemd-sysusers":
            self.accounts.add("torsync")
        if words[0] == "loginctl":
            return Ended(0, self.linger)
        return Ended(1, "no way") if self.failing in line else Ended(0, "")

    def account(self, name: str) -> Account | None:
        return Account(name, 4242, "mods", frozenset({4242})) if name in self.accounts else None

    def installer(self, **wanted: Any) -> Installer:
        return Installer(
            Wanted((PROGRAM,), **wanted),
            Machine(
                root=self.root,
                environ={"HOME": "/home/me"},
                uid=self.uid,
                run=self.run,
                account=self.account,
            ),
            user_config=Path("/home/me/.config/torsync/config.toml"),
            user_state=Path("/home/me/.local/state/torsync"),
            load=lambda path, state: load_config(path, state_dir=state),
        )

    def configure(self, path: str = "/etc/torsync/config.toml", text: str = CONFIG) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Systemd:
    root = tmp_path / "machine"
    program = root / PROGRAM.lstrip("/")
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    return Systemd(root)


@pytest.fixture
def mine(machine: Systemd) -> Systemd:
    """The machine as another user than root sees it."""
    machine.uid = os.getuid() or 65534
    return machine


class TestForTheSystem:
    UNIT = "/etc/systemd/system/torsync.service"
    TREES = "/etc/systemd/system/torsync.service.d/trees.conf"

    def test_writes_enables_and_starts(self, machine: Systemd) -> None:
        machine.configure()
        report = machine.installer().install()
        unit = machine.read(self.UNIT)
        assert f"ExecStart={PROGRAM} --config /etc/torsync/config.toml" in unit
        assert "User=torsync\n" in unit
        assert "StateDirectory=torsync\n" in unit
        assert machine.calls[0].startswith("systemd-sysusers --inline u torsync")
        assert machine.calls[1:] == [
            "systemctl daemon-reload",
            "systemctl enable torsync.service",
            "systemctl restart torsync.service",
        ]
        assert (report.changed, report.started, report.scope) == (True, True, "system")
        assert report.written_paths == tuple(
            str(machine.root / path.lstrip("/")) for path in (self.UNIT, self.TREES)
        )

    def test_lets_the_service_write_to_what_is_configured(self, machine: Systemd) -> None:
        machine.configure()
        machine.installer().install()
        lines = machine.read(self.TREES).splitlines()
        assert [line for line in lines if line.startswith("ReadWrite")] == [
            "ReadWritePaths=-/srv/pack",
            "ReadWritePaths=-/srv/maps",
            "ReadWritePaths=-/srv/www",
        ]

    def test_tells_which_folders_are_missing_or_closed(self, machine: Systemd) -> None:
        machine.configure()
        (machine.root / "srv/maps").mkdir(parents=True, mode=0o755)
        steps = "\n".join(machine.installer().install().next_steps)
        assert "install -d -o torsync /srv/pack" in steps
        assert "let torsync write to /srv/maps" in steps

    def test_again_changes_nothing_and_restarts_nothing(self, machine: Systemd) -> None:
        machine.configure()
        machine.installer().install()
        machine.calls.clear()
        report = machine.installer().install()
        assert (report.changed, report.written_paths) == (False, ())
        assert "systemctl restart torsync.service" not in machine.calls
        assert machine.calls[-1] == "systemctl start torsync.service"

    def test_a_new_folder_in_the_configuration_is_let_in(self, machine: Systemd) -> None:
        machine.configure()
        machine.installer().install()
        machine.configure(text=CONFIG.replace("/srv/pack", "/srv/other"))
        report = machine.installer().install()
        assert [Path(path).name for path in report.written_paths] == ["trees.conf"]
        assert machine.calls[-1] == "systemctl restart torsync.service"

    def test_without_a_configuration_it_is_not_started(self, machine: Systemd) -> None:
        report = machine.installer().install()
        assert not report.started
        assert machine.calls[-3:] == [
            "install -D -m 640 -g mods /dev/null /etc/torsync/config.toml",
            "systemctl daemon-reload",
            "systemctl enable torsync.service",
        ]
        assert "init URL PATH" in report.next_steps[0]

    def test_a_broken_configuration_leaves_all_as_it_was(self, machine: Systemd) -> None:
        machine.configure(text="nonsense = 1")
        with pytest.raises(ConfigError):
            machine.installer().install()
        assert machine.calls == []
        assert not (machine.root / self.UNIT.lstrip("/")).exists()

    @pytest.mark.parametrize("path", [UNIT, TREES])
    def test_what_a_person_edited_is_not_overwritten(self, machine: Systemd, path: str) -> None:
        machine.configure()
        machine.installer().install()
        edited = machine.root / path.lstrip("/")
        text = edited.read_text() + "Nice=5\n"
        edited.write_text(text)
        machine.calls.clear()
        with pytest.raises(RefusedError) as refused:
            machine.installer().install()
        assert str(edited) in refused.value.message
        assert "systemctl edit" in refused.value.hint
        assert (edited.read_text(), machine.calls) == (text, [])
        machine.installer(force=True).install()
        assert edited.with_name(f"{edited.name}.old").read_text() == text
        assert "Nice=5" not in edited.read_text()

    def test_a_package_s_unit_is_used_instead(self, machine: Systemd) -> None:
        packaged = machine.root / "usr/lib/systemd/system/torsync.service"
        packaged.parent.mkdir(parents=True)
        packaged.touch()
        with pytest.raises(UsageError, match="a package has brought"):
            machine.installer().install()
        machine.installer(name="mine").install()

    def test_an_installation_that_is_closed_to_the_account_is_refused(
        self, machine: Systemd
    ) -> None:
        machine.configure()
        (machine.root / "opt/torsync").chmod(0o700)
        with pytest.raises(UsageError, match="/opt/torsync is closed"):
            machine.installer().install()
        assert not (machine.root / self.UNIT.lstrip("/")).exists()

    def test_a_configuration_that_is_closed_to_the_account_is_refused(
        self, machine: Systemd
    ) -> None:
        machine.configure().chmod(0o600)
        with pytest.raises(UsageError, match=r"config\.toml is closed") as refused:
            machine.installer().install()
        fix = "chgrp mods /etc/torsync/config.toml && chmod g+rX /etc/torsync/config.toml"
        assert fix in refused.value.hint

    def test_runs_as_an_account_that_is_there(self, machine: Systemd) -> None:
        with pytest.raises(UsageError, match="no account 'alice'"):
            machine.installer(account="alice").install()
        machine.accounts.add("alice")
        machine.installer(account="alice").install()
        assert "User=alice\n" in machine.read(self.UNIT)
        assert not any(call.startswith("systemd-sysusers") for call in machine.calls)

    def test_another_name_has_its_own_files(self, machine: Systemd) -> None:
        report = machine.installer(name="second").install()
        unit = machine.read("/etc/systemd/system/second.service")
        assert "--config /etc/torsync/second.toml --state-dir /var/lib/second run" in unit
        assert "StateDirectory=second\n" in unit
        assert report.unit == "second.service"

    def test_a_state_directory_elsewhere_is_made_and_may_be_written_to(
        self, machine: Systemd
    ) -> None:
        machine.installer(state_dir=Path("/mnt/state")).install()
        assert "install -d -m 700 -o torsync /mnt/state" in machine.calls
        assert "ReadWritePaths=/mnt/state\n" in machine.read(self.UNIT)

    @pytest.mark.parametrize("name", ["my state", "a:b", "50%n", "a\nExecStartPre=/bin/evil", "$x"])
    def test_a_state_directory_of_any_name_is_one_folder_to_systemd(
        self, machine: Systemd, name: str
    ) -> None:
        machine.installer(state_dir=Path("/var/lib", name)).install()
        unit = machine.read(self.UNIT)
        assert "StateDirectory=" not in unit
        assert "\nExecStartPre=" not in unit
        assert f"ReadWritePaths={quoted(f'/var/lib/{name}')}\n" in unit
        assert f"install -d -m 700 -o torsync /var/lib/{name}" in machine.calls
        (made,) = [call for call in machine.calls if call.startswith("systemd-sysusers")]
        assert made.endswith(f'" {quoted(f"/var/lib/{name}")}')

    def test_what_is_to_be_done_next_can_be_given_to_a_shell(self, machine: Systemd) -> None:
        machine.configure(text=CONFIG.replace("/srv/pack", "/srv/my pack"))
        steps = "\n".join(machine.installer().install().next_steps)
        assert "`install -d -o torsync '/srv/my pack'`" in steps

    @pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-x", "x.service", "%n"])
    def test_a_name_that_no_unit_can_have_is_refused(self, machine: Systemd, name: str) -> None:
        with pytest.raises(UsageError, match="cannot be called"):
            machine.installer(name=name)

    def test_what_systemd_says_is_told(self, machine: Systemd) -> None:
        machine.configure()
        machine.failing = "restart"
        with pytest.raises(CommandError, match="no way") as failed:
            machine.installer().install()
        assert "journalctl -u torsync.service" in failed.value.hint

    def test_only_root_may(self, mine: Systemd) -> None:
        with pytest.raises(UsageError, match="for root"):
            mine.installer(scope=Scope.SYSTEM)

    def test_uninstall_stops_it_and_leaves_everything_else(self, machine: Systemd) -> None:
        config = machine.configure()
        machine.installer().install()
        machine.calls.clear()
        report = machine.installer().uninstall()
        assert machine.calls == [
            "systemctl disable --now torsync.service",
            "systemctl daemon-reload",
        ]
        assert len(report.removed_paths) == 2
        assert list((machine.root / "etc/systemd/system").iterdir()) == []
        assert config.exists()
        assert not machine.installer().uninstall().changed

    def test_uninstall_keeps_what_a_person_edited(self, machine: Systemd) -> None:
        machine.installer().install()
        unit = machine.root / self.UNIT.lstrip("/")
        unit.write_text("[Service]\nExecStart=/bin/true\n")
        machine.calls.clear()
        with pytest.raises(RefusedError):
            machine.installer().uninstall()
        assert (unit.exists(), machine.calls) == (True, [])

    def test_uninstall_removes_nothing_that_does_not_stop(self, machine: Systemd) -> None:
        machine.installer().install()
        machine.failing = "disable"
        with pytest.raises(CommandError):
            machine.installer().uninstall()
        assert (machine.root / self.UNIT.lstrip("/")).exists()


class TestForAUser:
    UNIT = "/home/me/.config/systemd/user/torsync.service"

    def test_writes_enables_and_starts(self, mine: Systemd) -> None:
        mine.configure("/home/me/.config/torsync/config.toml")
        report = mine.installer().install()
        unit = mine.read(self.UNIT)
        assert "--config /home/me/.config/torsync/config.toml" in unit
        assert "User=" not in unit
        assert "WantedBy=default.target" in unit
        assert mine.calls[:3] == [
            "systemctl --user daemon-reload",
            "systemctl --user enable torsync.service",
            "systemctl --user restart torsync.service",
        ]
        assert (report.scope, report.started) == ("user", True)

    @pytest.mark.parametrize(("linger", "is_told"), [("no", True), ("yes", False)])
    def test_tells_how_it_runs_from_boot_on(
        self, mine: Systemd, linger: str, is_told: bool
    ) -> None:
        mine.linger = linger
        steps = "\n".join(mine.installer().install().next_steps)
        assert ("loginctl enable-linger" in steps) is is_told

    def test_a_user_without_a_manager_is_told_how_to_get_one(self, mine: Systemd) -> None:
        mine.failing = "daemon-reload"
        with pytest.raises(CommandError) as failed:
            mine.installer().install()
        assert "log in as this user" in failed.value.hint

    def test_an_account_is_for_the_system_s(self, mine: Systemd) -> None:
        with pytest.raises(UsageError, match="--run-as"):
            mine.installer(account="alice")
