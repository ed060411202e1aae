"""What is said of a tree that stays at an earlier release."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from torsync.model.errors import StateError
from torsync.model.events import Event, Notice
from torsync.model.past import PastRelease
from torsync.subscribe.staying import Staying
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.state import TreeState


def _release(name: str, info_hash: str) -> Release:
    manifest = SimpleNamespace(name=name, info_hash=info_hash)
    return cast("Release", SimpleNamespace(manifest=manifest))


@pytest.mark.parametrize(
    ("newest", "said"),
    [
        (None, "it stays at pack-1"),
        (_release("pack-2", "b" * 40), "it stays at pack-1, and pack-2 is the newest"),
        (
            _release("pack-1", "b" * 40),
            "it stays at pack-1 aaaaaaaaaaaa, and bbbbbbbbbbbb is the newest",
        ),
    ],
)
def test_the_releases_are_told_apart(newest: Release | None, said: str) -> None:
    events: list[Event] = []
    nothing = object()
    staying = Staying(
        *("pack", cast("TreeState", nothing), cast("Releases", nothing)),
        Voice("pack", events.append),
    )
    staying.tell(_release("pack-1", "a" * 40), newest)
    assert [one.message for one in events if isinstance(one, Notice)] == [said]


class State:
    """Remembers which release a tree stays at, and which ones it had."""

    synced = "second"

    def __init__(self, pinned: str) -> None:
        self.pinned = pinned

    def past_releases(self) -> list[PastRelease]:
        return [
            PastRelease("second", "bb" * 20, "pack-2", 2.0),
            PastRelease("first", "aa" * 20, "pack-1", 1.0),
        ]

    def put(self, *, pinned: str) -> None:
        self.pinned = pinned


def staying(state: State, kept: Release | None) -> tuple[Staying, list[Event]]:
    """With the ``.torrent`` of one release kept, or of none."""
    events: list[Event] = []
    releases = SimpleNamespace(load=lambda digest: kept if digest else None)
    made = Staying(
        *("pack", cast("TreeState", state), cast("Releases", releases)),
        Voice("pack", events.append),
    )
    return made, events


def test_a_release_whose_torrent_is_gone_cannot_be_gone_back_to() -> None:
    with pytest.raises(StateError, match="'pack-1' is gone") as caught:
        staying(State(""), None)[0].find("")
    assert "--list" in caught.value.hint


def test_a_tree_that_stays_at_a_release_that_is_gone_follows_the_newest_and_says_so() -> None:
    state, newest = State("first"), _release("pack-2", "b" * 40)
    made, events = staying(state, None)
    assert made.stay(newest) is newest
    assert state.pinned == ""
    assert made.stay(newest) is newest
    assert [one.code for one in events if isinstance(one, Notice)] == ["rollback_lost"]


@pytest.mark.parametrize("is_same", [True, False])
def test_a_newest_release_with_the_content_that_it_stays_at_is_followed(is_same: bool) -> None:
    newest, pinned = _release("pack-2", "b" * 40), _release("pack-1", "a" * 40)
    pinned.is_same_content = lambda _other: is_same  # type: ignore[method-assign]
    made, events = staying(State("first"), pinned)
    assert made.stay(newest) is (newest if is_same else pinned)
    assert bool(events) is not is_same
