"""Know the hashes of all files of a layout: from the cache, and by reading the rest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.stamps import FileStamp
from torsync.model.authoring.content import NO_HASHES, FileHashes
from torsync.model.config import TorrentFormat
from torsync.model.errors import InterruptedByUserError
from torsync.model.merkle import BLOCK_SIZE, merkle_root, padding_root
from torsync.model.pace import Pace
from torsync.publish.hash_cache import KnownFile, KnownPart
from torsync.publish.hashing.jobs import Work, file_work, packed_work, unknown_pieces
from torsync.publish.hashing.kernel import CHANGED, Kernel

if TYPE_CHECKING:
    from torsync.disk.tree import Tree
    from torsync.model.authoring.layout import Layout, PackedPiece
    from torsync.publish.hash_cache import HashCache, PartKey
    from torsync.publish.hashing.kernel import FileResult, JobResult

_ALONE_BYTES = 64 * 1024**2  # less is done before worker processes are well on their way
_WRITE_EVERY_S = 1.0
_TELL_EVERY_S = 0.05


class HashProgress(NamedTuple):
    """How far hashing is.

    Attributes:
        path: the file that it is at.
        rate: bytes a second, of late.
        eta_s: seconds left; None while that is not known.
    """

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    path: str
    rate: int
    eta_s: float | None


class Hasher:
    """Hashes the files of one publication, several times if they change meanwhile.

    Attributes:
        known: what is known of files in this process, by path, stored or not.
        bytes_hashed: what was read to be hashed.
        changed: files that were not as they were seen when they were hashed last.
        unreadable: path → the error that reading it gave.
        packed_used: the keys of all packed pieces of the last layout.
    """

    def __init__(
        self,
        tree: Tree,
        cache: HashCache,
        *,
        progress: Callable[[HashProgress], None],
        stopping: Callable[[], bool],
        workers: int = 0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load what the cache has.

        Args:
            tree: the folder.
            cache: of its publication.
            progress: told several times a second how far it is.
            stopping: asked several times a second.
            workers: processes; 0 for one per core.
            clock_s: any that does not go back.
        """
        self._tree = tree
        self._cache = cache
        self._progress = progress
        self._stopping = stopping
        self._workers = workers or len(os.sched_getaffinity(0))
        self._clock_s = clock_s
        self.known = cache.files()
        self._parts = cache.parts()
        self._packed = cache.packed()
        self._new_files: dict[str, KnownFile] = {}
        self._new_parts: dict[PartKey, KnownPart] = {}
        self._new_packed: dict[bytes, bytes] = {}
        self.bytes_hashed = 0
        self.changed: set[str] = set()
        self.unreadable: dict[str, int] = {}
        self.packed_used: list[bytes] = []

    @property
    def packed_known(self) -> Mapping[bytes, bytes]:
        """The SHA-1 of packed pieces, by the key of their content."""
        return self._packed

    def learn(self, path: str, row: KnownFile) -> None:
        """Take it that a file has these hashes: it was known under another path."""
        self.known[path] = self._new_files[path] = row

    def hash(
        self, layout: Layout, stamps: Mapping[str, FileStamp], clock_ns: int
    ) -> tuple[list[FileHashes], list[bytes]] | None:
        """Give the hashes of each file and of each packed piece of a layout.

        Args:
            layout: where the files lie.
            stamps: what each was like when it was looked at.
            clock_ns: what the file system's clock said before that.

        Returns:
            None if some files have changed or could not be read: see there.

        Raises:
            InterruptedByUserError: ``stopping`` said so; what was hashed is in the cache.
            HashingError: a worker has ended.
        """
        self.changed, self.unreadable = set(), {}
        run = _Run(self, layout, stamps)
        works = run.plan()
        if works:
            try:
                self._do(run, works, clock_ns)
            finally:
                run.name_pieces()
                self._store(clock_ns)
        if self.changed or self.unreadable:
            return None
        self._store(clock_ns)
        return run.result()

    def _do(self, run: _Run, works: list[Work], clock_ns: int) -> None:
        meter = _Meter(works, self._progress, self._clock_s)
        written_s = self._clock_s()
        for work, result in self._results(works):
            self.bytes_hashed += work.content_bytes
            run.take(work, result)
            meter.add(work)
            if self._clock_s() - written_s >= _WRITE_EVERY_S:
                run.name_pieces()
                self._store(clock_ns)
                written_s = self._clock_s()
        if self._stopping():
            raise InterruptedByUserError("stopped while hashing")

    def _results(self, works: list[Work]) -> Iterator[tuple[Work, JobResult]]:
        """Do the work, here or in worker processes."""
        count = min(self._workers, len(works))
        cost = sum(work.cost_bytes for work in works)
        if count > 1 and cost > _ALONE_BYTES and not getattr(sys, "frozen", False):
            from torsync.publish.hashing.pool import WorkerPool  # noqa: PLC0415 - seldom needed

            with WorkerPool(self._tree.folder_fd(""), count) as pool:
                yield from pool.run(iter(works), self._stopping)
            return
        kernel = Kernel(self._tree.open, self._heed)
        for work in works:
            yield work, kernel.run(work.job)

    def _heed(self) -> None:
        if self._stopping():
            raise InterruptedByUserError("stopped while hashing")

    def _store(self, clock_ns: int) -> None:
        self._cache.remember(
            self._new_files, self._new_parts, self._new_packed, clock_ns=clock_ns
        )
        self._new_files, self._new_parts, self._new_packed = {}, {}, {}

    # What a run finds.

    def _has(self, path: str, stamp: FileStamp) -> KnownFile | None:
        row = self.known.get(path)
        return row if row is not None and row[:4] == stamp else None

    def _note_file(self, path: str, row: KnownFile) -> None:
        self.known[path] = self._new_files[path] = row
        for key in [key for key in self._new_parts if key[0] == path]:
            del self._new_parts[key]

    def _note_part(self, path: str, start: int, part: KnownPart) -> None:
        self._parts[path, start] = self._new_parts[path, start] = part

    def _note_packed(self, key: bytes, sha1: bytes) -> None:
        self._packed[key] = self._new_packed[key] = sha1


