"""The session: adding, waiting, removing, and telling what goes wrong in words."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import bencode2
import libtorrent as lt
import pytest

from tests.support.processes import HOST, free_port, wait_until
from tests.support.torrents import make_libtorrent, with_trackers
from tests.support.trees import assert_same_tree, tree_bytes, write_tree
from tests.unit.test_tree import mounted, tmpfs
from torsync.model.config import SessionConfig
from torsync.model.errors import DiskFullError, ManifestError, SwarmError, TreeError
from torsync.model.events import Level, Notice
from torsync.model.metainfo import parse_metainfo
from torsync.swarm.alerts import translate
from torsync.swarm.events import AlertsDropped, TrackerFailed
from torsync.swarm.session import DuplicateTorrentError, Swarm, SwarmPool
from torsync.swarm.torrent import AddRequest, Torrent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.tracker import Tracker
    from tests.support.trees import Content
    from torsync.model.events import Event
    from torsync.swarm.events import SwarmEvent

PIECE = 64 * 1024
MIB = 1024**2
DEADLINE_S = 20.0
PATIENCE_S = 90.0  # a first connection that fails is tried again within a minute
CONFIG = SessionConfig(listen=("127.0.0.1:0",), dht=False, lsd=False)
CONTENT: dict[str, Content] = {"a/one": 5 * PIECE + 7, "b": 3 * PIECE, "c": 100, "d": 2 * PIECE}

Starter = "Callable[..., Swarm]"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def start(events: list[Event]) -> Iterator[Callable[..., Swarm]]:
    """Start sessions; they are closed at the end."""
    swarms: list[Swarm] = []

    def start_one(**changes: Any) -> Swarm:
        values = {"listen": CONFIG.listen, "dht": False, "lsd": False, **changes}
        swarms.append(Swarm(SessionConfig(**values), sink=events.append))
        return swarms[-1]

    yield start_one
    for swarm in swarms:
        swarm.close()


@pytest.fixture
def swarm(start: Callable[..., Swarm]) -> Swarm:
    return start()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is published."""
    return write_tree(tmp_path / "pack", CONTENT)


@pytest.fixture
def torrent(folder: Path) -> bytes:
    return make_libtorrent(folder, piece_size=PIECE)


def request(
    torrent: bytes,
    target: Path,
    *,
    peers: tuple[tuple[str, int], ...] = (),
    have: bytes | None = None,
    wanted: bytes | None = None,
) -> AddRequest:
    manifest = parse_metainfo(torrent, windows=False)
    return AddRequest(
        metainfo=lambda: torrent,
        save_path=str(target),
        paths=tuple(file.path for file in manifest.files),
        sizes=tuple(file.size for file in manifest.files),
        have=have or bytes(manifest.num_pieces),
        wanted=wanted or b"\1" * manifest.num_pieces,
        peers=peers,
    )


def finish(torrent: Torrent) -> None:
    assert torrent.wait(DEADLINE_S), f"not finished: {torrent.progress()}, {torrent.news}"


