"""A publication's releases: what becomes public, when, and what stays if something fails."""

from __future__ import annotations

import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.nginx import nginx
from tests.support.processes import free_port
from tests.support.publications import HOST, PIECE, Publisher
from tests.support.trees import edit_in_place, tree_bytes
from torsync.disk.stamps import stamp_of
from torsync.model.config import TorrentFormat
from torsync.model.errors import InterruptedByUserError, RefusedError, TreeError
from torsync.model.events import Level
from torsync.model.metainfo import parse_metainfo
from torsync.model.succession import order_in_signature
from torsync.publish.errors import EmptyFolderError
from torsync.publish.keys import generate_keys
from torsync.publish.web_seed_check import WebSeedError
from torsync.subscribe.trust import check_signature
from torsync.swarm.probe import NotServedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.trees import Content

FIRST: dict[str, Content] = {"a/one.bin": 5 * PIECE + 7, "a/two.bin": 3 * PIECE, "c": 100, "d": 300}


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path)
    yield publisher
    publisher.close()


@pytest.mark.parametrize("format_", list(TorrentFormat))
def test_a_release_is_public_and_a_stranger_gets_it(
    publisher: Publisher, tmp_path: Path, format_: TorrentFormat
) -> None:
    publisher.configure(format=format_)
    report = publisher.open().release(FIRST)
    assert (report.changed, report.number, report.files) == (True, 1, 4)
    assert parse_metainfo(publisher.torrent.read_bytes()).info_hash == report.info_hash
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_the_next_release_takes_its_place(publisher: Publisher, tmp_path: Path) -> None:
    publisher.open().release(FIRST)
    old = publisher.torrent.read_bytes()
    report = publisher.release({"a/one.bin": 6 * PIECE, "new": 500})
    assert (report.changed, report.number) == (True, 2)
    assert (report.added, report.modified, report.removed) == (["new"], ["a/one.bin"], [])
    assert publisher.torrent.read_bytes() != old
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_nothing_is_released_where_nothing_has_changed(publisher: Publisher) -> None:
    publisher.open().release(FIRST)
    before = publisher.torrent.stat()
    report = publisher.release()
    assert (report.changed, report.number, report.unchanged) == (False, 1, 4)
    assert publisher.torrent.stat() == before


def test_a_plan_publishes_nothing(publisher: Publisher) -> None:
    publisher.open().release(FIRST)
    public = publisher.torrent.read_bytes()
    publisher.write({"a/two.bin": 2 * PIECE})
    report = publisher.release(dry_run=True)
    assert (report.changed, report.dry_run, report.number) == (True, True, 2)
    assert report.modified == ["a/two.bin"]
    assert 2 * PIECE <= report.bytes_to_fetch < 4 * PIECE
    assert publisher.torrent.read_bytes() == public
    assert publisher.release().number == 2


def test_it_is_seeded_again_after_a_restart_and_nothing_is_hashed(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FIRST)
    publisher.open()
    assert publisher.publication.resume()
    publisher.assert_leecher_gets(tmp_path / "leecher")
    report = publisher.release()
    assert (report.changed, report.bytes_hashed) == (False, 0)


def test_the_feed_serves_it_again_after_a_restart_where_nothing_has_changed(
    tmp_path: Path,
) -> None:
    publisher = Publisher(tmp_path, feed=True)
    try:
        publisher.open().release(FIRST)
        url = f"{publisher.served_at}/pack.torrent"
        publisher.open()
        assert publisher.publication.resume()
        assert not publisher.release().changed
        assert requests.get(url, timeout=10).content == publisher.torrent.read_bytes()
    finally:
        publisher.close()


