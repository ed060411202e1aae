"""``torsync service install`` and ``uninstall``, on a machine that is a folder of the test's."""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import torsync
from torsync.model.config import Config, PublicationConfig, SessionConfig, SubscriptionConfig
from torsync.model.errors import RefusedError, TorsyncError, UsageError
from torsync.service.systemd.install import Installer, Wanted
from torsync.service.systemd.machine import (
    Account,
    CommandError,
    Ended,
    Machine,
    find_account,
    run_program,
)
from torsync.service.systemd.units import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.service_report import ServiceReport

UNIT = "torsync.service"
SYSTEM_UNIT = f"/etc/systemd/system/{UNIT}"
TREES = f"{SYSTEM_UNIT}.d/trees.conf"
CONFIG = "/etc/torsync/config.toml"
PROGRAM = "/opt/torsync/bin/torsync"
MODULE = str(Path(torsync.__file__).parent / "service/systemd/install.py")
ALICE = Account("alice", 1000, "users", frozenset({100}))
OWN = Account("torsync", 990, "torsync", frozenset({990}))
ME = pwd.getpwuid(os.geteuid())
BOTH = Config(
    SessionConfig(),
    subscriptions={"copy": SubscriptionConfig("copy", "http://h/t.torrent", Path("/srv/copy"))},
    publications={
        "maps": PublicationConfig("maps", Path("/srv/maps"), torrent=Path("/srv/www/t.torrent")),
        "fed": PublicationConfig("fed", Path("/srv/maps")),
    },
)