def open_files(folder: Path) -> list[str]:
    """The files below ``folder`` that this process has open or mapped."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        found += [line.rstrip("\n") for line in maps]
    return [name for name in found if str(folder) in name]


# --- the way of a torrent -------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_a_torrent_is_added_waited_for_and_removed(
    tmp_path: Path, swarm: Swarm, seeder: LibtorrentSeeder, folder: Path, format_: str
) -> None:
    torrent = make_libtorrent(folder, format=format_, piece_size=PIECE)
    seeder.add_folder(torrent, folder)
    target = tmp_path / "target"
    added = swarm.add(request(torrent, target, peers=(seeder.peer,)))
    finish(added)
    assert added.wait(0)
    now = added.progress()
    assert now.bytes_done == now.bytes_wanted
    assert now.payload_downloaded >= sum(map(len, tree_bytes(folder).values()))
    assert set(added.pieces()) == {1}
    assert added.listening_peers() == (seeder.peer,)
    added.remove()
    added.raise_failure()
    assert open_files(target) == []
    assert_same_tree(target, folder)


def test_what_is_claimed_or_not_wanted_is_not_fetched(
    tmp_path: Path, swarm: Swarm, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    count = manifest.num_pieces
    have = bytes(piece == 0 for piece in range(count))
    wanted = bytes(piece != 2 for piece in range(count))
    target = tmp_path / "target"
    added = swarm.add(request(torrent, target, peers=(seeder.peer,), have=have, wanted=wanted))
    finish(added)
    assert added.pieces() == wanted
    assert added.progress().payload_downloaded == manifest.layout_size - 2 * PIECE
    added.remove()
    first = (target / manifest.files[0].path).read_bytes()
    published = (folder / manifest.files[0].path).read_bytes()
    assert first[PIECE : 2 * PIECE] == published[PIECE : 2 * PIECE]
    assert first[:PIECE] == bytes(PIECE)


def test_a_wait_ends_in_time_without_peers(tmp_path: Path, swarm: Swarm, torrent: bytes) -> None:
    added = swarm.add(request(torrent, tmp_path / "target"))
    assert not added.wait(0.05)
    assert added.progress().bytes_done == 0
    assert added.listening_peers() == ()
    added.remove()
    assert not (tmp_path / "target").exists()


def test_files_are_put_where_the_request_says(
    tmp_path: Path, swarm: Swarm, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    asked = request(torrent, tmp_path / "stage", peers=(seeder.peer,))
    elsewhere = tmp_path / "tree"
    paths = tuple(
        str(elsewhere / path) if number % 2 else f"{number}"
        for number, path in enumerate(asked.paths)
    )
    added = swarm.add(AddRequest(**{**_fields(asked), "paths": paths}))
    finish(added)
    added.remove()
    published = [(folder / path).read_bytes() for path in asked.paths]
    assert [(tmp_path / "stage" / path).read_bytes() for path in paths] == published


def _fields(asked: AddRequest) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in asked.__slots__}


def test_a_request_that_means_other_files_is_refused(
    tmp_path: Path, swarm: Swarm, torrent: bytes
) -> None:
    asked = _fields(request(torrent, tmp_path))
    wrong = [
        {"have": asked["have"] + b"\0"},
        {"sizes": asked["sizes"][1:], "paths": asked["paths"][1:]},
        {"sizes": (*asked["sizes"][:-1], 1)},
        {"sizes": (*asked["sizes"], 1), "paths": (*asked["paths"], "x")},
        {"metainfo": lambda: torrent[:-1]},
        {"metainfo": lambda: b"de"},
    ]
    for change in wrong:
        with pytest.raises(ManifestError):
            swarm.add(AddRequest(**{**asked, **change}))
    swarm.add(AddRequest(**asked)).remove()


def test_what_libtorrent_refuses_is_told_and_can_be_tried_again(
    tmp_path: Path, swarm: Swarm, torrent: bytes
) -> None:
    """As one that it did not let go of in time, and that nobody else knows of any more."""
    parameters = lt.load_torrent_buffer(torrent)
    parameters.save_path = str(tmp_path)
    stuck = swarm._session.add_torrent(parameters)
    asked = request(torrent, tmp_path)
    with pytest.raises(SwarmError, match="refused the torrent: torrent already exists"):
        swarm.add(asked)
    swarm._session.remove_torrent(stuck)
    swarm.add(asked).remove()


def test_addresses_that_are_no_utf8_are_left_out_and_the_others_used(
    tmp_path: Path, swarm: Swarm, torrent: bytes
) -> None:
    outer = bencode2.bdecode(torrent)
    tracker, web_seed = f"http://{HOST}:{free_port()}/announce", f"http://{HOST}:{free_port()}/"
    outer[b"announce-list"] = [[b"http://\xff/", tracker.encode()]]
    outer[b"url-list"] = [b"http://\xff/", web_seed.encode()]
    added = swarm.add(request(bencode2.bencode(outer), tmp_path / "target"))
    assert added.sources() == ({tracker}, {web_seed})
    added.remove()


def test_a_place_that_is_no_utf8_is_refused_in_words(
    tmp_path: Path, swarm: Swarm, torrent: bytes
) -> None:
    place = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(TreeError, match="not UTF-8") as caught:
        swarm.add(request(torrent, place))
    caught.value.message.encode()


# --- the same torrent twice -----------------------------------------------------------------


def test_a_session_holds_an_info_hash_once(tmp_path: Path, swarm: Swarm, torrent: bytes) -> None:
    added = swarm.add(request(torrent, tmp_path / "one"))
    with pytest.raises(DuplicateTorrentError):
        swarm.add(request(torrent, tmp_path / "other"))
    assert not added.wait(0)
    added.remove()
    for _time in range(3):
        swarm.add(request(torrent, tmp_path / "other")).remove()


def test_a_pool_gives_the_second_tree_a_session_of_its_own(
    tmp_path: Path, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    port = free_port()
    pool = SwarmPool(SessionConfig(listen=(f"{HOST}:{port}",), dht=False, lsd=False))
    try:
        targets = [tmp_path / name for name in ("one", "two", "three")]
        added = [pool.add(request(torrent, at, peers=(seeder.peer,))) for at in targets]
        for one in added:
            finish(one)
        for one in added:
            one.remove()
        for target in targets:
            assert_same_tree(target, folder)
        ports = [swarm.listen_port() for swarm in pool._swarms]
        assert ports[0] == port
        assert len(set(ports)) == 3
        pool.add(request(torrent, tmp_path / "one")).remove()
        assert len(pool._swarms) == 3
    finally:
        pool.close()
    pool.close()


# --- the disk -------------------------------------------------------------------------------


def test_a_full_disk_ends_the_wait_within_seconds(
    tmp_path: Path, swarm: Swarm, seeder: LibtorrentSeeder
) -> None:
    folder = write_tree(tmp_path / "pack", {"big": 8 * MIB, "small": 10})
    torrent = make_libtorrent(folder, piece_size=PIECE)
    seeder.add_folder(torrent, folder)
    with mounted(tmp_path / "small disk", *tmpfs("size=2m")) as disk:
        added = swarm.add(request(torrent, disk, peers=(seeder.peer,)))
        started = time.monotonic()
        with pytest.raises(DiskFullError) as caught:
            added.wait(PATIENCE_S)
        assert time.monotonic() - started < PATIENCE_S - 10
        assert caught.value.path in {str(disk / "big"), str(disk / "small")}
        assert os.strerror(errno.ENOSPC) in caught.value.message
        assert "make room" in caught.value.hint
        added.remove()
        with pytest.raises(DiskFullError):
            added.raise_failure()


def test_a_read_only_folder_ends_the_wait_within_seconds(
    tmp_path: Path, swarm: Swarm, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    with mounted(tmp_path / "disk", *tmpfs("ro,size=2m")) as disk:
        added = swarm.add(request(torrent, disk, peers=(seeder.peer,)))
        with pytest.raises(TreeError, match="Read-only") as caught:
            added.wait(PATIENCE_S)
        assert str(disk) in caught.value.path
        added.remove()


def test_a_failed_write_is_told_if_it_is_heard_of_after_the_torrent_is_gone(
    tmp_path: Path,
    swarm: Swarm,
    seeder: LibtorrentSeeder,
    folder: Path,
    torrent: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """libtorrent calls a torrent finished before its last blocks are written."""
    seeder.add_folder(torrent, folder)
    in_the_way: dict[str, Content] = {f"{name}/in the way": 1 for name in ("a/one", "b", "c", "d")}
    target = write_tree(tmp_path / "target", in_the_way)
    removing = threading.Event()

    def late(alert: lt.alert) -> SwarmEvent | None:
        if isinstance(alert, lt.torrent_alert):
            removing.wait(PATIENCE_S)
            deadline = time.monotonic() + DEADLINE_S
            while alert.handle.is_valid() and time.monotonic() < deadline:
                time.sleep(0.01)
        return translate(alert)

    monkeypatch.setattr("torsync.swarm.session.translate", late)
    added = swarm.add(request(torrent, target, peers=(seeder.peer,)))
    wait_until(
        lambda: added.progress().payload_downloaded, "something arrives", deadline_s=PATIENCE_S
    )
    time.sleep(1)  # for its write to fail
    removing.set()
    with suppress(TreeError):
        added.remove()
    with pytest.raises(TreeError, match="Is a directory") as caught:
        added.raise_failure()
    assert caught.value.path.startswith(str(target))


def test_a_seeded_file_that_vanished_is_told(
    tmp_path: Path, start: Callable[..., Swarm], folder: Path, torrent: bytes
) -> None:
    seeding, fetching = start(), start()
    all_of_it = b"\1" * parse_metainfo(torrent, windows=False).num_pieces
    (folder / "b").unlink()
    added = seeding.add(request(torrent, folder, have=all_of_it))
    peer = (HOST, seeding.listen_port())
    wanting = fetching.add(request(torrent, tmp_path / "target", peers=(peer,)))
    wait_until(lambda: _fails(added), "the file error is told", deadline_s=DEADLINE_S)
    with pytest.raises(TreeError, match="No such file") as caught:
        added.raise_failure()
    assert caught.value.path.endswith("b")
    wanting.remove()
    added.remove()


def _fails(torrent: Torrent) -> bool:
    try:
        torrent.raise_failure()
    except TreeError:
        return True
    return False


# --- trackers -------------------------------------------------------------------------------


def tracker_failure(torrent: Torrent, url: str) -> TrackerFailed:
    """Wait until the tracker's failure is news, and give it as it is told once."""
    wait_until(lambda: url in torrent.news.trackers, f"{url} is news", deadline_s=DEADLINE_S)
    failures = [event for event in torrent.fresh_failures() if isinstance(event, TrackerFailed)]
    assert {event.url for event in failures} == {url}
    assert torrent.news.trackers[url] == failures[-1].message
    assert torrent.news.reasons(str.upper, str.upper) == [
        f"the tracker {url.upper()} said: {failures[-1].message}"
    ]
    return failures[-1]


