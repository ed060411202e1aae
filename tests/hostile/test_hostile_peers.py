"""Peers that lie, stall, flood and break the protocol, beside an honest one and alone."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.false_peer import (
    BEHAVIOURS,
    PLAIN,
    FalsePeer,
    breaks_every_piece_a_little,
    drips,
    hangs_up_in_a_block,
    says_nothing,
    sends_wrong_blocks,
)
from tests.support.trees import tree_bytes, write_tree
from tests.support.updates import MAKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.support.cli import Outcome, Publisher, Torsync
    from tests.support.false_peer import Wire

KIB = 1024
MIB = 1024 * KIB
PIECE = 64 * KIB
CONTENT = {"a": MIB, "b/long": MIB + 77, "b/short": 9, "c": 50_000}
BLOCKS = sum(CONTENT.values()) // (16 * KIB)
FORMATS = ("packed", "v2", "hybrid")
DEADLINE_S = 100.0


class Prey:
    """A subscriber, an honest publisher who seeds slowly, and whoever else is in the swarm."""

    def __init__(self, torsync: Torsync, publisher: Publisher, folder: Path) -> None:
        self.torsync = torsync
        self._publisher = publisher
        self.folder = folder
        self.torrent = b""
        torsync.session["settings"] = PLAIN
        self._stack = ExitStack()

    def publish(self, format_: str, *, seconds: float = 2, seeded: bool = True) -> None:
        write_tree(self.folder, CONTENT)
        self.torrent = MAKERS[format_](self.folder, piece_size=PIECE)
        if seeded:
            limit = int(sum(CONTENT.values()) / seconds)
            self._publisher.publish(self.torrent, self.folder, upload_limit=limit)
        else:
            self._publisher.announce(self.torrent)

    def meet(self, behaviours: Sequence[Callable[[Wire], None]]) -> list[FalsePeer]:
        """Peers that behave so; they are asked as the publisher is."""
        found = [self._stack.enter_context(FalsePeer(self.torrent, each)) for each in behaviours]
        names = [*self._publisher.peers, *(each.name for each in found)]
        self.torsync.subscribe(peers=names)
        return found

    def check(self, *options: str) -> Outcome:
        return self.torsync.run("check-now", *options, timeout_s=DEADLINE_S)

    def check_is_right(self) -> Outcome:
        outcome = self.check("--timeout", "40s").assert_ok()
        assert tree_bytes(self.torsync.tree) == tree_bytes(self.folder)
        return outcome

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def prey(tmp_path: Path, torsync: Torsync, publisher: Publisher) -> Iterator[Prey]:
    found = Prey(torsync, publisher, tmp_path / "pack")
    yield found
    found.close()


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_beside_all_kinds_of_them_an_honest_peer_makes_the_tree_right(
    prey: Prey, format_: str
) -> None:
    prey.publish(format_)
    hostile = prey.meet(BEHAVIOURS)
    outcome = prey.check_is_right()
    assert all(each.welcomed for each in hostile), "all were in the swarm"
    wasted = outcome.subscription["bytes_fetched"] - sum(CONTENT.values())
    assert wasted < 4 * sum(CONTENT.values())


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda each: each.__name__)
def test_beside_several_of_one_kind_an_honest_peer_makes_the_tree_right(
    prey: Prey, behaviour: Callable[[Wire], None], format_: str
) -> None:
    prey.publish(format_)
    hostile = prey.meet([behaviour] * 3)
    prey.check_is_right()
    assert all(each.welcomed for each in hostile)


def test_who_sends_wrong_blocks_is_banned(prey: Prey) -> None:
    prey.publish("packed", seconds=6)
    (liar, restless) = prey.meet([sends_wrong_blocks, hangs_up_in_a_block])
    prey.check_is_right()
    assert restless.welcomed > 1, "others are called again meanwhile"
    assert liar.welcomed == 1
    assert 0 < len(liar.requests) < BLOCKS // 2


@pytest.mark.parametrize("format_", [pytest.param("packed", marks=pytest.mark.long), "v2"])
def test_a_publisher_that_was_banned_for_what_others_sent_is_asked_again(
    prey: Prey, format_: str
) -> None:
    prey.publish(format_)
    prey.meet([breaks_every_piece_a_little] * 3)
    prey.check_is_right()


def test_without_an_honest_peer_the_error_is_clear_and_the_tree_untouched(prey: Prey) -> None:
    prey.publish("packed", seeded=False)
    kept = {"a": b"of the user", "mine": b"too"}
    write_tree(prey.torsync.tree, kept)
    prey.meet([sends_wrong_blocks, says_nothing, drips, breaks_every_piece_a_little])
    outcome = prey.check("--timeout", "8s", "--adopt")
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "no_peers"
    assert "wrong content" in outcome.error["message"]
    assert tree_bytes(prey.torsync.tree) == kept
