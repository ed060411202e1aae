"""Which folder is admitted as a tree, and how state and marker come to agree; cut off anywhere."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import snapshot
from tests.support.trees import write_tree
from tests.unit.test_tree import mounted, tmpfs
from torsync.disk.tree import Tree
from torsync.model.errors import RefusedError, TreeError
from torsync.model.guard import Allowance, Standing
from torsync.model.orders import Terms
from torsync.model.tree_index import LedgerRow
from torsync.subscribe.admission import Admission, open_tree
from torsync.subscribe.approval import Approvals
from torsync.subscribe.marker import MARKER, adopt_folder, read_marker, write_marker
from torsync.subscribe.override import Override
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torsync.swarm.session import SwarmPool

ROW = LedgerRow(1, 2, 3, 4, "digest")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tree"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TreeState]:
    state = TreeState(tmp_path / "state")
    yield state
    state.close()


def no_pool() -> SwarmPool:
    raise AssertionError("there is no swarm")


def admission(path: Path, state: TreeState, *allowed: Allowance) -> Admission:
    around = Surroundings(
        pool=no_pool,
        sink=lambda _event: None,
        stopping=lambda: False,
        wait=lambda _seconds: False,
        terms=lambda: Terms(allowed=frozenset(allowed)),
    )
    return Admission(path, state, Override("pack", state, around))


def first_sync(path: Path, state: TreeState) -> str:
    """Open a tree and mark it as a first sync does; its id."""
    admitted = admission(path, state)
    tree = open_tree(path, admitted)
    assert admitted.standing is Standing.NEW
    admitted.mark(tree)
    tree.close()
    return state.get("marker")


def marker_in(path: Path) -> str | None:
    tree = Tree(path)
    try:
        return read_marker(tree)
    finally:
        tree.close()


# --- the marker file ------------------------------------------------------------------------


def test_every_tree_gets_an_id_of_its_own(tmp_path: Path) -> None:
    found = set()
    for name in ("one", "two"):
        adopt_folder(write_tree(tmp_path / name, {"mine": 1}))
        found.add(marker_in(tmp_path / name))
    assert len(found) == 2
    assert not found & {None, ""}


def test_a_folder_is_adopted_once_and_none_is_made(tmp_path: Path) -> None:
    adopt_folder(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    tree = write_tree(tmp_path / "tree", {"mine": 1})
    adopt_folder(tree)
    first = marker_in(tree)
    adopt_folder(tree)
    assert marker_in(tree) == first
    (tree / MARKER).write_text("garbage")
    adopt_folder(tree)
    assert marker_in(tree) not in {"", None, first}


def test_a_marker_whose_writing_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {".torsync/marker.new": b"half"})
    before = len(os.listdir("/proc/self/fd"))
    adopt_folder(tree)
    assert marker_in(tree) not in {"", None}
    assert sorted(os.listdir(tree / ".torsync")) == ["marker"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_marker_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    adopt_folder(write_tree(tmp_path / "other", {}))
    tree = write_tree(tmp_path / "tree", {".torsync": ("dir", None)})
    (tree / MARKER).symlink_to(tmp_path / "other" / MARKER)
    before = (tmp_path / "other" / MARKER).read_text()
    with pytest.raises(TreeError, match="marker"):
        marker_in(tree)
    opened = Tree(tree)
    write_marker(opened)
    opened.close()
    assert (tmp_path / "other" / MARKER).read_text() == before
    assert not (tree / MARKER).is_symlink()


def test_a_marker_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with mounted(tmp_path / "tree", *tmpfs("size=16k")) as folder:
        adopt_folder(folder)
        known = marker_in(folder)
        (folder / "filler").write_bytes(bytes(12 * 1024))
        tree = Tree(folder)
        with pytest.raises(TreeError, match="No space left"):
            write_marker(tree)
        tree.close()
        assert marker_in(folder) == known


# --- admission ------------------------------------------------------------------------------


def test_a_tree_is_known_by_its_marker(path: Path, state: TreeState) -> None:
    known = first_sync(path, state)
    assert marker_in(path) == known
    admitted = admission(path, state)
    open_tree(path, admitted).close()
    assert admitted.standing is Standing.OURS


def test_a_missing_folder_is_refused_and_not_made(path: Path, state: TreeState) -> None:
    first_sync(path, state)
    shutil.rmtree(path)
    with pytest.raises(RefusedError, match="not mounted") as caught:
        open_tree(path, admission(path, state))
    assert caught.value.hint == "if that is meant: `torsync apply pack --allow marker`"
    assert not path.exists()
    path.mkdir()
    with pytest.raises(RefusedError, match="not mounted"):
        open_tree(path, admission(path, state))
    assert os.listdir(path) == []


def test_it_does_not_matter_what_else_is_allowed(path: Path, state: TreeState) -> None:
    first_sync(path, state)
    (path / MARKER).unlink()
    others = set(Allowance) - {Allowance.MARKER}
    before = snapshot(path)
    with pytest.raises(RefusedError):
        open_tree(path, admission(path, state, *others))
    assert snapshot(path) == before


def test_an_allowed_folder_keeps_what_the_state_knows_until_it_is_marked(
    path: Path, state: TreeState
) -> None:
    known = first_sync(path, state)
    state.record_sync({"file": ROW}, synced="ab" * 32, history=None)
    shutil.rmtree(path)
    admitted = admission(path, state, Allowance.MARKER)
    tree = open_tree(path, admitted)
    assert admitted.is_foreign
    assert (state.get("marker"), state.load_ledger()) == (known, {"file": ROW})
    assert marker_in(path) is None
    admitted.mark(tree)
    assert not admitted.is_foreign
    assert state.get("marker") == marker_in(path) != known
    assert (state.synced, state.load_ledger()) == ("", {})
    tree.close()


def test_an_approval_allows_it_to_the_service(path: Path, state: TreeState) -> None:
    first_sync(path, state)
    (path / MARKER).unlink()
    Approvals(state).give("ab" * 32, {Allowance.MARKER})
    admitted = admission(path, state)
    open_tree(path, admitted).close()
    assert admitted.is_foreign


def test_an_approval_of_another_folder_is_of_that_one_alone(path: Path, state: TreeState) -> None:
    first_sync(path, state)
    (path / MARKER).unlink()
    approvals = Approvals(state)
    approvals.give("ab" * 32, {Allowance.MARKER, Allowance.DELETES})
    admitted = admission(path, state)
    with closing(open_tree(path, admitted)) as tree:
        admitted.mark(tree)
    assert approvals.allowances("ab" * 32) == {Allowance.DELETES}
    shutil.rmtree(path)  # its disk is unmounted
    path.mkdir()
    with pytest.raises(RefusedError, match="not mounted"):
        open_tree(path, admission(path, state))


def test_a_read_only_tree_from_before_there_were_markers_is_admitted(
    path: Path, state: TreeState
) -> None:
    state.put(synced="ab" * 32)
    with mounted(path, *tmpfs("ro,size=1m")):
        admitted = admission(path, state)
        open_tree(path, admitted).close()
        assert (admitted.standing, state.get("marker")) == (Standing.OLDER, "")
    path.rmdir()
    open_tree(path, admission(path, state)).close()
    assert state.get("marker") == marker_in(path) != ""


@pytest.mark.parametrize("before", ["first sync", "older", "other folder"])
def test_cut_off_while_it_is_marked_a_tree_is_admitted_the_next_time(
    path: Path, state: TreeState, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Whatever was written last: nobody is asked for what was allowed, or harmless."""
    allowed = []
    if before == "older":
        state.put(synced="ab" * 32)
    elif before == "other folder":
        first_sync(path, state)
        state.record_sync({"file": ROW}, synced="ab" * 32, history=None)
        shutil.rmtree(path)
        allowed = [Allowance.MARKER]

    def cut_off(**_facts: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        admitted = admission(path, state, *allowed)
        if before == "older":
            patched.setattr(state, "put", cut_off)
            with pytest.raises(KeyboardInterrupt):
                open_tree(path, admitted)
        else:
            tree = open_tree(path, admitted)
            real = state.put

            def put(**facts: Any) -> None:
                if facts["marker"]:
                    raise KeyboardInterrupt
                real(**facts)

            patched.setattr(state, "put", put)
            with pytest.raises(KeyboardInterrupt):
                admitted.mark(tree)
            tree.close()
    again = admission(path, state)
    open_tree(path, again).close()
    assert again.standing is Standing.FOUND
    assert state.get("marker") == marker_in(path)


# --- a folder that is exchanged -------------------------------------------------------------


def test_an_exchanged_folder_is_closed_if_it_is_refused_and_found_again(
    path: Path, state: TreeState, tmp_path: Path
) -> None:
    first_sync(path, state)
    admitted = admission(path, state)
    tree = open_tree(path, admitted)
    path.rename(tmp_path / "away")
    path.mkdir()
    with pytest.raises(RefusedError):
        admitted.admit_anew(tree)
    assert os.listdir(path) == []
    assert not tree.is_current()
    path.rmdir()
    with pytest.raises(RefusedError):
        admitted.admit_anew(tree)
    assert not path.exists()
    (tmp_path / "away").rename(path)
    admitted.admit_anew(tree)
    assert tree.is_current()
    assert admitted.standing is Standing.OURS
    tree.close()


def test_an_unreadable_marker_is_an_error_and_no_missing_one(
    path: Path, state: TreeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_sync(path, state)

    def broken(_fd: int, _count: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(TreeError, match=r"could not read '\.torsync/marker'"):
        open_tree(path, admission(path, state, Allowance.MARKER))
