"""Which files in a tree may have content of a wanted file at another offset; pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.names import in_private
from torsync.model.plan import FILLED
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torsync.model.plan import Plan

MOST_RELATIVES = 8
SMALLEST_SOURCE = 1024
"""Bytes of a file that is looked into: a smaller one has little of a block."""

_NEAREST = 4  # by size, of each kind
_VERSION = re.compile(r"[0-9a-f]{8,}|[0-9]+")  # "app.3f2a91bc.js", "pack-1.2.bin"


class _Candidate(NamedTuple):
    size: int
    path: str


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
        at = bisect_left(self._files, _Candidate(size, ""))
        return self._files[max(at - _NEAREST, 0) : at + _NEAREST]


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
        self._leaving = self._sizes.keys() & _leaving(plan)
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        for path, size in self._sizes.items():
            for key in self._keys(path):
                self._shelves.setdefault(key, _Shelf()).add(_Candidate(size, path))

    def of(self, file_index: int) -> tuple[str, ...]:
        """Paths of files that may have some of a wanted file's content, the likeliest first.

        First what the plan takes it to be a new version of; then files of the same name; then
        those that leave the tree or get other content, by how similar name and size are.
        """
        file = self._plan.wanted.files[file_index]
        first = [
            path
            for path in dict.fromkeys((file.path, self._plan.files[file_index].source))
            if path in self._sizes
        ]
        others = {
            candidate
            for key in self._keys(file.path, is_leaving=True)
            if key in self._shelves
            for candidate in self._shelves[key].nearest(file.size)
            if candidate.path not in first
        }
        ranked = sorted(others, key=lambda other: _distance(file.path, file.size, other))
        return (*first, *(other.path for other in ranked))[:MOST_RELATIVES]

    def size(self, path: str) -> int:
        """Bytes of a file that ``of`` named, as the look at the tree saw it."""
        return self._sizes[path]

    def _keys(self, path: str, *, is_leaving: bool | None = None) -> Iterator[tuple[str, str]]:
        """The shelves that a path is on, or where its relatives are."""
        name = _name(path)
        yield "name", name
        if path in self._leaving if is_leaving is None else is_leaving:
            yield "alike", _VERSION.sub("#", name)
            yield "extension", _extension(name)
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


def _distance(path: str, size: int, other: _Candidate) -> tuple[int, int, int, float, str]:
    """How unlike a wanted file another one is; for sorting."""
    name, found = _name(path), _name(other.path)
    ratio = max(size, other.size) / min(size, other.size)
    likeness = (
        0
        if name == found
        else 1
        if _VERSION.sub("#", name) == _VERSION.sub("#", found)
        else 2
        if _extension(name) == _extension(found)
        else 3
    )
    return likeness, int(ratio > 4), -_shared_folders(path, other.path), ratio, other.path


def _shared_folders(path: str, other: str) -> int:
    """How many folders two paths have in common, from the top and from the bottom."""
    one, two = path.split("/")[:-1], other.split("/")[:-1]
    top = _common(one, two)
    return top + _common(one[top:][::-1], two[top:][::-1])


def _common(one: list[str], two: list[str]) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _extension(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else ""
