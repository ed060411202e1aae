"""Pieces whose content is elsewhere in the tree are copied to where they belong in the stage."""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.support.releases import read_piece
from tests.support.torrents import make_libtorrent, make_raw
from tests.support.trees import edit_in_place, random_bytes, write_tree
from torsync.disk import copying
from torsync.disk.tree import Tree
from torsync.model.config import CleanMode
from torsync.model.errors import InterruptedByUserError, TreeError
from torsync.model.known import Synced
from torsync.model.metainfo import parse_metainfo
from torsync.model.placement import Place, Placement, place_for_fetch
from torsync.model.plan import Action, Plan
from torsync.model.tree_index import ledger_row
from torsync.subscribe.assembling import assemble
from torsync.subscribe.cloning import finish_clone
from torsync.subscribe.look import take_look
from torsync.subscribe.stage import Stage
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.manifest import Manifest

PIECE = 16 * 1024
HALF = PIECE // 2
P = [random_bytes(PIECE, number) for number in range(10)]


def v1(files: Mapping[str, bytes], _scratch: Path) -> Manifest:
    return parse_metainfo(make_raw(files, sha1s=True), windows=False)


def padded(files: Mapping[str, bytes], _scratch: Path) -> Manifest:
    return parse_metainfo(make_raw(files, sha1s=True, align=True), windows=False)


def v2(files: Mapping[str, bytes], scratch: Path) -> Manifest:
    folder = write_tree(scratch, files)
    return parse_metainfo(
        make_libtorrent(folder, format="v2", piece_size=PIECE, name="x"), windows=False
    )


