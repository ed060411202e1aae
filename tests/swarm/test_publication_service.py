"""Publications in the service: an edit reaches subscribers by itself, and one stops no other."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import HOST, free_port
from tests.support.services import Service
from tests.support.trees import assert_same_tree, edit_in_place, write_tree
from torsync.model.errors import FeedError, RefusedError, ServiceStoppedError
from torsync.model.events import Level, Stage
from torsync.model.orders import MakeRelease, Terms
from torsync.model.publish_reports import PublishReport
from torsync.publish.keys import generate_keys
from torsync.publish.state import publication_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.trees import Content

PIECE = 16 * 1024
FILES: dict[str, Content] = {"a/one.bin": 40 * PIECE, "a/two.bin": 30 * PIECE, "c": 100}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", FILES)


def test_an_edit_reaches_two_subscribers_by_itself_signed_and_through_the_feed_alone(
    tmp_path: Path, folder: Path
) -> None:
    """No tracker, no DHT, no LSD, and nobody knows of anybody but by the feed's URL."""
    port = free_port()
    service = Service(tmp_path, feed_port=port)
    key = generate_keys(tmp_path / "key").public_key
    service.publish(folder, secret_key=tmp_path / "key")
    url = f"http://{HOST}:{port}/pack.torrent"
    with service:
        service.wait_for_release(1)
        subscribers = Service(tmp_path / "others")
        trees = [tmp_path / "tree one", tmp_path / "tree two"]
        for tree in trees:
            subscribers.subscribe(tree.name, url, tree, public_keys=(key,))
        with subscribers:
            subscribers.wait(lambda: len(subscribers.checks) == 2, "both have synced")
            for tree in trees:
                assert_same_tree(tree, folder)
            edit_in_place(folder / "a/two.bin")
            write_tree(folder, {"new": 20})
            service.wait_for_release(2)
            subscribers.wait(lambda: len(subscribers.checks) == 4, "both have updated")
            for tree in trees:
                assert_same_tree(tree, folder)
    assert service.notices("pack", Level.ERROR, Level.WARNING) == []


def test_subscribers_find_the_publisher_without_tracker_dht_lsd_and_web_seed(
    tmp_path: Path, folder: Path
) -> None:
    service = Service(tmp_path)
    service.publish(folder, torrent=tmp_path / "pack.torrent")
    with service:
        service.wait_for_release(1)
        subscribers = Service(tmp_path / "others")
        subscribers.subscribe("tree", (tmp_path / "pack.torrent").as_uri(), tmp_path / "tree")
        with subscribers:
            subscribers.wait(lambda: len(subscribers.checks) == 1, "it has synced")
        assert_same_tree(tmp_path / "tree", folder)


def test_a_folder_that_another_one_takes_the_place_of_is_released_and_watched(
    tmp_path: Path, folder: Path
) -> None:
    service = Service(tmp_path)
    service.publish(folder, torrent=tmp_path / "pack.torrent")
    with service:
        service.wait_for_release(1)
        other = write_tree(tmp_path / "other", {**FILES, "new": 20})
        folder.rename(tmp_path / "old")
        other.rename(folder)
        service.wait_for_release(2)
        edit_in_place(folder / "a/two.bin")
        service.wait_for_release(3)
    assert service.releases[-1].modified == ["a/two.bin"]


def test_without_watching_an_edit_is_released_when_it_is_asked_for(
    tmp_path: Path, folder: Path
) -> None:
    service = Service(tmp_path)
    service.publish(folder, watch=False, torrent=tmp_path / "pack.torrent")
    with service:
        service.wait_for_stage("pack", Stage.SEEDING)
        edit_in_place(folder / "a/two.bin")
        report = service.order("pack", MakeRelease(dry_run=True))
        assert isinstance(report, PublishReport)
        assert (report.changed, report.dry_run, report.modified) == (True, True, ["a/two.bin"])
        assert [one.number for one in service.releases] == [1]
        report = service.order("pack", MakeRelease())
        assert isinstance(report, PublishReport)
        assert (report.number, report.modified) == (2, ["a/two.bin"])
        os.truncate(folder / "a/one.bin", 0)
        os.truncate(folder / "a/two.bin", 0)
        os.truncate(folder / "c", 0)
        with pytest.raises(RefusedError, match="is its disk not mounted"):
            service.order("pack", MakeRelease())
    with pytest.raises(ServiceStoppedError):
        service.desk.give("pack", MakeRelease(), Terms())


def test_one_that_cannot_be_published_stops_no_other(tmp_path: Path, folder: Path) -> None:
    service = Service(tmp_path)
    service.publish(folder, torrent=tmp_path / "pack.torrent")
    missing = service.publish(tmp_path / "missing", torrent=tmp_path / "missing.torrent")
    bad = write_tree(tmp_path / "bad", {"one": 5, "two": 5})
    service.publish(bad, torrent=tmp_path / "nowhere" / "bad.torrent")
    with service:
        service.wait_for_release(1)
        service.wait(lambda: service.notices("missing", Level.ERROR) == ["tree"], "missing is told")
        service.wait(lambda: service.notices("bad", Level.ERROR) == ["tree"], "bad is told")
        write_tree(missing.path, {"one": 500})
        state = publication_folder(service.state_dir, missing.path)
        service.wait(state.is_dir, "its state is there")
        service.order("missing", MakeRelease())  # what is asked for is tried at once
        service.wait_for_release(1, "missing")
        write_tree(folder, {"new": 20})
        service.wait_for_release(2)


def test_it_goes_on_where_it_stopped(tmp_path: Path, folder: Path) -> None:
    service = Service(tmp_path)
    service.publish(folder, torrent=tmp_path / "pack.torrent")
    with service:
        service.wait_for_release(1)
    public = (tmp_path / "pack.torrent").read_bytes()
    with service:
        service.wait_for_stage("pack", Stage.SEEDING)
    assert (tmp_path / "pack.torrent").read_bytes() == public
    assert [one.number for one in service.releases] == [1]
    write_tree(folder, {"new": 20})
    with service:
        service.wait_for_release(2)


def test_a_feed_that_cannot_listen_is_told_at_the_start(tmp_path: Path, folder: Path) -> None:
    port = free_port()
    one, other = Service(tmp_path / "one", feed_port=port), Service(tmp_path / "b", feed_port=port)
    one.publish(folder)
    other.publish(write_tree(tmp_path / "more", FILES))
    with one:
        one.wait_for_release(1)
        with pytest.raises(FeedError), other:
            other._thread.join(10)
    assert other.releases == []


def test_a_folder_that_changes_all_the_time_is_released(tmp_path: Path, folder: Path) -> None:
    service = Service(tmp_path)
    service.publish(folder, torrent=tmp_path / "pack.torrent", settle_s=1.0)
    done = threading.Event()

    def keep_editing() -> None:
        number = 0
        while not done.wait(0.2):
            number += 1
            (folder / f"file-{number % 5}").write_text(f"{number}")

    editor = threading.Thread(target=keep_editing)
    with service:
        service.wait_for_release(1)
        editor.start()
        try:
            service.wait_for_release(2)
        finally:
            done.set()
            editor.join()
