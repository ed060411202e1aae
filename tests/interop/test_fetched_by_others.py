"""What torsync publishes is fetched by other people's clients: which formats, and what of it.

README has these as a table.
"""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.foreign_seeders import TransmissionSeeder
from tests.support.leecher import libtorrent_download
from tests.support.processes import HOST, free_port
from tests.support.publishers import Publishing
from tests.support.seeders import SeederError
from tests.support.torrents import edited, info_hash
from tests.support.trees import assert_same_tree, executables, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.foreign_seeders import Aria2Seeder
    from tests.support.qbittorrent import QBittorrent
    from tests.support.rqbit import Rqbit
    from tests.support.tracker import Tracker
    from tests.support.trees import Content

pytestmark = pytest.mark.programs

KIB = 1024
PIECE = 16 * KIB
FORMATS = ("v1", "v2", "hybrid")
ENTRIES: dict[str, Content] = {
    "data/big.bin": 1024 * KIB + 12_345,
    "data/exact.bin": 8 * PIECE,
    "data/medium.bin": 70 * KIB,
    **{f"many/{number % 7}/{number}": number * 301 for number in range(1, 80)},
    "empty": b"",
    "folder/also empty": b"",
    "bin/tool": ("exec", 5000),
    "bin/current": ("link", "tool"),
    "lib/deep/out": ("link", "../../bin/tool"),
    "up": ("link", "data/medium.bin"),
    ".hidden/.file": 99,
    "names/with spaces & #hash?%41+[x] (1)!.txt": 20 * KIB,
    "names/Größe 日本 é.txt": 40 * KIB,
    "names/e\u0301 in another form.txt": 10,
    'names/a*b|c<d>"e:f.txt': 31,
    "names/🎉.bin": 7,
    "names/ spaces and a dot. ": 33,
    f"names/{'long' * 60}.txt": 44,
}  # fmt: skip
LINKS = {path for path, content in ENTRIES.items() if isinstance(content, tuple)} - {"bin/tool"}


class Published:
    """One publication per format, seeded, with a feed and a tracker.

    transmission never calls peers of this machine, so it joins before the publisher, who calls.

    Attributes:
        publishing: the publisher.
        torrents: by format; they name the tracker and the feed.
    """

    def __init__(
        self, folder: Path, tracker: Tracker, transmission: TransmissionSeeder, got: Path
    ) -> None:
        self.publishing = Publishing(folder)
        self.publishing.feed = {"listen": f"{HOST}:{free_port()}"}
        for format_ in FORMATS:
            trackers = [tracker.http_url]
            self.publishing.publish(
                format_, ENTRIES, format=format_, trackers=trackers, piece_size="16 KiB"
            )
        self.publishing.run("check-now").assert_ok()
        self.torrents = {
            format_: self.publishing.torrent(format_).read_bytes() for format_ in FORMATS
        }
        for torrent in self.torrents.values():
            tracker.allow(torrent)
        transmission.fetch(self.from_peers("v1"), got)
        tracker.wait_for_peer(self.torrents["v1"], transmission.port)
        service = self.publishing.start("run")
        for format_ in FORMATS:
            service.wait_for_stage(format_, "seeding")
            tracker.wait_for_peer(self.torrents[format_], self.publishing.port)
            # The service has named its feed in it.
            self.torrents[format_] = self.publishing.torrent(format_).read_bytes()

    def content(self, format_: str) -> Path:
        """The folder that is published."""
        return self.publishing.content(format_)

    def from_peers(self, format_: str) -> bytes:
        """The torrent without its web seed."""
        return edited(self.torrents[format_], outer={b"url-list": None})

    def from_feed(self, format_: str) -> bytes:
        """The torrent with nothing but its web seed: the feed."""
        without = {b"announce": None, b"announce-list": None, b"nodes": None}
        torrent = edited(self.torrents[format_], outer=without)
        assert b"url-list" in torrent
        return torrent


@pytest.fixture(scope="module")
def got_by_transmission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transmission")


@pytest.fixture(scope="module")
def published(
    tmp_path_factory: pytest.TempPathFactory,
    announced: Tracker,
    transmission: TransmissionSeeder,
    got_by_transmission: Path,
) -> Iterator[Published]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("publisher")
        made = Published(folder, announced, transmission, got_by_transmission)
        stack.enter_context(made.publishing)
        yield made


def without_pads(folder: Path) -> bool:
    """Remove pad files, which the client took for files; whether there were any."""
    pads = folder / ".pad"
    if not pads.exists():
        return False
    assert not any(data.strip(b"\0") for data in map(bytes, tree_bytes(pads).values()))  # type: ignore[arg-type]
    shutil.rmtree(pads)
    return True


def assert_without_attributes(found: Path, expected: Path) -> None:
    """Compare what a client has to which links are empty files, and that sets no modes."""
    want = {**tree_bytes(expected), **dict.fromkeys(LINKS, b"")}
    assert tree_bytes(found) == want
    assert executables(found) == set()


def assert_as_by_transmission(found: Path, expected: Path) -> None:
    """Compare what transmission has: nothing that is empty, no links, and names for Windows."""
    want = {
        "/".join(re.sub(r'[<>:"|?*]', "_", name).strip(" .") for name in path.split("/")): data
        for path, data in tree_bytes(expected).items()
        if path not in LINKS and data
    }
    want[".hidden/.file"] = want.pop("hidden/file")
    assert tree_bytes(found) == want
    assert executables(found) == set()


