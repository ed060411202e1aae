"""Hashing files where they are: exactly the right pieces are called right."""

from __future__ import annotations

import errno
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.torrents import make_libtorrent, make_raw
from tests.support.trees import edit_in_place, random_bytes, write_tree
from torsync.disk.tree import Tree
from torsync.model.errors import InterruptedByUserError
from torsync.model.metainfo import parse_metainfo
from torsync.model.plan import content_bytes_of
from torsync.subscribe.hashing import HashedPieces, HashProgress, hash_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.trees import Content
    from torsync.model.manifest import Manifest

PIECE = 16 * 1024
MIB = 1024 * 1024
FORMATS = ["v1", "v2", "hybrid"]
CONTENT: dict[str, Content] = {
    "a/one byte": b"1",
    "a/piece": PIECE,
    "b/empty": b"",
    "b/less": PIECE - 1,
    "c/more": PIECE + 1,
    "d/long": 5 * PIECE + 77,
    "e/long": 8 * PIECE,
    "f/tiny": 3,
}


def manifest_of(torrent: bytes) -> Manifest:
    return parse_metainfo(torrent, windows=False)


def hash_all(
    manifest: Manifest,
    folder: Path,
    *,
    workers: int = 2,
    stopping: Callable[[], bool] = lambda: False,
    on_bytes: Callable[[int], None] = lambda _count: None,
) -> HashedPieces:
    return hash_pieces(
        manifest,
        range(manifest.num_pieces),
        lambda index: os.open(folder / manifest.files[index].path, os.O_RDONLY),
        stopping=stopping,
        on_bytes=on_bytes,
        workers=workers,
    )


def right_pieces(
    manifest: Manifest, old: Mapping[str, bytes], new: Mapping[str, bytes]
) -> set[int]:
    """By comparing the bytes of each piece, file by file."""
    return {
        piece
        for piece in range(manifest.num_pieces)
        if all(
            segment.file_index is None or _same(manifest, segment, old, new)
            for segment in manifest.segments(piece)
        )
    }