class Bench:
    """A tree that holds a release, and the plan to make it another one."""

    def __init__(self, root: Path, kind: Callable[[Mapping[str, bytes], Path], Manifest]) -> None:
        # A clock far ahead: files need not grow old before their rows vouch for them.
        self.tree = Tree(write_tree(root, {}), clock_ns=itertools.count(2**62).__next__)
        self._kind = kind
        self.files: Mapping[str, bytes] = {}
        self.copied: list[int] = []

    def plan(self, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Plan:
        """Write the old release and decide how to get to the new one."""
        root = self.tree.root
        write_tree(root, old)
        before = self._kind(old, root.parent / "old")
        wanted = self._kind(new, root.parent / "new")
        entries = self.tree.scan().entries
        ledger = {
            file.path: ledger_row(entries[file.path], before.digest(index))
            for index, file in enumerate(before.files)
        }
        self.files = new
        look = take_look(
            self.tree,
            wanted,
            ledger,
            Voice("pack", lambda _event: None),
            keep=lambda _path: False,
            synced=Synced(lambda: before),
            trust_ledger=True,
            stopping=lambda: False,
        )
        return look.plan(keep=lambda _path: False, clean=CleanMode.MANAGED)

    def assemble(
        self,
        plan: Plan,
        *,
        stopping: Callable[[], bool] = lambda: False,
        on_bytes: Callable[[int], object] = lambda _count: None,
    ) -> Placement:
        """Fill the stage with what the tree has."""

        def count(size: int) -> None:
            self.copied.append(size)
            on_bytes(size)

        stage = self.stage(plan)
        stage.prepare()
        for clone in stage.clone_sources(plan, present=()):
            finish_clone(self.tree, clone, lambda: False, lambda _count: None)
        placement = place_for_fetch(plan)
        assemble(self.tree, stage, plan, placement, stopping=stopping, on_bytes=count)
        return placement

    def stage(self, plan: Plan) -> Stage:
        return Stage(self.tree, plan.wanted.info_hash)

    def check(self, plan: Plan, placement: Placement) -> None:
        """Every piece that was copied is right at the places that libtorrent will look at."""
        opener = self.stage(plan).open_for(placement)

        def content(index: int) -> bytes:
            fd = opener(index)
            with open(fd, "rb") as file:
                return file.read()

        wanted = plan.wanted
        for piece in plan.copies:
            right = read_piece(wanted, piece, lambda index: self.files[wanted.files[index].path])
            assert read_piece(wanted, piece, content) == right
        assert self.copied == [wanted.piece_size(piece) for piece in sorted(plan.copies)]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(kind: Callable[[Mapping[str, bytes], Path], Manifest]) -> Bench:
        made.append(Bench(tmp_path / "tree", kind))
        return made[-1]

    yield bench
    for each in made:
        each.tree.close()


@pytest.mark.parametrize("kind", [v1, padded, v2])
def test_pieces_of_another_file_are_copied(make: Callable[..., Bench], kind: Any) -> None:
    bench = make(kind)
    plan = bench.plan(
        {"a": b"".join(P[:4]), "b": P[4] + P[5]},
        {"a": P[5] + b"".join(P[1:4]), "c": P[6] + P[7] + P[8] + P[0]},
    )
    assert [planned.action for planned in plan.files] == [Action.PATCH, Action.PATCH]
    assert (plan.copies.keys(), plan.needed) == ({0, 7}, (4, 5, 6))
    bench.check(plan, bench.assemble(plan))


def test_pieces_of_the_same_file_at_another_offset_are_copied(make: Callable[..., Bench]) -> None:
    """They are taken from the file as it is, not from its clone that is being written to."""
    bench = make(v2)
    plan = bench.plan({"a": b"".join(P[:6])}, {"a": P[1] + P[0] + P[2] + P[4] + P[3] + P[5] + P[0]})
    assert plan.copies.keys() == {0, 1, 3, 4, 6}
    assert plan.needed == ()
    bench.check(plan, bench.assemble(plan))


@pytest.mark.parametrize("last", [True, False])
def test_the_short_last_piece_of_a_file_is_copied(make: Callable[..., Bench], last: bool) -> None:
    """In v2 a place ends with the file, while the layout pads the piece if more files follow."""
    bench = make(v2)
    more = {} if last else {"z": P[9]}
    tail = P[4][:100]
    plan = bench.plan({"a": P[0] + tail, **more}, {"n": P[1] + P[2] + P[3] + tail, **more})
    assert plan.copies.keys() == {3}
    bench.check(plan, bench.assemble(plan))


def test_padding_is_copied_as_zeros(make: Callable[..., Bench]) -> None:
    bench = make(padded)
    plan = bench.plan({"a": P[0][:-100], "z": P[9]}, {"b": P[1] + P[0][:-100] + bytes(100) + P[2]})
    assert [extent.path for extent in plan.copies[1]] == ["a", ""]
    bench.check(plan, bench.assemble(plan))


def test_zeros_are_written_over_what_a_clone_has_there(make: Callable[..., Bench]) -> None:
    bench = make(padded)
    files = {"a": P[0][:-100], "b": P[1] + P[2] + P[3]}
    plan = bench.plan(files, {"a": P[0][:-100], "b": P[1] + P[0][:-100] + bytes(100) + P[3]})
    assert [planned.action for planned in plan.files] == [Action.KEEP, Action.PATCH]
    assert plan.copies.keys() == {2}
    bench.check(plan, bench.assemble(plan))


def test_a_v1_piece_of_several_files_is_laid_out_over_several_others(
    make: Callable[..., Bench],
) -> None:
    bench = make(v1)
    shared = P[0]
    plan = bench.plan(
        {"a": shared[:1000], "b": shared[1000:9000], "c": shared[9000:] + P[1]},
        {"f": b"".join(P[2:5]) + shared[:5000], "g": shared[5000:5001], "h": shared[5001:] + P[6]},
    )
    assert {planned.action for planned in plan.files} <= {Action.PATCH, Action.FETCH}
    assert [extent.path for extent in plan.copies[3]] == ["a", "b", "c"]
    bench.check(plan, bench.assemble(plan))


def test_a_kept_neighbours_part_goes_to_a_scratch_file(make: Callable[..., Bench]) -> None:
    bench = make(v1)
    kept, rest = P[0][:HALF], P[0][HALF:]
    plan = bench.plan(
        {"kept": kept, "old": rest + P[1]},
        {"kept": kept, "new": rest + P[2] + P[3] + P[4] + P[5]},
    )
    placement = bench.assemble(plan)
    assert [planned.action for planned in plan.files] == [Action.KEEP, Action.PATCH]
    assert placement.places == (Place.SCRATCH, Place.STAGE)
    assert plan.copies.keys() == {0}
    bench.check(plan, placement)
    assert (bench.tree.root / "kept").read_bytes() == kept
    scratch = bench.tree.root / bench.stage(plan).path(0, Place.SCRATCH)
    assert scratch.read_bytes() == kept


def test_nothing_is_made_if_there_is_nothing_to_copy(make: Callable[..., Bench]) -> None:
    bench = make(v2)
    plan = bench.plan({"a": P[0]}, {"b": P[1]})
    bench.assemble(plan)
    assert (plan.copies, bench.copied) == ({}, [])
    assert os.listdir(bench.tree.root / bench.stage(plan).folder) == []


# --- what goes wrong ------------------------------------------------------------------------


def pieces_elsewhere(bench: Bench) -> Plan:
    """Three pieces of a new file are in three old ones."""
    plan = bench.plan({"a": P[0], "b": P[1], "c": P[2]}, {"n": b"".join(P[:3])})
    assert plan.copies.keys() == {0, 1, 2}
    return plan


@pytest.mark.parametrize("set_mtime_back", [True, False])
@pytest.mark.parametrize("changed", ["a", "b", "c"])
def test_a_source_that_is_edited_meanwhile_is_an_error(
    make: Callable[..., Bench], changed: str, set_mtime_back: bool
) -> None:
    bench = make(v2)
    plan = pieces_elsewhere(bench)

    def edit(_count: int) -> None:
        if len(bench.copied) == 2:
            edit_in_place(bench.tree.root / changed, set_mtime_back=set_mtime_back)

    with pytest.raises(TreeError, match="changed while it was being copied") as caught:
        bench.assemble(plan, on_bytes=edit)
    assert caught.value.path == changed


@pytest.mark.parametrize("in_kernel", [True, False])
def test_a_source_that_is_cut_meanwhile_is_an_error_and_no_endless_loop(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, in_kernel: bool
) -> None:
    bench = make(v2)
    plan = pieces_elsewhere(bench)
    if not in_kernel:
        refuse(monkeypatch, errno.ENOSYS)
    with pytest.raises(TreeError, match="changed while it was being copied") as caught:
        bench.assemble(plan, on_bytes=lambda _count: os.truncate(bench.tree.root / "c", 10))
    assert caught.value.path == "c"


@pytest.mark.parametrize("gone", ["b", "c"])
def test_a_source_that_is_removed_meanwhile_is_an_error(
    make: Callable[..., Bench], gone: str
) -> None:
    bench = make(v2)
    plan = pieces_elsewhere(bench)
    with pytest.raises(TreeError, match="No such file") as caught:
        bench.assemble(
            plan, on_bytes=lambda _count: (bench.tree.root / gone).unlink(missing_ok=True)
        )
    assert caught.value.path == gone


def test_a_source_that_became_a_link_is_not_followed(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make(v2)
    plan = pieces_elsewhere(bench)
    (tmp_path / "outside").write_bytes(P[1])
    (bench.tree.root / "b").unlink()
    (bench.tree.root / "b").symlink_to(tmp_path / "outside")
    with pytest.raises(TreeError) as caught:
        bench.assemble(plan)
    assert caught.value.path == "b"


@pytest.mark.parametrize("after", [0, 1, 2])
def test_it_stops_between_two_pieces_when_it_is_asked_to(
    make: Callable[..., Bench], after: int
) -> None:
    bench = make(v2)
    plan = pieces_elsewhere(bench)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InterruptedByUserError):
        bench.assemble(plan, stopping=lambda: len(bench.copied) == after)
    assert bench.copied == [PIECE] * after
    bench.tree.forget_folders()
    assert len(os.listdir("/proc/self/fd")) <= before, "all files are closed"
    bench.copied.clear()
    bench.check(plan, bench.assemble(plan))


# --- ways to copy ---------------------------------------------------------------------------


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Have the kernel's own copying refused; gives a list that grows with each attempt."""
    asked: list[int] = []

    def refused(*_args: Any) -> NoReturn:
        asked.append(number)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refused)
    return asked


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP])
def test_where_the_kernel_cannot_copy_it_is_done_by_hand(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bench = make(v2)
    plan = pieces_elsewhere(bench)
    asked = refuse(monkeypatch, number)
    bench.check(plan, bench.assemble(plan))
    assert asked == [number] * 3


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_any_other_failure_is_an_error_that_names_the_file(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bench = make(v2)
    plan = pieces_elsewhere(bench)
    refuse(monkeypatch, number)
    with pytest.raises(TreeError, match=os.strerror(number)) as caught:
        bench.assemble(plan)
    assert caught.value.path == "a"


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_piece_that_is_copied_in_several_goes_is_whole(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    """Neither the kernel nor ``pwrite`` has to copy as much as it is asked to."""
    bench = make(padded)
    plan = bench.plan({"a": P[0][:-100], "z": P[9]}, {"b": P[1] + P[0][:-100] + bytes(100) + P[2]})
    copy, write = os.copy_file_range, os.pwrite
    if by_hand:
        refuse(monkeypatch, errno.ENOSYS)
    else:
        monkeypatch.setattr(
            os,
            "copy_file_range",
            lambda source, target, count, *offsets: copy(source, target, min(count, 99), *offsets),
        )
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:77], offset))
    bench.check(plan, bench.assemble(plan))


