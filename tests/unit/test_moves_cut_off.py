"""A commit that is cut off while it moves files loses nothing, and the next one goes on."""

from __future__ import annotations

import itertools
from typing import NoReturn

import pytest

from tests.support.trees import tree_bytes
from tests.unit.test_commit import Site, plain
from tests.unit.test_moves import SHAPES, A, B, links, site
from torsync.subscribe.commit import Commit
from torsync.subscribe.moves import Moves

__all__ = ["links", "site"]  # fixtures


@pytest.mark.usefixtures("links")
def test_a_name_that_a_commit_that_was_cut_off_left_is_no_obstacle(site: Site) -> None:
    site.update({"a": A, "b": B})

    def leave_names() -> None:
        stage = next((site.root / ".torsync/stage").glob("*"))
        (stage / "0.moved").write_bytes(b"left")
        (stage / "1.moved").write_bytes(b"left")

    site.update({"a": B, "b": A}, before_commit=leave_names)
    assert tree_bytes(site.root) == {"a": B, "b": A}
    assert site.trashed() == []


class CutOffError(Exception):
    """Stands for the end of the process."""


def _cut_off(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """End a commit before the file of that number is placed; 0: when all are."""
    place = Commit._rename_into_place
    numbers = itertools.count(1)

    def place_or_end(self: Commit, held_at: str, path: str) -> None:
        if next(numbers) == at:
            raise CutOffError
        place(self, held_at, path)

    def end(_self: Moves) -> NoReturn:
        raise CutOffError

    monkeypatch.setattr(Commit, "_rename_into_place", place_or_end)
    if not at:
        monkeypatch.setattr(Moves, "leave_sources", end)


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    ("shape", "at"),
    [(shape, at) for shape, found in SHAPES.items() for at in range(len(found[2]) + 1)],
)
def test_a_commit_that_is_cut_off_loses_nothing_and_is_finished_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch, shape: str, at: int
) -> None:
    old, new, _moves, _trash = SHAPES[shape]
    site.update(old)
    with monkeypatch.context() as patch:
        _cut_off(patch, at)
        with pytest.raises(CutOffError):
            site.update(new)
    files = (path for path in site.root.rglob("*") if path.is_file())
    assert {path.read_bytes() for path in files} >= {*plain(old).values()}
    site.update(new)
    assert tree_bytes(site.root) == plain(new)
    assert site.update(new).plan.is_empty


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_commit_that_is_cut_off_leaves_no_path_absent(
    site: Site, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    old, new, _moves, _trash = SHAPES["three-cycle"]
    site.update(old)
    _cut_off(monkeypatch, at)
    with pytest.raises(CutOffError):
        site.update(new)
    found = tree_bytes(site.root)
    assert found.keys() == new.keys()
    assert all(found[path] in {old[path], new[path]} for path in new)
