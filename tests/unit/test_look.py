"""One look at a tree: what is told meanwhile, and of files that change under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.torrents import make_libtorrent
from tests.support.trees import edit_in_place, write_tree
from torsync.disk.tree import Tree
from torsync.model.events import Progress, Stage
from torsync.model.metainfo import parse_metainfo
from torsync.model.verdict import judge
from torsync.subscribe.look import Look, bytes_of, take_look
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torsync.model.events import Event
    from torsync.model.manifest import Manifest
    from torsync.model.reports import VerifyReport

PIECE = 16 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", {"a": 2 * PIECE, "b": 40 * PIECE, "c/d": 100})


@pytest.fixture
def tree(folder: Path) -> Iterator[Tree]:
    opened = Tree(folder)
    yield opened
    opened.close()


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    return parse_metainfo(make_libtorrent(folder, format="v2", piece_size=PIECE))


def look(
    tree: Tree,
    manifest: Manifest,
    *,
    events: list[Event] | None = None,
    stopping: Callable[[], bool] = lambda: False,
    hashing: bool = True,
) -> Look:
    events = [] if events is None else events
    return take_look(
        tree,
        manifest,
        {},
        Voice("pack", events.append),
        keep=lambda _path: False,
        trust_ledger=False,
        stopping=stopping,
        hashing=hashing,
    )


def judged(found: Look) -> VerifyReport:
    hashed = found.hashed
    return judge(
        "pack",
        found.assessment,
        hashed.good,
        hashed.unreadable,
        found.ledger,
        keep=lambda _path: False,
        changed=hashed.changed,
    )


def test_progress_tells_bytes_files_pace_and_path(tree: Tree, manifest: Manifest) -> None:
    events: list[Event] = []
    look(tree, manifest, events=events)
    told = [event for event in events if isinstance(event, Progress)]
    assert {event.stage for event in told} == {Stage.VERIFYING}
    last = told[-1]
    assert last.bytes_done == last.bytes_total == manifest.total_size
    assert (last.files_done, last.files_total) == (3, 3)
    assert last.path in manifest.by_path
    assert last.rate > 0
    assert last.eta_s == 0


def test_a_look_that_does_not_hash_reads_nothing(tree: Tree, manifest: Manifest) -> None:
    events: list[Event] = []
    found = look(tree, manifest, events=events, hashing=False)
    assert found.hashed.bytes_hashed == 0
    assert [getattr(event, "stage", None) for event in events] == [Stage.LOOKING]


@pytest.mark.parametrize("mtime_is_set_back", [False, True])
def test_a_file_that_changes_after_it_was_hashed_is_never_vouched_for(
    folder: Path, tree: Tree, manifest: Manifest, mtime_is_set_back: bool
) -> None:
    """It is harmed where it was found right already, while its end is still being hashed."""
    asked = iter(range(manifest.num_pieces))

    def harm_meanwhile() -> bool:
        if next(asked, -1) == manifest.num_pieces - 6:
            edit_in_place(folder / "b", set_mtime_back=mtime_is_set_back)
        return False

    found = look(tree, manifest, stopping=harm_meanwhile)
    report = judged(found)
    assert report.modified + report.damaged == ["b"]
    assert report.ok == 2
    rows = found.judged(report).assessment.rows_of_right()
    assert rows.keys() == {"a", "c/d"}
    entries = tree.scan().entries
    assert all(row.as_seen().vouches_for(entries[path]) for path, row in rows.items())


def test_a_file_that_changes_when_all_is_hashed_is_not_vouched_for_either(
    folder: Path, tree: Tree, manifest: Manifest
) -> None:
    found = look(tree, manifest)
    edit_in_place(folder / "b")
    report = judged(found)
    assert report.ok == 3, "it was right when it was read"
    row = found.judged(report).assessment.rows_of_right()["b"]
    assert not row.vouches_for(tree.scan().entries["b"]), "the row is of before the hashing"


def test_bytes_are_those_of_files_without_padding(manifest: Manifest) -> None:
    assert bytes_of(manifest, range(manifest.num_pieces)) == manifest.total_size
    assert bytes_of(manifest, [manifest.num_pieces - 1]) == 100
