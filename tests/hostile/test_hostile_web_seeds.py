"""Web seeds that serve something else, or nothing, or without end: beside a peer and alone."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.false_web_seed import (
    HARMFUL,
    FalseWebSeed,
    cuts_off,
    drips,
    has_another_version,
    ignores_ranges,
    is_honest,
    leads_to_a_file,
    sends_headers_without_end,
    steers_the_terminal,
)
from tests.support.packed import make_packed
from tests.support.trees import tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Publisher, Torsync
    from tests.support.false_web_seed import Asked

KIB = 1024
MIB = 1024 * KIB
PIECE = 64 * KIB
CONTENT = {"a": 2 * MIB, "b": MIB + 77, "c": 50_000}
SIZE = sum(CONTENT.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", CONTENT)


def check_beside_a_slow_peer(
    torsync: Torsync,
    publisher: Publisher,
    folder: Path,
    *behaviours: Callable[[Asked], None],
    version: str = "1.1",
) -> list[FalseWebSeed]:
    publisher.publish(make_packed(folder, piece_size=PIECE), folder, upload_limit=MIB)
    with ExitStack() as stack:
        seeds = [
            stack.enter_context(FalseWebSeed(folder, each, version=version)) for each in behaviours
        ]
        torsync.subscribe(peers=publisher.peers, web_seeds=[each.url for each in seeds])
        torsync.run("check-now", "--timeout", "50s", timeout_s=110).assert_ok()
    assert tree_bytes(torsync.tree) == tree_bytes(folder)
    return seeds


def test_beside_many_kinds_of_them_a_peer_makes_the_tree_right(
    torsync: Torsync, publisher: Publisher, folder: Path
) -> None:
    kinds = [each for each in HARMFUL if each is not sends_headers_without_end]
    seeds = check_beside_a_slow_peer(torsync, publisher, folder, *kinds)
    assert sum(each.requests > 0 for each in seeds) > 1


def test_beside_one_that_floods_a_peer_makes_the_tree_right(
    torsync: Torsync, publisher: Publisher, folder: Path
) -> None:
    [seed] = check_beside_a_slow_peer(torsync, publisher, folder, sends_headers_without_end)
    assert seed.requests


@pytest.mark.long
@pytest.mark.parametrize("behaviour", HARMFUL, ids=lambda each: each.__name__)
def test_beside_one_of_each_kind_a_peer_makes_the_tree_right(
    torsync: Torsync, publisher: Publisher, folder: Path, behaviour: Callable[[Asked], None]
) -> None:
    check_beside_a_slow_peer(torsync, publisher, folder, behaviour)


def test_one_that_has_another_version_is_used_no_more_and_the_peer_is(
    torsync: Torsync, publisher: Publisher, folder: Path
) -> None:
    [seed] = check_beside_a_slow_peer(torsync, publisher, folder, has_another_version)
    assert 0 < seed.requests < SIZE // MIB * 3, "it was not asked for everything, again and again"


def test_http_1_0_is_enough(torsync: Torsync, publisher: Publisher, folder: Path) -> None:
    publisher.announce(make_packed(folder, piece_size=PIECE))
    with FalseWebSeed(folder, is_honest, version="1.0") as seed:
        torsync.subscribe(web_seeds=[seed.url])
        torsync.run("check-now", "--timeout", "20s").assert_ok()
    assert tree_bytes(torsync.tree) == tree_bytes(folder)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (has_another_version, "wrong content"),
        (ignores_ranges, "sends nothing that can be used"),
        (drips, "sends nothing that can be used"),
        (leads_to_a_file, "sends nothing that can be used"),
        (steers_the_terminal, "404"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_alone_the_error_names_it_and_the_tree_is_untouched(
    torsync: Torsync,
    publisher: Publisher,
    folder: Path,
    behaviour: Callable[[Asked], None],
    said: str,
) -> None:
    publisher.announce(make_packed(folder, piece_size=PIECE))
    write_tree(torsync.tree, {"mine": b"own"})
    with FalseWebSeed(folder, behaviour) as seed:
        torsync.subscribe(web_seeds=[seed.url], peers=[])
        outcome = torsync.run("check-now", "--timeout", "3s", "--adopt")
        assert outcome.exit_code == 3
        assert outcome.error["code"] == "no_peers"
        assert seed.url in outcome.error["message"]
        assert said in outcome.error["message"]
        assert seed.requests
    assert tree_bytes(torsync.tree) == {"mine": b"own"}


def test_what_one_of_them_says_does_not_steer_the_terminal(
    torsync: Torsync, publisher: Publisher, folder: Path
) -> None:
    publisher.announce(make_packed(folder, piece_size=PIECE))
    with FalseWebSeed(folder, steers_the_terminal) as seed:
        torsync.subscribe(web_seeds=[seed.url], peers=[])
        command = [*torsync.command("check-now", "--timeout", "2s")]
        command.remove("--json")
        shown = subprocess.run(command, capture_output=True, env=torsync.environment(), timeout=60)
    assert shown.returncode == 3
    assert b"owned" in shown.stderr
    assert not {*shown.stdout, *shown.stderr} & {0x1B, 0x07}


def test_what_is_cut_off_is_gone_on_with(
    torsync: Torsync, publisher: Publisher, folder: Path
) -> None:
    check_beside_a_slow_peer(torsync, publisher, folder, cuts_off)
