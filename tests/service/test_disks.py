"""A tree's disk goes away and comes back, turns read-only, fills up; and so does the state's."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.leecher import DownloadError, assert_seeds, libtorrent_download
from tests.support.processes import HOST, wait_until
from tests.support.publishers import PIECE, wait_for_release
from tests.support.running import (
    codes,
    end,
    stages,
    wait_for_notice,
    wait_until_let_go,
)
from tests.support.trees import assert_same_tree
from tests.support.updates import make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Publisher, Running
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "b": 300}
SECOND: dict[str, Content] = {"a/one.bin": 41 * PIECE, "c": 500}


def mount(source: Path, target: Path) -> None:
    """Show a file system of its own at another place, too, as a disk that is put in."""
    target.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)


def unmount(target: Path) -> None:
    subprocess.run(["umount", "--lazy", str(target)], check=True)


@contextmanager
def disk(folder: Path, size: str = "64m") -> Iterator[Path]:
    """A file system that stays while it is mounted at other places and unmounted there."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        yield folder
    finally:
        unmount(folder)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Any]:
    """Mount the disk at a place, where it is unmounted at the end: ``mounted(target)``."""
    with ExitStack() as stack:
        source = stack.enter_context(disk(tmp_path / "disk"))

        def at(target: Path) -> Path:
            mount(source, target)
            stack.callback(lambda: subprocess.run(["umount", "--lazy", target], stderr=-3))
            return source

        yield at


def begin(torsync: Publishing, publisher: Publisher, folder: Path) -> tuple[bytes, Running]:
    """A service that seeds its first release."""
    torrent = make(folder, FIRST)
    publisher.publish(torrent, folder)
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    return torrent, service


def test_an_unmounted_disk_is_let_go_between_polls_and_seeded_at_once_when_it_is_back(
    tmp_path: Path, torsync: Publishing, publisher: Publisher, mounted: Any
) -> None:
    """Though nobody polls for hours, and though the remote is away when it comes back."""
    torsync.subscribe(interval="1h")
    device = os.stat(mounted(torsync.tree)).st_dev
    torrent, service = begin(torsync, publisher, tmp_path / "one")
    heard = len(service.objects())
    unmount(torsync.tree)
    refusal = wait_for_notice(service, "refused", since=heard)
    assert "not mounted" in refusal["message"]
    wait_until_let_go(service, device)
    assert os.listdir(torsync.tree) == []

    publisher.seeder.remove(torrent)
    publisher.file.unlink()
    heard = len(service.objects())
    mounted(torsync.tree)
    service.wait_for_stage("pack", "seeding", since=heard)
    assert_same_tree(torsync.tree, tmp_path / "one")
    assert_seeds(torsync.port, torrent, tmp_path / "one", tmp_path / "leecher")
    assert "verifying" not in stages(service, since=heard), "nothing is hashed"
    end(service)


def test_a_paused_subscription_lets_its_disk_be_unmounted(
    tmp_path: Path, torsync: Publishing, publisher: Publisher, mounted: Any
) -> None:
    device = os.stat(mounted(torsync.tree)).st_dev
    _torrent, service = begin(torsync, publisher, tmp_path / "one")
    torsync.run("pause", "pack").assert_ok()
    wait_until_let_go(service, device)
    unmount(torsync.tree)
    heard = len(service.objects())
    torsync.run("resume", "pack").assert_ok()
    wait_for_notice(service, "refused", since=heard)
    heard = len(service.objects())
    mounted(torsync.tree)
    service.wait_for_stage("pack", "seeding", since=heard)
    end(service)