def test_what_was_edited_while_it_was_down_is_not_seeded_until_it_is_released(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FIRST)
    publisher.close()
    edit_in_place(publisher.folder / "a/two.bin")
    publisher.open().publication.resume()
    assert publisher.release().modified == ["a/two.bin"]
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_files_of_the_publisher_are_left_as_they_are(publisher: Publisher) -> None:
    publisher.open()
    publisher.write(FIRST)
    before = {path: stamp_of((publisher.folder / path).stat()) for path in FIRST}
    publisher.release()
    assert tree_bytes(publisher.folder).keys() - {".torsync/lock"} == FIRST.keys()
    for path, status in before.items():
        assert stamp_of((publisher.folder / path).stat()) == status


# --- order and signature --------------------------------------------------------------------


def test_numbers_and_times_grow_and_are_signed(publisher: Publisher, tmp_path: Path) -> None:
    generate_keys(tmp_path / "key")
    publisher.configure(secret_key=tmp_path / "key")
    publisher.open().release(FIRST)
    signature = publisher.torrent.with_name("pack.torrent.minisig")
    first = order_in_signature(signature.read_bytes())
    report = publisher.release({"new": 5})
    second = order_in_signature(signature.read_bytes())
    assert first is not None
    assert second is not None
    assert (first.number, second.number, report.number) == (1, 2, 2)
    assert second.time_s > first.time_s
    assert report.signed


def test_the_number_is_found_in_the_signature_where_the_state_is_lost(
    publisher: Publisher, tmp_path: Path
) -> None:
    generate_keys(tmp_path / "key")
    publisher.configure(secret_key=tmp_path / "key")
    publisher.open().release(FIRST)
    publisher.release({"new": 5})
    signature = publisher.torrent.with_name("pack.torrent.minisig")
    before = order_in_signature(signature.read_bytes())
    publisher.close()
    shutil.rmtree(publisher.state)
    report = publisher.open().release({"newer": 5})
    after = order_in_signature(signature.read_bytes())
    assert before is not None
    assert after is not None
    assert (report.number, after.number) == (3, 3)
    assert after.time_s > before.time_s


def test_a_key_that_is_configured_later_signs_what_is_public(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FIRST)
    generate_keys(tmp_path / "key")
    publisher.configure(secret_key=tmp_path / "key")
    assert publisher.open().release().changed
    assert publisher.torrent.with_name("pack.torrent.minisig").exists()
    publisher.configure(secret_key=None)
    publisher.open().release({"new": 5})
    assert not publisher.torrent.with_name("pack.torrent.minisig").exists()


def test_another_key_signs_what_is_public(publisher: Publisher, tmp_path: Path) -> None:
    signature = publisher.torrent.with_name("pack.torrent.minisig")
    for number, name in enumerate(["old", "new"], 1):
        public_key = generate_keys(tmp_path / name).public_key
        publisher.configure(secret_key=tmp_path / name)
        report = publisher.open().release(FIRST if number == 1 else None)
        assert (report.changed, report.number) == (True, number)
        check_signature(publisher.torrent.read_bytes(), signature.read_bytes(), [public_key], "")
    assert not publisher.open().release().changed


def test_other_trackers_make_a_release_of_the_same_content(
    publisher: Publisher, tmp_path: Path
) -> None:
    first = publisher.open().release(FIRST)
    publisher.configure(trackers=(f"http://{HOST}:{free_port()}/announce",))
    publisher.open().publication.resume()
    second = publisher.release()
    assert (second.changed, second.number) == (True, 2)
    assert second.info_hash == first.info_hash
    assert parse_metainfo(publisher.torrent.read_bytes()).trackers == (
        (publisher.config.trackers[0],),
    )
    assert publisher.release().changed is False
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_without_a_tracker_the_publisher_itself_is_named(publisher: Publisher) -> None:
    publisher.open().release(FIRST)
    nodes = parse_metainfo(publisher.torrent.read_bytes()).nodes
    assert nodes == tuple(publisher.peers)


