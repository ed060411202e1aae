"""The feed as the only source of a torrent (BEP 19), for clients as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.feeds import released, running_feed, with_web_seed
from tests.support.leecher import DownloadError, libtorrent_download
from tests.support.packed import make_packed
from tests.support.programs import require
from tests.support.torrents import root_name
from tests.support.trees import assert_same_tree, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.feeds import PublicFeed

KIB = 1024
CONTENT = {
    **{f"small/{number}.txt": 3 * KIB + number for number in range(25)},
    "big.bin": 5 * KIB * KIB + 17,
    "a b/ä #%&+?.bin": 200 * KIB,
    "a b/100%2f": 900,
    "empty": 0,
}


@pytest.fixture
def feed() -> Iterator[PublicFeed]:
    with running_feed() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "the pack", CONTENT)


def test_libtorrent_fetches_all_of_it_from_the_feed_alone(
    feed: PublicFeed, folder: Path, tmp_path: Path
) -> None:
    write_tree(folder, {f"more/{number}": 2 * KIB + number for number in range(1000)})
    torrent = make_packed(folder)
    feed.show(released(folder, torrent))
    libtorrent_download(with_web_seed(torrent, feed), tmp_path / "leecher", web_seeds=True)
    assert_same_tree(tmp_path / "leecher" / root_name(torrent), folder)
    assert feed.edited == []


@pytest.mark.programs
def test_aria2_fetches_all_of_it_from_the_feed_alone(
    feed: PublicFeed, folder: Path, tmp_path: Path
) -> None:
    program = require("aria2c")
    torrent = make_packed(folder)
    feed.show(released(folder, torrent))
    (tmp_path / "x.torrent").write_bytes(with_web_seed(torrent, feed))
    options = ["--quiet", "--seed-time=0", "--enable-dht=false", "--bt-enable-lpd=false"]
    done = subprocess.run(
        [program, "--no-conf", *options, "--dir", tmp_path / "aria2", tmp_path / "x.torrent"],
        timeout=30,
        capture_output=True,
        env={**os.environ, "no_proxy": "*"},
    )
    assert done.returncode == 0, done.stdout[-2000:]
    found = tmp_path / "aria2" / root_name(torrent)
    shutil.rmtree(found / ".pad")  # it takes pad files for files
    assert_same_tree(found, folder)


def test_an_edited_file_leads_to_no_wrong_byte(
    feed: PublicFeed, folder: Path, tmp_path: Path
) -> None:
    """A client bans a web seed that sends wrong bytes: ``hash_failed`` would be in the error."""
    torrent = make_packed(folder)
    feed.show(released(folder, torrent))
    with (folder / "big.bin").open("r+b") as file:
        file.seek(3 * KIB * KIB)
        file.write(b"edited")
    with pytest.raises(DownloadError, match=r"trackers said: \[\]"):
        libtorrent_download(
            with_web_seed(torrent, feed), tmp_path / "leecher", web_seeds=True, timeout_s=2
        )
    assert feed.edited == [("pack", "big.bin")]
