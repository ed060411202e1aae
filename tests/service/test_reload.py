"""A configuration that changes while the service runs: only what changed is begun anew."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tests.support.cli import snapshot
from tests.support.processes import HOST, free_port, wait_until
from tests.support.publishers import PIECE, wait_for_release
from tests.support.raw_peer import RawPeer
from tests.support.running import end, wait_for_notice
from tests.support.torrents import info_hash
from tests.support.trees import assert_same_tree
from tests.support.updates import make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Json, Publisher, Running
    from tests.support.publishers import Publishing
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content

FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "b": 300}
OTHER: dict[str, Content] = {"other": 20 * PIECE}


def told(service: Running, *, since: int) -> Json:
    """Wait for the end of a reload, and give what it came to."""
    return service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] in {"reloaded", "config", "feed"},
        "the reload is told",
        since=since,
    )


def reload(torsync: Publishing, service: Running, *, save: bool = True) -> Json:
    """Have the service read the configuration anew."""
    if save:
        torsync.save()
    heard = len(service.objects())
    service.send(signal.SIGHUP)
    return told(service, since=heard)


@contextmanager
def seeding(
    torsync: Publishing, publisher: Publisher, folder: Path
) -> Iterator[tuple[Running, RawPeer]]:
    """A service that seeds to a peer, who must still be there in the end."""
    torsync.subscribe(interval="1h")
    torrent = make(folder, FIRST)
    publisher.publish(torrent, folder)
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    with RawPeer(torsync.port, info_hash(torrent)) as peer:
        yield service, peer


def add_another(
    torsync: Publishing, seeder: LibtorrentSeeder, scratch: Path, name: str = "other"
) -> str:
    """Configure another subscription; gives its info-hash."""
    torrent = make(scratch / name, {**OTHER, name: 5000})
    seeder.add_folder(torrent, scratch / name)
    file = scratch / f"{name}.torrent"
    file.write_bytes(torrent)
    torsync.subscribe(
        name,
        url=file.as_uri(),
        path=str(scratch / f"tree of {name}"),
        peers=[f"{HOST}:{seeder.port}"],
        interval="1h",
    )
    return info_hash(torrent)


def test_what_did_not_change_keeps_its_peers_and_what_is_new_or_gone_is_begun_or_ended(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with seeding(torsync, publisher, tmp_path / "one") as (service, peer):
        assert "nothing changed" in reload(torsync, service)["message"]
        hashed = add_another(torsync, publisher.seeder, tmp_path)
        assert reload(torsync, service)["message"].endswith("changed: other")
        service.wait_for_stage("other", "waiting")
        with RawPeer(torsync.port, hashed) as other:
            torsync.subscribe("other", interval="2h")
            reload(torsync, service)
            wait_until(lambda: not other.is_connected, "the changed one is begun anew")
        with RawPeer(torsync.port, hashed) as other:
            del torsync.subscriptions["other"]
            reload(torsync, service)
            wait_until(lambda: not other.is_connected, "the one that is gone is ended")
        assert torsync.run("status").assert_ok().subscription["name"] == "pack"
        assert peer.is_connected
        end(service)


def test_a_subscription_that_moves_leaves_the_old_folder_as_it_is(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with seeding(torsync, publisher, tmp_path / "one") as (service, peer):
        before = snapshot(torsync.tree)
        torsync.subscribe(path=str(tmp_path / "elsewhere"))
        heard = len(service.objects())
        reload(torsync, service)
        assert not peer.is_connected
        service.wait_for_stage("pack", "waiting", since=heard)
        assert_same_tree(tmp_path / "elsewhere", tmp_path / "one")
        assert snapshot(torsync.tree) == before
        torsync.subscribe(path=str(torsync.tree))
        heard = len(service.objects())
        reload(torsync, service)
        service.wait_for_stage("pack", "seeding", since=heard)
        end(service)


def broken(file: Path) -> None:
    text = file.read_text()
    file.write_text(f"{text}\n[subscriptions.x]\npath = 5\n\n[nonsense]\nkey = 1\n")


def half_written(file: Path) -> None:
    file.write_text(file.read_text()[:-20] + "\n[subscr")


def removed(file: Path) -> None:
    file.unlink()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def binary(file: Path) -> None:
    file.write_bytes(os.urandom(1000) + b"\xff\x00")


def empty(file: Path) -> None:
    file.write_bytes(b"")


SPOILERS = (broken, half_written, removed, a_folder, binary, empty)


def test_a_file_that_is_no_use_is_refused_with_all_its_problems_and_the_running_one_kept(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with seeding(torsync, publisher, tmp_path / "one") as (service, peer):
        for spoil in SPOILERS:
            torsync.save()
            heard = len(service.objects())
            spoil(torsync.config_file)
            assert reload(torsync, service, save=False)["code"] == "config", spoil
            for problem in ("subscriptions.x", "nonsense") if spoil is broken else ():
                service.wait_for(
                    lambda one, problem=problem: (
                        one["type"] == "notice" and problem in one["message"]
                    ),
                    f"{problem} is named",
                    since=heard,
                )
            if torsync.config_file.is_dir():
                torsync.config_file.rmdir()
        assert "nothing changed" in reload(torsync, service)["message"]
        assert peer.is_connected
        end(service)


def test_a_file_that_is_replaced_by_an_editor_or_through_a_link_is_read(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with seeding(torsync, publisher, tmp_path / "one") as (service, peer):
        add_another(torsync, publisher.seeder, tmp_path, "second")
        torsync.save()
        real = tmp_path / "real.toml"
        shutil.move(torsync.config_file, real)
        torsync.config_file.symlink_to(real)
        assert reload(torsync, service, save=False)["message"].endswith("changed: second")
        assert peer.is_connected
        end(service)


def test_another_session_is_begun_anew_for_all(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with seeding(torsync, publisher, tmp_path / "one") as (service, peer):
        port = free_port(udp=True)
        torsync.session["listen"] = [f"{HOST}:{port}"]
        heard = len(service.objects())
        reload(torsync, service)
        assert not peer.is_connected
        service.wait_for_stage("pack", "seeding", since=heard)
        with RawPeer(port, info_hash(publisher.file.read_bytes())):
            end(service)


def test_a_feed_or_an_api_that_cannot_listen_is_told_and_all_else_goes_on(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    torsync.publish("own", OTHER)
    torsync.feed["listen"] = f"{HOST}:{free_port()}"
    with (
        seeding(torsync, publisher, tmp_path / "one") as (service, peer),
        closing(socket.create_server((HOST, 0))) as taken,
    ):
        wait_for_release(service, "own")
        good = dict(torsync.feed)
        address = f"{HOST}:{taken.getsockname()[1]}"
        torsync.feed["listen"] = address
        assert reload(torsync, service)["code"] == "feed"
        torsync.feed.update(good)
        torsync.service["control"] = address
        heard = len(service.objects())
        assert reload(torsync, service)["code"] == "reloaded"
        wait_for_notice(service, "control", name="", since=heard)
        torsync.service.clear()
        reload(torsync, service)
        wait_until(
            lambda: torsync.run("status").exit_code == 0 and (address_of(torsync) != ""),
            "the API is open again",
            deadline_s=30,
        )
        assert peer.is_connected
        end(service)


def address_of(torsync: Publishing) -> str:
    """Where the control API is."""
    try:
        return (torsync.state_dir / "control/address").read_text()
    except FileNotFoundError:
        return ""


def test_a_reload_by_command_tells_whoever_gave_it(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with seeding(torsync, publisher, tmp_path / "one") as (service, peer):
        add_another(torsync, publisher.seeder, tmp_path)
        outcome = torsync.run("reload").assert_ok()
        assert outcome.of_type("reload")[0]["started"] == ["other"]
        torsync.subscribe("other", interval="soon")
        outcome = torsync.run("reload")
        assert outcome.exit_code == 2
        assert peer.is_connected
        end(service)


def test_it_ends_in_the_middle_of_reloads(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with seeding(torsync, publisher, tmp_path / "one") as (service, _peer):
        for hours in range(2, 6):
            torsync.subscribe(interval=f"{hours}h")
            torsync.save()
            service.send(signal.SIGHUP)
        end(service)
    again = torsync.start("run")
    again.wait_for_stage("pack", "seeding")
    end(again)