@pytest.mark.programs
def test_a_tracker_that_refuses_is_news(
    tmp_path: Path, swarm: Swarm, tracker: Tracker, torrent: bytes
) -> None:
    url = tracker.http_url
    added = swarm.add(request(with_trackers(torrent, [url]), tmp_path / "target"))
    assert "not authorized" in tracker_failure(added, url).message.lower()
    added.remove()


@pytest.mark.programs
def test_a_tracker_that_answers_is_no_news(
    tmp_path: Path,
    swarm: Swarm,
    tracker: Tracker,
    seeder: LibtorrentSeeder,
    folder: Path,
    torrent: bytes,
) -> None:
    announced = with_trackers(torrent, [tracker.http_url])
    tracker.allow(announced)
    seeder.add_folder(announced, folder)
    tracker.wait_for_peer(announced, seeder.port)
    added = swarm.add(request(announced, tmp_path / "target"))
    finish(added)
    assert added.news.trackers == {}
    assert added.fresh_failures() == []
    added.remove()


def test_a_tracker_that_is_not_there_is_news(tmp_path: Path, swarm: Swarm, torrent: bytes) -> None:
    url = f"http://{HOST}:{free_port()}/announce"
    added = swarm.add(request(with_trackers(torrent, [url]), tmp_path / "target"))
    assert "refused" in tracker_failure(added, url).message
    added.remove()


