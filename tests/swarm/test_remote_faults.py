"""Everything a web server can answer instead of a ``.torrent``, while torsync has a release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync, snapshot
from tests.support.leecher import libtorrent_download
from tests.support.nginx import nginx
from tests.support.processes import HOST, free_port
from tests.support.scripted_http import Endless, ScriptedServer, reply
from tests.support.torrents import make_libtorrent, root_name
from tests.support.trees import assert_same_tree, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Json
    from tests.support.scripted_http import Step
    from tests.support.seeders import LibtorrentSeeder

PIECE = 16 * 1024
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>...</body></html>"


@dataclass(frozen=True)
class Release:
    folder: Path
    torrent: bytes


@pytest.fixture
def first(tmp_path: Path) -> Release:
    folder = write_tree(tmp_path / "one", {"a/b": 30 * PIECE, "c": 100, "dropped": 10})
    return Release(folder, make_libtorrent(folder, piece_size=PIECE))


@pytest.fixture
def second(tmp_path: Path) -> Release:
    folder = write_tree(tmp_path / "two", {"a/b": 31 * PIECE, "c": 100, "new": 10})
    return Release(folder, make_libtorrent(folder, piece_size=PIECE))


@dataclass(frozen=True)
class Fault:
    """What the server answers, and the words that the error has for it."""

    script: Callable[[bytes], list[Step]]
    code: str
    words: str


FAULTS = {
    "404": Fault(lambda _: [reply(404, body=b"gone")], "remote_unreachable", "404"),
    "500": Fault(lambda _: [reply(500, body=b"oops")], "remote_unreachable", "500"),
    "login-page": Fault(lambda _: [reply(body=LOGIN_PAGE)], "remote_invalid", "HTML page"),
    "empty": Fault(lambda _: [reply(body=b"")], "remote_invalid", "empty"),
    "no-torrent": Fault(lambda _: [reply(body=b"\x89PNG etc")], "remote_invalid", "PNG"),
    "cut-off-on-the-way": Fault(
        lambda torrent: [reply(body=torrent[:-200], length=len(torrent))],
        "remote_unreachable",
        "bytes",
    ),
    "cut-off-at-the-source": Fault(
        lambda torrent: [reply(body=torrent[:-200])], "manifest_invalid", ".torrent"
    ),
    "other-bencode": Fault(lambda _: [reply(body=b"d3:foo3:bare")], "manifest_invalid", ".torrent"),
    "endless": Fault(
        lambda _: [reply(length=None), Endless(b"d8:announce" + bytes(65_536))],
        "remote_invalid",
        "larger",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_answer_ends_with_3_and_the_next_good_one_works(
    torsync: Torsync, seeder: LibtorrentSeeder, first: Release, second: Release, name: str
) -> None:
    fault = FAULTS[name]
    for release in (first, second):
        seeder.add_folder(release.torrent, release.folder)
    with ScriptedServer([reply(headers={"ETag": '"1"'}, body=first.torrent)]) as server:
        url = f"{server.url}/newest.torrent"
        torsync.subscribe(url=url, peers=["{}:{}".format(*seeder.peer)], max_torrent_size="1 MiB")
        synced = torsync.run("check-now").assert_ok().subscription
        before = snapshot(torsync.tree)

        server.scripts = [fault.script(second.torrent)]
        outcome = torsync.run("check-now", timeout_s=30)
        assert outcome.exit_code == 3
        assert outcome.error["code"] == fault.code
        assert fault.words in outcome.error["message"]
        assert outcome.error["hint"]
        if fault.code != "manifest_invalid":
            assert url in outcome.error["message"]
        assert outcome.of_type("subscription") == []
        assert snapshot(torsync.tree) == before
        known = torsync.run("status").assert_ok().subscription
        assert (known["release"], known["info_hash"]) == (synced["release"], synced["info_hash"])
        assert known["last_error"] == outcome.error["message"]

        server.scripts = [[reply(body=second.torrent)]]
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, second.folder)


def test_a_running_service_seeds_on_through_bad_answers(
    tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder, first: Release, second: Release
) -> None:
    port = free_port()
    torsync.session["listen"] = [f"{HOST}:{port}"]
    seeder.add_folder(first.torrent, first.folder)
    with ScriptedServer([reply(body=first.torrent)]) as server:
        torsync.subscribe(
            url=f"{server.url}/newest.torrent",
            peers=["{}:{}".format(*seeder.peer)],
            max_torrent_size="1 MiB",
            interval="1s",
        )
        service = torsync.start("run")
        service.wait_for_stage("pack", "seeding")
        seeder.remove(first.torrent)
        before = snapshot(torsync.tree)
        for name in ("404", "500", "login-page", "cut-off-at-the-source", "endless"):
            fault = FAULTS[name]
            heard = len(service.objects())
            server.scripts = [fault.script(second.torrent)]

            def is_told(one: Json, fault: Fault = fault) -> bool:
                return (
                    one["type"] == "notice"
                    and one["level"] == "error"
                    and one["code"] == fault.code
                    and fault.words in one["message"]
                )

            service.wait_for(is_told, f"{name} is told", since=heard)
        assert snapshot(torsync.tree) == before
        target = tmp_path / "leecher"
        libtorrent_download(first.torrent, target, peers=[(HOST, port)])
        assert_same_tree(target / root_name(first.torrent), first.folder)

        heard = len(service.objects())
        seeder.add_folder(second.torrent, second.folder)
        server.scripts = [[reply(body=second.torrent)]]
        service.wait_for_stage("pack", "seeding", since=heard)
        assert_same_tree(torsync.tree, second.folder)


@pytest.mark.programs
def test_a_file_that_a_real_server_lost_is_missed_and_found_again(
    tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder, first: Release, second: Release
) -> None:
    for release in (first, second):
        seeder.add_folder(release.torrent, release.folder)
    root = tmp_path / "www"
    root.mkdir()
    newest = root / "newest.torrent"
    with nginx(root) as web:
        torsync.subscribe(url=web.url_for("newest.torrent"), peers=["{}:{}".format(*seeder.peer)])
        newest.write_bytes(first.torrent)
        torsync.run("check-now").assert_ok()
        newest.unlink()
        outcome = torsync.run("check-now")
        assert outcome.exit_code == 3
        assert "404" in outcome.error["message"]
        assert_same_tree(torsync.tree, first.folder)
        newest.write_bytes(second.torrent)
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, second.folder)


def test_a_server_that_is_not_there_is_unreachable(torsync: Torsync) -> None:
    torsync.subscribe(url=f"http://{HOST}:{free_port()}/newest.torrent")
    outcome = torsync.run("check-now", timeout_s=30)
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "remote_unreachable"
    assert "refused" in outcome.error["message"]
