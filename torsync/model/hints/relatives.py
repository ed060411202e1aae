"""Which files in a tree may have content of a wanted file at another offset; pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.names import in_private
from torsync.model.plan import FILLED
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torsync.model.plan import Plan
    from torsync.model.tree_index import DiskIndex

MOST_RELATIVES = 8
SMALLEST_SOURCE = 4 * 1024
"""Bytes of a file that is looked into: a smaller one has little of a block."""

_NEAREST = 4  # by size, of each kind
_BY_NAME = 2  # the first shelves: all that is worth it beside an old version of a small file
_LARGE_FILE = 256 * 1024
_VERSION = re.compile(r"[0-9a-f]{8,}|[0-9]+")  # "app.3f2a91bc.js", "pack-1.2.bin"


class _Candidate(NamedTuple):
    """A file by what it is compared by; ``alike`` is its name without what versions change."""

    size: int
    path: str
    name: str
    alike: str
    extension: str
    folders: tuple[str, ...]


def _candidate(path: str, size: int) -> _Candidate:
    *folders, name = path.split("/")
    extension = name.rpartition(".")[2] if "." in name else ""
    return _Candidate(size, path, name, _VERSION.sub("#", name), extension, tuple(folders))


class _Shelf:
    """Files of one kind by size."""

    def __init__(self) -> None:
        self._files: list[_Candidate] = []
        self._is_sorted = True

    def add(self, file: _Candidate) -> None:
        self._files.append(file)
        self._is_sorted = False

    def nearest(self, size: int) -> list[_Candidate]:
        """Some that are a little smaller, and some that are a little larger."""
        if not self._is_sorted:
            self._files.sort()
            self._is_sorted = True
        at = bisect_left(self._files, (size,))
        return self._files[max(at - _NEAREST, 0) : at + _NEAREST]


def has_sources(index: DiskIndex) -> bool:
    """Whether any file is large enough to be looked into."""
    return any(
        entry.size >= SMALLEST_SOURCE and entry.kind is Kind.FILE
        for entry in index.entries.values()
    )


class Relatives:
    """Knows the files of a tree by name and size."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sizes = {
            path: entry.size
            for path, entry in plan.index.entries.items()
            if entry.kind is Kind.FILE
            and entry.size >= SMALLEST_SOURCE
            and not in_private(path)
            and path not in plan.index.problems
        }
        self._named: dict[str, list[str]] = {}
        for path in self._sizes:
            self._named.setdefault(path.rpartition("/")[2], []).append(path)
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        for path in self._sizes.keys() & _leaving(plan):
            file = _candidate(path, self._sizes[path])
            for key in _shelves_of_leaving(file):
                self._shelves.setdefault(key, _Shelf()).add(file)

    def of(self, file_index: int) -> tuple[str, ...]:
        """Paths of files that may have some of a wanted file's content, the likeliest first.

        First what the plan takes it to be a new version of, then files of the same name, then
        those that leave the tree or get other content, by how similar name and size are.
        """
        file = self._plan.wanted.files[file_index]
        wanted = _candidate(file.path, file.size)
        first = [
            path
            for path in dict.fromkeys((file.path, self._plan.files[file_index].source))
            if path in self._sizes
        ]
        by_name_only = bool(first) and file.size < _LARGE_FILE
        shelves = islice(self._shelves_for(wanted, first), _BY_NAME if by_name_only else None)
        others = {other.path: other for shelf in shelves for other in shelf.nearest(file.size)}
        ranked = sorted(
            _distance(wanted, other) for other in others.values() if other.path not in first
        )
        return (*first, *(path for *_rank, path in ranked))[:MOST_RELATIVES]

    def _shelves_for(self, wanted: _Candidate, known: Sequence[str]) -> Iterator[_Shelf]:
        """Where those are that are like a file: all of its name, and others that leave."""
        is_alone = all(path in known for path in self._named.get(wanted.name, ()))
        yield _EMPTY if is_alone else self._shelf_of_name(wanted.name)
        for key in _shelves_of_leaving(wanted):
            yield self._shelves.get(key, _EMPTY)

    def _shelf_of_name(self, name: str) -> _Shelf:
        """All files of a name; made when it is asked for, as most of a tree never is."""
        key = "name", name
        if key not in self._shelves:
            shelf = self._shelves[key] = _Shelf()
            for path in self._named.get(name, ()):
                shelf.add(_candidate(path, self._sizes[path]))
        return self._shelves[key]

    def size(self, path: str) -> int:
        """Bytes of a file that ``of`` named, as the look at the tree saw it."""
        return self._sizes[path]


_EMPTY = _Shelf()


def _shelves_of_leaving(file: _Candidate) -> Iterator[tuple[str, str]]:
    """Where a file is put that leaves; and where those are looked for that are like one."""
    yield "alike", file.alike
    yield "extension", file.extension
    yield "any", ""


def _leaving(plan: Plan) -> set[str]:
    """The paths whose content this update removes, moves or replaces."""
    return {
        *(removal.path for removal in (*plan.removals, *plan.in_the_way)),
        *plan.moved,
        *_replaced(plan),
    }


def _replaced(plan: Plan) -> Iterable[str]:
    for index in plan.acting:
        planned = plan.files[index]
        if planned.action in FILLED:
            yield plan.wanted.files[index].path
            if planned.source:
                yield planned.source


def _distance(wanted: _Candidate, other: _Candidate) -> tuple[int, int, int, float, str]:
    """How unlike a wanted file another one is, for sorting; its path comes last."""
    ratio = max(wanted.size, other.size) / min(wanted.size, other.size)
    likeness = (
        0
        if wanted.name == other.name
        else 1
        if wanted.alike == other.alike
        else 2
        if wanted.extension == other.extension
        else 3
    )
    shared = _shared_folders(wanted.folders, other.folders)
    return likeness, int(ratio > 4), -shared, ratio, other.path


def _shared_folders(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many folders two paths have in common, from the top and from the bottom."""
    if one == other:
        return len(one)
    top = _common(one, other)
    return top + _common(one[top:][::-1], other[top:][::-1])


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _pair in same)
