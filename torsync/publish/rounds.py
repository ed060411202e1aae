"""Look at a folder and hash it, until both agree on what is in it."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.stamps import FileStamp, stamp_of
from torsync.model.authoring.content import PublishedFile
from torsync.model.authoring.layout import lay_out
from torsync.model.authoring.piece_size import choose_piece_size
from torsync.model.config import TorrentFormat
from torsync.model.errors import InterruptedByUserError
from torsync.model.metainfo import MAX_PIECES
from torsync.publish.content import look
from torsync.publish.errors import EmptyFolderError, PieceSizeError, Problem, PublishError
from torsync.publish.hashing.kernel import generation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torsync.disk.tree import Tree
    from torsync.model.authoring.layout import Layout
    from torsync.model.tree_index import DiskEntry
    from torsync.publish.content import Content
    from torsync.publish.hash_cache import KnownFile
    from torsync.publish.hashing.engine import Hasher, Hashes
    from torsync.publish.hashing.memory import Memory

MOST_TRIES = 3
"""A file that has changed so often while it was hashed is a problem."""

_MOST_ROUNDS = 5
_SOON_S = 1.0  # a look at the folder is not old before
_READABLE_BY_ALL = 0o444
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True)
class AuthorOptions:
    """How a folder is published.

    Attributes:
        name: the root name.
        piece_size: bytes; 0: decided by torsync.
        ignore: gitignore patterns of what is left out, besides ``.torsync``.
        private: BEP 27.
        skip_unreadable: leave out what cannot be published, instead of publishing nothing.
        hints: what the ``.torrent`` says of its hints file if it has files for one; empty: nothing.
    """

    name: str
    format: TorrentFormat = TorrentFormat.V1
    piece_size: int = 0
    ignore: tuple[str, ...] = ()
    comment: str = ""
    private: bool = False
    skip_unreadable: bool = False
    hints: str = ""


class Settled(NamedTuple):
    """What is published: where it lies, what each file was like, and the hashes."""

    layout: Layout
    stamps: dict[str, FileStamp]
    hashes: Hashes


class Rounds:
    """Looks and hashes until both agree.

    Attributes:
        skipped: what was left out, by path.
    """

    def __init__(
        self,
        tree: Tree,
        options: AuthorOptions,
        memory: Memory,
        hasher: Hasher,
        stopping: Callable[[], bool],
    ) -> None:
        self._tree = tree
        self._options = options
        self._memory = memory
        self._hasher = hasher
        self._stopping = stopping
        self._tries: Counter[str] = Counter()
        self._unpublishable: dict[str, Problem] = {}  # found by hashing: they stay out
        self._stamps: dict[str, FileStamp] = {}
        self._unknown: set[str] = set()
        self.skipped: dict[str, Problem] = {}

    def settle(self, piece_length: int) -> Settled:
        """Hash what is not known, until nothing has changed in the time that took.

        Args:
            piece_length: of the release before; 0 if there is none.

        Raises:
            PublishError, EmptyFolderError, PieceSizeError, TreeError, HashingError, StateError,
                InterruptedByUserError: see ``author``.
        """
        content = self._look()
        number = 0
        while True:
            number += 1
            unknown = self._check(content)
            layout = self._lay_out(content, piece_length)
            piece_length = layout.piece_length
            stamps, begun_s = self._stamps, time.monotonic()
            found = self._hasher.hash(layout, stamps, unknown, content.clock_ns)
            self._note_failures()
            if found is not None and time.monotonic() - begun_s < _SOON_S:
                # Each file was as it was seen when it was read. What comes later comes next time.
                return Settled(layout, stamps, found)
            hashed, content = content, self._look()
            if number >= _MOST_ROUNDS:
                self._let_wait(content, hashed)
            if found is not None and self._is_settled(stamps, hashed, content):
                return Settled(layout, stamps, found)

    def _heed(self, _count: int) -> None:
        if self._stopping():
            raise InterruptedByUserError("stopped while looking at the folder")

    def _look(self) -> Content:
        """Look at the folder, take the stamps of its files, and see which are not known."""
        content = look(self._tree, self._options.ignore, self._heed)
        make = tuple.__new__  # what FileStamp() comes to in the end
        stamps, unknown = self._stamps, self._unknown = {}, set()
        row_of = self._memory.files.get
        for path, entry in content.files.items():
            stamp = stamps[path] = make(FileStamp, entry[1:5])
            row = row_of(path)
            if (row is None or row[:4] != stamp) and stamp[0]:
                unknown.add(path)
        return content

    def _check(self, content: Content) -> set[str]:
        """Leave out what cannot be published, and find out of which files nothing is known.

        Raises:
            PublishError: that is not wanted.
            EmptyFolderError: nothing is left.
        """
        files, stamps, unknown = content.files, self._stamps, self._unknown
        unknown -= self._find_renamed(unknown)
        problems = {problem.path: problem for problem in content.problems}
        problems |= {path: p for path, p in self._unpublishable.items() if path in files}
        for path in unknown:
            if files[path].mode & _READABLE_BY_ALL != _READABLE_BY_ALL:
                problems |= self._try_to_open(path)
        self.skipped = problems
        if problems and not self._options.skip_unreadable:
            raise PublishError(problems.values())
        for path in problems.keys() & files.keys():
            del files[path], stamps[path]
            unknown.discard(path)
        if not any(entry.size for entry in files.values()):
            raise EmptyFolderError(
                f"there is nothing to publish in {str(self._tree.root)!r}: it holds no file with a "
                "byte in it" + (" that can be published" if problems else ""),
                hint="check the path, what is ignored, and that its disk is mounted",
            )
        return unknown

    def _try_to_open(self, path: str) -> dict[str, Problem]:
        try:
            os.close(self._tree.open(path))
        except OSError as error:
            if error.errno not in _GONE:
                return {path: _unreadable(path, error.errno or errno.EIO)}
        return {}

    def _find_renamed(self, unknown: set[str]) -> set[str]:
        """Know files again that have another path since they were hashed; see ``hash_cache``."""
        known = self._memory.files
        found: set[str] = set()
        if not unknown or not known:
            return found
        inodes = {self._stamps[path].inode for path in unknown}
        by_inode: dict[int, list[tuple[str, KnownFile]]] = {}
        for path, row in known.items():
            if row[3] in inodes:
                by_inode.setdefault(row[3], []).append((path, row))
        for path in unknown if by_inode else ():
            stamp = self._stamps[path]
            for old, row in by_inode.get(stamp.inode, ()):
                if old != path and self._is_same_file(path, stamp, old, row):
                    self._memory.note_file(path, row._replace(ctime_ns=stamp.ctime_ns))
                    found.add(path)
                    break
        return found

    def _is_same_file(self, path: str, stamp: FileStamp, old: str, row: KnownFile) -> bool:
        if row[:2] != stamp[:2] or not 0 <= row.ctime_ns <= stamp.ctime_ns:
            return False
        if row.ctime_ns == stamp.ctime_ns:
            return True  # nothing happened to it, not even a rename: a hard link
        there = self._stamps.get(old)
        if row.generation < 0 or (there is not None and there.inode == row.inode):
            return False
        try:
            fd = self._tree.open(path)
        except OSError:
            return False
        try:
            return stamp_of(os.fstat(fd)) == stamp and generation_of(fd) == row.generation
        finally:
            os.close(fd)

    def _lay_out(self, content: Content, piece_length: int) -> Layout:
        options, files = self._options, content.files
        piece_length = options.piece_size or choose_piece_size(
            (entry.size for entry in files.values()), options.format, piece_length
        )
        published = _published(files)
        published += [
            PublishedFile(path, 0, hidden=_is_hidden(path), link_target=target)
            for path, target in content.links.items()
        ]
        layout = lay_out(published, piece_length, options.format)
        if layout.num_pieces > MAX_PIECES:
            raise PieceSizeError(
                f"a piece size of {piece_length} bytes makes {layout.num_pieces:,} pieces; "
                f"subscribers accept {MAX_PIECES:,}",
                hint="leave the piece size to torsync, or choose a larger one",
            )
        return layout

    def _note_failures(self) -> None:
        hasher = self._hasher
        for path, number in hasher.unreadable.items():
            if number in _GONE:
                self._note_change(path)
            else:
                self._unpublishable[path] = _unreadable(path, number)
        for path in hasher.changed:
            self._note_change(path)

    def _note_change(self, path: str) -> None:
        self._tries[path] += 1
        if self._tries[path] >= MOST_TRIES:
            reason = f"was changed each of the {MOST_TRIES} times that it was hashed"
            self._unpublishable[path] = Problem(path, reason)

    def _is_settled(
        self, stamps: Mapping[str, FileStamp], hashed: Content, content: Content
    ) -> bool:
        """Whether what was hashed is what is there now."""
        if stamps == self._stamps and hashed.links == content.links:
            return True
        for path, stamp in stamps.items():
            if self._stamps.get(path, stamp) != stamp:
                self._note_change(path)
        return False

    def _let_wait(self, content: Content, hashed: Content) -> None:
        """Leave what has come meanwhile to the next release: there will always be more."""
        for path in content.files.keys() - hashed.files.keys():
            del content.files[path], self._stamps[path]
            self._unknown.discard(path)
        for path in content.links.keys() - hashed.links.keys():
            del content.links[path]


def _unreadable(path: str, number: int) -> Problem:
    return Problem(path, f"could not be read: {os.strerror(number)}")


def _published(files: Mapping[str, DiskEntry]) -> list[PublishedFile]:
    make = tuple.__new__  # what PublishedFile() comes to in the end
    return [
        make(
            PublishedFile,
            (
                path,
                entry[1],
                entry[2] // 1_000_000_000,
                bool(entry[5] & 0o100),
                "." in path and _is_hidden(path),
                None,
            ),
        )
        for path, entry in files.items()
    ]


def _is_hidden(path: str) -> bool:
    """Whether a file is hidden as Unix has it: by a dot before its name."""
    return path[path.rfind("/") + 1] == "."