def test_a_private_torrent_names_nobody(publisher: Publisher) -> None:
    publisher.configure(private=True)
    publisher.open().release(FIRST)
    manifest = parse_metainfo(publisher.torrent.read_bytes())
    assert (manifest.private, manifest.nodes) == (True, ())


# --- guards ---------------------------------------------------------------------------------


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".torsync":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_an_empty_folder_is_not_published_over_a_release(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FIRST)
    public = publisher.torrent.read_bytes()
    empty(publisher.folder)
    with pytest.raises(RefusedError, match="is its disk not mounted"):
        publisher.release()
    assert publisher.torrent.read_bytes() == public
    publisher.write({"a/one.bin": 0, "c": 0})
    with pytest.raises(RefusedError):
        publisher.release()
    assert publisher.release({"a/one.bin": 1}).number == 2


def test_a_folder_that_is_gone_is_refused_and_the_release_stays(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FIRST)
    public = publisher.torrent.read_bytes()
    publisher.folder.rename(tmp_path / "elsewhere")
    for attempt in (publisher.release, publisher.open):
        with pytest.raises(RefusedError, match="is not there; is its disk not mounted"):
            attempt()
    assert publisher.torrent.read_bytes() == public
    (tmp_path / "elsewhere").rename(publisher.folder)
    publisher.open().publication.resume()
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_an_empty_folder_that_never_was_published_is_an_error_of_its_own(
    publisher: Publisher,
) -> None:
    with pytest.raises(EmptyFolderError):
        publisher.open().release()
    assert not publisher.torrent.exists()


# --- the gate -------------------------------------------------------------------------------


def assert_stays(publisher: Publisher, public: bytes, content: dict[str, Content]) -> None:
    """The release before is public, and nothing else is there."""
    assert publisher.torrent.read_bytes() == public
    left = {path.name for path in publisher.torrent.parent.iterdir()}
    assert left == {"pack.torrent", "pack.torrent.hints"}


def test_a_release_that_the_web_seed_does_not_have_is_not_public(
    publisher: Publisher, tmp_path: Path
) -> None:
    www = tmp_path / "seed"
    with nginx(www) as server:
        publisher.write(FIRST)
        shutil.copytree(publisher.folder, www / "pack")
        publisher.configure(web_seeds=(server.url_for(""),))
        assert publisher.open().release().number == 1
        public = publisher.torrent.read_bytes()

        publisher.write({"a/one.bin": 4 * PIECE, "new ü%?": 5 * PIECE})
        with pytest.raises(WebSeedError) as caught:
            publisher.release()
        said = caught.value.message
        assert server.url_for("") in said
        assert "expected bytes" in said or "do not have the hash" in said
        assert "tries again" in caught.value.hint
        assert_stays(publisher, public, FIRST)

        for name in ("a/one.bin", "new ü%?"):
            shutil.copy(publisher.folder / name, www / "pack" / name)
        assert publisher.release().number == 2
        publisher.assert_leecher_gets(tmp_path / "leecher")


def test_a_web_seed_with_other_content_of_the_same_size_is_seen(
    publisher: Publisher, tmp_path: Path
) -> None:
    www = tmp_path / "seed"
    with nginx(www) as server:
        publisher.write(FIRST)
        shutil.copytree(publisher.folder, www / "pack")
        publisher.configure(web_seeds=(server.url_for("").rstrip("/"),))
        assert publisher.open().release().number == 1
        edit_in_place(publisher.folder / "a/two.bin")
        publisher.write({"a/two.bin": 3 * PIECE + 1})
        publisher.write({"a/two.bin": 3 * PIECE, "c": 101})
        for file in ("a/one.bin", "a/two.bin", "c", "d"):
            (www / "pack" / file).write_bytes(bytes((publisher.folder / file).stat().st_size))
        with pytest.raises(WebSeedError, match="do not have the hash that they should"):
            publisher.release()


