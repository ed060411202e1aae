"""Blocks that are claimed in pieces to be fetched: the rest is fetched; wrong ones cost little."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.packed import make_packed
from tests.support.processes import HOST
from tests.support.torrents import make_libtorrent
from tests.support.trees import tree_bytes, write_tree
from torsync.model.config import SessionConfig
from torsync.model.events import Event, Notice, Progress
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.metainfo import parse_metainfo
from torsync.model.plan import content_bytes_of
from torsync.subscribe.fetch import Fetched, Fetcher, FetchGoal
from torsync.subscribe.surroundings import Voice
from torsync.swarm.session import SwarmPool
from torsync.swarm.torrent import AddRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content
    from torsync.model.manifest import Manifest

PIECE = 4 * BLOCK_SIZE
DEADLINE_S = 20.0
CONTENT: dict[str, Content] = {
    "a/long": 100 * BLOCK_SIZE + 100,
    "a/short": 9,
    "b": 2 * PIECE,
    "c": PIECE + 5 * BLOCK_SIZE // 2,
}
FORMATS = ["v1", "packed", "v2", "hybrid"]


def make(folder: Path, format_: str) -> bytes:
    if format_ == "packed":
        return make_packed(folder, piece_size=PIECE)
    return make_libtorrent(folder, format=format_, piece_size=PIECE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is published."""
    return write_tree(tmp_path / "pack", CONTENT)


@dataclass
class Fetching:
    """One subscriber, and what it was told."""

    target: Path
    pool: SwarmPool
    events: list[Event] = field(default_factory=list)
    outcome: Fetched = field(default_factory=Fetched)
    stopping: Callable[[], bool] = lambda: False

    def fetch(
        self,
        request: AddRequest,
        manifest: Manifest,
        *,
        check: Callable[[], None] = lambda: None,
        patience_s: float = DEADLINE_S,
    ) -> None:
        fetcher = Fetcher(
            lambda: self.pool,
            Voice("pack", self.events.append),
            stopping=self.stopping,
            patience_s=patience_s,
            look_out=lambda: None,
            look_out_every_s=60,
        )
        goal = FetchGoal(bytes_to_fetch(manifest, request), (), request.have)
        fetcher.fetch(request, goal, self.outcome, check=check)

    def notices(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Notice)]

    def progress(self) -> list[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Fetching]:
    pool = SwarmPool(SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False))
    yield Fetching(tmp_path / "target", pool)
    pool.close()


def blocks_in(manifest: Manifest, piece: int) -> int:
    return -(-manifest.piece_size(piece) // BLOCK_SIZE)


def claims_but(manifest: Manifest, block: int) -> dict[int, bytes]:
    """Claims of all blocks of each piece but one; none where a piece has no other."""
    return {
        piece: bytes(at != block % count for at in range(count))
        for piece in range(manifest.num_pieces)
        if (count := blocks_in(manifest, piece)) > 1
    }


def content_at(manifest: Manifest, piece: int, block: int) -> list[tuple[int, int, int]]:
    """The file, offset and length of what a block holds."""
    found = []
    start = block * BLOCK_SIZE
    at = 0
    for index, offset, length in manifest.segments(piece):
        begin, end = max(start, at), min(start + BLOCK_SIZE, at + length)
        if index is not None and begin < end:
            found.append((index, offset + begin - at, end - begin))
        at += length
    return found


def bytes_to_fetch(manifest: Manifest, request: AddRequest) -> int:
    """How many bytes of files are in pieces that are not there, without claimed blocks."""
    missing = [piece for piece in range(manifest.num_pieces) if not request.have[piece]]
    claimed = sum(
        length
        for piece, blocks in request.unfinished.items()
        for block, flag in enumerate(blocks)
        if flag
        for _index, _offset, length in content_at(manifest, piece, block)
    )
    return content_bytes_of(manifest, missing) - claimed


def prepare(
    target: Path,
    folder: Path,
    manifest: Manifest,
    claims: Mapping[int, bytes],
    *,
    wrong: Collection[int] = (),
) -> None:
    """Write claimed blocks, wrong ones in some pieces, and nothing but zeros besides."""
    for index, file in enumerate(manifest.files):
        content = (folder / file.path).read_bytes()
        staged = bytearray(file.size)
        for piece in manifest.pieces_of(index):
            for block, flag in enumerate(claims.get(piece, b"")):
                for at, offset, length in content_at(manifest, piece, block):
                    if flag and at == index and piece not in wrong:
                        staged[offset : offset + length] = content[offset : offset + length]
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(staged)


def request_of(
    torrent: bytes,
    target: Path,
    claims: Mapping[int, bytes],
    peers: tuple[tuple[str, int], ...],
) -> AddRequest:
    manifest = parse_metainfo(torrent, windows=False)
    return AddRequest(
        metainfo=lambda: torrent,
        save_path=str(target),
        paths=tuple(file.path for file in manifest.files),
        sizes=tuple(file.size for file in manifest.files),
        have=bytes(manifest.num_pieces),
        wanted=b"\1" * manifest.num_pieces,
        peers=peers,
        unfinished=claims,
    )


@pytest.mark.parametrize("block", [0, -1])
@pytest.mark.parametrize("format_", FORMATS)
def test_only_blocks_that_are_not_claimed_are_fetched(
    fetching: Fetching, seeder: LibtorrentSeeder, folder: Path, format_: str, block: int
) -> None:
    torrent = make(folder, format_)
    seeder.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, block)
    prepare(fetching.target, folder, manifest, claims)
    request = request_of(torrent, fetching.target, claims, (seeder.peer,))
    fetching.fetch(request, manifest)
    assert tree_bytes(fetching.target) == tree_bytes(folder)
    assert fetching.notices() == []
    assert set(fetching.outcome.have) == {1}
    to_fetch = bytes_to_fetch(manifest, request)
    padding = sum(len(blocks) * BLOCK_SIZE for blocks in claims.values()) // 4
    assert to_fetch <= fetching.outcome.bytes_fetched <= to_fetch + padding
    last = fetching.progress()[-1]
    assert (last.bytes_done, last.bytes_total) == (to_fetch, to_fetch)
    for seen in fetching.progress():
        assert 0 <= seen.bytes_done <= seen.bytes_total == to_fetch


@pytest.mark.parametrize("wrong", [1, 20, None], ids=["one", "twenty", "all"])
@pytest.mark.parametrize("format_", FORMATS)
def test_wrong_claims_cost_one_more_round_with_the_only_seeder(
    fetching: Fetching,
    seeder: LibtorrentSeeder,
    folder: Path,
    format_: str,
    wrong: int | None,
) -> None:
    torrent = make(folder, format_)
    seeder.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 0)
    prepare(fetching.target, folder, manifest, claims, wrong=list(claims)[:wrong])
    request = request_of(torrent, fetching.target, claims, (seeder.peer,))
    fetching.fetch(request, manifest)
    assert tree_bytes(fetching.target) == tree_bytes(folder)
    assert fetching.notices() == ["hints_wrong"]
    assert set(fetching.outcome.have) == {1}
    assert fetching.outcome.peers == (seeder.peer,)
    assert fetching.outcome.bytes_fetched <= seeder.uploaded(torrent), "some was in flight"
    last = fetching.progress()[-1]
    assert last.bytes_done == last.bytes_total
