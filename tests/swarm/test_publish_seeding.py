"""What ``torsync run`` seeds of a publication: only what was published, and only by reading."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import libtorrent as lt
import pytest

from tests.support.cli import visible
from tests.support.leecher import SETTINGS, DownloadError, assert_seeds, libtorrent_download
from tests.support.privileges import unprivileged_environment
from tests.support.processes import HOST, wait_until
from tests.support.publishers import (
    MIB,
    NAME,
    PIECE,
    publication,
    released,
    subscriber,
    wait_for_release,
)
from tests.support.seeders import LibtorrentSeeder
from tests.support.trees import assert_same_tree, edit_in_place, random_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Running
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

FILES: dict[str, Content] = {"big": 20 * PIECE + 1, "two": 6 * PIECE, "d/small": 100, "d/x": 200}


@pytest.fixture
def service(publishing: Publishing) -> Running:
    """Seeds its first release."""
    publishing.publish(entries=FILES)
    running = publishing.start("run")
    running.wait_for_stage(NAME, "seeding")
    return running


def newest(publishing: Publishing) -> bytes:
    return publishing.torrent().read_bytes()


def restarted(publishing: Publishing, service: Running) -> Running:
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0
    again = publishing.start("run")
    again.wait_for_stage(NAME, "seeding")
    return again


class Leech:
    """A slow libtorrent download that notes failed hashes and bans; read with ``stop``."""

    def __init__(self, torrent: bytes, target: Path, port: int, *, rate: int) -> None:
        categories = lt.alert_category
        self.session = lt.session(
            {**SETTINGS, "alert_mask": categories.error | categories.status | categories.peer}
        )
        params = lt.load_torrent_buffer(torrent)
        params.save_path = str(target)
        params.peers = [(HOST, port)]
        params.url_seeds = []
        params.download_limit = rate
        self.handle = self.session.add_torrent(params)

    def wait_for(self, size: int) -> None:
        wait_until(lambda: self.handle.status().total_done >= size, f"{size} bytes are here")

    def unlimit(self) -> None:
        self.handle.set_download_limit(0)

    def trouble(self) -> list[str]:
        """What peers were blamed for, so far."""
        kinds = (lt.hash_failed_alert, lt.peer_ban_alert)
        return [one.message() for one in self.session.pop_alerts() if isinstance(one, kinds)]


def _overwritten(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.write(random_bytes(file.stat().st_size, "other"))


def _rewritten(file: Path) -> None:
    file.write_bytes(random_bytes(file.stat().st_size, "other"))


edits = pytest.mark.parametrize(
    ("edit", "format_"),
    [
        pytest.param(_overwritten, "v1", id="overwritten-v1"),
        pytest.param(_overwritten, "v2", id="overwritten-v2", marks=pytest.mark.long),
        pytest.param(_rewritten, "v1", id="rewritten-v1", marks=pytest.mark.long),
        pytest.param(_rewritten, "v2", id="rewritten-v2"),
    ],
)


@edits
def test_a_file_edited_while_it_is_fetched_does_not_get_the_publisher_banned(
    publishing: Publishing, tmp_path: Path, format_: str, edit: Callable[[Path], None]
) -> None:
    size = 4 * MIB
    folder = publishing.publish(
        entries={"a": size, "b": size}, format=format_, piece_size="16 KiB", settle="2s"
    )
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    # Slow: until the service has heard of the edit, hardly a piece of it is asked for.
    leech = Leech(newest(publishing), tmp_path / "leech", publishing.port, rate=MIB // 8)
    leech.wait_for(MIB // 4)
    heard = len(service.objects())
    edit(folder / "a")
    wait_for_release(service, since=heard)
    assert leech.trouble() == []
    service.wait_for_stage(NAME, "seeding", since=heard)
    assert_seeds(publishing.port, newest(publishing), folder, tmp_path / "second")


@edits
def test_without_watching_an_edit_that_stat_sees_is_withdrawn_and_the_rest_is_seeded(
    publishing: Publishing, tmp_path: Path, format_: str, edit: Callable[[Path], None]
) -> None:
    folder = publishing.publish(
        entries={"a": MIB, "b": MIB}, format=format_, watch=False, piece_size="16 KiB"
    )
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    torrent = newest(publishing)
    edit(folder / "a")
    told = service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "withdrawn", "it is withdrawn"
    )
    assert "'a'" in told["message"]
    leech = Leech(torrent, tmp_path / "leech", publishing.port, rate=0)
    wait_until(
        lambda: leech.handle.status().num_pieces == MIB // PIECE, "all but the edited file is here"
    )
    assert leech.trouble() == []
    assert newest(publishing) == torrent
    released(publishing.run("check-now", NAME))
    assert_seeds(publishing.port, newest(publishing), folder, tmp_path / "second")


def test_a_file_deleted_while_it_is_seeded_leads_to_a_release_without_it(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    heard = len(service.objects())
    (publishing.content() / "big").unlink()
    report = wait_for_release(service, since=heard)
    assert report["removed_paths"] == ["big"]
    service.wait_for_stage(NAME, "seeding", since=heard)
    assert_seeds(publishing.port, newest(publishing), publishing.content(), tmp_path / "leecher")
    errors = [one for one in service.objects() if one.get("level") == "error"]
    assert errors == []


def test_it_seeds_after_a_restart_without_hashing_and_without_a_new_release(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    torrent, looks = newest(publishing), visible(publishing.content())
    again = restarted(publishing, service)
    assert_seeds(publishing.port, torrent, publishing.content(), tmp_path / "leecher")
    assert "hashing" not in {one.get("stage") for one in again.objects()}
    assert [one["bytes_hashed"] for one in again.objects() if one["type"] == "publication"] in (
        [],
        [0],
    )
    report = publication(publishing.run("check-now", NAME).assert_ok())
    assert (report["changed"], report["bytes_hashed"], report["number"]) == (False, 0, 1)
    assert newest(publishing) == torrent
    assert visible(publishing.content()) == looks


def test_it_goes_on_after_being_killed(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    torrent = newest(publishing)
    service.kill()
    again = publishing.start("run")
    again.wait_for_stage(NAME, "seeding")
    assert_seeds(publishing.port, torrent, publishing.content(), tmp_path / "leecher")
    report = publication(publishing.run("check-now", NAME).assert_ok())
    assert (report["changed"], report["bytes_hashed"]) == (False, 0)


def test_what_was_edited_while_it_was_down_is_released_and_never_sent_as_the_old_one(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    old = newest(publishing)
    service.stop(signal.SIGTERM, within_s=5)
    edit_in_place(publishing.content() / "two", set_mtime_back=True)
    again = publishing.start("run")
    report = wait_for_release(again)
    assert report["modified_paths"] == ["two"]
    assert report["bytes_hashed"] == 6 * PIECE
    again.wait_for_stage(NAME, "seeding")
    with pytest.raises(DownloadError, match="bytes in"):
        libtorrent_download(old, tmp_path / "old", peers=[(HOST, publishing.port)], timeout_s=2)
    assert_seeds(publishing.port, newest(publishing), publishing.content(), tmp_path / "leecher")


def test_one_release_takes_the_place_of_the_other_in_the_session(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    """The release before is given up once the new one is public."""
    old = newest(publishing)
    heard = len(service.objects())
    edit_in_place(publishing.content() / "two")
    wait_for_release(service, since=heard)
    with pytest.raises(DownloadError, match="0 of"):
        libtorrent_download(old, tmp_path / "old", peers=[(HOST, publishing.port)], timeout_s=3)


@pytest.mark.parametrize("count", [2])
def test_super_seeding_serves_everything_to_subscribers(
    publishing: Publishing, tmp_path: Path, count: int
) -> None:
    folder = publishing.publish(entries=FILES, super_seeding=True)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    with ExitStack() as stack:
        subscribers = [
            stack.enter_context(subscriber(tmp_path / f"{number}", publishing))
            for number in range(count)
        ]
        syncs = [torsync.start("check-now", "--timeout", "30s") for torsync in subscribers]
        for torsync, sync in zip(subscribers, syncs, strict=True):
            sync.wait(40).assert_ok()
            assert_same_tree(torsync.tree, folder)


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_peers_that_claim_and_send_other_content_never_change_the_publishers_folder(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    folder = publishing.publish(entries={"a": MIB, "b/c": 5, "empty": 0}, format=format_)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    before = visible(folder)
    torrent = publishing.torrent().read_bytes()
    other = write_tree(
        tmp_path / "hostile" / NAME, {"a": random_bytes(MIB, "evil"), "b/c": b"evil!"}
    )
    (other / "empty").touch()
    with LibtorrentSeeder() as hostile:
        hostile.add(torrent, tmp_path / "hostile", check=False)
        # Damaged on the publisher's side, it would be tempted to fetch.
        (folder / "b/c").unlink()
        hostile.connect(torrent, (HOST, publishing.port))
        wait_until(
            lambda: any(
                one["type"] == "publication" and one["number"] == 2 for one in service.objects()
            ),
            "the next release is there",
        )
        hostile.connect(torrent, (HOST, publishing.port))
        publishing.run("check-now", NAME).assert_ok()
        assert hostile.uploaded(torrent) == 0
    after = visible(folder)
    del before["b/c"]
    changed = {path for path in before if path != "b" and before[path] != after[path]}
    assert changed == set()
    assert after.keys() == before.keys()


def test_the_publishers_folder_is_never_written(publishing: Publishing, tmp_path: Path) -> None:
    folder = publishing.publish(entries=FILES)
    before = visible(folder)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    with subscriber(tmp_path / "s", publishing) as torsync:
        torsync.run("check-now").assert_ok()
    publishing.run("check-now", NAME).assert_ok()
    service.stop(signal.SIGTERM, within_s=5)
    assert visible(folder) == before


def test_a_read_only_folder_is_published(publishing: Publishing, tmp_path: Path) -> None:
    folder = publishing.publish(entries=FILES)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = unprivileged_environment(tmp_path / "site")
    try:
        released(publishing.run("check-now", environment=environment))
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
