"""What is in a trash, and what of it is given up: by age, by size, for room that is needed.

Pure. Files of an old release are in other folders than those that the user edited or added: they
can be had again from a swarm, so they go first where space is short.
"""

from __future__ import annotations

import calendar
import json
import math
import re
from collections import Counter, defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.names import PRIVATE_FOLDER
from torsync.model.stored import NUMBER, fits, load_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torsync.model.tree_index import Kind

TRASH = f"{PRIVATE_FOLDER}/trash"
_RELEASE = "-release"
_DAY_S = 24 * 3600.0
_JUMP_S = 3600.0  # what clocks are set by that are only wrong, over months, is less
_FOLDER = re.compile(r"(([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z)(.*)")
_SUFFIX = re.compile(r"(-release)?(?:-([1-9][0-9]{0,4}))?")


class TrashFolder(NamedTuple):
    """What the name of a folder in the trash says.

    Attributes:
        stamp: of the update or clean-up that made it; a name that torsync did not give, whole.
        at_s: the stamp in Unix seconds; None where the name was not torsync's.
        released: whether it holds an old release's files, rather than the user's.
        number: counts the further folders of a stamp, from 1.
    """

    stamp: str
    at_s: float | None
    released: bool
    number: int


def folder_name(stamp: str, *, released: bool, number: int) -> str:
    """Name a folder in the trash: ``STAMP``, ``STAMP-2``, ``STAMP-release`` and so on."""
    return f"{stamp}{_RELEASE if released else ''}{f'-{number}' if number > 1 else ''}"


@lru_cache(maxsize=1024)  # it is asked for each file
def parse_folder_name(name: str) -> TrashFolder:
    """Read the name of a folder in the trash; what torsync did not name is the user's."""
    foreign = TrashFolder(name, None, released=False, number=1)
    found = _FOLDER.fullmatch(name)
    suffix = _SUFFIX.fullmatch(found[8]) if found else None
    if found is None or suffix is None:
        return foreign
    try:
        at_s = calendar.timegm(tuple(int(found[part]) for part in range(2, 8)))
    except ValueError:  # no such month or year
        return foreign
    return TrashFolder(found[1], float(at_s), suffix[1] is not None, int(suffix[2] or 1))


class Trashed(NamedTuple):
    """One file, link or special file in the trash.

    Attributes:
        folder: its folder's name in the trash.
        path: that it had in the tree.
        at_s: when it went there, in Unix seconds.
        released: whether its content was an old release's, rather than the user's.
        kind: what it is.
        size: bytes that it holds.
        mtime_ns: its modification time.
        inode: the file itself: several names in the trash may lead to one.
        links: how many names the file has, on the whole file system.
        disk_bytes: what the disk gives back once the last of them is gone.
    """

    folder: str
    path: str
    at_s: float
    released: bool
    kind: Kind
    size: int
    mtime_ns: int
    inode: int
    links: int
    disk_bytes: int

    @property
    def disk_path(self) -> str:
        """Where it is, relative to the tree."""
        return f"{TRASH}/{self.folder}/{self.path}"

    @property
    def stamp(self) -> str:
        """The update or clean-up that put it there."""
        return parse_folder_name(self.folder).stamp

    @property
    def age_key(self) -> tuple[float, bool, int, str, str]:
        """Sorts oldest first; of one update, the user's version of a file last."""
        number = parse_folder_name(self.folder).number
        return (self.at_s, not self.released, number, self.folder, self.path)


class GivenUp(NamedTuple):
    """What of a trash is to be removed: for its age, and early, for the trash's size.

    ``left`` is what there is to remember of the rest.
    """

    aged: tuple[Trashed, ...]
    early: tuple[Trashed, ...]
    left: Tally


class Tally(NamedTuple):
    """What is remembered of a trash, so that not every update has to look at all of it.

    Attributes:
        counted_s: when it was looked at, in Unix seconds.
        oldest_s: when the oldest file in it went there.
        disk_bytes: what it takes, at most.
    """

    counted_s: float
    oldest_s: float
    disk_bytes: int

    def with_more(self, added_bytes: int) -> Tally:
        """The same after an update that put files there which take so much at most."""
        return self._replace(disk_bytes=self.disk_bytes + added_bytes)

    def allows(self, *, now_s: float, age_s: float, limit_bytes: int) -> bool:
        """Whether nothing is to be given up; a tally of another day says nothing."""
        return (
            0 <= now_s - self.counted_s < _DAY_S
            and now_s - self.oldest_s < age_s
            and self.disk_bytes <= limit_bytes
        )

    def dump(self) -> str:
        """As text, for the state."""
        return json.dumps(self)

    @staticmethod
    def load(text: str) -> Tally | None:
        """Read what ``dump`` wrote; None if it is something else."""
        found = load_json(text)
        return Tally(*found) if fits(found, NUMBER, NUMBER, int) else None


class _File(NamedTuple):
    """All names that one file has in the trash; it is the user's if one of them is."""

    names: tuple[Trashed, ...]
    at_s: float
    released: bool
    disk_bytes: int


