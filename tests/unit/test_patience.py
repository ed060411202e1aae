"""Files that another program holds: the update waits with them, or goes on without them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.trees import tree_bytes
from tests.unit.test_commit import Files, Site
from tests.unit.test_moves import A, B, C
from torsync.disk import syscalls
from torsync.model.errors import InterruptedByUserError, LockedError, TreeError
from torsync.subscribe.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD: Files = {"a": A, "gone": C, "held": A + B}
NEW: Files = {"a": B, "held": B + A}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "tree")
    made.update(OLD)
    yield made
    made.tree.close()


def hold(
    monkeypatch: pytest.MonkeyPatch, name: str, times: int, error: OSError | None = None
) -> None:
    """Have a file held by another program for so many tries, as Windows does it."""
    left = times

    def held(rename: Callable[..., Any]) -> Callable[..., Any]:
        def renamed(source: str, target: str, *arguments: int, **options: int) -> Any:
            nonlocal left
            if name in {source, target} and left > 0:
                left -= 1
                raise error or OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            return rename(source, target, *arguments, **options)

        return renamed

    monkeypatch.setattr(os, "rename", held(os.rename))
    monkeypatch.setattr(syscalls, "renameat2", held(syscalls.renameat2))


@pytest.mark.parametrize("held", ["held", "gone"])
def test_a_file_that_is_held_for_a_moment_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    hold(monkeypatch, held, times=3)
    waits: list[float] = []
    site.patience = Patience(lambda seconds: bool(waits.append(seconds)))
    site.update(NEW)
    assert tree_bytes(site.root) == NEW
    assert waits == sorted(waits)
    assert len(waits) == 3


def test_windows_tells_it_in_numbers_of_its_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EACCES, "sharing violation")
    error.winerror = 32  # type: ignore[attr-defined]
    hold(monkeypatch, "held", times=1, error=error)
    site.update(NEW)
    assert tree_bytes(site.root) == NEW


@pytest.mark.parametrize("held", ["held", "gone"])
def test_the_rest_of_the_release_waits_with_a_file_that_stays_held(
    site: Site, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    with monkeypatch.context() as patch:
        hold(patch, held, times=1000)
        with pytest.raises(LockedError, match=held) as caught:
            site.update(NEW)
    assert caught.value.path == held
    assert "on_locked" in caught.value.hint
    assert tree_bytes(site.root)[held] == OLD[held]
    site.finish(NEW)
    assert tree_bytes(site.root) == NEW
    assert dict(site.trashed()) == OLD


@pytest.mark.parametrize("held", ["held", "gone"])
def test_or_it_goes_on_without_that_file_which_follows_at_the_next_check(
    site: Site, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    site.patience = Patience(skips=True)
    with monkeypatch.context() as patch:
        hold(patch, held, times=1000)
        outcome = site.update(NEW).outcome
    assert outcome.locked == [held]
    assert held not in outcome.rows
    assert held not in outcome.trashed
    assert tree_bytes(site.root) == {**NEW, held: OLD[held]}
    if held == "held":
        site.update(NEW)
        assert tree_bytes(site.root) == NEW


def test_a_move_onto_a_file_that_is_held_leaves_its_source(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.patience = Patience(skips=True)
    with monkeypatch.context() as patch:
        hold(patch, "held", times=1000)
        outcome = site.update({"gone": C, "held": A}).outcome
    assert outcome.locked == ["held"]
    assert tree_bytes(site.root) == {"a": A, "gone": C, "held": A + B}


def test_whoever_stops_it_need_not_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, "held", times=1000)
    site.patience = Patience(lambda _seconds: True)
    with pytest.raises(InterruptedByUserError):
        site.update(NEW)


def test_other_failures_are_not_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, "held", times=1, error=OSError(errno.EIO, os.strerror(errno.EIO)))
    with pytest.raises(TreeError, match="Input/output") as caught:
        site.update(NEW)
    assert not isinstance(caught.value, LockedError)