@dataclass
class Site:
    """A machine below a folder, on which nothing but what a test says is run.

    Attributes:
        config: what its configuration file says.
        accounts: that there are.
        made: the account that systemd-sysusers makes.
        failing: the first words of a command, and how that ends.
        lingers: what loginctl says.
    """

    root: Path
    uid: int = 0
    config: Config = BOTH
    accounts: dict[str, Account] = field(default_factory=lambda: {"alice": ALICE})
    made: Account | None = OWN
    failing: dict[str, Ended] = field(default_factory=dict)
    lingers: str = "no"
    environ: dict[str, str] = field(default_factory=lambda: {"HOME": "/home/me"})

    def write(self, path: str, text: str = "", *, mode: int = 0o644) -> Path:
        at = self.at(path)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
        at.chmod(mode)
        return at

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def run(self, words: Sequence[str]) -> Ended:
        line = " ".join(words)
        for first, ended in self.failing.items():
            if line.startswith(first):
                return ended
        if words[0] == "systemd-sysusers" and self.made is not None:
            self.accounts[self.made.name] = self.made
        return Ended(0, self.lingers if words[0] == "loginctl" else "")

    def installer(self, **wanted: Any) -> Installer:
        machine = Machine(self.root, self.environ, self.uid, self.run, self.accounts.get)
        return Installer(
            Wanted([PROGRAM], **wanted),
            machine,
            user_config=Path("/home/me/.config/torsync/config.toml"),
            user_state=Path("/home/me/.local/state/torsync"),
            load=lambda _path, _state: self.config,
        )

    def install(self, **wanted: Any) -> ServiceReport:
        return self.installer(**wanted).install()

    def uninstall(self, **wanted: Any) -> ServiceReport:
        return self.installer(**wanted).uninstall()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Of root, with torsync installed and no configuration."""
    found = Site(tmp_path / "machine")
    found.root.mkdir(mode=0o755)
    found.write(PROGRAM, mode=0o755)
    found.write(MODULE)
    return found


@pytest.fixture
def configured(site: Site) -> Site:
    site.write(CONFIG)
    for folder in ("/srv/copy", "/srv/maps", "/srv/www"):
        site.at(folder).mkdir(parents=True)
        site.at(folder).chmod(0o777)
    return site


# --- a service of the system -------------------------------------------------------------------


def test_a_service_of_the_system_is_written_enabled_and_started(configured: Site) -> None:
    report = configured.install()
    assert (report.unit, report.scope) == (UNIT, "system")
    assert (report.changed, report.started) == (True, True)
    assert [configured.at(path) for path in (SYSTEM_UNIT, TREES)] == [
        *map(Path, report.written_paths)
    ]
    assert [line.split()[0] for line in report.commands] == ["systemd-sysusers", *["systemctl"] * 3]
    assert report.commands[1:] == (
        "systemctl daemon-reload",
        f"systemctl enable {UNIT}",
        f"systemctl restart {UNIT}",
    )
    assert "StateDirectory=torsync" in configured.at(SYSTEM_UNIT).read_text()
    trees = configured.at(TREES).read_text()
    for folder in ("/srv/copy", "/srv/maps", "/srv/www"):
        assert trees.count(f"ReadWritePaths=-{folder}\n") == 1
    (step,) = report.next_steps
    assert "after adding a folder" in step


def test_a_second_time_nothing_is_written_and_it_goes_on_running(configured: Site) -> None:
    configured.install()
    report = configured.install()
    assert (report.changed, report.written_paths) == (False, ())
    assert report.commands[-1] == f"systemctl start {UNIT}"
    assert "systemd-sysusers" not in " ".join(report.commands), "the account is there"


def test_without_a_configuration_one_is_made_and_nothing_is_started(site: Site) -> None:
    report = site.install()
    assert not report.started
    assert f"install -D -m 640 -g torsync /dev/null {CONFIG}" in report.commands
    assert not [line for line in report.commands if "start" in line]
    assert "init URL PATH" in report.next_steps[0]
    assert "run `service install` again" in report.next_steps[1]


def test_a_configuration_of_nothing_is_as_good_as_none(configured: Site) -> None:
    configured.config = Config(SessionConfig(), {})
    report = configured.install()
    assert not report.started
    assert not [line for line in report.commands if line.startswith("install")]
    assert "init URL PATH" in report.next_steps[0]


def test_it_is_not_started_if_that_is_not_wanted(configured: Site) -> None:
    report = configured.install(start=False)
    assert not report.started
    assert report.commands[-1] == f"systemctl enable {UNIT}"


def test_another_name_has_a_configuration_and_a_state_of_its_own(site: Site) -> None:
    site.write("/etc/torsync/second.toml")
    report = site.install(name="second")
    assert report.unit == "second.service"
    text = site.at("/etc/systemd/system/second.service").read_text()
    assert "/etc/torsync/second.toml" in text
    assert "StateDirectory=second" in text


def test_a_state_directory_elsewhere_is_made_for_the_account(site: Site) -> None:
    report = site.install(state_dir=Path("/srv/state"))
    assert "install -d -m 700 -o torsync /srv/state" in report.commands
    assert "ReadWritePaths=/srv/state" in site.at(SYSTEM_UNIT).read_text()
    site.at("/srv/state").mkdir(parents=True)
    again = site.install(state_dir=Path("/srv/state"))
    assert not [line for line in again.commands if line.startswith("install -d")]


def test_it_can_run_as_an_account_that_is_there(configured: Site) -> None:
    report = configured.install(account="alice")
    assert "User=alice" in configured.at(SYSTEM_UNIT).read_text()
    assert not [line for line in report.commands if "sysusers" in line]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"account": "bob"}, "no account 'bob'"),
        ({"name": "a/b"}, "cannot be called 'a/b'"),
        ({"name": "torsync.service"}, "cannot be called"),
        ({"scope": Scope.USER, "account": "alice"}, "--run-as is for a system service"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_done(
    configured: Site, wanted: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        configured.install(**wanted)
    assert caught.value.hint
    assert not configured.at("/etc/systemd").exists()


def test_only_root_installs_for_the_system(configured: Site) -> None:
    configured.uid = 1000
    with pytest.raises(UsageError, match="for root to install") as caught:
        configured.install(scope=Scope.SYSTEM)
    assert "--user" in caught.value.hint


def test_a_unit_that_a_package_brought_is_used_instead(configured: Site) -> None:
    configured.write(f"/lib/systemd/system/{UNIT}")
    with pytest.raises(UsageError, match="a package has brought") as caught:
        configured.install()
    assert "--name" in caught.value.hint
    assert configured.install(name="second").changed
    assert configured.install(force=True).changed


def test_an_account_that_cannot_be_made_is_told(configured: Site) -> None:
    configured.failing = {"systemd-sysusers": Ended(127, "No such file or directory")}
    with pytest.raises(CommandError, match="ended with 127: No such file") as caught:
        configured.install()
    assert "by other means" in caught.value.hint
    configured.failing, configured.made = {}, None
    with pytest.raises(TorsyncError, match="has not made the account 'torsync'"):
        configured.install()
    assert not configured.at(SYSTEM_UNIT).exists()


def test_what_systemd_does_not_take_is_told_and_stays_written(configured: Site) -> None:
    configured.failing = {"systemctl restart": Ended(1, "")}
    with pytest.raises(CommandError, match=r"ended with 1$") as caught:
        configured.install()
    assert f"journalctl -u {UNIT}" in caught.value.hint
    assert configured.at(SYSTEM_UNIT).exists()


# --- what the account may ----------------------------------------------------------------------


def test_an_installation_that_is_closed_to_the_account_is_named(configured: Site) -> None:
    configured.at("/opt/torsync").chmod(0o700)
    with pytest.raises(UsageError, match="/opt/torsync is closed to it") as caught:
        configured.install()
    assert "--run-as" in caught.value.hint
    assert not configured.at(SYSTEM_UNIT).exists()


def test_a_configuration_that_is_closed_to_the_account_is_named(configured: Site) -> None:
    configured.at(CONFIG).chmod(0o600)
    with pytest.raises(UsageError, match="may not read the configuration") as caught:
        configured.install()
    assert f"chgrp torsync {CONFIG}" in caught.value.hint


def test_folders_that_it_cannot_write_to_are_named_with_what_to_do(configured: Site) -> None:
    configured.at("/srv/copy").rmdir()
    configured.at("/srv/maps").chmod(0o755)
    report = configured.install()
    assert report.started, "the other folders are kept equal"
    missing, closed, _again = report.next_steps
    assert "install -d -o torsync /srv/copy" in missing
    assert closed == "let torsync write to /srv/maps: /srv/maps is closed"


@pytest.mark.parametrize(
    ("account", "mode", "may"),
    [
        (Account("root", 0, "root", frozenset()), 0o000, True),
        (Account("owner", 70, "other", frozenset()), 0o400, True),
        (Account("owner", 70, "group", frozenset({71})), 0o044, False),
        (Account("member", 72, "group", frozenset({71})), 0o040, True),
        (Account("member", 72, "group", frozenset({71})), 0o404, False),
        (Account("other", 72, "other", frozenset({72})), 0o004, True),
        (Account("other", 72, "other", frozenset({72})), 0o440, False),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_permissions_are_those_of_the_owner_the_group_or_the_others(
    site: Site, account: Account, mode: int, may: bool
) -> None:
    os.chown(site.write("/file", mode=mode), 70, 71)
    machine = Machine(site.root)
    assert machine.first_closed("/file", account, want=4) == ("" if may else "/file")
    assert machine.first_closed("/absent/file", account, want=4) == ""


# --- a service of the user ---------------------------------------------------------------------


@pytest.fixture
def mine(site: Site) -> Site:
    site.uid = ME.pw_uid
    site.write("/home/me/.config/torsync/config.toml")
    return site


def test_a_service_of_the_user_is_told_how_it_outlives_the_session(mine: Site) -> None:
    report = mine.install(scope=Scope.USER)
    assert (report.scope, report.started) == ("user", True)
    assert report.written_paths == (str(mine.at(f"/home/me/.config/systemd/user/{UNIT}")),)
    assert {line.split()[:2][1] for line in report.commands} == {"--user"}
    (step,) = report.next_steps
    assert "enable-linger" in step
    mine.lingers = "yes"
    assert mine.install(scope=Scope.USER).next_steps == ()


def test_it_goes_where_the_user_s_configuration_is(mine: Site) -> None:
    mine.environ["XDG_CONFIG_HOME"] = "/home/me/etc"
    mine.write("/home/me/.config/torsync/second.toml")
    report = mine.install(scope=Scope.USER, name="second")
    assert report.written_paths == (str(mine.at("/home/me/etc/systemd/user/second.service")),)
    text = mine.at("/home/me/etc/systemd/user/second.service").read_text()
    assert "/home/me/.config/torsync/second.toml" in text
    assert "/home/me/.local/state/second" in text


def test_without_a_session_of_the_user_it_is_told_how_to_get_one(mine: Site) -> None:
    mine.failing = {"systemctl --user": Ended(1, "Failed to connect to bus")}
    with pytest.raises(CommandError, match="Failed to connect to bus") as caught:
        mine.install(scope=Scope.USER)
    assert "machinectl shell" in caught.value.hint


def test_whoever_is_not_root_gets_one_of_their_own(mine: Site) -> None:
    mine.uid = 4_000_000_000  # of whom the system knows no name
    report = mine.install()
    assert (report.scope, report.started) == ("user", True)
    assert "enable-linger" in report.next_steps[0]


# --- what others wrote -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SYSTEM_UNIT, TREES])
def test_what_somebody_edited_stays_unless_it_is_forced(configured: Site, path: str) -> None:
    configured.install()
    edited = configured.at(path)
    edited.write_text(edited.read_text() + "# mine\n")
    with pytest.raises(RefusedError, match="was edited") as caught:
        configured.install()
    assert "systemctl edit" in caught.value.hint
    report = configured.install(force=True)
    assert report.written_paths == (str(edited),)
    assert edited.with_name(f"{edited.name}.old").read_text().endswith("# mine\n")
    assert "# mine" not in edited.read_text()


def test_what_torsync_wrote_is_written_anew(configured: Site) -> None:
    configured.install()
    report = configured.install(account="alice")
    assert report.written_paths == (str(configured.at(SYSTEM_UNIT)),)
    assert not configured.at(f"{SYSTEM_UNIT}.old").exists()


# --- uninstall ---------------------------------------------------------------------------------


def test_what_was_installed_is_removed_and_nothing_else(configured: Site) -> None:
    configured.install()
    report = configured.uninstall()
    assert report.removed_paths == tuple(str(configured.at(path)) for path in (SYSTEM_UNIT, TREES))
    assert report.commands == (f"systemctl disable --now {UNIT}", "systemctl daemon-reload")
    assert not configured.at(f"{SYSTEM_UNIT}.d").exists()
    assert configured.at(CONFIG).exists()
    assert CONFIG in report.next_steps[0]
    again = configured.uninstall()
    assert (again.changed, again.commands, again.next_steps) == (False, (), ())


def test_settings_of_others_stay(configured: Site) -> None:
    configured.install()
    override = configured.write(f"{SYSTEM_UNIT}.d/override.conf", "[Service]\n")
    assert configured.uninstall().changed
    assert override.exists()
    assert not configured.at(TREES).exists()


def test_an_edited_list_of_folders_stays(configured: Site) -> None:
    configured.install()
    configured.write(TREES, "[Service]\n")
    report = configured.uninstall()
    assert report.removed_paths == (str(configured.at(SYSTEM_UNIT)),)
    assert configured.at(TREES).exists()


def test_an_edited_unit_stays_unless_it_is_forced(configured: Site) -> None:
    configured.install()
    configured.write(SYSTEM_UNIT, "[Service]\n")
    with pytest.raises(RefusedError):
        configured.uninstall()
    assert configured.at(SYSTEM_UNIT).exists()
    assert configured.uninstall(force=True).changed


def test_what_does_not_stop_is_not_removed(configured: Site) -> None:
    configured.install()
    configured.failing = {"systemctl disable": Ended(1, "Job timed out")}
    with pytest.raises(CommandError, match="Job timed out"):
        configured.uninstall()
    assert configured.at(SYSTEM_UNIT).exists()


# --- the machine itself ------------------------------------------------------------------------


def test_programs_are_run_and_their_words_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    say = "import sys; print('heard'); print('twice', file=sys.stderr); sys.exit(3)"
    ended = run_program([sys.executable, "-c", say])
    assert ended.exit_code == 3
    assert set(ended.output.split()) == {"heard", "twice"}
    assert run_program(["/no/such/program"]) == Ended(127, "No such file or directory")
    monkeypatch.setattr("torsync.service.systemd.machine._COMMAND_TIMEOUT_S", 0.1)
    hang = run_program([sys.executable, "-c", "import time; time.sleep(600)"])
    assert (hang.exit_code, hang.output) == (124, "it did not end within 0.1 s")


def test_accounts_are_found() -> None:
    found = find_account(ME.pw_name)
    assert found is not None
    assert (found.uid, ME.pw_gid in found.gids) == (ME.pw_uid, True)
    assert find_account("no such account") is None