# --- from peers ---------------------------------------------------------------------------


def test_transmission_fetches_v1_and_leaves_pad_files(
    published: Published, transmission: TransmissionSeeder, got_by_transmission: Path
) -> None:
    transmission.wait_until_complete(published.torrents["v1"])
    found = got_by_transmission / "v1"
    assert without_pads(found)
    assert_as_by_transmission(found, published.content("v1"))


@pytest.mark.parametrize("format_", ["v2", "hybrid"])
def test_transmission_refuses_other_formats(
    published: Published, transmission: TransmissionSeeder, tmp_path: Path, format_: str
) -> None:
    with pytest.raises(SeederError, match="invalid or corrupt torrent file"):
        transmission.fetch(published.torrents[format_], tmp_path)


def test_aria2_fetches_v1_and_leaves_pad_files(
    published: Published, aria2: Aria2Seeder, tmp_path: Path
) -> None:
    torrent = published.from_peers("v1")
    aria2.fetch(torrent, tmp_path)
    aria2.wait_until_complete(torrent)
    aria2.remove(torrent)
    assert without_pads(tmp_path / "v1")
    assert_without_attributes(tmp_path / "v1", published.content("v1"))


def test_aria2_refuses_v2(published: Published, aria2: Aria2Seeder, tmp_path: Path) -> None:
    with pytest.raises(SeederError, match="Missing pieces"):
        aria2.fetch(published.torrents["v2"], tmp_path)


def test_aria2_takes_a_hybrid_for_another_torrent(
    published: Published, aria2: Aria2Seeder, tmp_path: Path
) -> None:
    """It finds nobody: the info-hash that it computes is nobody's."""
    torrent = published.from_peers("hybrid")
    aria2.fetch(torrent, tmp_path)
    assert aria2.known_as(torrent) != info_hash(torrent)
    aria2.remove(torrent)


@pytest.mark.parametrize("format_", FORMATS)
def test_qbittorrent_fetches_all_of_it(
    published: Published, qbittorrent: QBittorrent, tmp_path: Path, format_: str
) -> None:
    torrent = published.from_peers(format_)
    qbittorrent.fetch(torrent, tmp_path)
    qbittorrent.wait_until_complete(torrent)
    qbittorrent.remove(torrent)
    assert_same_tree(tmp_path / format_, published.content(format_))


@pytest.mark.parametrize("format_", ["v1", "hybrid"])
def test_librqbit_fetches_all_but_links_and_executable_bits(
    published: Published, rqbit: Rqbit, tmp_path: Path, format_: str
) -> None:
    torrent = published.from_peers(format_)
    rqbit.fetch(torrent, tmp_path)
    rqbit.wait_until_complete(torrent)
    rqbit.remove(torrent)
    assert_without_attributes(tmp_path / format_, published.content(format_))


def test_librqbit_refuses_v2(published: Published, rqbit: Rqbit, tmp_path: Path) -> None:
    with pytest.raises(SeederError, match="error decoding torrent"):
        rqbit.fetch(published.torrents["v2"], tmp_path)


# --- from the feed alone ------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_qbittorrent_fetches_all_of_it_from_the_feed_alone(
    published: Published, qbittorrent: QBittorrent, tmp_path: Path, format_: str
) -> None:
    torrent = published.from_feed(format_)
    qbittorrent.fetch(torrent, tmp_path)
    qbittorrent.wait_until_complete(torrent)
    qbittorrent.remove(torrent)
    assert_same_tree(tmp_path / format_, published.content(format_))


def test_aria2_fetches_v1_from_the_feed_alone(
    published: Published, aria2: Aria2Seeder, tmp_path: Path
) -> None:
    torrent = published.from_feed("v1")
    aria2.fetch(torrent, tmp_path)
    aria2.wait_until_complete(torrent)
    aria2.remove(torrent)
    assert without_pads(tmp_path / "v1")
    assert_without_attributes(tmp_path / "v1", published.content("v1"))


@pytest.mark.long
def test_transmission_fetches_v1_from_the_feed_alone(published: Published, tmp_path: Path) -> None:
    torrent = published.from_feed("v1")
    with TransmissionSeeder(deadline_s=60) as client:
        client.fetch(torrent, tmp_path)
        client.wait_until_complete(torrent)
    assert without_pads(tmp_path / "v1")
    assert_as_by_transmission(tmp_path / "v1", published.content("v1"))


def test_librqbit_uses_no_web_seeds(
    published: Published, rqbit: Rqbit, qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    """It has nothing when another, that began later, has everything."""
    torrent = published.from_feed("v1")
    rqbit.fetch(torrent, tmp_path / "librqbit")
    qbittorrent.fetch(torrent, tmp_path / "qBittorrent")
    qbittorrent.wait_until_complete(torrent)
    qbittorrent.remove(torrent)
    assert rqbit.downloaded(torrent) == 0
    rqbit.remove(torrent)


@pytest.mark.long
@pytest.mark.parametrize("format_", ["v1", "hybrid"])
def test_a_bare_libtorrent_fetches_all_of_it_from_the_feed_alone(
    published: Published, tmp_path: Path, format_: str
) -> None:
    libtorrent_download(published.from_feed(format_), tmp_path, web_seeds=True, timeout_s=40)
    assert_same_tree(tmp_path / format_, published.content(format_))
