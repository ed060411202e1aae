"""What was seen on disk, and what torsync remembers of it; values without any disk access."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL_PAST = 2**63 - 1  # a clock to which every time stamp is past
_AHEAD_NS = 24 * 3600 * 1_000_000_000  # longer than any look takes


class Kind(Enum):
    """What a directory entry is."""

    __hash__ = object.__hash__  # Enum's own is slow, and every file is looked up by it

    FILE = "file"
    FOLDER = "folder"
    LINK = "symbolic link"
    MOUNT = "mount point of another file system"
    OTHER = "special file"


class DiskEntry(NamedTuple):
    """One directory entry as stat saw it; times in nanoseconds since 1970.

    ``link_target`` is the text of a symbolic link.
    """

    kind: Kind
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    link_target: str = ""

    @property
    def executable(self) -> bool:
        """Whether its owner may execute it."""
        return bool(self.mode & 0o100)


class LedgerRow(NamedTuple):
    """What torsync put on disk or verified: the stat it had then, and what it held.

    ``digest`` is ``Manifest.digest`` of the entry whose content it was. ``ctime_ns`` is inverted
    (``~``, so below zero) in a smudged row, which never vouches: see ``ledger_row``.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    digest: str

    @property
    def is_smudged(self) -> bool:
        """Whether the file had changed so lately that a further change might not show."""
        return self.ctime_ns < 0

    def as_seen(self) -> LedgerRow:
        """The same row without its smudge: for whom it is enough that nothing has shown since."""
        return self._replace(ctime_ns=~self.ctime_ns) if self.is_smudged else self

    def vouches_for(self, entry: DiskEntry) -> bool:
        """Whether the file is untouched since; ctime catches an mtime that was set back."""
        return (
            entry.size == self.size
            and entry.mtime_ns == self.mtime_ns
            and 0 <= self.ctime_ns == entry.ctime_ns
            and entry.inode == self.inode
        )


def ledger_row(entry: DiskEntry, digest: str, clock_ns: int = _ALL_PAST) -> LedgerRow:
    """Remember ``entry`` as holding the content of ``digest``.

    Time stamps have a granularity, of milliseconds to seconds: a change in the very tick of the
    last one leaves them as they are. A file whose ctime the file system's clock had not passed
    when it was looked at is therefore "racily clean", as git calls it. Its row is smudged: it is
    hashed at the next look, and recorded anew.

    A file system without a ctime says 0; its mtime has to do. A stamp more than a day ahead is
    of a clock that has been set back since, and a change will give the file an earlier one.

    Args:
        entry: as ``stat`` saw it.
        digest: ``Manifest.digest`` of what it holds.
        clock_ns: what the file system's clock said before ``entry`` was looked at.
    """
    stamp_ns = entry.ctime_ns or entry.mtime_ns
    racy = clock_ns <= stamp_ns < clock_ns + _AHEAD_NS
    ctime_ns = ~entry.ctime_ns if racy else entry.ctime_ns
    return LedgerRow(entry.size, entry.mtime_ns, ctime_ns, entry.inode, digest)


def row_as_found(row: LedgerRow, entry: DiskEntry | None) -> LedgerRow | None:
    """What to remember of a file that torsync put on disk once, and no longer looks after.

    Args:
        row: that the ledger has.
        entry: what is there now; None if that could not be seen.

    Returns:
        A row that does not vouch for the content if somebody changed the file; none if there is
        no file or link any more.
    """
    if entry is None:
        return row
    if entry.kind not in {Kind.FILE, Kind.LINK}:
        return None
    return row if row.vouches_for(entry) else ledger_row(entry, "")


@dataclass(frozen=True)
class DiskIndex:
    """A tree as a scan found it; ``.torsync`` is left out.

    Attributes:
        entries: path relative to the tree → what is there. Folders are included; links and
            mount points are not followed.
        problems: path → why it could not be read. With any, the index is incomplete, and
            what it doesn't list must not be taken for absent.
        clock_ns: what the file system's clock said before anything was looked at.
    """

    entries: dict[str, DiskEntry]
    problems: dict[str, str] = field(default_factory=dict)
    clock_ns: int = _ALL_PAST

    def without(self, problems: Mapping[str, str]) -> DiskIndex:
        """The same with more that could not be read."""
        return replace(self, problems={**self.problems, **problems})

    @property
    def complete(self) -> bool:
        """Whether everything could be read."""
        return not self.problems
