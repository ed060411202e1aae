"""What has to be read to know the hashes of a layout's files, cut into jobs; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.config import TorrentFormat
from torsync.publish.hashing.kernel import LAYER, ROOT, STREAM, Job, Read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from torsync.model.authoring.layout import Layout, PackedPiece

JOB_BYTES = 8 * 1024**2  # a multiple of all piece lengths up to it
_JOB_FILES = 500
_BYTES_PER_FILE = 24 * 1024  # as much time as it takes to open one and tell of it


class FilePart(NamedTuple):
    """Bytes of a file, by its index in the layout."""

    file_index: int
    start: int
    length: int


@dataclass
class Work:
    """A job, and what its results are of.

    Attributes:
        job: for a kernel.
        parts: one for each file that it reads.
        packed: the packed pieces that it gives the SHA-1 of; else they are the files' own.
        cost_bytes: in how much time it takes, as bytes to hash.
    """

    job: Job
    parts: list[FilePart] = field(default_factory=list)
    packed: list[PackedPiece] = field(default_factory=list)
    content_bytes: int = 0
    cost_bytes: int = 0

    def add(self, part: FilePart, path: str, size: int, want: int) -> None:
        """Have it read part of a file."""
        self.job[2].append((path, size, part.start, part.length, want))
        self.parts.append(part)
        read = size if want == ROOT else part.length
        self.content_bytes += read
        self.cost_bytes += read + _BYTES_PER_FILE

    def add_zeros(self, count: int) -> None:
        """Have padding behind that."""
        if count:
            self.job[2].append(("", 0, 0, count, STREAM))
            self.cost_bytes += count

    @property
    def paths(self) -> list[str]:
        """The files that it reads."""
        return [read[0] for read in self.job[2] if read[0]]

    @property
    def files_ended(self) -> int:
        """How many files end in it: as good a count of files as any."""
        return sum(1 for path, size, at, length, _ in self.job[2] if path and at + length == size)

    @property
    def is_full(self) -> bool:
        """Whether what comes next belongs into another one."""
        return self.cost_bytes >= JOB_BYTES or len(self.parts) >= _JOB_FILES


def file_work(
    layout: Layout, indexes: Iterable[int], has_part: Callable[[int, int], int]
) -> Iterator[Work]:
    """Hash files that have pieces of their own, in v1 and hybrid, or are of v2.

    Args:
        layout: where the files lie.
        indexes: of files with bytes in it.
        has_part: how many bytes are known from one on, by index; 0 for none.
    """
    piece_length = layout.piece_length
    with_sha1 = layout.format is not TorrentFormat.V2
    step = max(JOB_BYTES, piece_length)
    work = _new(piece_length, with_sha1=with_sha1)
    for index in indexes:
        path, size = layout.files[index][:2]
        if size <= piece_length:
            work.add(FilePart(index, 0, size), path, size, ROOT)
            if with_sha1:
                work.add_zeros(piece_length - size)
            if work.is_full:
                yield work
                work = _new(piece_length, with_sha1=with_sha1)
            continue
        at = 0
        while at < size:
            if known := has_part(index, at):
                at += known
                continue
            length = min(step - at % step, size - at)
            large = _new(piece_length, with_sha1=with_sha1)
            large.add(FilePart(index, at, length), path, size, LAYER)
            if with_sha1:
                large.add_zeros(-length % piece_length)
            yield large
            at += length
    if work.parts:
        yield work


def packed_work(
    layout: Layout, pieces: Iterable[PackedPiece], unknown: Collection[int]
) -> Iterator[Work]:
    """Hash packed pieces, and the files in them that are unknown.

    Args:
        layout: where the files lie.
        pieces: some of its packed pieces, in order.
        unknown: indexes of files whose root is not known.
    """
    piece_length = layout.piece_length
    wanted = set(unknown)
    work = _new(piece_length, with_sha1=True)
    last = -1
    for piece in pieces:
        if work.parts and (work.is_full or piece.piece != last + 1):
            yield work
            work = _new(piece_length, with_sha1=True)
        reads, parts = work.job[2], work.parts
        for index, start, length in piece.parts:
            if parts and start and parts[-1][0] == index:
                # The rest of the file that the piece before ended in: it is opened once.
                parts[-1] = FilePart(index, parts[-1].start, parts[-1].length + length)
                path, size, first, before, want = reads[-1]
                reads[-1] = (path, size, first, before + length, want)
                if want == STREAM:
                    work.content_bytes += length
                    work.cost_bytes += length
                continue
            path, size = layout.files[index][:2]
            work.add(
                FilePart(index, start, length), path, size, ROOT if index in wanted else STREAM
            )
            wanted.discard(index)
        work.add_zeros(piece.zeros)
        work.packed.append(piece)
        last = piece.piece
    if work.parts:
        yield work


def _new(piece_length: int, *, with_sha1: bool) -> Work:
    reads: list[Read] = []
    return Work((piece_length, with_sha1, reads))


def keys_of(pieces: Iterable[PackedPiece], roots: Sequence[bytes]) -> list[bytes]:
    """Give the keys of packed pieces; empty for those in which a file's root is not known.

    Args:
        pieces: of a layout.
        roots: of each of its files; empty where it is not known.
    """
    return [
        b"" if b"" in [roots[part[0]] for part in piece.parts] else piece.key(roots)
        for piece in pieces
    ]
