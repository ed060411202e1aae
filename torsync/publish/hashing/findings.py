"""The hashes of one layout: which of them are known, and what jobs find of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.authoring.content import NO_HASHES, FileHashes
from torsync.model.config import TorrentFormat
from torsync.model.merkle import BLOCK_SIZE, merkle_root, padding_root
from torsync.publish.hash_cache import KnownFile, KnownPart
from torsync.publish.hashing.jobs import file_work, keys_of, packed_work
from torsync.publish.hashing.kernel import CHANGED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torsync.disk.stamps import FileStamp
    from torsync.model.authoring.layout import Layout, PackedPiece
    from torsync.publish.hashing.jobs import Work
    from torsync.publish.hashing.kernel import FileResult, JobResult
    from torsync.publish.hashing.memory import Memory


class Findings:
    """One layout's hashes: those that are known, and those that come in.

    Attributes:
        changed: files that were not as they were seen when they were hashed.
        unreadable: path → the number of the error that reading it gave.
        packed_used: the keys of all packed pieces, once there is a result.
    """

    def __init__(
        self,
        memory: Memory,
        layout: Layout,
        stamps: Mapping[str, FileStamp],
        unknown: Collection[str],
    ) -> None:
        self._memory = memory
        self._layout = layout
        self._stamps = stamps
        self._unknown = unknown
        self._found: list[FileHashes | None] = []
        self._roots: list[bytes] = []
        self._bytes_known: dict[int, int] = {}  # of files that are hashed in parts
        self._keys: list[bytes] = []
        self._nameless: list[tuple[PackedPiece, bytes]] = []
        self.changed: set[str] = set()
        self.unreadable: dict[str, int] = {}
        self.packed_used: list[bytes] = []

    def plan(self) -> list[Work]:
        """Find out what is to be read."""
        layout, memory = self._layout, self._memory
        piece_length, format_ = layout.piece_length, layout.format
        known, unknown = memory.files, self._unknown
        add, add_root = self._found.append, self._roots.append
        make = tuple.__new__  # what FileHashes() comes to in the end
        least = piece_length if format_ is TorrentFormat.V1 else 0  # smaller ones are packed
        own: list[int] = []
        packed: list[int] = []
        for index, (path, size, *_) in enumerate(layout.files):
            hashes: FileHashes | None = None
            if not size:
                hashes = NO_HASHES
            elif size < least:
                if path in unknown:
                    packed.append(index)
                else:
                    hashes = make(FileHashes, (known[path].root, b"", b""))
            else:
                if path not in unknown:
                    hashes = usable_hashes(known[path], piece_length, format_)
                if hashes is None:
                    own.append(index)
            add(hashes)
            add_root(b"" if hashes is None else hashes[0])
        works = list(file_work(layout, own, self._has_part))
        self._keys = keys_of(layout.packed_pieces, self._roots)
        pieces = [
            piece
            for piece, key in zip(layout.packed_pieces, self._keys, strict=True)
            if not key or key not in memory.packed
        ]
        works += packed_work(layout, pieces, packed)
        return works

    def _has_part(self, index: int, start: int) -> int:
        """How many bytes of a large file are known from one on; its end never is."""
        path, size = self._layout.files[index][:2]
        part = self._memory.parts.get((path, start))
        needs_v1 = self._layout.format is not TorrentFormat.V2
        if (
            part is None
            or part.stamp != self._stamps[path]
            or part.piece_length != self._layout.piece_length
            or (needs_v1 and not part.v1)
            or start + part.length >= size
        ):
            return 0
        self._bytes_known[index] = self._bytes_known.get(index, 0) + part.length
        return part.length

    def take(self, work: Work, result: JobResult) -> None:
        """Note what a job has found."""
        files, sha1s = result
        layout = self._layout
        if work.packed:
            wrong = set()
            for (index, _start, _length), found in zip(work.parts, files, strict=True):
                if not self._is_right(index, found):
                    wrong.add(index)
                elif not isinstance(found, int) and found[2]:
                    self._complete(index, found[1], FileHashes(found[2]))
            self._nameless += [
                (piece, sha1)
                for piece, sha1 in zip(work.packed, sha1s, strict=True)
                if sha1 and not (wrong and any(part[0] in wrong for part in piece.parts))
            ]
            return
        at = 0
        for part, found in zip(work.parts, files, strict=True):
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
        path = self._layout.files[index][0]
        if isinstance(found, int):
            if found == CHANGED:
                self.changed.add(path)
            else:
                self.unreadable[path] = found
            return False
        if found[0] != self._stamps[path]:
            self.changed.add(path)
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
        layout, parts = self._layout, self._memory.parts
        path, size = layout.files[index][:2]
        part = KnownPart(length, found[0], layout.piece_length, found[2], v1)
        self._memory.note_part(path, start, part)
        done = self._bytes_known[index] = self._bytes_known.get(index, 0) + length
        if done < size:
            return
        layers, v1s = [], []
        at = 0
        while at < size:
            whole = parts[path, at]
            layers.append(whole.layer)
            v1s.append(whole.v1)
            at += whole.length
        layer = b"".join(layers)
        root = merkle_root(layer, padding=padding_root(layout.piece_length // BLOCK_SIZE))
        self._complete(index, found[1], FileHashes(root, layer, b"".join(v1s)))

    def _complete(self, index: int, generation: int, hashes: FileHashes) -> None:
        path = self._layout.files[index][0]
        self._found[index] = hashes
        self._roots[index] = hashes[0]
        values = (*self._stamps[path], generation, self._layout.piece_length, *hashes)
        row: KnownFile = tuple.__new__(KnownFile, values)
        self._memory.note_file(path, row)

    def name_pieces(self) -> None:
        """Note packed pieces whose files are all known by now."""
        keys = keys_of([piece for piece, _ in self._nameless], self._roots)
        for (_, sha1), key in zip(self._nameless, keys, strict=True):
            if key:
                self._memory.note_packed(key, sha1)
        self._nameless = [one for one, key in zip(self._nameless, keys, strict=True) if not key]

    def result(self) -> tuple[list[FileHashes], list[bytes]]:
        """Give all hashes."""
        keys = (
            self._keys
            if b"" not in self._keys
            else keys_of(self._layout.packed_pieces, self._roots)
        )
        self.packed_used = keys
        found = [hashes for hashes in self._found if hashes is not None]
        assert len(found) == len(self._found)
        return found, [self._memory.packed[key] for key in keys]


def usable_hashes(
    row: KnownFile,
    piece_length: int,
    format: TorrentFormat,  # noqa: A002 - the field's word
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