def test_a_tracker_that_does_not_answer_is_news(
    tmp_path: Path, start: Callable[..., Swarm], torrent: bytes
) -> None:
    impatient = start(settings={"tracker_completion_timeout": 1, "tracker_receive_timeout": 1})
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}/announce"
        added = impatient.add(request(with_trackers(torrent, [url]), tmp_path / "target"))
        assert "timed out" in tracker_failure(added, url).message.lower()
        added.remove()


@contextmanager
def web_server(answer: bytes, *, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/announce"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"d14:failure reason4:\xff\xfe\xfd\xfce",
        b"d14:failure reason6:\xc3(\xed\xa0\x80\x00e",
        b"d14:failure reason0:e",
        b"\xff no bencode",
        b"",
    ],
)
def test_whatever_a_tracker_says_does_not_end_the_session(
    tmp_path: Path,
    swarm: Swarm,
    seeder: LibtorrentSeeder,
    folder: Path,
    torrent: bytes,
    answer: bytes,
) -> None:
    seeder.add_folder(torrent, folder)
    with web_server(answer) as url:
        added = swarm.add(request(with_trackers(torrent, [url]), tmp_path / "target"))
        tracker_failure(added, url).message.encode()
        added.remove()
    again = swarm.add(request(torrent, tmp_path / "target", peers=(seeder.peer,)))
    finish(again)
    again.remove()


