"""The service is told to end, whatever it does; and what it ends with when it cannot begin."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import snapshot
from tests.support.processes import HOST, wait_until
from tests.support.publishers import MIB, PIECE, wait_for_release
from tests.support.running import ENDS_S, end, stages
from tests.support.scripted_http import Hang, ScriptedServer
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, write_tree
from tests.support.updates import make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Publisher, Running
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "b": 300}
SECOND: dict[str, Content] = {"a/one.bin": 41 * PIECE, "c": 500}


def goes_on(torsync: Publishing, folder: Path) -> Running:
    """Start the service again, and wait until the tree is the release."""
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    assert_same_tree(torsync.tree, folder)
    return service


def test_it_ends_while_a_server_says_nothing(torsync: Publishing) -> None:
    with ScriptedServer([Hang()]) as server:
        torsync.subscribe(url=f"{server.url}/x.torrent")
        service = torsync.start("run")
        wait_until(lambda: bool(server.requests), "it is asked")
        end(service)


def test_it_ends_while_it_hashes_and_nothing_is_lost(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    """A tree that is taken over, of some size, without a ledger."""
    folder = write_tree(tmp_path / "one", {"big": 100 * MIB})
    torrent = make_libtorrent(folder, piece_size=MIB)
    torsync.subscribe(path=str(folder))
    publisher.announce(torrent)
    before = snapshot(folder)
    service = torsync.start("run")
    service.wait_for_stage("pack", "verifying")
    end(service)
    assert snapshot(folder)["big"] == before["big"]


def test_it_ends_while_nobody_has_a_release(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    torrent = make(tmp_path / "one", FIRST)
    publisher.announce(torrent)
    service = torsync.start("run")
    service.wait_for_stage("pack", "downloading")
    end(service)
    publisher.seeder.add_folder(torrent, tmp_path / "one")
    end(goes_on(torsync, tmp_path / "one"))


def test_it_ends_while_a_command_is_asked_whether_an_update_may_be_done(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    asked = tmp_path / "asked"
    hook = f"echo $$ > {asked}; exec sleep 1000"
    torsync.subscribe(before_update=["sh", "-c", hook])
    service = torsync.start("run")
    wait_until(lambda: asked.exists() and bool(asked.read_text()), "it is asked")
    end(service)
    pid = int(asked.read_text())
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the command is gone, too")
    torsync.subscribe(before_update=[])
    end(goes_on(torsync, tmp_path / "one"))


def test_it_ends_in_a_commit_and_goes_on_without_hashing_or_fetching(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    files: dict[str, Content] = {f"{number % 50}/{number}": 100 for number in range(1000)}
    folder = tmp_path / "one"
    torrent = make(folder, files)
    publisher.publish(torrent, folder)
    service = torsync.start("run")
    service.wait_for_stage("pack", "committing")
    end(service)
    publisher.seeder.remove(torrent)
    service = goes_on(torsync, folder)
    assert not stages(service) & {"downloading", "verifying", "re-reading"}
    end(service)


def test_a_publication_ends_while_it_hashes_and_releases_the_same_later(
    torsync: Publishing,
) -> None:
    torsync.publish("pack", {"big": 100 * MIB}, piece_size="1 MiB", hints=False)
    service = torsync.start("run")
    service.wait_for_stage("pack", "hashing")
    end(service)
    assert not torsync.torrent().exists()
    service = torsync.start("run")
    wait_for_release(service)
    end(service)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_in_order_or_at_once(
    tmp_path: Path, torsync: Publishing, publisher: Publisher, second: signal.Signals
) -> None:
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    service = torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    service.send(signal.SIGTERM)
    service.send(second)
    outcome = service.wait(ENDS_S)
    assert outcome.exit_code in ({0} if second is signal.SIGTERM else {0, 130, -signal.SIGINT})
    assert "Traceback" not in outcome.stderr
    end(goes_on(torsync, tmp_path / "one"))


def test_the_end_of_its_terminal_is_its_end(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    """SIGHUP there means that nobody looks any more; elsewhere it reloads."""
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    controller, terminal = pty.openpty()
    with open(terminal, "rb") as stdin, (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            torsync.command("run"), stdin=stdin, stdout=out, stderr=out, env=torsync.environment()
        )
    try:
        said = tmp_path / "out"
        wait_until(lambda: b'"seeding"' in said.read_bytes(), "it seeds")
        process.send_signal(signal.SIGHUP)  # as the kernel does when it is closed
        assert process.wait(ENDS_S) == 130
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert b"Traceback" not in said.read_bytes()
    assert not (torsync.state_dir / "control/address").exists(), "it has ended in order"


# --- what it ends with when it cannot begin ---------------------------------------------------


def wrong_configuration(torsync: Publishing) -> None:
    torsync.subscribe(interval="soon")


def unusable_state(torsync: Publishing) -> None:
    torsync.state_dir.write_bytes(b"a file")


@pytest.mark.parametrize(
    ("spoil", "code"), [(wrong_configuration, 2), (unusable_state, 1)], ids=["config", "state"]
)
def test_what_it_cannot_begin_with_is_told_by_the_exit_code(
    tmp_path: Path, torsync: Publishing, spoil: Callable[[Publishing], None], code: int
) -> None:
    torsync.subscribe(url=(tmp_path / "x.torrent").as_uri())
    spoil(torsync)
    outcome = torsync.start("run").wait(ENDS_S)
    assert outcome.exit_code == code
    assert outcome.errors
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("table", ["feed", "service"])
def test_a_port_that_another_program_has_is_told_by_the_exit_code(
    torsync: Publishing, table: str
) -> None:
    """1: systemd tries again later, as the other program may go."""
    torsync.publish("pack", FIRST)
    with closing(socket.create_server((HOST, 0))) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}"
        key = {"feed": "listen", "service": "control"}[table]
        {"feed": torsync.feed, "service": torsync.service}[table][key] = address
        outcome = torsync.start("run").wait(ENDS_S)
    assert (outcome.exit_code, outcome.error["code"]) == (
        1,
        {"feed": "feed", "service": "control"}[table],
    )


def test_a_second_service_ends_with_6(tmp_path: Path, torsync: Publishing) -> None:
    torsync.subscribe(url=(tmp_path / "x.torrent").as_uri())
    first = torsync.start("run")
    first.wait_for_stage("pack", "waiting")
    outcome = torsync.start("run").wait(ENDS_S)
    assert (outcome.exit_code, outcome.error["code"]) == (6, "busy")
    assert str(first.pid) in outcome.error["message"]
    end(first)
