"""The Debian package in a system that systemd has booted: the unit runs as it says."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.booted import Booted
from tests.support.processes import wait_until
from tests.support.programs import require

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
UNIT = "torsync.service"
CONFIG = """\
[session]
listen = ["127.0.0.1:0"]
dht = false
lsd = false

[feed]
listen = "127.0.0.1:8080"

[publications.maps]
path = "/srv/maps"
settle = "0.1s"

[subscriptions.copy]
url = "http://127.0.0.1:8080/maps.torrent"
path = "/srv/copy"
interval = "2s"
"""
ALICE_S_FOLDER = "/run/alice"
TREES = """\
[Service]
ReadWritePaths=-/srv/maps
ReadWritePaths=-/srv/copy
"""
IMPATIENT = """\
[Service]
RestartSec=100ms
WatchdogSec=4s
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package, made by Debian's Python from this source."""
    if not Path("/etc/debian_version").exists():
        pytest.skip("this is not Debian")
    require("dpkg-deb")
    # pip's own settings stay, so that it finds packages as it does elsewhere on this machine.
    done = subprocess.run(
        [str(ROOT / "packaging/debian/build.sh"), str(tmp_path / "dist")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEB_COMPRESSION": "none", "PYTHONPATH": ""},
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    (built,) = (tmp_path / "dist").glob("torsync_*.deb")
    return built


@pytest.mark.timeout(600)
def test_the_package_installs_and_its_service_does_as_the_unit_says(
    tmp_path: Path, package: Path
) -> None:
    with Booted(tmp_path, package) as system, told_what_was_logged(system):
        the_program_is_there_and_secrets_are_not_for_everybody(system)
        what_is_configured_is_published_and_kept_equal(system)
        it_is_confined(system)
        a_broken_configuration_is_refused_and_the_service_goes_on(system)
        what_is_killed_or_hangs_is_started_again(system)
        it_stops_when_it_is_told_to(system)
        a_mistake_in_the_configuration_is_not_started_again(system)
        this_installation_can_have_a_second_service(system)
        a_user_can_have_a_service_too(system)
        an_update_of_the_package_restarts_what_runs(system, package)
        the_package_can_be_removed(system)


def the_program_is_there_and_secrets_are_not_for_everybody(system: Booted) -> None:
    assert system.run("torsync", "--version").stdout.startswith("torsync ")
    owners = system.run("stat", "-c", "%a %U %G", "/etc/torsync/config.toml", "/var/lib/torsync")
    assert owners.stdout.splitlines() == ["640 root torsync", "700 torsync torsync"]
    system.run("dpkg", "--verify", "torsync")
    assert "torsync.toml" in system.run("man", "-w", "5", "torsync.toml").stdout
    assert not is_active(system)


def what_is_configured_is_published_and_kept_equal(system: Booted) -> None:
    system.run("install", "-d", "-o", "torsync", "/srv/maps", "/srv/copy")
    system.write("/srv/maps/island.txt", "an island")
    system.write("/etc/torsync/config.toml", CONFIG)
    system.write(f"/etc/systemd/system/{UNIT}.d/trees.conf", TREES)
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "--now", UNIT)
    wait_for_copy(system, "island.txt", "an island")


def it_is_confined(system: Booted) -> None:
    pid = main_pid(system)
    status = system.run("cat", f"/proc/{pid}/status").stdout
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert found["NoNewPrivs"] == "1"
    assert found["CapBnd"].strip("0") == ""
    assert found["Seccomp"] == "2"
    inside = ["nsenter", "-t", pid, "-m", "--"]
    refused = system.run(*inside, "touch", "/etc/x", "/usr/x", "/srv/x", check=False)
    assert refused.stdout.count("Read-only file system") == 3


def a_broken_configuration_is_refused_and_the_service_goes_on(system: Booted) -> None:
    before = main_pid(system)
    system.write("/etc/torsync/config.toml", CONFIG + "nonsense = 1\n")
    system.run("systemctl", "reload", UNIT)
    wait_until(lambda: "nonsense" in system.journal(UNIT), "the refusal is logged", deadline_s=60)
    system.write("/srv/maps/second.txt", "after a reload")
    wait_for_copy(system, "second.txt", "after a reload")
    assert main_pid(system) == before
    system.write("/etc/torsync/config.toml", CONFIG)
    system.run("systemctl", "reload", UNIT)


def what_is_killed_or_hangs_is_started_again(system: Booted) -> None:
    drop_in = f"/etc/systemd/system/{UNIT}.d/impatient.conf"
    system.write(drop_in, IMPATIENT)
    restart(system)
    for number in ("KILL", "STOP"):
        before = main_pid(system)
        system.run("kill", f"-{number}", before)

        def is_another(before: str = before) -> bool:
            return is_active(system) and main_pid(system) not in ("0", before)

        wait_until(is_another, f"it is started again after SIG{number}", deadline_s=120)
    assert "Watchdog timeout" in system.journal(UNIT)
    system.run("rm", drop_in)
    restart(system)


def it_stops_when_it_is_told_to(system: Booted) -> None:
    system.run("systemctl", "stop", UNIT, timeout_s=100)
    ended = system.properties(UNIT, "Result", "ExecMainStatus", "ExecMainCode")
    assert ended == {"Result": "success", "ExecMainStatus": "0", "ExecMainCode": "1"}


def a_mistake_in_the_configuration_is_not_started_again(system: Booted) -> None:
    system.write("/etc/torsync/config.toml", CONFIG + "nonsense = 1\n")
    system.run("systemctl", "reset-failed", UNIT, check=False)
    assert system.run("systemctl", "start", UNIT, check=False).returncode == 1
    ended = system.properties(UNIT, "ExecMainStatus", "NRestarts", "ActiveState")
    assert ended == {"ExecMainStatus": "2", "NRestarts": "0", "ActiveState": "failed"}
    system.write("/etc/torsync/config.toml", CONFIG)


def this_installation_can_have_a_second_service(system: Booted) -> None:
    refused = system.run("torsync", "service", "install", check=False)
    assert refused.returncode == 2
    assert "a package has brought" in refused.stdout
    second = CONFIG.replace("/srv/copy", "/srv/second").replace("8080", "8081")
    words = ("torsync", "service", "install", "--name", "second")
    assert "enabled, not started" in system.run(*words).stdout
    made = system.run("stat", "-c", "%a %U %G", "/etc/torsync/second.toml").stdout
    assert made == "640 root torsync\n"
    system.write("/etc/torsync/second.toml", second)
    system.run("install", "-d", "-o", "torsync", "/srv/second")
    told = system.run(*words)
    assert "enabled and started" in told.stdout
    wait_for_copy(system, "island.txt", "an island", folder="/srv/second")
    assert "as it was" in system.run(*words).stdout
    system.run("torsync", "service", "uninstall", "--name", "second")
    assert system.run("systemctl", "cat", "second.service", check=False).returncode != 0


def a_user_can_have_a_service_too(system: Booted) -> None:
    system.run("useradd", "--create-home", "alice")
    system.run("install", "-d", "-o", "alice", "-m", "700", ALICE_S_FOLDER)
    folder = f"XDG_RUNTIME_DIR={ALICE_S_FOLDER}"
    manager = ["-p", "User=alice", "-p", "Delegate=yes", f"--setenv={folder}"]
    system.run("systemd-run", "--unit=alice", *manager, "/lib/systemd/systemd", "--user")
    as_alice = ("runuser", "-u", "alice", "--", "env", folder, "HOME=/home/alice")
    wait_until(
        lambda: system.run(*as_alice, "systemctl", "--user", "status", check=False).returncode == 0,
        "the user's manager is up",
        deadline_s=60,
    )
    config = "/home/alice/.config/torsync/config.toml"
    ours = CONFIG.replace("/srv/copy", "/home/alice/copy").replace("8080", "8082")
    system.write(config, ours.replace("/srv/maps", "/home/alice/maps"))
    system.write("/home/alice/maps/hill.txt", "a hill")
    system.run("chown", "-R", "alice", "/home/alice")
    told = system.run(*as_alice, "torsync", "service", "install")
    assert "a service of the user, written, enabled and started" in told.stdout
    assert "loginctl enable-linger" in told.stdout
    wait_for_copy(system, "hill.txt", "a hill", folder="/home/alice/copy")
    system.run(*as_alice, "torsync", "service", "uninstall")
    system.run("systemctl", "stop", "alice.service")


def an_update_of_the_package_restarts_what_runs(system: Booted, package: Path) -> None:
    again = ("dpkg", "--force-depends", "-i", f"/share/{package.name}")
    system.run(*again, timeout_s=200)
    assert not is_active(system)
    system.run("systemctl", "start", UNIT)
    before = main_pid(system)
    system.run(*again, timeout_s=200)
    assert is_active(system)
    assert main_pid(system) != before


def the_package_can_be_removed(system: Booted) -> None:
    system.run("dpkg", "--remove", "torsync", timeout_s=100)
    assert not is_active(system)
    assert system.run("cat", "/etc/torsync/config.toml").stdout == CONFIG
    system.run("rm", "-f", "/etc/torsync/second.toml")
    system.write("/etc/torsync/minisign.key", "secret")
    system.run("dpkg", "--purge", "torsync")
    left = system.run("ls", "-d", "/var/lib/torsync", "/usr/lib/torsync", check=False)
    assert left.stdout.count("No such file") == 2
    assert system.run("ls", "/etc/torsync").stdout.split() == ["minisign.key"]
    assert system.run("cat", "/srv/copy/island.txt").stdout == "an island"


@contextmanager
def told_what_was_logged(system: Booted) -> Iterator[None]:
    """Add the log to what went wrong."""
    try:
        yield
    except (AssertionError, TimeoutError) as error:
        raise AssertionError(f"{error}\n{system.journal('*.service')}") from error


def is_active(system: Booted) -> bool:
    return system.properties(UNIT, "ActiveState") == {"ActiveState": "active"}


def restart(system: Booted) -> None:
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", UNIT, timeout_s=100)


def main_pid(system: Booted) -> str:
    return system.properties(UNIT, "MainPID")["MainPID"]


def wait_for_copy(system: Booted, name: str, content: str, folder: str = "/srv/copy") -> None:
    def is_there() -> bool:
        return system.run("cat", f"{folder}/{name}", check=False).stdout == content

    wait_until(is_there, f"{folder}/{name} is there", deadline_s=90)