def freed_bytes(files: Iterable[Trashed]) -> int:
    """What the disk gives back once these are removed; nothing for a file with other names."""
    return sum(file.disk_bytes for file in _files(files))


def plan_retention(
    files: Sequence[Trashed],
    *,
    now_s: float,
    age_s: float,
    limit_bytes: int,
    since_s: float = -math.inf,
) -> GivenUp:
    """Decide what a trash gives up.

    What is as old as ``age_s`` goes. If the rest takes more than ``limit_bytes``, an old
    release's files go, oldest first, whatever their size; then the user's, oldest first, but for
    those of the last update that put any there: nothing that a person made is gone as soon as it
    has been replaced. What gives nothing back is not removed for its size.

    A file from the future (a clock was set back) is not old; one from before 1970 is.

    Args:
        files: all that is in the trash.
        now_s: the time in Unix seconds.
        age_s: seconds; 0 keeps nothing.
        limit_bytes: of disk space.
        since_s: what went there earlier counts as if it had gone there then.
    """
    aged = tuple(file for file in files if is_aged(file, now_s=now_s, age_s=age_s, since_s=since_s))
    gone = set(aged)
    rest = [file for file in files if file not in gone]
    left = _files(rest, gone=aged)
    last_s = max((file.at_s for file in rest if not file.released), default=0.0)
    candidates = [file for file in left if file.released or file.at_s < last_s]
    total_bytes = sum(file.disk_bytes for file in left)
    early = _first_of(candidates, total_bytes - limit_bytes)
    gone.update(early)
    stays = [max(file.at_s, since_s) for file in rest if file not in gone]
    left_bytes = total_bytes - sum(file.disk_bytes for file in left if file.names[0] in gone)
    return GivenUp(aged, early, Tally(now_s, min(stays, default=now_s), left_bytes))


def is_aged(file: Trashed, *, now_s: float, age_s: float, since_s: float = -math.inf) -> bool:
    """Whether a file has been in the trash for ``age_s``, or since then; for 0 it always has."""
    return age_s <= 0 or now_s - max(file.at_s, since_s) >= age_s


def since_after_jump(since_s: float, *, now_s: float, jump_s: float) -> float:
    """Decide since when what is in a trash has been there at the latest, as its clock is set.

    A clock that is put forward by a year makes nothing older: what is there counts as if it had
    gone there now. One that is put back leaves nothing in the future.

    Args:
        since_s: what was decided before, in Unix seconds.
        now_s: the time by the clock as it is now.
        jump_s: by how much it was put forward; less than 0: back.
    """
    if jump_s > _JUMP_S:
        return now_s
    return min(since_s, now_s)


def plan_room(files: Iterable[Trashed], bytes_needed: int) -> tuple[Trashed, ...]:
    """Decide which old-release files make room for so many bytes: the oldest.

    Nothing is given up in vain: none if all of them are not enough.
    """
    candidates = [file for file in _files(files) if file.released]
    if sum(file.disk_bytes for file in candidates) < bytes_needed:
        return ()
    return _first_of(candidates, bytes_needed)


def versions_of(files: Iterable[Trashed], path: str, stamp: str = "") -> dict[str, Trashed]:
    """Find what a file or folder was when it last went to the trash.

    Args:
        files: all that is in the trash.
        path: of a file, or of a folder of files, relative to the tree.
        stamp: only updates and clean-ups whose stamp begins so.

    Returns:
        Path → its newest version of the newest stamp that has any; empty if there is none.
    """
    found = sorted(
        (
            file
            for file in files
            if f"{file.path}/".startswith(f"{path}/") and file.folder.startswith(stamp)
        ),
        key=lambda file: file.age_key,
    )
    return {file.path: file for file in found if file.stamp == found[-1].stamp}


def _files(names: Iterable[Trashed], *, gone: Iterable[Trashed] = ()) -> list[_File]:
    """The files that have no name but these and take space, a release's first, then the oldest.

    Args:
        names: in the trash.
        gone: names that are removed besides.
    """
    by_inode: dict[int, list[Trashed]] = defaultdict(list)
    for name in sorted(names, key=lambda name: name.age_key):
        by_inode[name.inode].append(name)
    names_gone = Counter(name.inode for name in gone)
    files = [
        _File(
            tuple(found),
            found[-1].at_s,
            all(name.released for name in found),
            found[-1].disk_bytes,
        )
        for inode, found in by_inode.items()
        if found[-1].disk_bytes and len(found) + names_gone[inode] >= found[-1].links
    ]
    return sorted(files, key=lambda file: (not file.released, file.names[-1].age_key))


def _first_of(files: Iterable[_File], bytes_needed: int) -> tuple[Trashed, ...]:
    given_up: list[Trashed] = []
    for file in files:
        if bytes_needed <= 0:
            break
        given_up += file.names
        bytes_needed -= file.disk_bytes
    return tuple(given_up)