def test_a_disk_that_is_unmounted_while_a_release_is_fetched_is_written_to_no_more(
    tmp_path: Path, torsync: Publishing, publisher: Publisher, mounted: Any
) -> None:
    torsync.subscribe(interval="1h")
    size = 200 * PIECE
    folder = tmp_path / "one"
    torrent = make(folder, {"x": size})
    device = os.stat(mounted(torsync.tree)).st_dev
    publisher.publish(torrent, folder, upload_limit=size // 2)
    service = torsync.start("run")
    service.wait_for_download(at_least=size // 8)
    unmount(torsync.tree)
    heard = len(service.objects())
    told = wait_for_notice(service, "tree")
    assert "unmounted" in told["message"]
    wait_until_let_go(service, device)
    assert os.listdir(torsync.tree) == []
    mounted(torsync.tree)
    report = service.wait_for(
        lambda one: one["type"] == "subscription", "it goes on", since=heard, deadline_s=40
    )
    assert_same_tree(torsync.tree, folder)
    assert report["bytes_fetched"] <= size - size // 8 + 16 * PIECE, "what was there is used"
    end(service)


def test_a_disk_that_is_mounted_after_the_start_of_the_service_is_found_at_once(
    tmp_path: Path, torsync: Publishing, publisher: Publisher, mounted: Any
) -> None:
    torsync.subscribe(interval="1h")
    mounted(torsync.tree)
    torrent, service = begin(torsync, publisher, tmp_path / "one")
    end(service)
    unmount(torsync.tree)
    service = torsync.start("run")
    wait_for_notice(service, "refused")
    heard = len(service.objects())
    mounted(torsync.tree)
    service.wait_for_stage("pack", "seeding", since=heard)
    publisher.seeder.remove(torrent)
    assert_seeds(torsync.port, torrent, tmp_path / "one", tmp_path / "leecher")
    end(service)


def test_a_published_folder_s_disk_is_let_go_and_published_again_when_it_is_back(
    tmp_path: Path, torsync: Publishing, mounted: Any
) -> None:
    content = torsync.content()
    device = os.stat(mounted(content)).st_dev
    torsync.publish("pack", FIRST)
    service = torsync.start("run")
    wait_for_release(service)
    service.wait_for_stage("pack", "seeding")
    public = torsync.torrent().read_bytes()
    heard = len(service.objects())
    unmount(content)
    wait_for_notice(service, "refused", since=heard)
    wait_until_let_go(service, device)
    assert torsync.torrent().read_bytes() == public
    heard = len(service.objects())
    mounted(content)
    service.wait_for_stage("pack", "seeding", since=heard)
    wait_until(lambda: bool(seeds(torsync.port, public, content, tmp_path)), "it is seeded again")
    assert torsync.torrent().read_bytes() == public
    end(service)


def seeds(port: int, torrent: bytes, content: Path, scratch: Path) -> bool:
    """Whether a stranger can have all of it now."""
    target = scratch / f"leecher-{len(list(scratch.iterdir()))}"
    try:
        libtorrent_download(torrent, target, peers=[(HOST, port)], timeout_s=3)
    except DownloadError:
        return False
    assert_same_tree(next(target.iterdir()), content)
    return True


def fill(filler: Path) -> None:
    """Write to a disk until it is full."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_an_update_goes_on_once_a_full_disk_has_room(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with disk(torsync.tree, size="12m") as tree:
        torrent, service = begin(torsync, publisher, tmp_path / "one")
        filler = tree / "filler"
        fill(filler)
        heard = len(service.objects())
        publisher.publish(make(tmp_path / "two", SECOND), tmp_path / "two")
        wait_for_notice(service, "refused", since=heard)
        publisher.seeder.remove(torrent)
        assert_seeds(torsync.port, torrent, tmp_path / "one", tmp_path / "leecher")
        filler.unlink()
        service.wait_for(lambda one: one["type"] == "subscription", "it goes on", since=heard)
        assert_same_tree(tree, tmp_path / "two")
        end(service)


def test_the_state_s_disk_may_be_full_for_a_while(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    with disk(torsync.state_dir, size="4m") as state:
        _torrent, service = begin(torsync, publisher, tmp_path / "one")
        filler = state / "filler"
        fill(filler)
        heard = len(service.objects())
        publisher.publish(make(tmp_path / "two", SECOND), tmp_path / "two")
        wait_for_notice(service, "state", since=heard)
        filler.unlink()
        service.wait_for(lambda one: one["type"] == "subscription", "it goes on", since=heard)
        assert_same_tree(torsync.tree, tmp_path / "two")
        assert "crashed" not in codes(service)
        end(service)


def test_the_state_s_disk_may_go_away_for_a_while(
    tmp_path: Path, torsync: Publishing, publisher: Publisher, mounted: Any
) -> None:
    mounted(torsync.state_dir)
    _torrent, service = begin(torsync, publisher, tmp_path / "one")
    unmount(torsync.state_dir)
    mounted(torsync.state_dir)
    heard = len(service.objects())
    publisher.publish(make(tmp_path / "two", SECOND), tmp_path / "two")
    service.wait_for(lambda one: one["type"] == "subscription", "it goes on", since=heard)
    assert_same_tree(torsync.tree, tmp_path / "two")
    end(service)
