"""Blocks that are claimed in pieces to be fetched: the rest is fetched; wrong ones cost little."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import libtorrent as lt
import pytest

from tests.support.nginx import nginx
from tests.support.packed import make_packed
from tests.support.processes import HOST, wait_until
from tests.support.torrents import make_libtorrent
from tests.support.trees import tree_bytes, write_tree
from torsync.model.config import SessionConfig
from torsync.model.errors import (
    InterruptedByUserError,
    ManifestError,
    NoPeersError,
    SwarmError,
    TreeError,
)
from torsync.model.events import Event, Notice, Progress
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.metainfo import parse_metainfo
from torsync.model.plan import content_bytes_of
from torsync.subscribe.fetch import Fetched, Fetcher, FetchGoal
from torsync.subscribe.surroundings import Voice
from torsync.swarm.alerts import translate
from torsync.swarm.claims import WrongClaimError, claimed_bytes, claims_to_make
from torsync.swarm.events import AlertsDropped
from torsync.swarm.session import Swarm, SwarmPool
from torsync.swarm.torrent import AddRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content
    from torsync.model.manifest import Manifest
    from torsync.swarm.events import SwarmEvent
    from torsync.swarm.torrent import Torrent

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
        claimed = claimed_bytes(manifest, request.unfinished)
        goal = FetchGoal(bytes_to_fetch(manifest, request), (), request.have, claimed)
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


@pytest.fixture
def swarm() -> Iterator[Swarm]:
    started = Swarm(SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False))
    yield started
    started.close()


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
    # libtorrent fetches padding that shares a block with content.
    padding = 0 if format_ == "v1" else len(manifest.files) * BLOCK_SIZE
    assert to_fetch <= fetching.outcome.bytes_fetched <= to_fetch + padding
    last = fetching.progress()[-1]
    assert (last.bytes_done, last.bytes_total) == (to_fetch, to_fetch)
    assert to_fetch == manifest.total_size - sum(claimed_bytes(manifest, claims).values())


@pytest.mark.parametrize(("format_", "wrong"), [("packed", False), ("v2", True)])
def test_progress_counts_what_was_not_claimed(
    tmp_path: Path, fetching: Fetching, seeder: LibtorrentSeeder, format_: str, wrong: bool
) -> None:
    folder = write_tree(tmp_path / "pack", {f"{at:03}": PIECE + 100 for at in range(100)})
    torrent = make(folder, format_)
    # Slow, so that there is some progress to see.
    seeder.add_folder(torrent, folder, upload_limit=2 * 1024**2)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 0)
    prepare(fetching.target, folder, manifest, claims, wrong=[*claims][-10:] if wrong else ())
    request = request_of(torrent, fetching.target, claims, (seeder.peer,))
    to_fetch = bytes_to_fetch(manifest, request)
    fetching.fetch(request, manifest)
    seen = fetching.progress()
    assert len(seen) > 2
    assert all(0 <= one.bytes_done <= one.bytes_total for one in seen)
    assert seen[-1].bytes_done == seen[-1].bytes_total
    if wrong:
        totals = sorted({one.bytes_total for one in seen})
        assert to_fetch < totals[-1] <= manifest.total_size
    else:
        assert {one.bytes_total for one in seen} == {to_fetch}
        assert [one.bytes_done for one in seen] == sorted(one.bytes_done for one in seen)


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


def test_a_piece_that_is_claimed_whole_and_wrong_is_fetched(
    fetching: Fetching, seeder: LibtorrentSeeder, folder: Path
) -> None:
    torrent = make(folder, "v1")
    seeder.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    claims = {3: b"\1" * 4, 4: b"\1" * 4}
    prepare(fetching.target, folder, manifest, claims, wrong=[3])
    fetching.fetch(request_of(torrent, fetching.target, claims, (seeder.peer,)), manifest)
    assert tree_bytes(fetching.target) == tree_bytes(folder)
    assert fetching.notices() == ["hints_wrong"]


def test_several_peers_send_what_is_not_claimed(
    fetching: Fetching, new_seeder: Callable[..., LibtorrentSeeder], folder: Path
) -> None:
    torrent = make(folder, "v1")
    hosts = (HOST, "127.0.0.2", "127.0.0.3")
    seeders = [new_seeder(host=host) for host in hosts]
    for one in seeders:
        one.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 1)
    prepare(fetching.target, folder, manifest, claims)
    peers = tuple((host, one.port) for host, one in zip(hosts, seeders, strict=True))
    request = request_of(torrent, fetching.target, claims, peers)
    fetching.fetch(request, manifest)
    assert tree_bytes(fetching.target) == tree_bytes(folder)
    to_fetch = bytes_to_fetch(manifest, request)
    # In the end several peers are asked for the same last blocks.
    assert to_fetch <= fetching.outcome.bytes_fetched < 2 * to_fetch < manifest.total_size


@pytest.mark.programs
@pytest.mark.parametrize("wrong", [0, 1, None], ids=["none", "one", "all"])
@pytest.mark.parametrize("format_", ["v1", "packed", "hybrid"])
def test_a_web_seed_alone_is_asked_for_what_is_not_claimed(
    tmp_path: Path, fetching: Fetching, folder: Path, format_: str, wrong: int | None
) -> None:
    torrent = make(folder, format_)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 1)
    prepare(fetching.target, folder, manifest, claims, wrong=list(claims)[:wrong])
    with nginx(tmp_path) as server:
        request = replace(
            request_of(torrent, fetching.target, claims, ()), web_seeds=(f"{server.url}/",)
        )
        fetching.fetch(request, manifest)
        asked = sum(access.body_bytes for access in server.access_log(at_least=1))
    assert tree_bytes(fetching.target) == tree_bytes(folder)
    if wrong == 0:
        assert fetching.notices() == []
        assert fetching.outcome.bytes_fetched == asked == bytes_to_fetch(manifest, request)
    else:
        assert fetching.notices() == ["hints_wrong"]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_liar_is_found_out_after_claims_were_given_up(
    fetching: Fetching,
    new_seeder: Callable[..., LibtorrentSeeder],
    folder: Path,
    format_: str,
) -> None:
    torrent = make(folder, format_)
    manifest = parse_metainfo(torrent, windows=False)
    # At an address of its own: libtorrent bans all that is at the address of a liar.
    liar, honest = new_seeder(host="127.0.0.2"), new_seeder()
    liar.add_folder(torrent, folder, bad_pieces="all")
    claims = claims_but(manifest, 0)
    prepare(fetching.target, folder, manifest, claims)
    request = request_of(torrent, fetching.target, claims, (("127.0.0.2", liar.port),))

    def add_honest_one() -> None:
        if not fetching.notices():
            return
        if not honest_added:
            honest_added.append(True)
            honest.add_folder(torrent, folder)
        port = next(port for address, port in fetching.pool.endpoints() if address == HOST)
        honest.connect(torrent, (HOST, port))

    honest_added: list[bool] = []
    fetching.fetch(request, manifest, check=add_honest_one)
    assert tree_bytes(fetching.target) == tree_bytes(folder)
    assert fetching.notices() == ["hints_wrong"]
    assert set(fetching.outcome.have) == {1}


def test_a_liar_where_nothing_is_claimed_costs_no_claims(
    tmp_path: Path, swarm: Swarm, new_seeder: Callable[..., LibtorrentSeeder], folder: Path
) -> None:
    torrent = make(folder, "v1")
    manifest = parse_metainfo(torrent, windows=False)
    liar, honest = new_seeder(host="127.0.0.2"), new_seeder()
    liar.add_folder(torrent, folder, bad_pieces=[20])
    honest.add_folder(torrent, folder)
    target = tmp_path / "target"
    claims = dict.fromkeys(range(10), b"\0\1\1\1")
    prepare(target, folder, manifest, claims)
    added = swarm.add(request_of(torrent, target, claims, (("127.0.0.2", liar.port),)))
    wait_until(lambda: added.news.hash_failures > 0, "it is found out", deadline_s=DEADLINE_S)
    honest.connect(torrent, (HOST, swarm.listen_port()))
    assert added.wait(DEADLINE_S)
    assert added.wrong_claim is None
    added.remove()
    assert tree_bytes(target) == tree_bytes(folder)


def test_what_was_finished_before_claims_were_given_up_is_kept(
    tmp_path: Path, fetching: Fetching, seeder: LibtorrentSeeder
) -> None:
    folder = write_tree(tmp_path / "pack", {"big": 200 * PIECE})
    torrent = make(folder, "v1")
    # Slow, so that the second round is not over at once.
    seeder.add_folder(torrent, folder, upload_limit=64 * PIECE)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 0)
    prepare(fetching.target, folder, manifest, claims, wrong=range(100, 110))
    request = request_of(torrent, fetching.target, claims, (seeder.peer,))
    request = replace(request, have=bytes(piece < 5 for piece in range(200)))
    with (fetching.target / "big").open("r+b") as file:
        file.write((folder / "big").read_bytes()[: 5 * PIECE])
    fetching.stopping = lambda: bool(fetching.notices())
    with pytest.raises(InterruptedByUserError):
        fetching.fetch(request, manifest)
    right, found = (folder / "big").read_bytes(), (fetching.target / "big").read_bytes()
    have = fetching.outcome.have
    assert have[:5] == b"\1" * 5
    for piece in range(200):
        at = slice(piece * PIECE, (piece + 1) * PIECE)
        assert not have[piece] or found[at] == right[at]

    fetching.stopping = lambda: False
    fetching.outcome = Fetched()
    seeder.remove(torrent)
    seeder.add_folder(torrent, folder)
    fetching.fetch(replace(request, have=have, unfinished={}), manifest)
    assert tree_bytes(fetching.target) == tree_bytes(folder)
    assert fetching.outcome.bytes_fetched == have.count(0) * PIECE


def test_what_was_finished_is_kept_if_the_torrent_cannot_be_added_again(
    fetching: Fetching, seeder: LibtorrentSeeder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torrent = make(folder, "v1")
    seeder.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 0)
    prepare(fetching.target, folder, manifest, claims, wrong=claims)
    request = request_of(torrent, fetching.target, claims, (seeder.peer,))
    request = replace(request, have=bytes(piece == 0 for piece in range(manifest.num_pieces)))
    add = fetching.pool.add

    def add_once(request: AddRequest) -> Torrent:
        if not request.unfinished:
            assert set(request.peers) == {seeder.peer}
            raise SwarmError("once is enough")
        return add(request)

    monkeypatch.setattr(fetching.pool, "add", add_once)
    with pytest.raises(SwarmError, match="once is enough"):
        fetching.fetch(request, manifest)
    assert fetching.outcome.have[0] == 1


def test_a_wrong_claim_is_seen_where_its_alert_was_dropped(
    tmp_path: Path,
    swarm: Swarm,
    seeder: LibtorrentSeeder,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torrent = make(folder, "v1")
    seeder.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 0)
    prepare(tmp_path / "target", folder, manifest, claims, wrong=claims)

    def lossy(alert: lt.alert) -> SwarmEvent | None:
        return AlertsDropped() if isinstance(alert, lt.hash_failed_alert) else translate(alert)

    monkeypatch.setattr("torsync.swarm.session.translate", lossy)
    added = swarm.add(request_of(torrent, tmp_path / "target", claims, (seeder.peer,)))
    with pytest.raises(WrongClaimError, match="a piece of which"):
        wait_until(lambda: added.wait(0.05), "it is finished", deadline_s=DEADLINE_S)
    added.remove()


def test_an_error_of_a_file_comes_before_a_wrong_claim(
    fetching: Fetching, seeder: LibtorrentSeeder, folder: Path
) -> None:
    torrent = make(folder, "v1")
    seeder.add_folder(torrent, folder)
    manifest = parse_metainfo(torrent, windows=False)
    claims = {0: b"\0\1\1\1"}
    prepare(fetching.target, folder, manifest, claims, wrong=claims)
    (fetching.target / "b").unlink()
    (fetching.target / "b").mkdir()
    with pytest.raises(TreeError) as caught:
        fetching.fetch(request_of(torrent, fetching.target, claims, (seeder.peer,)), manifest)
    assert caught.value.path == str(fetching.target / "b")
    assert fetching.outcome.have == b""


def test_without_peers_claims_do_no_harm(fetching: Fetching, folder: Path) -> None:
    torrent = make(folder, "v1")
    manifest = parse_metainfo(torrent, windows=False)
    claims = claims_but(manifest, 0)
    prepare(fetching.target, folder, manifest, claims)
    with pytest.raises(NoPeersError):
        fetching.fetch(request_of(torrent, fetching.target, claims, ()), manifest, patience_s=0.1)
    assert set(fetching.outcome.have) == {0}
    assert fetching.notices() == []


@pytest.mark.parametrize("claims", [{999: b"\1"}, {-1: b"\1"}, {0: b"\0\1\1\1\1"}])
def test_claims_of_what_is_not_there_are_refused(
    fetching: Fetching, folder: Path, claims: dict[int, bytes]
) -> None:
    torrent = make(folder, "v1")
    with pytest.raises(ManifestError, match="libtorrent reads"):
        fetching.pool.add(request_of(torrent, fetching.target, claims, ()))


def test_nothing_is_claimed_in_pieces_that_are_there_or_not_wanted() -> None:
    blocks = {0: b"\1\0", 1: b"\0\1", 2: b"\1\1", 3: b"\0\0", 4: b"\1"}
    made = claims_to_make(blocks, b"\1\0\0\0\0", b"\1\1\0\1\1", lambda _piece: 2 * BLOCK_SIZE)
    assert made == {1: [False, True], 4: [True]}


@pytest.mark.parametrize("format_", FORMATS)
def test_claimed_bytes_are_those_of_files(folder: Path, format_: str) -> None:
    manifest = parse_metainfo(make(folder, format_), windows=False)
    pieces = range(manifest.num_pieces)
    found = {}
    for block in range(PIECE // BLOCK_SIZE):
        one = bytes(at == block for at in range(PIECE // BLOCK_SIZE))
        for piece, count in claimed_bytes(manifest, dict.fromkeys(pieces, one)).items():
            assert count == sum(length for *_, length in content_at(manifest, piece, block))
            found[piece] = found.get(piece, 0) + count
    assert found == {piece: content_bytes_of(manifest, [piece]) for piece in pieces}


@pytest.mark.parametrize(
    ("unfinished", "said"),
    [({9: b"\1"}, "reads 2 pieces"), ({1: b"\1\1\1"}, "reads 2 blocks in piece 1")],
)
def test_claims_that_libtorrent_would_take_for_others_are_refused(
    unfinished: dict[int, bytes], said: str
) -> None:
    with pytest.raises(ManifestError, match=said):
        claims_to_make(unfinished, b"\0\0", b"\1\1", lambda _piece: 2 * BLOCK_SIZE)