class _Run:
    """One layout's hashes: those that are known, and those that come in."""

    def __init__(self, hasher: Hasher, layout: Layout, stamps: Mapping[str, FileStamp]) -> None:
        self._hasher = hasher
        self._layout = layout
        self._stamps = stamps
        self._found: list[FileHashes | None] = []
        self._roots: list[bytes] = []
        self._bytes_known: dict[int, int] = {}  # of files that are hashed in parts
        self._generations: dict[int, int] = {}
        self._nameless: list[tuple[PackedPiece, bytes]] = []

    def plan(self) -> list[Work]:
        """Find out what is to be read."""
        layout, format_ = self._layout, self._layout.format
        piece_length, stamps, hasher = layout.piece_length, self._stamps, self._hasher
        known = hasher.known
        found, roots = self._found, self._roots
        own: list[int] = []
        packed: set[int] = set()
        packs = format_ is TorrentFormat.V1
        for index, file in enumerate(layout.files):
            path, size = file[0], file[1]
            if not size:
                found.append(NO_HASHES)
                roots.append(b"")
                continue
            row = known.get(path)
            if row is not None and row[:4] != stamps[path]:
                row = None
            if packs and size < piece_length:
                if row is None:
                    packed.add(index)
                    found.append(None)
                    roots.append(b"")
                else:
                    found.append(FileHashes(row.root))
                    roots.append(row.root)
                continue
            hashes = None if row is None else usable_hashes(row, piece_length, format_)
            if hashes is None:
                own.append(index)
            found.append(hashes)
            roots.append(b"" if hashes is None else hashes.root)
        works = list(file_work(layout, own, self._has_part))
        if packs:
            pieces = [piece for piece, _ in unknown_pieces(layout, roots, hasher.packed_known)]
            works += packed_work(layout, pieces, packed)
        return works

    def _has_part(self, index: int, start: int) -> int:
        """How many bytes of a large file are known from one on."""
        path = self._layout.files[index].path
        part = self._hasher._parts.get((path, start))  # noqa: SLF001 - the same module
        needs_v1 = self._layout.format is not TorrentFormat.V2
        if (
            part is None
            or part.stamp != self._stamps[path]
            or part.piece_length != self._layout.piece_length
            or (needs_v1 and not part.v1)
        ):
            return 0
        self._bytes_known[index] = self._bytes_known.get(index, 0) + part.length
        return part.length

    def take(self, work: Work, result: JobResult) -> None:
        """Note what a job has found."""
        files, sha1s = result
        wants = [read[4] for read in work.job[2] if read[0]]
        layout = self._layout
        if work.packed:
            wrong = set()
            for part, found in zip(work.parts, files, strict=True):
                index = part.file_index
                if not self._is_right(index, found):
                    wrong.add(index)
                    continue
                assert not isinstance(found, int)
                if found[2]:
                    self._complete(index, found[1], FileHashes(found[2]))
            self._nameless += [
                (piece, sha1)
                for piece, sha1 in zip(work.packed, sha1s, strict=True)
                if sha1 and not any(part[0] in wrong for part in piece.parts)
            ]
            return
        at = 0
        for part, found, want in zip(work.parts, files, wants, strict=True):
            index = part.file_index
            count = -(-part.length // layout.piece_length) if work.job[1] else 0
            v1 = b"".join(sha1s[at : at + count])
            at += count
            if not self._is_right(index, found):
                continue
            assert not isinstance(found, int)
            if layout.files[index].size <= layout.piece_length:
                self._complete(index, found[1], FileHashes(found[2], b"", v1))
            else:
                self._take_part(part.file_index, part.start, part.length, found, v1)

    def _is_right(self, index: int, found: FileResult) -> bool:
        """Whether a file was read as it was seen before; else note what is wrong."""
        path = self._layout.files[index].path
        if isinstance(found, int):
            if found == CHANGED:
                self._hasher.changed.add(path)
            else:
                self._hasher.unreadable[path] = found
            return False
        if found[0] != self._stamps[path]:
            self._hasher.changed.add(path)
            return False
        return True

    def _take_part(
        self,
        index: int,
        start: int,
        length: int,
        found: tuple[tuple[int, int, int, int], int, bytes],
        v1: bytes,
    ) -> None:
        """Note a part of a large file, and the whole if that was the last one."""
        hasher, layout = self._hasher, self._layout
        path, size = layout.files[index][:2]
        part = KnownPart(length, found[0], layout.piece_length, found[2], v1)
        hasher._note_part(path, start, part)  # noqa: SLF001 - the same module
        done = self._bytes_known[index] = self._bytes_known.get(index, 0) + length
        if done < size:
            return
        layers, v1s = [], []
        at = 0
        while at < size:
            whole = hasher._parts.pop((path, at))  # noqa: SLF001 - the same module
            layers.append(whole.layer)
            v1s.append(whole.v1)
            at += whole.length
        layer = b"".join(layers)
        root = merkle_root(layer, padding=padding_root(layout.piece_length // BLOCK_SIZE))
        self._complete(index, found[1], FileHashes(root, layer, b"".join(v1s)))

    def _complete(self, index: int, generation: int, hashes: FileHashes) -> None:
        path = self._layout.files[index].path
        self._found[index] = hashes
        self._roots[index] = hashes.root
        row = KnownFile(*self._stamps[path], generation, self._layout.piece_length, *hashes)
        self._hasher._note_file(path, row)  # noqa: SLF001 - the same module

    def name_pieces(self) -> None:
        """Note packed pieces whose files are all known by now."""
        roots, left = self._roots, []
        for piece, sha1 in self._nameless:
            if all([roots[part[0]] for part in piece.parts]):
                self._hasher._note_packed(piece.key(roots), sha1)  # noqa: SLF001 - the same module
            else:
                left.append((piece, sha1))
        self._nameless = left

    def result(self) -> tuple[list[FileHashes], list[bytes]]:
        """Give all hashes."""
        hasher = self._hasher
        keys = [piece.key(self._roots) for piece in self._layout.packed_pieces]
        hasher.packed_used = keys
        found = [hashes for hashes in self._found if hashes is not None]
        assert len(found) == len(self._found)
        return found, [hasher.packed_known[key] for key in keys]


def usable_hashes(
    row: KnownFile, piece_length: int, format: TorrentFormat  # noqa: A002 - the field's word
) -> FileHashes | None:
    """Give a file's hashes for a piece length, for pieces of its own; None if it is to be read.

    The layer for larger pieces follows from that for smaller ones (BEP 52); their SHA-1 does not.
    """
    if row.piece_length == piece_length and (row.v1 or format is TorrentFormat.V2):
        return FileHashes(row.root, row.layer, row.v1)
    if format is not TorrentFormat.V2:
        return None
    if row.size <= piece_length:
        return FileHashes(row.root)
    if not row.layer or row.piece_length > piece_length:
        return None
    leaves = piece_length // row.piece_length
    padding = padding_root(row.piece_length // BLOCK_SIZE)
    layer = b"".join(
        [
            merkle_root(row.layer[at : at + 32 * leaves], padding=padding, leaves=leaves)
            for at in range(0, len(row.layer), 32 * leaves)
        ]
    )
    return FileHashes(row.root, layer)


class _Meter:
    """Tells how far hashing is, not too often."""

    def __init__(
        self,
        works: list[Work],
        progress: Callable[[HashProgress], None],
        clock_s: Callable[[], float],
    ) -> None:
        self._progress = progress
        self._clock_s = clock_s
        self._bytes_total = sum(work.content_bytes for work in works)
        self._files_total = sum(_files_ended(work) for work in works)
        self._bytes_done = self._files_done = 0
        self._told_s = 0.0
        self._pace = Pace(clock_s())
        self._tell(next(read[0] for read in works[0].job[2] if read[0]))

    def add(self, work: Work) -> None:
        """Note that a job is done."""
        self._bytes_done += work.content_bytes
        self._files_done += _files_ended(work)
        now_s = self._clock_s()
        if now_s - self._told_s >= _TELL_EVERY_S or self._bytes_done == self._bytes_total:
            self._told_s = now_s
            self._tell(next(islice((read[0] for read in reversed(work.job[2]) if read[0]), 1)))

    def _tell(self, path: str) -> None:
        self._pace.add(self._clock_s(), self._bytes_done)
        self._progress(
            HashProgress(
                self._bytes_done,
                self._bytes_total,
                self._files_done,
                self._files_total,
                path,
                round(self._pace.rate),
                self._pace.time_left_s(self._bytes_total),
            )
        )


def _files_ended(work: Work) -> int:
    """How many files end in a job: as good a count of files as any."""
    return sum(1 for path, size, at, length, _ in work.job[2] if path and at + length == size)
