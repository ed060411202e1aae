"""What is said of a tree that stays at an earlier release."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from torsync.model.events import Event, Notice
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