def test_more_files_than_are_kept_open_at_once_are_copied_from_and_checked(
    make: Callable[..., Bench],
) -> None:
    count = 3 * copying._OPEN_FILES
    parts = [random_bytes(PIECE, f"part {number}") for number in range(count)]
    old = {f"{number:03}": part for number, part in enumerate(parts)}
    bench = make(v2)
    plan = bench.plan(old, {"n": b"".join(parts)})
    assert len(plan.copies) == count
    most = 0

    def look(_count: int) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))

    before = len(os.listdir("/proc/self/fd"))
    bench.check(plan, bench.assemble(plan, on_bytes=look))
    assert most < before + 2 * copying._OPEN_FILES
    with pytest.raises(TreeError) as caught:
        bench.assemble(plan, on_bytes=lambda _count: edit_in_place(bench.tree.root / "000"))
    assert caught.value.path == "000", (
        "it has been closed long since, and is looked at all the same"
    )


def test_a_place_that_is_nowhere_is_made_of_zeros_alone(make: Callable[..., Bench]) -> None:
    bench = make(v2)
    plan = bench.plan({"a": P[0]}, {"n": P[1] + P[0] + P[2]})
    (extent,) = plan.copies[1]
    plan = replace(plan, copies={1: (extent._replace(path="", offset=0),)})
    placement = bench.assemble(plan)
    staged = bench.tree.root / bench.stage(plan).path(0, placement.places[0])
    assert staged.read_bytes() == bytes(2 * PIECE)