def test_sources_are_replaced(tmp_path: Path, swarm: Swarm, torrent: bytes) -> None:
    old = [f"http://{HOST}:{free_port()}/{number}" for number in range(2)]
    added = swarm.add(request(with_trackers(torrent, old), tmp_path / "target"))
    assert added.sources() == (set(old), set())
    tiers = [[f"http://{HOST}:{free_port()}/new", old[1]], [f"udp://{HOST}:{free_port()}/x"]]
    added.replace_sources(tiers, [f"http://{HOST}:1/a/", f"http://{HOST}:1/b/"])
    trackers = {url for tier in tiers for url in tier}
    assert added.sources() == (trackers, {f"http://{HOST}:1/a/", f"http://{HOST}:1/b/"})
    added.replace_sources([], [f"http://{HOST}:1/b/"])
    assert added.sources() == (set(), {f"http://{HOST}:1/b/"})
    added.remove()


# --- peers ----------------------------------------------------------------------------------


def test_pieces_with_wrong_content_are_counted_and_never_taken(
    tmp_path: Path, swarm: Swarm, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder, bad_pieces="all")
    added = swarm.add(request(torrent, tmp_path / "target", peers=(seeder.peer,)))
    wait_until(
        lambda: added.news.hash_failures > 0, "a hash failure is told", deadline_s=DEADLINE_S
    )
    assert not added.wait(0)
    assert set(added.pieces()) == {0}
    assert "wrong content" in "".join(added.news.reasons(str))
    added.remove()


def test_an_honest_peer_makes_good_for_a_liar(
    tmp_path: Path,
    swarm: Swarm,
    new_seeder: Callable[..., LibtorrentSeeder],
    folder: Path,
    torrent: bytes,
) -> None:
    # At an address of its own: libtorrent bans all that is at the address of a liar. One after
    # the other: it blames, and in the end bans, all that had a part in a wrong piece.
    liar, honest = new_seeder(host="127.0.0.2"), new_seeder()
    liar.add_folder(torrent, folder, bad_pieces=[3])
    honest.add_folder(torrent, folder)
    target = tmp_path / "target"
    added = swarm.add(request(torrent, target, peers=(("127.0.0.2", liar.port),)))
    wait_until(lambda: added.news.hash_failures > 0, "it is found out", deadline_s=DEADLINE_S)
    honest.connect(torrent, (HOST, swarm.listen_port()))
    finish(added)
    added.remove()
    assert_same_tree(target, folder)


def test_only_peers_that_were_called_and_answered_count_as_listening(
    tmp_path: Path,
    swarm: Swarm,
    new_seeder: Callable[..., LibtorrentSeeder],
    torrent: bytes,
    folder: Path,
) -> None:
    caller, called = new_seeder(), new_seeder()
    for seeder in (caller, called):
        seeder.add_folder(torrent, folder, upload_limit=1000)
    nobody = (HOST, free_port())
    added = swarm.add(request(torrent, tmp_path / "target", peers=(called.peer, nobody)))
    caller.connect(torrent, (HOST, swarm.listen_port()))
    wait_until(lambda: added.progress().peers == 2, "both are connected", deadline_s=DEADLINE_S)
    wait_until(
        lambda: added.listening_peers() == (called.peer,), "nobody is found out", deadline_s=5
    )
    added.remove()


def test_a_web_seed_is_no_peer(tmp_path: Path, swarm: Swarm, torrent: bytes) -> None:
    with web_server(b"no content", status=404) as url:
        asked = _fields(request(torrent, tmp_path / "target"))
        seeds = (url.removesuffix("announce"), f"http://{HOST}:99999/", "http://[::1/")
        added = swarm.add(AddRequest(**{**asked, "web_seeds": seeds}))
        wait_until(lambda: added.news.web_seeds != {}, "it fails", deadline_s=DEADLINE_S)
        assert added.listening_peers() == ()
        added.remove()


# --- settings -------------------------------------------------------------------------------


def test_limits_bind_peers_on_this_machine(
    tmp_path: Path,
    start: Callable[..., Swarm],
    seeder: LibtorrentSeeder,
) -> None:
    folder = write_tree(tmp_path / "pack", {"big": 6 * MIB})
    torrent = make_libtorrent(folder, piece_size=PIECE)
    seeder.add_folder(torrent, folder)

    def seconds(**limits: int) -> float:
        asked = request(torrent, tmp_path / f"{limits}", peers=(seeder.peer,))
        started = time.monotonic()
        added = start(**limits).add(asked)
        finish(added)
        added.remove()
        return time.monotonic() - started

    unlimited = seconds()
    limited = seconds(download_limit=2 * MIB)
    assert limited > max(1.0, 2 * unlimited)


