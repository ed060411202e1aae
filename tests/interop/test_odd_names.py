"""Names that libtorrent changes: torsync subscribers have them right, whatever they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.nginx import nginx
from tests.support.processes import HOST, free_port
from tests.support.publishers import NAME, Publishing, released, subscriber
from tests.support.torrents import edited
from tests.support.trees import assert_same_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.trees import Content

KIB = 1024
ENTRIES: dict[str, Content] = {
    "plain": 1000,
    "back\\slash/a\\b": 40 * KIB,
    "👨\u200d👩\u200d👧/photo.jpg": 70 * KIB,
    "a\nb": 100,
    f"{'long' * 62}.bin": 20 * KIB,
    "zero\u200bwidth": 10,
}


@pytest.fixture
def publishing(tmp_path: Path) -> Iterator[Publishing]:
    """The program as a publisher, with a configuration that holds no publication yet."""
    with Publishing(tmp_path / "publisher") as program:
        yield program


@pytest.mark.parametrize("format_", ["v1", pytest.param("hybrid", marks=pytest.mark.long)])
def test_files_of_odd_names_come_from_the_feed_alone(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    publishing.feed = {"listen": f"{HOST}:{free_port()}"}
    folder = publishing.publish(entries=ENTRIES, format=format_)
    publishing.start("run").wait_for_stage(NAME, "seeding")
    torrent = tmp_path / "without nodes.torrent"
    torrent.write_bytes(edited(publishing.torrent().read_bytes(), outer={b"nodes": None}))
    with subscriber(tmp_path / "one", publishing, url=torrent.as_uri(), peers=[]) as torsync:
        torsync.run("check-now", "--timeout", "60s").assert_ok()
        assert_same_tree(torsync.tree, folder)


def test_files_of_odd_names_come_from_peers(publishing: Publishing, tmp_path: Path) -> None:
    folder = publishing.publish(entries=ENTRIES)
    released(publishing.run("check-now"))
    publishing.start("run").wait_for_stage(NAME, "seeding")
    with subscriber(tmp_path / "one", publishing) as torsync:
        torsync.run("check-now", "--timeout", "60s").assert_ok()
        assert_same_tree(torsync.tree, folder)


@pytest.mark.programs
def test_a_publisher_hears_what_a_web_server_is_asked_for(
    publishing: Publishing, tmp_path: Path
) -> None:
    folder = publishing.publish(entries={"plain": 100, "👨\u200d👩": 100})
    (tmp_path / NAME).symlink_to(folder, target_is_directory=True)
    with nginx(tmp_path) as server:
        publishing.publish(web_seeds=[f"{server.url}/"])
        outcome = publishing.run("check-now")
        released(outcome)
        (said,) = [one for one in outcome.notices if one["code"] == "web_seed_names"]
        assert said["level"] == "warning"
        assert repr("👨\u200d👩") in said["message"]
        assert f"{NAME}/👨👩" in said["message"]
        (folder / "👨\u200d👩").rename(folder / "renamed")
        again = publishing.run("check-now").assert_ok()
        assert "web_seed_names" not in [one["code"] for one in again.notices]
