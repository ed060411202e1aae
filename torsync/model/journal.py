"""What a commit is about to do: written down before its first change, so that it can be finished.

A commit that is cut off is carried out again from its journal, whatever was done of it already.
So each step says how to recognise that it is done, and nothing in it depends on the plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from torsync.model.stored import NUMBER, are_texts, fits, load_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Identity = tuple[int, int, int]
"""Size, modification time in nanoseconds and inode: what stays when a file is moved."""

_NANOSECONDS = 1_000_000_000


class Placed(NamedTuple):
    """A file that gets to its path by one rename.

    Attributes:
        how: ``moved``, ``copied``, ``patched`` or ``fetched``, as reports call it.
        path: where to.
        number: of the file in the release, which names it in the stage.
        size, mtime_ns, inode: how it is recognised wherever it is.
        source: for what is moved, where from; else empty.
        aside: whether what is moved gets a name in the stage first.
        over: what an earlier release has at ``path``, if nobody has touched that.
        mode: permission bits to give to what is moved; -1 to leave them.
        mtime_s: modification time to give to what is moved, in Unix seconds; None to leave it.
        link: the text of a symbolic link, which is made instead; empty for a file.
        yields: whether it stays away if there is anything at ``path``: a file under ``keep``.
    """

    how: str
    path: str
    number: int
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    source: str = ""
    aside: bool = False
    over: Identity | None = None
    mode: int = -1
    mtime_s: int | None = None
    link: str = ""
    yields: bool = False

    @property
    def identity(self) -> Identity:
        """What it looks like in the end."""
        return dated((self.size, self.mtime_ns, self.inode), self.mtime_s)


class Kept(NamedTuple):
    """A file of the release that stays where it is, and may get another mode or time.

    ``ctime_ns`` is that of the look; -1 if the file was written to by this update. ``mode`` and
    ``mtime_s`` are as in ``Placed``.
    """

    path: str
    number: int
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int = -1
    mode: int = -1
    mtime_s: int | None = None

    @property
    def identity(self) -> Identity:
        """What it looks like in the end."""
        return dated((self.size, self.mtime_ns, self.inode), self.mtime_s)


class Gone(NamedTuple):
    """A path whose file or link goes to the trash.

    ``released``: it was an earlier release's, and nobody had touched it when it was looked at.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    released: bool

    @property
    def identity(self) -> Identity:
        """How it is recognised."""
        return self.size, self.mtime_ns, self.inode


@dataclass(frozen=True)
class Journal:
    """One commit, in the order of its steps.

    Attributes:
        release: the digest of the body of the release's ``.torrent``.
        stage: the name of the stage that has the files.
        stamp: the name of this update in the trash.
        at_s: when it was begun, in Unix seconds.
        report: what it is going to do, as reports tell it.
        cleared: what has to be gone before files are placed.
        blocking: paths of files that are moved, and have to be gone before files are placed.
        folders: that a file is put in the place of, the inner ones first.
        placed: files and links that get to their paths.
        removed: what goes afterwards.
        kept: files that stay, and of which there is something to note.
    """

    release: str
    stage: str
    stamp: str
    at_s: float = 0.0
    report: dict[str, Any] = field(default_factory=dict)
    cleared: tuple[Gone, ...] = ()
    blocking: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    placed: tuple[Placed, ...] = ()
    removed: tuple[Gone, ...] = ()
    kept: tuple[Kept, ...] = ()

    @property
    def moves_anything(self) -> bool:
        """Whether some path gets other content, or none."""
        return bool(self.placed or self.cleared or self.removed)

    def vacated(self) -> Iterator[str]:
        """The paths that have nothing of this release in the end, and had something before."""
        ends = {placed.path for placed in self.placed}
        for gone in (*self.cleared, *self.removed):
            yield gone.path
        for placed in self.placed:
            if placed.source and placed.source not in ends:
                yield placed.source

    def dump(self) -> Iterator[str]:
        """Give it as lines of text."""
        yield json.dumps([self.release, self.stage, self.stamp, self.at_s, self.report])
        yield json.dumps([sorted(self.blocking), self.folders])
        for name in _STEPS:
            for step in getattr(self, name):
                yield json.dumps([name, *step])

    @classmethod
    def load(cls, lines: Iterable[str]) -> Journal | None:
        """Read what ``dump`` gave; None if there is nothing.

        Raises:
            ValueError: it is something else.
        """
        given = list(map(load_json, lines))
        if not given:
            return None
        if len(given) == 1 or not fits(given[0], str, str, str, NUMBER, dict):
            raise ValueError("its first lines are damaged")
        if not fits(given[1], list, list) or not all(map(are_texts, given[1])):
            raise ValueError("its second line is damaged")
        release, stage, stamp, at_s, report = given[0]
        blocking, folders = given[1]
        steps: dict[str, list[Any]] = {name: [] for name in _STEPS}
        for step in given[2:]:
            name, *values = step if isinstance(step, list) and step else (None,)
            if not isinstance(name, str) or not _is_step(name, values):
                raise ValueError("it has a step that is damaged")
            steps[name].append(_STEPS[name](values))
        return cls(
            release,
            stage,
            stamp,
            at_s,
            report,
            blocking=frozenset(blocking),
            folders=tuple(folders),
            **{name: tuple(found) for name, found in steps.items()},
        )


def dated(identity: Identity, mtime_s: int | None) -> Identity:
    """What a file looks like once it has the time that the release has for it, if any."""
    size, mtime_ns, inode = identity
    return size, mtime_ns if mtime_s is None else mtime_s * _NANOSECONDS, inode


def _is_step(name: str, values: list[Any]) -> bool:
    """Whether a step has values of the kinds that it should have; older versions' may be short."""
    kinds, least = _KINDS.get(name, ((), 1))
    return least <= len(values) <= len(kinds) and fits(values, *kinds[: len(values)])


def _placed(values: list[Any]) -> Placed:
    found = Placed(*values)
    if found.over is None:
        return found
    if not fits(found.over, int, int, int):
        raise ValueError("it has a step that is damaged")
    size, mtime_ns, inode = found.over
    return found._replace(over=(size, mtime_ns, inode))


_STEPS: dict[str, Callable[[list[Any]], Any]] = {
    "cleared": lambda values: Gone(*values),
    "placed": _placed,
    "removed": lambda values: Gone(*values),
    "kept": lambda values: Kept(*values),
}
_NONE = type(None)
_GONE = (str, int, int, int, bool)
_PLACED = (str, str, int, int, int, int, str, bool, (list, _NONE), int, (int, _NONE), str, bool)
_KEPT = (str, int, int, int, int, int, int, (int, _NONE))
_KINDS: dict[str, tuple[tuple[type | tuple[type, ...], ...], int]] = {
    "cleared": (_GONE, 5),
    "placed": (_PLACED, 3),
    "removed": (_GONE, 5),
    "kept": (_KEPT, 5),
}
"""Of the values of each kind of step; and how many there are at least."""