def test_a_port_that_is_taken_is_told(start: Callable[..., Swarm], events: list[Event]) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        swarm = start(listen=(f"{HOST}:{port}",))

        def notices() -> list[Notice]:
            return [event for event in events if isinstance(event, Notice)]

        wait_until(lambda: notices() != [], "it is told", deadline_s=DEADLINE_S)
    (notice,) = notices()
    assert (notice.level, notice.code) == (Level.WARNING, "listen_port_taken")
    assert f"{swarm.listen_port()}" in notice.message
    assert swarm.listen_port() not in {0, port}
    assert "[session] listen" in notice.hint


def test_an_address_that_is_not_here_is_told(
    start: Callable[..., Swarm], events: list[Event]
) -> None:
    start(listen=("192.0.2.1:6881", f"{HOST}:0"))
    wait_until(lambda: events != [], "it is told", deadline_s=DEADLINE_S)
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert (notice.level, notice.code) == (Level.WARNING, "listen_failed")
    assert "could not listen on" in notice.message


def test_settings_of_the_users_come_last(start: Callable[..., Swarm]) -> None:
    swarm = start(settings={"tick_interval": 250, "user_agent": "mine"})
    settings = swarm._session.get_settings()
    assert (settings["tick_interval"], settings["user_agent"]) == (250, "mine")
    assert settings["alert_queue_size"] == 20_000


def test_a_setting_of_the_wrong_type_is_refused(start: Callable[..., Swarm]) -> None:
    with pytest.raises(SwarmError, match="refused its settings"):
        start(settings={"tick_interval": "often"})


# --- alerts ---------------------------------------------------------------------------------


def test_alerts_that_were_dropped_are_told(
    tmp_path: Path,
    swarm: Swarm,
    seeder: LibtorrentSeeder,
    folder: Path,
    torrent: bytes,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That it has finished may be one of those: the torrent is asked itself."""

    def dropped(alert: lt.alert) -> SwarmEvent | None:
        return AlertsDropped() if isinstance(alert, lt.torrent_finished_alert) else translate(alert)

    monkeypatch.setattr("torsync.swarm.session.translate", dropped)
    seeder.add_folder(torrent, folder)
    added = swarm.add(request(torrent, tmp_path / "target", peers=(seeder.peer,)))
    wait_until(lambda: added.wait(0.05), "it has finished", deadline_s=PATIENCE_S)
    added.remove()
    wait_until(lambda: "alerts_dropped" in [one.code for one in notices(events)], "it is told")


def notices(events: list[Event]) -> list[Notice]:
    return [event for event in events if isinstance(event, Notice)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_in_vain_if_alerts_cannot_be_taken_in(
    tmp_path: Path, swarm: Swarm, torrent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_alert: lt.alert) -> SwarmEvent | None:
        raise MemoryError("no room for an alert")

    added = swarm.add(request(torrent, tmp_path / "target"))
    monkeypatch.setattr("torsync.swarm.session.translate", fail)
    added.super_seed()
    added.replace_sources([[f"http://{HOST}:{free_port()}/announce"]], [])
    with pytest.raises(SwarmError, match="no room for an alert"):
        added.wait(PATIENCE_S)


# --- the end --------------------------------------------------------------------------------


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_closing_ends_all_threads_also_while_torrents_are_still_held(
    tmp_path: Path, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    before, names = _threads(), {thread.name for thread in threading.enumerate()}
    url = f"http://{HOST}:{free_port()}/announce"
    announced = with_trackers(torrent, [url])
    seeder.add_folder(torrent, folder, upload_limit=1000)
    swarm = Swarm(CONFIG)
    added = swarm.add(request(announced, tmp_path / "target", peers=(seeder.peer,)))
    wait_until(lambda: added.progress().peers == 1, "it is connected")
    assert _threads() > before
    swarm.close()
    wait_until(lambda: _threads() == before, "all threads have ended", deadline_s=5)
    assert {thread.name for thread in threading.enumerate()} == names
    started = time.monotonic()
    added.remove()
    assert time.monotonic() - started < 2
    assert open_files(tmp_path / "target") == []