def _same(manifest: Manifest, segment, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> bool:
    path = manifest.files[segment.file_index].path
    end = segment.file_offset + segment.length
    part = slice(segment.file_offset, end)
    return path in new and len(new[path]) >= end and old[path][part] == new[path][part]


def contents(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    return {file.path: (folder / file.path).read_bytes() for file in manifest.files}


@pytest.fixture(params=FORMATS)
def published(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Manifest, Path]:
    folder = write_tree(tmp_path / "pack", CONTENT)
    torrent = make_libtorrent(folder, format=request.param, piece_size=PIECE)
    return manifest_of(torrent), folder


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
def test_what_was_published_is_right(published: tuple[Manifest, Path], workers: int) -> None:
    manifest, folder = published
    counted: list[int] = []
    found = hash_all(manifest, folder, workers=workers, on_bytes=counted.append)
    assert found.good == set(range(manifest.num_pieces))
    assert found.unreadable == {}
    assert found.bytes_hashed == sum(counted) == manifest.total_size, "padding is not read"


def test_a_wrong_byte_makes_its_piece_wrong_and_no_other(published: tuple[Manifest, Path]) -> None:
    manifest, folder = published
    everything = set(range(manifest.num_pieces))
    before = contents(folder, manifest)
    for file in manifest.files:
        for at in {0, file.size // 2, file.size - 1}:
            if not 0 <= at < file.size:
                continue
            with (folder / file.path).open("r+b") as changed:
                changed.seek(at)
                changed.write(bytes([before[file.path][at] ^ 1]))
            piece = (file.offset + at) // manifest.piece_length
            assert everything - hash_all(manifest, folder).good == {piece}
            (folder / file.path).write_bytes(before[file.path])


def test_a_file_that_ends_early_makes_only_what_is_cut_wrong(
    published: tuple[Manifest, Path],
) -> None:
    manifest, folder = published
    before = contents(folder, manifest)
    for path in ("d/long", "e/long", "c/more", "a/piece", "f/tiny"):
        for size in {0, 1, len(before[path]) - 1, min(2 * PIECE, len(before[path]) - 1)}:
            os.truncate(folder / path, size)
            after = before | {path: before[path][:size]}
            found = hash_all(manifest, folder)
            assert found.good == right_pieces(manifest, before, after), (path, size)
            assert found.unreadable == {}
            (folder / path).write_bytes(before[path])


def test_what_follows_the_end_of_a_file_does_not_count(published: tuple[Manifest, Path]) -> None:
    manifest, folder = published
    for path in ("a/one byte", "d/long", "b/empty"):
        with (folder / path).open("ab") as file:
            file.write(b"more")
    assert hash_all(manifest, folder).good == set(range(manifest.num_pieces))


@pytest.mark.parametrize("workers", [1, 3])
def test_an_unreadable_file_is_named_and_its_pieces_are_not_right(
    published: tuple[Manifest, Path], workers: int
) -> None:
    manifest, folder = published
    closed = {manifest.by_path["d/long"]: errno.EACCES, manifest.by_path["a/piece"]: errno.EIO}

    def opener(index: int) -> int:
        if index in closed:
            raise OSError(closed[index], os.strerror(closed[index]))
        return os.open(folder / manifest.files[index].path, os.O_RDONLY)

    found = hash_pieces(
        manifest,
        range(manifest.num_pieces),
        opener,
        stopping=lambda: False,
        workers=workers,
    )
    assert {index: error.errno for index, error in found.unreadable.items()} == closed
    touched = {piece for index in closed for piece in manifest.pieces_of(index)}
    assert found.good == set(range(manifest.num_pieces)) - touched


def test_an_error_while_reading_names_the_file(
    published: tuple[Manifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = published
    wrong = manifest.by_path["e/long"]
    inode = (folder / "e/long").stat().st_ino
    real = os.preadv

    def preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        if os.fstat(fd).st_ino == inode and offset >= 3 * PIECE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    found = hash_all(manifest, folder)
    assert set(found.unreadable) == {wrong}
    assert found.good >= set(range(manifest.num_pieces)) - set(manifest.pieces_of(wrong))


def test_a_read_that_gives_less_than_was_asked_for_is_gone_on_with(
    published: tuple[Manifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = published
    real = os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda fd, buffers, offset: real(fd, [buffers[0][:1000]], offset)
    )
    assert hash_all(manifest, folder).good == set(range(manifest.num_pieces))


def test_only_the_pieces_that_were_asked_for_are_read(published: tuple[Manifest, Path]) -> None:
    manifest, folder = published
    opened: set[int] = set()

    def opener(index: int) -> int:
        opened.add(index)
        return os.open(folder / manifest.files[index].path, os.O_RDONLY)

    asked = [manifest.pieces_of(manifest.by_path["d/long"])[2], manifest.num_pieces - 1]
    found = hash_pieces(manifest, asked, opener, stopping=lambda: False)
    assert found.good == set(asked)
    assert found.bytes_hashed == content_bytes_of(manifest, asked)
    assert opened == {index for piece in asked for index in manifest.files_in(piece)}
    nothing = hash_pieces(manifest, [], opener, stopping=lambda: False)
    assert nothing == HashedPieces()


def test_many_files_need_few_descriptors_and_give_them_back(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "pack", {f"{number:03}": 700 for number in range(500)})
    manifest = manifest_of(make_libtorrent(folder, piece_size=PIECE))
    before = os.listdir("/proc/self/fd")
    most = 0

    def opener(index: int) -> int:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return os.open(folder / manifest.files[index].path, os.O_RDONLY)

    found = hash_pieces(
        manifest, range(manifest.num_pieces), opener, stopping=lambda: False, workers=2
    )
    assert found.good == set(range(manifest.num_pieces))
    assert most < len(before) + 40
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_stopping_ends_it_soon_and_gives_everything_back(tmp_path: Path, workers: int) -> None:
    big = {"big": random_bytes(4 * PIECE) * 1000}
    folder = write_tree(tmp_path / "pack", big)
    manifest = manifest_of(make_libtorrent(folder, piece_size=PIECE))
    descriptors, threads = os.listdir("/proc/self/fd"), threading.active_count()
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 100

    with pytest.raises(InterruptedByUserError):
        hash_all(manifest, folder, workers=workers, stopping=stopping)
    # Every piece asks once; what is asked after that are the jobs that were under way.
    assert asked < 100 + 20
    assert os.listdir("/proc/self/fd") == descriptors
    assert threading.active_count() == threads


def test_a_file_that_cannot_be_closed_in_order_is_named(
    published: tuple[Manifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = published
    wrong = manifest.by_path["e/long"]
    inode = (folder / "e/long").stat().st_ino
    real = os.close

    def close(fd: int) -> None:
        is_wrong = os.fstat(fd).st_ino == inode
        real(fd)
        if is_wrong:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "close", close)
    assert set(hash_all(manifest, folder).unreadable) == {wrong}


@pytest.mark.parametrize("aligned", [False, True])
def test_padding_counts_as_zeros(tmp_path: Path, aligned: bool) -> None:
    files = {"a": random_bytes(10), "b": random_bytes(PIECE + 1), "c": random_bytes(7)}
    torrent = make_raw(files, align=aligned)
    manifest = manifest_of(torrent)
    folder = write_tree(tmp_path / "pack", files)
    assert manifest.num_pieces == (4 if aligned else 2)
    assert hash_all(manifest, folder).good == set(range(manifest.num_pieces))


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3 * PIECE + 3), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    aligned=st.booleans(),
    piece_size=st.sampled_from([PIECE, PIECE + 1, 1000]),
)
def test_the_good_set_is_the_truth_in_v1(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    seed: int,
    aligned: bool,
    piece_size: int,
) -> None:
    if not any(sizes):
        sizes = [*sizes, 1]
    old = {f"{number}": random_bytes(size, number) for number, size in enumerate(sizes)}
    manifest = manifest_of(make_raw(old, align=aligned, piece_size=piece_size))
    _check_damaged(tmp_path_factory.mktemp("v1"), manifest, old, seed)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3 * PIECE + 3), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["v2", "hybrid"]),
    piece_size=st.sampled_from([PIECE, 2 * PIECE]),
)
def test_the_good_set_is_the_truth_in_v2(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    seed: int,
    kind: str,
    piece_size: int,
) -> None:
    sizes = [*sizes, 1, 0]
    old = {f"{number}": random_bytes(size, number) for number, size in enumerate(sizes)}
    folder = write_tree(tmp_path_factory.mktemp("v2") / "pack", old)
    manifest = manifest_of(make_libtorrent(folder, format=kind, piece_size=piece_size))
    _check_damaged(folder, manifest, old, seed)


def _check_damaged(folder: Path, manifest: Manifest, old: dict[str, bytes], seed: int) -> None:
    """Damage the content in every way, and compare what is found with the bytes."""
    dice = random.Random(seed)
    new = dict(old)
    for path, data in old.items():
        match dice.randrange(6):
            case 0:
                del new[path]
            case 1 if data:
                new[path] = data[: dice.randrange(len(data))]
            case 2 if data:
                at = dice.randrange(len(data))
                new[path] = data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]
            case 3:
                new[path] = data + b"longer"
    for path in old:
        (folder / path).unlink(missing_ok=True)
    write_tree(folder, new)
    found = hash_all(manifest, folder, workers=dice.choice([1, 2]))
    assert found.good == right_pieces(manifest, old, new)
    missing = {manifest.by_path[path] for path in old.keys() - new.keys() if old[path]}
    assert found.unreadable.keys() <= missing


def test_progress_ends_with_everything_and_never_goes_back(
    published: tuple[Manifest, Path],
) -> None:
    manifest, folder = published
    told: list[HashProgress] = []
    hash_pieces(
        manifest,
        range(manifest.num_pieces),
        lambda index: os.open(folder / manifest.files[index].path, os.O_RDONLY),
        stopping=lambda: False,
        on_progress=told.append,
        workers=2,
    )
    sized = [file for file in manifest.files if file.size]
    assert told == sorted(told, key=lambda now: (now.bytes_done, now.files_done))
    assert told[-1][:4] == (manifest.total_size, manifest.total_size, len(sized), len(sized))
    assert all(manifest.files[now.file_index].size for now in told)


def test_progress_is_told_while_a_large_file_is_hashed(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "pack", {"big": 9 * MIB, "small": 10})
    manifest = manifest_of(make_libtorrent(folder, piece_size=MIB))
    told: list[HashProgress] = []
    hash_pieces(
        manifest,
        range(manifest.num_pieces),
        lambda index: os.open(folder / manifest.files[index].path, os.O_RDONLY),
        stopping=lambda: False,
        on_progress=told.append,
        workers=1,
    )
    assert [(now.bytes_done, now.files_done) for now in told] == [
        (4 * MIB, 0),
        (8 * MIB, 0),
        (9 * MIB + 10, 2),
    ]
    assert {now.files_total for now in told} == {2}


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_stopping_ends_it_in_the_middle_of_a_piece(tmp_path: Path, kind: str) -> None:
    folder = write_tree(tmp_path / "pack", {"big": random_bytes(MIB) * 32})
    manifest = manifest_of(make_libtorrent(folder, format=kind, piece_size=32 * MIB))
    assert manifest.num_pieces == 1
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(InterruptedByUserError):
        hash_all(manifest, folder, stopping=stopping)
    assert asked < 10, "the whole piece takes over a hundred"


def test_a_failure_of_the_listener_ends_the_threads(published: tuple[Manifest, Path]) -> None:
    manifest, folder = published
    descriptors, threads = os.listdir("/proc/self/fd"), threading.active_count()

    def listen(_count: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hash_all(manifest, folder, on_bytes=listen)
    assert os.listdir("/proc/self/fd") == descriptors
    assert threading.active_count() == threads


def test_a_failure_in_a_thread_is_not_lost(published: tuple[Manifest, Path]) -> None:
    manifest, _folder = published

    def opener(_index: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hash_pieces(manifest, range(manifest.num_pieces), opener, stopping=lambda: False)


class TestChanges:
    """A file that changes while it is hashed: ``b``, after its first pieces were found right."""

    @pytest.fixture
    def pack(self, tmp_path: Path) -> Path:
        return write_tree(tmp_path / "pack", {"a": 3 * PIECE, "b": 40 * PIECE + 1, "c": 100})

    def hashed(self, folder: Path, harm: Callable[[Path], None]) -> tuple[Manifest, HashedPieces]:
        """Look, then hash with one thread, and ``harm`` the tree when half of ``b`` is done."""
        manifest = manifest_of(make_libtorrent(folder, piece_size=PIECE))
        tree = Tree(folder)
        entries = tree.scan().entries
        pieces = iter(range(manifest.num_pieces))

        def stopping() -> bool:
            if next(pieces, -1) == 20:
                harm(folder)
            return False

        found = hash_pieces(
            manifest,
            range(manifest.num_pieces),
            lambda index: tree.open(manifest.files[index].path),
            stopping=stopping,
            seen=lambda index: entries.get(manifest.files[index].path),
            workers=1,
        )
        tree.close()
        return manifest, found

    def test_nothing_is_named_if_nothing_changes(self, pack: Path) -> None:
        manifest, found = self.hashed(pack, lambda _folder: None)
        assert found.changed == set()
        assert found.good == set(range(manifest.num_pieces))

    def test_one_that_is_written_to_behind_the_reader_is_named(self, pack: Path) -> None:
        def edit(folder: Path) -> None:
            edit_in_place(folder / "b", set_mtime_back=True)

        manifest, found = self.hashed(pack, edit)
        assert found.good == set(range(manifest.num_pieces)), "each was right when it was read"
        assert found.changed == {manifest.by_path["b"]}

    def test_one_that_is_replaced_is_named(self, pack: Path) -> None:
        manifest, found = self.hashed(pack, lambda folder: (folder / "c").rename(folder / "b"))
        assert manifest.by_path["b"] in found.changed
        assert set(found.unreadable) == {manifest.by_path["c"]}

    def test_one_that_is_cut_short_is_named_and_its_end_is_wrong(self, pack: Path) -> None:
        manifest, found = self.hashed(pack, lambda folder: os.truncate(folder / "b", 30 * PIECE))
        assert found.changed == {manifest.by_path["b"]}
        assert found.good == set(range(33))

    def test_one_that_nobody_saw_before_is_named(self, pack: Path) -> None:
        manifest = manifest_of(make_libtorrent(pack, piece_size=PIECE))
        found = hash_pieces(
            manifest,
            range(manifest.num_pieces),
            lambda index: os.open(pack / manifest.files[index].path, os.O_RDONLY),
            stopping=lambda: False,
            seen=lambda _index: None,
        )
        assert found.changed == {0, 1, 2}
        assert found.good == set(range(manifest.num_pieces))
