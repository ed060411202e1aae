"""Hash parts of files: one job after the other, each byte read once for all its hashes.

It runs in the process that publishes where there is little to do, and in worker processes else:
the SHA-256 of 16 KiB blocks takes a few microseconds each, and threads would queue for the
interpreter in between. As workers import it, it stands on little: each import delays them.
"""

from __future__ import annotations

import errno
import os
import stat
from fcntl import ioctl
from hashlib import sha1, sha256
from typing import TYPE_CHECKING

from torsync.model.merkle import BLOCK_SIZE, block_hashes, merkle_root

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM, ROOT, LAYER = 0, 1, 2
"""What a ``Read`` is for besides the SHA-1 of pieces: nothing, or the BEP 52 root of a file of at
most one piece, or the piece layer of the part that is read."""

CHANGED = -1
"""Instead of an error number: the file was not of its size, or was changed while it was read."""

Read = tuple[str, int, int, int, int]
"""Path, size of the file, first byte and number of bytes for SHA-1, and what else it is for.

With an empty path it stands for so many zeros. ``LAYER`` begins on a piece boundary."""

Job = tuple[int, bool, list[Read]]
"""Piece length, whether SHA-1 is wanted, and what to read: pieces are cut from it, in a row."""

Seen = tuple[int, int, int, int]
FileResult = tuple[Seen, int, bytes] | int
"""What the file was like (size, mtime_ns, ctime_ns, inode), its inode's generation (or -1), and its
root or layer; or the number of an error."""

JobResult = tuple[list[FileResult], list[bytes]]
"""For each file in turn; and the SHA-1 of each piece, empty where a file in it failed."""

_BUFFER_BYTES = 256 * 1024  # a multiple of the block size; the core's own cache holds it
_GET_GENERATION = 0x80087601  # FS_IOC_GETVERSION of linux/fs.h
_NO_GENERATION = -1


class Kernel:
    """Hashes in one thread."""

    def __init__(
        self, opener: Callable[[str], int], heed: Callable[[], None] = lambda: None
    ) -> None:
        """Make one.

        Args:
            opener: opens a regular file by its path, without following links.
            heed: called often; may raise to end the work.
        """
        self._open = opener
        self._heed = heed
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._has_generations = True

    def run(self, job: Job) -> JobResult:
        """Do a job."""
        piece_length, with_sha1, reads = job
        pieces = _Pieces(piece_length) if with_sha1 else None
        found: list[FileResult] = []
        for read in reads:
            if not read[0]:
                assert pieces is not None
                pieces.add_zeros(read[3])
                continue
            begin = pieces.begin_read() if pieces is not None else 0
            try:
                result = self._file(read, pieces, piece_length)
            except OSError as error:
                result = error.errno or errno.EIO
            found.append(result)
            if pieces is not None and isinstance(result, int):
                pieces.give_up(begin, read[3])
        return found, pieces.finish() if pieces is not None else []

    def _file(self, read: Read, pieces: _Pieces | None, piece_length: int) -> FileResult:
        path, size = read[:2]
        self._heed()
        fd = self._open(path)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode) or before.st_size != size:
                return CHANGED
            hash_it = self._small if size <= _BUFFER_BYTES else self._large
            digest = hash_it(fd, read, pieces, piece_length)
            after = os.fstat(fd)
            seen = (size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino)
            if digest is None or seen[:3] != (
                *(after.st_size, after.st_mtime_ns, after.st_ctime_ns),
            ):
                return CHANGED
            return seen, self._generation(fd), digest
        finally:
            os.close(fd)

    def _small(
        self, fd: int, read: Read, pieces: _Pieces | None, piece_length: int
    ) -> bytes | None:
        """Hash a file that is read at once; None if it is shorter than it was."""
        _path, size, start, length, want = read
        data = os.read(fd, size)
        if len(data) != size:
            return None
        if pieces is not None:
            pieces.add(data if length == size else memoryview(data)[start : start + length])
        if want == ROOT:
            if size <= BLOCK_SIZE:
                return sha256(data).digest()
            return merkle_root(block_hashes(data))
        if want == LAYER:
            return _layer(block_hashes(memoryview(data)[start : start + length]), piece_length)
        return b""

    def _large(
        self, fd: int, read: Read, pieces: _Pieces | None, piece_length: int
    ) -> bytes | None:
        _path, size, start, length, want = read
        end = start + length
        at, upto = (0, size) if want == ROOT else (start, end)
        blocks: list[bytes] = []
        while at < upto:
            self._heed()
            part = self._buffer[: upto - at]
            if not _fill(fd, part, at):
                return None
            if pieces is not None:
                pieces.add(part[max(start - at, 0) : max(end - at, 0)])
            if want:
                blocks.append(block_hashes(part))
            at += len(part)
        if want == ROOT:
            return merkle_root(b"".join(blocks))
        return _layer(b"".join(blocks), piece_length) if want == LAYER else b""

    def _generation(self, fd: int) -> int:
        """Tell inodes apart that have the same number one after the other, where that is told."""
        if self._has_generations:
            try:
                return int.from_bytes(ioctl(fd, _GET_GENERATION, bytes(8))[:4], "little")
            except OSError:
                self._has_generations = False
        return _NO_GENERATION