def test_a_web_seed_that_is_silent_does_not_keep_it_from_stopping(publisher: Publisher) -> None:
    with socket.create_server((HOST, 0)) as silent:
        publisher.configure(web_seeds=(f"http://{HOST}:{silent.getsockname()[1]}/",))
        publisher.open()
        publisher.write(FIRST)
        with ThreadPoolExecutor(1) as pool:
            releasing = pool.submit(publisher.release)
            connection, _ = silent.accept()
            with connection:
                publisher.stop.set()
                with pytest.raises(InterruptedByUserError):
                    releasing.result(timeout=4)
    assert not publisher.torrent.exists()


def test_a_web_seed_that_does_not_answer_is_named(publisher: Publisher) -> None:
    url = f"http://user:secret@{HOST}:{free_port()}/"
    publisher.configure(web_seeds=(url,))
    with pytest.raises(WebSeedError, match="the connection refused") as caught:
        publisher.open().release(FIRST)
    assert "secret" not in caught.value.message
    assert not publisher.torrent.exists()


def test_a_session_that_does_not_listen_is_named(publisher: Publisher) -> None:
    publisher.listen("203.0.113.9:6881")  # no address of this machine
    publisher.open()
    with pytest.raises(NotServedError, match="does not listen"):
        publisher.release(FIRST)
    assert not publisher.torrent.exists()
    assert "listen_failed" in publisher.notices(Level.WARNING)


