"""What was seen on disk, and what torsync remembers of it; values without any disk access."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """What a directory entry is."""

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

    ``digest`` is ``Manifest.digest`` of the entry whose content it was.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    digest: str

    def vouches_for(self, entry: DiskEntry) -> bool:
        """Whether the file is untouched since; ctime catches an mtime that was set back."""
        return (
            entry.size == self.size
            and entry.mtime_ns == self.mtime_ns
            and entry.ctime_ns == self.ctime_ns
            and entry.inode == self.inode
        )


def ledger_row(entry: DiskEntry, digest: str) -> LedgerRow:
    """Remember ``entry`` as holding the content of ``digest``."""
    return LedgerRow(entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode, digest)


@dataclass(frozen=True)
class DiskIndex:
    """A tree as a scan found it; ``.torsync`` is left out.

    Attributes:
        entries: path relative to the tree → what is there. Folders are included; links and
            mount points are not followed.
        problems: path → why it could not be read. With any, the index is incomplete, and
            what it doesn't list must not be taken for absent.
    """

    entries: dict[str, DiskEntry]
    problems: dict[str, str] = field(default_factory=dict)

    def without(self, problems: Mapping[str, str]) -> DiskIndex:
        """The same with more that could not be read."""
        return replace(self, problems={**self.problems, **problems})

    @property
    def complete(self) -> bool:
        """Whether everything could be read."""
        return not self.problems