def generation_of(fd: int) -> int:
    """Give the generation of an open file's inode, -1 where the file system does not tell."""
    return Kernel(lambda _path: -1)._generation(fd)  # noqa: SLF001 - the same module


def _fill(fd: int, target: memoryview, at: int) -> bool:
    """Fill ``target`` from a file; False if it ends before."""
    wanted, done = len(target), 0
    while done < wanted:
        count = os.preadv(fd, [target[done:] if done else target], at + done)
        if not count:
            return False
        done += count
    return True


def _layer(blocks: bytes, piece_length: int) -> bytes:
    """Give the root of each piece (BEP 52); the last one may have fewer blocks."""
    leaves = piece_length // BLOCK_SIZE
    step = 32 * leaves
    return b"".join(
        [merkle_root(blocks[at : at + step], leaves=leaves) for at in range(0, len(blocks), step)]
    )


class _Pieces:
    """SHA-1 of pieces whose bytes come one after the other."""

    def __init__(self, piece_length: int) -> None:
        self._length = piece_length
        self._room = piece_length
        self._hash = sha1(usedforsecurity=False)
        self._digests: list[bytes] = []
        self._position = 0
        self._wrong: set[int] = set()

    def add(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        size = len(data)
        self._position += size
        if size < self._room:
            self._hash.update(data)
            self._room -= size
            return
        view = memoryview(data)
        while len(view) >= self._room:
            self._hash.update(view[: self._room])
            view = view[self._room :]
            self._end_piece()
        self._hash.update(view)
        self._room -= len(view)

    def add_zeros(self, count: int) -> None:
        """Add padding."""
        while count > 0:
            self.add(bytes(min(count, _BUFFER_BYTES)))
            count -= _BUFFER_BYTES

    def begin_read(self) -> int:
        """Give the place at which the next bytes are."""
        return self._position

    def give_up(self, begin: int, length: int) -> None:
        """Have no hash for the pieces with the ``length`` bytes from ``begin`` on, and go on."""
        if length:
            first, last = begin // self._length, (begin + length - 1) // self._length
            self._wrong.update(range(first, last + 1))
            self.add_zeros(begin + length - self._position)

    def _end_piece(self) -> None:
        self._digests.append(self._hash.digest())
        self._hash = sha1(usedforsecurity=False)
        self._room = self._length

    def finish(self) -> list[bytes]:
        """Give the SHA-1 of each piece; the last one may be short."""
        if self._room < self._length:
            self._end_piece()
        for piece in self._wrong:
            self._digests[piece] = b""
        return self._digests


class FolderOpener:
    """Opens files below a folder by descriptors, so that no link leads out of it."""

    _FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    _FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

    def __init__(self, root_fd: int) -> None:
        self._root_fd = self._fd = root_fd
        self._folder = ""

    def __call__(self, path: str) -> int:
        """Open what is no link and has none on its way.

        Raises:
            OSError: as ``open``; ELOOP for a link, ENOTDIR where one is on the way.
        """
        folder, _, name = path.rpartition("/")
        if folder != self._folder:
            self._enter(folder)
        return os.open(name, self._FILE, dir_fd=self._fd)

    def _enter(self, folder: str) -> None:
        """Open a folder from the top: those on the way may have been moved since."""
        if self._fd != self._root_fd:
            os.close(self._fd)
        self._folder, self._fd = "", self._root_fd
        fd = self._root_fd
        try:
            for name in folder.split("/") if folder else ():
                above, fd = fd, os.open(name, self._FOLDER, dir_fd=fd)
                if above != self._root_fd:
                    os.close(above)
        except OSError:
            if fd != self._root_fd:
                os.close(fd)
            raise
        self._folder, self._fd = folder, fd