@pytest.mark.parametrize("unsettled", [False, True])
def test_a_file_that_is_edited_while_it_is_checked_stops_a_release_of_a_folder_that_settles(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, *, unsettled: bool
) -> None:
    from torsync.publish import publication

    publisher.open().release({**FIRST})
    public = publisher.torrent.read_bytes()
    check = publication.check_session

    def edit_and_check(*arguments: object, **options: object) -> None:
        edit_in_place(publisher.folder / "a/two.bin")
        check(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(publication, "check_session", edit_and_check)
    publisher.write({"a/two.bin": 4 * PIECE})
    if unsettled:
        assert publisher.release(unsettled=True).number == 2
        assert publisher.publication._showing._withdrawn == {"a/two.bin"}
        return
    with pytest.raises(NotServedError, match="another hash than the release has"):
        publisher.release()
    assert_stays(publisher, public, FIRST)


def test_the_public_file_cannot_be_written_and_the_release_before_stays(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FIRST)
    aside = tmp_path / "aside"
    publisher.torrent.parent.rename(aside)
    with pytest.raises(TreeError, match=r"could not write .*pack.torrent"):
        publisher.release({"new": 5})
    aside.rename(publisher.torrent.parent)
    assert publisher.release().number == 2


def test_a_public_file_that_others_changed_is_restored_at_the_start(publisher: Publisher) -> None:
    publisher.open().release(FIRST)
    public = publisher.torrent.read_bytes()
    publisher.torrent.write_bytes(b"nonsense")
    publisher.open().publication.resume()
    assert publisher.torrent.read_bytes() == public
    assert "torrent_restored" in publisher.notices(Level.WARNING)


def test_a_link_to_the_public_file_stays_a_link_and_its_mode_stays(
    publisher: Publisher, tmp_path: Path
) -> None:
    real = tmp_path / "real.torrent"
    real.write_bytes(b"")
    real.chmod(0o604)
    publisher.torrent.symlink_to(real)
    publisher.open().release(FIRST)
    assert publisher.torrent.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o604
    assert parse_metainfo(real.read_bytes()).name == "pack"


@pytest.mark.parametrize("super_seeding", [False, True])
def test_without_a_session_of_its_own_a_release_is_made_and_not_seeded(
    publisher: Publisher, super_seeding: bool
) -> None:
    publisher.configure(super_seeding=super_seeding)
    publisher.open(seed=False)
    report = publisher.release(FIRST)
    assert report.changed
    assert os.listdir(publisher.state / "releases")
    assert tree_bytes(publisher.folder).keys() >= {"c", "d"}
    assert not (publisher.folder / ".torsync").exists(), "nothing is put into a published folder"


def test_super_seeding_gives_all_pieces_to_the_only_leecher(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.configure(super_seeding=True)
    publisher.open().release(FIRST)
    with ThreadPoolExecutor(1) as pool:
        leeching = pool.submit(publisher.assert_leecher_gets, tmp_path / "leecher")
        while not leeching.done():
            publisher.publication.heed()
            wait([leeching], timeout=0.1)
        leeching.result()


def test_a_one_off_elsewhere_leaves_the_publication_alone(
    publisher: Publisher, tmp_path: Path
) -> None:
    configured = publisher.config
    publisher.configure(trackers=("http://127.0.0.1:9/announce",))
    publisher.open(seed=False).release(FIRST)
    public = publisher.torrent.read_bytes()
    publisher.config = replace(configured, torrent=tmp_path / "else.torrent", is_one_off=True)
    report = publisher.open(seed=False).release()
    assert (report.changed, report.number, report.bytes_hashed) == (True, 1, 0)
    assert not publisher.notices(Level.WARNING)
    assert publisher.torrent.read_bytes() == public
    publisher.config = replace(configured, trackers=("http://127.0.0.1:9/announce",))
    report = publisher.open(seed=False).release()
    assert (report.changed, report.number) == (False, 1)
    assert not publisher.notices(Level.WARNING)


def test_a_torrent_that_is_configured_elsewhere_is_written_there(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open(seed=False).release(FIRST)
    moved = tmp_path / "elsewhere" / "pack.torrent"
    moved.parent.mkdir()
    publisher.configure(torrent=moved)
    for _ in range(2):
        assert not publisher.open(seed=False).release().changed
    for name in ("pack.torrent", "pack.torrent.hints"):
        here, there = publisher.torrent.with_name(name), moved.with_name(name)
        assert here.read_bytes() == there.read_bytes()
    assert not publisher.notices(Level.WARNING)
    assert publisher.notices(Level.INFO).count("torrent_restored") == 1


def test_a_first_signature_can_be_read_by_those_who_can_read_the_torrent(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open(seed=False).release(FIRST)
    publisher.torrent.chmod(0o604)
    generate_keys(tmp_path / "key")
    publisher.configure(secret_key=tmp_path / "key")
    publisher.open(seed=False).release()
    signature = publisher.torrent.with_name("pack.torrent.minisig")
    assert signature.stat().st_mode & 0o777 == 0o604


def test_a_file_is_no_folder(publisher: Publisher) -> None:
    publisher.write({"file": 5})
    publisher.configure(path=publisher.folder / "file")
    with pytest.raises(TreeError, match="is not a folder"):
        publisher.open(seed=False)


@pytest.mark.parametrize("kept", [0, 20, 200, 10_000])
def test_a_signature_that_is_damaged_in_the_state_is_made_anew(
    publisher: Publisher, tmp_path: Path, kept: int
) -> None:
    key = generate_keys(tmp_path / "key").public_key
    publisher.configure(secret_key=tmp_path / "key")
    publisher.open(seed=False).release(FIRST)
    (file,) = publisher.state.glob("releases/*.minisig")
    file.write_bytes(file.read_bytes()[:kept])
    report = publisher.open(seed=False).release()
    assert report.changed == (kept < 10_000)
    signature = publisher.torrent.with_name("pack.torrent.minisig").read_bytes()
    check_signature(publisher.torrent.read_bytes(), signature, (key,), "pack.torrent")


def test_a_first_release_that_cannot_be_written_is_not_hashed_first(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.write(FIRST)
    publisher.configure(torrent=tmp_path / "nowhere" / "pack.torrent")
    publisher.open(seed=False)
    with pytest.raises(TreeError, match="could not write"):
        publisher.release()
    assert not (publisher.state / "hashes.sqlite").exists()
