"""``snapshot = true``: what is published is a clone that edits do not reach."""

from __future__ import annotations

import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support.disks import disk
from tests.support.leecher import assert_seeds, libtorrent_download
from tests.support.processes import HOST, free_port
from tests.support.publishers import (
    KIB,
    MIB,
    NAME,
    all_errors,
    paths_in,
    publication,
    released,
    wait_for_release,
)
from tests.support.trees import (
    assert_same_tree,
    edit_in_place,
    random_bytes,
    tree_bytes,
    write_tree,
)
from tests.swarm.test_file_systems import used

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.publishers import Publishing
    from tests.support.trees import Content

SIZE = 4 * MIB
FILES: dict[str, Content] = {"a": SIZE, "b": SIZE, "run": ("exec", 50), "l": ("link", "a")}


@pytest.fixture(params=["xfs", "btrfs"])
def cloning(
    request: pytest.FixtureRequest, publishing: Publishing, tmp_path: Path
) -> Iterator[Publishing]:
    """The folder is on a file system with reflinks."""
    with disk(request.param, tmp_path / "image", publishing.content()):
        publishing.publish(entries=FILES, snapshot=True, watch=False)
        yield publishing
        publishing.close()


def test_edits_do_not_disturb_a_download_of_the_release(
    cloning: Publishing, tmp_path: Path
) -> None:
    folder = cloning.content()
    service = cloning.start("run")
    service.wait_for_stage(NAME, "seeding")
    torrent = cloning.torrent().read_bytes()
    old = tree_bytes(folder)
    with (folder / "a").open("r+b") as file:
        file.write(random_bytes(SIZE, "other"))
    (folder / "b").unlink()
    (folder / "run").write_bytes(b"")
    peer = (HOST, cloning.port)
    libtorrent_download(torrent, tmp_path / "leech", peers=[peer])
    assert tree_bytes(tmp_path / "leech" / NAME) == old
    report = released(cloning.run("check-now", NAME))
    assert report["removed_paths"] == ["b"]
    assert_seeds(cloning.port, cloning.torrent().read_bytes(), folder, tmp_path / "second")
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


def test_it_seeds_the_old_content_after_a_restart_without_hashing(
    cloning: Publishing, tmp_path: Path
) -> None:
    folder = cloning.content()
    old = tree_bytes(folder)
    first = released(cloning.run("check-now"))
    assert first["bytes_hashed"] == first["bytes_total"]
    torrent = cloning.torrent().read_bytes()
    service = cloning.start("run")
    service.wait_for_stage(NAME, "seeding")
    assert publication(cloning.run("check-now", NAME).assert_ok())["bytes_hashed"] == 0
    edit_in_place(folder / "a")
    libtorrent_download(torrent, tmp_path / "leech", peers=[(HOST, cloning.port)])
    assert tree_bytes(tmp_path / "leech" / NAME) == old


def test_clones_of_old_releases_do_not_pile_up_and_are_not_published(cloning: Publishing) -> None:
    folder = cloning.content()
    for number in range(3):
        write_tree(folder, {"a": SIZE}, seed=number)
        released(cloning.run("check-now"))
    before = used(folder)
    for number in range(6):
        write_tree(folder, {"a": SIZE}, seed=10 + number)
        report = released(cloning.run("check-now"))
        assert report["bytes_hashed"] == SIZE
    assert used(folder) - before < 2 * SIZE
    assert paths_in(cloning.torrent().read_bytes()) == set(FILES)


def test_with_watching_an_edit_is_a_release_of_its_own(cloning: Publishing, tmp_path: Path) -> None:
    folder = cloning.publish(watch=True)
    service = cloning.start("run")
    service.wait_for_stage(NAME, "seeding")
    heard = len(service.objects())
    edit_in_place(folder / "a")
    report = wait_for_release(service, since=heard)
    assert (report["modified_paths"], report["bytes_hashed"]) == (["a"], SIZE)
    service.wait_for_stage(NAME, "seeding", since=heard)
    assert_seeds(cloning.port, cloning.torrent().read_bytes(), folder, tmp_path / "leech")


def test_the_feed_serves_the_clone(cloning: Publishing) -> None:
    port = free_port()
    cloning.feed = {"listen": f"{HOST}:{port}"}
    folder = cloning.content()
    service = cloning.start("run")
    report = wait_for_release(service)
    service.wait_for_stage(NAME, "seeding")
    old = (folder / "b").read_bytes()
    edit_in_place(folder / "b")
    url = f"http://{HOST}:{port}/content/{report['info_hash']}/{NAME}/b"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == old


@pytest.mark.parametrize("kind", ["ext4"])
def test_without_reflinks_it_says_what_to_do_and_publishes_nothing(
    publishing: Publishing, tmp_path: Path, kind: str
) -> None:
    with disk(kind, tmp_path / "image", publishing.content()):
        publishing.publish(entries={"a": 100 * KIB}, snapshot=True)
        outcome = publishing.run("check-now")
        assert outcome.exit_code in {1, 2}
        assert str(publishing.content()) in all_errors(outcome)
        assert "snapshot" in outcome.error["message"] + outcome.error["hint"]
        assert "snapshot = false" in outcome.error["hint"] or "btrfs" in outcome.error["hint"]
        assert not publishing.torrent().exists()
        publishing.publish(snapshot=False)
        released(publishing.run("check-now"))


def test_a_snapshot_can_be_turned_on_and_off(cloning: Publishing, tmp_path: Path) -> None:
    folder = cloning.content()
    first = released(cloning.run("check-now"))
    for snapshot in (False, True):
        cloning.publish(snapshot=snapshot)
        service = cloning.start("run")
        service.wait_for_stage(NAME, "seeding")
        torrent = cloning.torrent().read_bytes()
        report = publication(cloning.run("check-now", NAME).assert_ok())
        assert report["info_hash"] == first["info_hash"]
        target = tmp_path / f"leech {snapshot}"
        libtorrent_download(torrent, target, peers=[(HOST, cloning.port)])
        assert_same_tree(target / NAME, folder)
        service.stop(signal.SIGTERM, within_s=5)
