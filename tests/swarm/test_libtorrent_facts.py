"""What the code relies on in libtorrent, whether it is documented or not.

Each test pins one behaviour. One that fails after an upgrade tells which part of torsync has
to be looked at again; it need not mean that libtorrent is wrong.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import libtorrent as lt
import pytest

from tests.support.processes import HOST, wait_until
from tests.support.torrents import link, make_libtorrent, make_raw, with_trackers
from tests.support.trees import assert_same_tree, random_bytes, tree_bytes, write_tree
from tests.swarm.test_session import web_server
from torsync.model.config import SessionConfig
from torsync.swarm.settings import session_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content

PIECE = 16 * 1024
DEADLINE_S = 20.0
PAD = 1
EXECUTABLE = 4
LINK = 8
FLAGS = lt.torrent_flags.no_verify_files | lt.torrent_flags.duplicate_is_error
CONTENT: dict[str, Content] = {"a/one": 5 * PIECE + 7, "b": 3 * PIECE, "c": 100, "d": 2 * PIECE}


class Seen(NamedTuple):
    """What was read from an alert: it is good only until the next ones are taken."""

    kind: type
    message: str
    endpoint: tuple[str, int] | None = None
    path: str = ""
    errno: int = 0
    resume_data: bytes = b""
    said: str | UnicodeDecodeError = ""


def read_alert(alert: Any) -> Seen:
    match alert:
        case lt.peer_alert():
            return Seen(type(alert), alert.message(), endpoint=alert.endpoint)
        case lt.file_error_alert():
            error = alert.error.value()
            return Seen(type(alert), alert.message(), path=alert.filename(), errno=error)
        case lt.save_resume_data_alert():
            data = lt.write_resume_data_buf(alert.params)
            return Seen(type(alert), alert.message(), resume_data=data)
        case lt.tracker_error_alert():
            try:
                return Seen(type(alert), "", said=alert.error_message())
            except UnicodeDecodeError as error:
                return Seen(type(alert), "", said=error)
    return Seen(type(alert), alert.message())


class Session:
    """A libtorrent session with the settings that torsync gives it."""

    def __init__(self, **settings: Any) -> None:
        config = SessionConfig(
            listen=(f"{HOST}:0",), dht=False, lsd=False, settings={"tick_interval": 50, **settings}
        )
        self.lt: Any = lt.session(lt.session_params(session_settings(config)))
        self.seen: list[Seen] = []

    def add(self, torrent: bytes, save_path: Path, **parameters: Any) -> Any:
        """Add a torrent as torsync does; ``have`` tells which pieces are claimed."""
        given = lt.load_torrent_buffer(torrent)
        given.save_path = str(save_path)
        given.flags = parameters.pop("flags", FLAGS)
        have = parameters.pop("have", None)
        if have is not None:
            given.have_pieces = [bool(flag) for flag in have]
        for name, value in parameters.items():
            setattr(given, name, value)
        return self.lt.add_torrent(given)

    def drain(self, kind: type) -> list[Seen]:
        """Every alert of that kind until now."""
        self.seen += [read_alert(alert) for alert in self.lt.pop_alerts()]
        return [seen for seen in self.seen if seen.kind is kind]

    def until(self, kind: type, what: Callable[[Seen], bool] = lambda _seen: True) -> Seen:
        """Wait for an alert."""
        wait_until(
            lambda: any(what(seen) for seen in self.drain(kind)),
            f"there is a {kind.__name__}",
            deadline_s=DEADLINE_S,
        )
        return next(seen for seen in self.drain(kind) if what(seen))

    def remove(self, handle: Any) -> None:
        """Take a torrent out and wait until its files are closed."""
        self.lt.remove_torrent(handle)
        self.until(lt.torrent_removed_alert)

    def wait_checked(self, handle: Any) -> Any:
        """Wait until it is clear what is there; gives the status."""
        checking = {lt.torrent_status.checking_files, lt.torrent_status.checking_resume_data}
        wait_until(
            lambda: handle.status().state not in checking,
            "it is checked",
            deadline_s=DEADLINE_S,
        )
        return handle.status(lt.torrent_handle.query_pieces)


@pytest.fixture
def session() -> Iterator[Session]:
    return Session()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", CONTENT)


@pytest.fixture
def torrent(folder: Path) -> bytes:
    return make_libtorrent(folder, piece_size=PIECE)


def num_pieces(torrent: bytes) -> int:
    return lt.load_torrent_buffer(torrent).ti.num_pieces()


def all_of(torrent: bytes) -> list[int]:
    return [1] * num_pieces(torrent)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- how a torrent is added -----------------------------------------------------------------


def test_renamed_files_take_absolute_paths_and_drop_the_root_name(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    layout = lt.load_torrent_buffer(torrent).ti.layout()
    elsewhere, save_path = tmp_path / "elsewhere", tmp_path / "save"
    names = [layout.file_path(index).partition("/")[2] for index in range(layout.num_files())]
    renamed = {
        index: str(elsewhere / name) if index % 2 else name for index, name in enumerate(names)
    }
    handle = session.add(torrent, save_path, renamed_files=renamed, peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    found = tree_bytes(elsewhere) | tree_bytes(save_path)
    assert found == tree_bytes(folder)
    assert set(tree_bytes(elsewhere)) == set(names[1::2])


def test_no_verify_files_with_claims_looks_at_nothing_and_creates_nothing(
    tmp_path: Path, session: Session
) -> None:
    folder = write_tree(
        tmp_path / "pack", {"a": 3 * PIECE, "empty": b"", "way": ("link", "a"), "x/empty": b""}
    )
    torrent = make_libtorrent(folder, piece_size=PIECE)
    save_path = tmp_path / "absent"
    for have in (all_of(torrent), [1, *[0] * (num_pieces(torrent) - 1)]):
        handle = session.add(torrent, save_path, have=have)
        status = session.wait_checked(handle)
        assert [int(flag) for flag in status.pieces] == have
        session.remove(handle)
        assert session.drain(lt.file_error_alert) == []
        session.seen.clear()
    assert not save_path.exists()


def test_without_no_verify_files_a_missing_file_leads_to_a_full_check(
    tmp_path: Path, session: Session, folder: Path, torrent: bytes
) -> None:
    target = tmp_path / "target"
    shutil.copytree(folder, target / "pack")
    (target / "pack" / "b").unlink()
    handle = session.add(
        torrent, target, have=all_of(torrent), flags=lt.torrent_flags.duplicate_is_error
    )
    session.until(lt.torrent_checked_alert)
    assert handle.status().num_pieces < num_pieces(torrent)


def test_a_fully_claimed_torrent_is_finished_and_seeds_at_once(
    tmp_path: Path, session: Session, folder: Path, torrent: bytes
) -> None:
    handle = session.add(torrent, folder.parent, have=all_of(torrent))
    session.until(lt.torrent_finished_alert)
    wait_until(lambda: handle.status().is_seeding, "it seeds", deadline_s=DEADLINE_S)


def test_a_duplicate_is_an_error_with_the_flag_and_silent_without(
    tmp_path: Path, session: Session, torrent: bytes
) -> None:
    first = session.add(torrent, tmp_path / "one")
    with pytest.raises(RuntimeError, match="already exists"):
        session.add(torrent, tmp_path / "other")
    again = session.add(torrent, tmp_path / "other", flags=lt.torrent_flags.no_verify_files)
    assert again == first
    assert again.status().save_path == str(tmp_path / "one")


def test_resume_data_pads_the_claims_and_then_a_cut_file_goes_unnoticed(
    tmp_path: Path, session: Session
) -> None:
    folder = write_tree(tmp_path / "pack", {"file": 3 * PIECE})
    torrent = make_libtorrent(folder / "file", piece_size=PIECE)
    handle = session.add(torrent, folder, have=all_of(torrent))
    handle.save_resume_data()
    saved = session.until(lt.save_resume_data_alert).resume_data
    session.remove(handle)
    read = lt.read_resume_data(saved)
    assert num_pieces(torrent) == 3
    assert len(read.have_pieces) == 8
    os.truncate(folder / "file", 0)
    read.ti = lt.load_torrent_buffer(torrent).ti
    read.save_path = str(folder)
    assert session.wait_checked(session.lt.add_torrent(read)).is_seeding
    # Claims of exactly as many pieces as there are make it look at the size.
    other = Session()
    flags = lt.torrent_flags.duplicate_is_error
    handle = other.add(torrent, folder, have=all_of(torrent), flags=flags)
    wait_until(lambda: not handle.status().is_seeding, "it is found out", deadline_s=DEADLINE_S)


def test_an_edit_that_keeps_the_size_is_not_noticed(
    tmp_path: Path, session: Session, folder: Path, torrent: bytes
) -> None:
    (folder / "b").write_bytes(random_bytes(3 * PIECE, "other"))
    for flags in (FLAGS, lt.torrent_flags.duplicate_is_error):
        handle = session.add(torrent, folder.parent, have=all_of(torrent), flags=flags)
        assert session.wait_checked(handle).is_seeding
        session.remove(handle)
        session.seen.clear()


# --- what a layout looks like ---------------------------------------------------------------


def test_a_v2_layout_has_pads_to_piece_boundaries_though_nobody_sends_them(
    tmp_path: Path,
) -> None:
    folder = write_tree(tmp_path / "pack", {"a": PIECE + 1, "b": 5, "c": 2 * PIECE, "d": 0})
    for kind, pads in (("v1", 0), ("v2", 2), ("hybrid", 2)):
        info = lt.load_torrent_buffer(make_libtorrent(folder, format=kind, piece_size=PIECE)).ti
        layout = info.layout()
        files = range(layout.num_files())
        padding = [index for index in files if int(layout.file_flags(index)) & PAD]
        assert len(padding) == pads
        assert all(layout.file_size(index) < PIECE for index in padding)
        starts = [layout.file_offset(index) % PIECE for index in files if index not in padding]
        assert (set(starts) == {0}) == (kind != "v1")
        assert info.num_pieces() == layout.num_pieces()


def test_flags_of_a_layout_tell_pads_executables_and_links(tmp_path: Path) -> None:
    files = {"a": ("exec", 5), "b": ("link", "a"), "c": 5}
    folder = write_tree(tmp_path / "pack", files)
    layout = lt.load_torrent_buffer(make_libtorrent(folder, piece_size=PIECE)).ti.layout()
    flags = {layout.file_name(at): int(layout.file_flags(at)) for at in range(3)}
    assert flags == {"a": EXECUTABLE, "b": LINK | EXECUTABLE, "c": 0}


def test_clashing_names_are_renamed_in_the_parameters_and_not_in_the_layout() -> None:
    torrent = make_raw({"Name": b"1", "name": b"2", "other": b"3"})
    given = lt.load_torrent_buffer(torrent)
    layout = given.ti.layout()
    assert [layout.file_path(at) for at in range(3)] == ["raw/Name", "raw/name", "raw/other"]
    assert given.renamed_files == {1: "raw/name.1"}


# --- fetching -------------------------------------------------------------------------------


def test_only_pieces_that_are_wanted_are_fetched_without_any_file_priority(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    wanted = [piece % 3 == 0 for piece in range(num_pieces(torrent))]
    handle = session.add(
        torrent,
        tmp_path / "target",
        piece_priorities=[4 if flag else 0 for flag in wanted],
        peers=[seeder.peer],
    )
    session.until(lt.torrent_finished_alert)
    status = handle.status(lt.torrent_handle.query_pieces)
    assert [bool(flag) for flag in status.pieces] == wanted
    assert handle.get_file_priorities() == [4] * 4
    session.remove(handle)
    assert [name for name in listing(tmp_path / "target") if name.endswith(".parts")] == []


def test_blocks_that_are_claimed_are_not_fetched(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder
) -> None:
    folder = write_tree(tmp_path / "pack", {"file": 8 * PIECE})
    torrent = make_libtorrent(folder / "file", piece_size=8 * PIECE)
    seeder.add_folder(torrent, folder)
    target = tmp_path / "target"
    content = (folder / "file").read_bytes()
    write_tree(target, {"file": content[: 7 * PIECE] + bytes(PIECE)})
    handle = session.add(
        torrent,
        target,
        have=[0],
        unfinished_pieces={0: [True] * 7 + [False]},
        peers=[seeder.peer],
    )
    session.until(lt.torrent_finished_alert)
    assert handle.status().total_payload_download == PIECE
    session.remove(handle)
    assert (target / "file").read_bytes() == content


def test_a_piece_that_fails_its_hash_is_written_over_all_files_that_it_spans(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder
) -> None:
    """So that all that shares a piece with something to fetch has to be in the stage."""
    folder = write_tree(tmp_path / "pack", {"a": 2 * PIECE, "b": 2 * PIECE})
    torrent = make_libtorrent(folder, piece_size=4 * PIECE)
    seeder.add_folder(torrent, folder)
    right = tree_bytes(folder)
    target = tmp_path / "target"
    edited = random_bytes(2 * PIECE, "edited")
    write_tree(target / "pack", {"a": edited, "b": right["b"][:PIECE] + bytes(PIECE)})
    # The blocks of "a" are claimed, and one of "b" is to be fetched: the hash fails.
    handle = session.add(
        torrent,
        target,
        have=[0],
        unfinished_pieces={0: [True, True, True, False]},
        peers=[seeder.peer],
    )
    session.until(lt.hash_failed_alert)
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    assert (target / "pack" / "a").read_bytes() == right["a"] != edited
    assert handle.is_valid() is False


def test_a_file_that_is_too_long_stays_too_long(
    tmp_path: Path, session: Session, folder: Path, torrent: bytes
) -> None:
    with (folder / "b").open("ab") as file:
        file.write(b"more")
    handle = session.add(torrent, folder.parent, flags=lt.torrent_flags.duplicate_is_error)
    session.until(lt.torrent_checked_alert)
    assert handle.status().is_seeding
    session.remove(handle)
    assert (folder / "b").stat().st_size == 3 * PIECE + 4


def test_what_cannot_be_written_is_told_by_an_alert_whatever_else_is_said(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "pack").write_bytes(b"a file where a folder has to be")
    handle = session.add(torrent, tmp_path / "target", peers=[seeder.peer])
    alert = session.until(lt.file_error_alert)
    assert str(tmp_path) in alert.path
    assert alert.errno == errno.ENOTDIR
    assert handle.is_valid()


def test_links_inside_the_save_path_are_followed(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    """So that folders that are links have to be refused before."""
    seeder.add_folder(torrent, folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "pack").symlink_to(outside)
    session.add(torrent, tmp_path / "target", peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    wait_until(lambda: listing(outside) == listing(folder), "it has arrived", deadline_s=DEADLINE_S)


def test_empty_files_and_links_are_not_made_when_nothing_is_verified(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder
) -> None:
    torrent = make_raw({"a": b"1" * PIECE, "empty": b"", "way": link("a")}, name="pack")
    folder = write_tree(tmp_path / "pack", {"a": b"1" * PIECE, "empty": b""})
    seeder.add_folder(torrent, folder, check=False)
    handle = session.add(torrent, tmp_path / "target", peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    assert listing(tmp_path / "target") == ["pack", "pack/a"]


# --- peers and limits -----------------------------------------------------------------------


def test_a_connection_tells_only_in_its_text_that_it_is_outgoing(
    tmp_path: Path,
    session: Session,
    new_seeder: Callable[..., LibtorrentSeeder],
    folder: Path,
    torrent: bytes,
) -> None:
    called, caller = new_seeder(), new_seeder()
    for seeder in (called, caller):
        seeder.add_folder(torrent, folder, upload_limit=1000)
    session.add(torrent, tmp_path / "target", peers=[called.peer])
    out = session.until(lt.peer_connect_alert, lambda alert: alert.endpoint == called.peer)
    assert out.message.endswith(" outgoing connection to peer (TCP)")
    caller.connect(torrent, (HOST, session.lt.listen_port()))
    inward = session.until(lt.peer_connect_alert, lambda alert: alert.endpoint != called.peer)
    assert inward.message.endswith(" incoming connection to peer (TCP)")
    assert inward.endpoint not in {None, caller.peer}


def test_seeds_leave_a_seed(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    """So that peers to hand over have to be noted when they are called."""
    seeder.add_folder(torrent, folder)
    handle = session.add(torrent, tmp_path / "target", peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    wait_until(lambda: not handle.get_peer_info(), "nobody is left", deadline_s=DEADLINE_S)


def test_without_a_peer_class_filter_local_peers_know_no_session_limit(
    tmp_path: Path, seeder: LibtorrentSeeder
) -> None:
    folder = write_tree(tmp_path / "pack", {"file": 6 * 1024**2})
    torrent = make_libtorrent(folder / "file", piece_size=4 * PIECE)
    seeder.add_folder(torrent, folder)
    session = Session(download_rate_limit=100_000)
    started = time.monotonic()
    session.add(torrent, tmp_path / "target", peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    assert time.monotonic() - started < 15, "it would take a minute with that limit"


def test_reading_what_a_tracker_says_fails_where_it_is_no_utf8(
    tmp_path: Path, session: Session, torrent: bytes
) -> None:
    """So that reading it has to expect that; the failure holds the bytes."""
    with web_server(b"d14:failure reason2:\xff\xfee") as url:
        session.add(with_trackers(torrent, [url]), tmp_path / "target")
        said = session.until(lt.tracker_error_alert).said
    assert isinstance(said, UnicodeDecodeError)
    assert b"\xff\xfe" in said.object


# --- removal and the end --------------------------------------------------------------------


def test_a_removed_torrent_has_closed_its_files_and_its_handle_is_dead(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    handle = session.add(torrent, tmp_path / "target", peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        assert str(tmp_path / "target") not in maps.read()
    with pytest.raises(RuntimeError, match="invalid torrent handle"):
        handle.status()
    assert_same_tree(tmp_path / "target" / "pack", folder)


def test_deleting_the_session_ends_its_threads(tmp_path: Path, torrent: bytes) -> None:
    before = len(os.listdir("/proc/self/task"))
    session = Session()
    session.add(torrent, tmp_path / "target")
    assert len(os.listdir("/proc/self/task")) > before
    del session.lt
    wait_until(
        lambda: len(os.listdir("/proc/self/task")) == before, "its threads end", deadline_s=5
    )


def test_a_bound_method_keeps_the_session_alive(tmp_path: Path) -> None:
    """So that nothing but its owner may hold one."""
    before = len(os.listdir("/proc/self/task"))
    session = Session()
    remove = session.lt.remove_torrent
    del session.lt
    assert len(os.listdir("/proc/self/task")) > before
    del remove
    wait_until(
        lambda: len(os.listdir("/proc/self/task")) == before, "its threads end", deadline_s=5
    )


# --- settings and loading -------------------------------------------------------------------


def test_every_setting_that_is_overridden_exists_and_is_taken() -> None:
    config = SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False)
    wanted = session_settings(config)
    known = lt.default_settings()
    assert wanted.keys() <= known.keys()
    assert {name: type(value) for name, value in wanted.items()} == {
        name: type(known[name]) for name in wanted
    }
    taken = lt.session(lt.session_params(wanted)).get_settings()
    # It is kept as a signed number.
    wanted["alert_mask"] = taken["alert_mask"]
    assert {name: taken[name] for name in wanted} == wanted


def test_the_names_of_overridden_settings_are_all_known() -> None:
    """``session_settings`` leaves out what this libtorrent does not know: nothing must be."""
    settings = session_settings(SessionConfig())
    for name in (
        "allow_multiple_connections_per_ip",
        "announce_to_all_tiers",
        "connection_speed",
        "enable_outgoing_utp",
        "hashing_threads",
        "min_reconnect_time",
        "send_redundant_have",
        "stop_tracker_timeout",
        "tick_interval",
        "urlseed_max_request_bytes",
        "webtorrent_stun_server",
    ):
        assert name in settings, name


def test_defaults_that_would_hurt_are_what_they_were() -> None:
    defaults = lt.default_settings()
    assert defaults["enable_dht"]
    assert defaults["enable_lsd"]
    assert defaults["enable_upnp"]
    assert defaults["webtorrent_stun_server"]
    assert defaults["alert_queue_size"] == 2000
    assert defaults["active_downloads"] == 3
    assert defaults["hashing_threads"] == 1
    assert defaults["optimistic_disk_retry"] == 600
    assert defaults["listen_system_port_fallback"]


def test_limits_for_loading_are_given_as_a_dictionary(tmp_path: Path) -> None:
    torrent = make_raw({f"{number:04}": b"1" for number in range(300)})
    limits = {"max_buffer_size": 100, "max_pieces": 10, "max_decode_tokens": 100}
    assert lt.load_torrent_buffer(torrent).ti.num_files() == 300
    with pytest.raises(RuntimeError):
        lt.load_torrent_buffer(torrent, limits)
    with pytest.raises(RuntimeError):
        lt.load_torrent_buffer(torrent, {**limits, "max_buffer_size": len(torrent) + 1})
    generous = dict.fromkeys(limits, 1000000)
    assert lt.load_torrent_buffer(torrent, generous).ti.num_files() == 300
