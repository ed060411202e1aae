"""The commit: each path goes from its old to its new content at once, and nothing is lost."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.torrents import RawFile, link
from tests.support.trees import edit_in_place, random_bytes, tree_bytes, write_tree
from tests.unit.test_stage import ledger_of, plan_for, release
from torsync.disk.tree import Tree
from torsync.model.config import CleanMode
from torsync.model.errors import TreeError
from torsync.model.journal import Journal, Kept, Placed
from torsync.model.known import Synced
from torsync.model.placement import Place
from torsync.model.plan import Action, Plan
from torsync.model.tree_index import LedgerRow
from torsync.subscribe.commit import Commit, CommitOutcome
from torsync.subscribe.look import rows_learned
from torsync.subscribe.patience import Patience
from torsync.subscribe.prepare import Preparation
from torsync.subscribe.recovery import rescue_held
from torsync.subscribe.stage import Stage
from torsync.subscribe.trash import Trash, trash_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import DiskEntry

PIECE = 16 * 1024
NOW_S = 1_700_000_000
LONG = random_bytes(6 * PIECE, "long")
PATCHED = LONG[:PIECE] + b"patched" + LONG[PIECE + 7 :]

Files = dict[str, "bytes | RawFile"]


def executable(content: bytes) -> RawFile:
    return RawFile(content, {b"attr": b"x"})


def dated(content: bytes, mtime_s: int) -> RawFile:
    return RawFile(content, {b"mtime": mtime_s})


class Done(NamedTuple):
    plan: Plan
    outcome: CommitOutcome
    unchanged: int


class Site:
    """A tree with what torsync remembers of it."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = root
        # A clock far ahead: files need not grow old before their rows vouch for them.
        self.tree = Tree(root, clock_ns=itertools.count(2**62).__next__)
        self.manifest: Manifest | None = None
        self.ledger: dict[str, LedgerRow] = {}
        self.journal = Journal("", "", "")
        self.patience = Patience()
        self._commits = 0

    def update(
        self,
        files: Files,
        *,
        clean: CleanMode = CleanMode.MANAGED,
        keep: Callable[[str], bool] = lambda _path: False,
        before_commit: Callable[[], object] = lambda: None,
    ) -> Done:
        """Bring the tree to a release whose content is staged by hand."""
        manifest = release(files)
        plan = plan_for(self.tree, manifest, ledger=self.ledger, clean=clean, keep=keep)
        stage = Stage(self.tree, manifest.info_hash)
        stage_by_hand(self.root, stage, plan, files)
        before_commit()
        self._commits += 1
        counted: list[None] = []
        now_s = NOW_S + self._commits
        preparation = Preparation(
            self.tree,
            plan,
            stage,
            synced=Synced(lambda: self.manifest),
            is_released=lambda path: path in self.ledger,
            keep=keep,
        )
        self.journal = preparation.journal(
            release="", stamp=trash_stamp(now_s), at_s=now_s, report={}
        )
        outcome = self._commit(manifest, lambda: counted.append(None))
        placed = (*outcome.moved, *outcome.copied, *outcome.patched, *outcome.fetched)
        assert len(counted) == len(placed)
        rescue_held(self.tree, Trash(self.tree, "rescued"))
        assert [name for name in os.listdir(self.root / stage.folder) if name.isdigit()] == [
            str(index)
            for index, planned in enumerate(plan.files)
            if planned.action in {Action.PATCH, Action.FETCH, Action.COPY}
            and manifest.files[index].path not in placed
        ]
        stage.remove()
        settled = {
            file.path: self.ledger[file.path]
            for file, is_settled in zip(manifest.files, plan.settled, strict=True)
            if is_settled
        }
        self.manifest = manifest
        self.ledger = settled | rows_learned(plan) | outcome.rows
        return Done(plan, outcome, len(preparation.unchanged))

    def finish(self, files: Files) -> CommitOutcome:
        """Carry out the journal of an update that was cut off, as it was stored."""
        stored = Journal.load(list(self.journal.dump()))
        assert stored == self.journal
        manifest = release(files)
        outcome = self._commit(manifest, again=True)
        rescue_held(self.tree, Trash(self.tree, "rescued"))
        Stage(self.tree, manifest.info_hash).remove()
        self.manifest, self.ledger = manifest, self.ledger | outcome.rows
        return outcome

    def _commit(
        self, manifest: Manifest, on_file: Callable[[], None] = lambda: None, *, again: bool = False
    ) -> CommitOutcome:
        trash = Trash(self.tree, self.journal.stamp)
        return Commit(
            self.tree,
            self.journal,
            trash,
            digest=manifest.digest,
            on_file=on_file,
            patience=self.patience,
            again=again,
        ).run()

    def trashed(self) -> list[tuple[str, object]]:
        """Path and content of everything in the trash of the last commit."""
        trash = self.root / ".torsync/trash"
        found = []
        for folder in sorted(trash.iterdir()) if trash.exists() else []:
            if folder.name != "rescued" and int(folder.name[15:17]) == (20 + self._commits):
                found += sorted(tree_bytes(folder).items())
        return found


def stage_by_hand(root: Path, stage: Stage, plan: Plan, files: Files) -> None:
    """Put the content of what is patched and fetched into the stage, as a swarm would."""
    stage.prepare()
    for index, planned in enumerate(plan.files):
        content = files[plan.wanted.files[index].path]
        data = content.content if isinstance(content, RawFile) else content
        if planned.action in {Action.PATCH, Action.FETCH, Action.COPY} and data:
            (root / stage.path(index, Place.STAGE)).write_bytes(data)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "tree")
    yield made
    made.tree.close()


def row_of(digest: str) -> LedgerRow:
    return LedgerRow(1, 2, 3, 4, digest)


def plain(files: Files) -> dict[str, object]:
    """What ``tree_bytes`` gives for these files, links left out."""
    contents = {
        path: content.content if isinstance(content, RawFile) else content
        for path, content in files.items()
    }
    return {
        path: content
        for path, content in contents.items()
        if not (isinstance(files[path], RawFile) and b"symlink path" in files[path].keys)
    }


# --- content --------------------------------------------------------------------------------


def test_new_files_arrive_in_new_folders(site: Site) -> None:
    files: Files = {"a": b"1", "b/c/d/e": b"2", "empty": b"", "b/c/also empty": b""}
    done = site.update(files)
    assert tree_bytes(site.root) == files
    assert sorted(done.outcome.fetched) == sorted(files)
    assert (done.outcome.patched, done.outcome.trashed, done.unchanged) == ([], [], 0)
    assert site.trashed() == []
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)


def test_replaced_patched_and_removed_contents_are_in_the_trash(site: Site) -> None:
    old: Files = {"same": b"same", "patched": LONG, "sub/replaced": b"old", "sub/x/gone": b"gone"}
    new: Files = {"same": b"same", "patched": PATCHED, "sub/replaced": b"new!", "new": b"new"}
    site.update(old)
    inode = (site.root / "same").stat().st_ino
    done = site.update(new)
    assert tree_bytes(site.root) == new
    assert (site.root / "same").stat().st_ino == inode
    assert done.outcome.patched == ["patched"]
    assert sorted(done.outcome.fetched) == ["new", "sub/replaced"]
    assert sorted(done.outcome.trashed) == ["patched", "sub/replaced", "sub/x/gone"]
    assert site.trashed() == [
        ("patched", LONG),
        ("sub/replaced", b"old"),
        ("sub/x/gone", b"gone"),
    ]
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)
    assert not (site.root / "sub/x").exists()


def test_a_staged_file_that_is_too_long_is_cut_and_one_too_short_is_refused(site: Site) -> None:
    site.update({"file": b"old"})

    def lengthen() -> None:
        staged = next((site.root / ".torsync/stage").glob("*/0"))
        staged.write_bytes(staged.read_bytes() + b"too long")

    site.update({"file": b"newer"}, before_commit=lengthen)
    assert tree_bytes(site.root) == {"file": b"newer"}

    def shorten() -> None:
        next((site.root / ".torsync/stage").glob("*/0")).write_bytes(b"new")

    with pytest.raises(TreeError, match="should have 6 bytes, has 3"):
        site.update({"file": b"newest"}, before_commit=shorten)
    assert tree_bytes(site.root) == {"file": b"newer"}


def test_a_missing_staged_file_changes_nothing(site: Site) -> None:
    old: Files = {"a": b"old", "b": b"old", "gone": b"gone"}
    site.update(old)
    with pytest.raises(TreeError, match="No such file"):
        site.update(
            {"a": b"new", "b": b"new"},
            before_commit=lambda: next((site.root / ".torsync/stage").glob("*/1")).unlink(),
        )
    assert tree_bytes(site.root) == old


def test_what_was_staged_and_is_the_same_stays_as_it_is(site: Site) -> None:
    site.update({"file": LONG, "other": b"1"})
    before = (site.root / "file").stat()
    # The ledger and the index are from before; the content is right again at the commit.
    (site.root / "file").write_bytes(PATCHED)
    done = site.update(
        {"file": LONG, "other": b"2"},
        before_commit=lambda: (site.root / "file").write_bytes(LONG),
    )
    assert done.unchanged == 1
    assert done.outcome.fetched == ["other"]
    assert (site.root / "file").stat().st_ino == before.st_ino
    assert site.trashed() == [("other", b"1")]
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)


# --- what others do meanwhile ---------------------------------------------------------------


def test_an_edit_after_the_look_goes_to_the_trash(site: Site) -> None:
    site.update({"file": b"old"})
    site.update({"file": b"new"}, before_commit=lambda: (site.root / "file").write_bytes(b"edited"))
    assert tree_bytes(site.root) == {"file": b"new"}
    assert site.trashed() == [("file", b"edited")]


def test_a_file_that_appeared_after_the_look_goes_to_the_trash(site: Site) -> None:
    done = site.update(
        {"folder/file": b"new", "way": link("folder", "file")},
        before_commit=lambda: write_tree(site.root, {"folder/file": b"mine", "way": b"mine too"}),
    )
    assert (site.root / "folder/file").read_bytes() == b"new"
    assert os.readlink(site.root / "way") == "folder/file"
    assert site.trashed() == [("folder/file", b"mine"), ("way", b"mine too")]
    assert sorted(done.outcome.trashed) == ["folder/file", "way"]


def test_what_appeared_after_the_look_and_is_kept_stays(site: Site) -> None:
    site.update({"a": b"a"})
    mine = {"new.ini": b"mine", "link.ini": b"mine, too"}
    done = site.update(
        {"a": b"a", "new.ini": b"theirs", "link.ini": link("a"), "other.ini": b"new"},
        keep=lambda path: path.endswith(".ini"),
        before_commit=lambda: write_tree(site.root, mine),
    )
    assert tree_bytes(site.root) == {"a": b"a", **mine, "other.ini": b"new"}
    assert sorted(done.outcome.kept_local) == sorted(mine)
    assert done.outcome.fetched == ["other.ini"]
    assert site.trashed() == []
    assert site.ledger.keys() == {"a", "other.ini"}


def test_a_file_that_vanished_after_the_look_is_no_obstacle(site: Site) -> None:
    site.update({"file": b"old", "gone": b"gone"})

    def remove() -> None:
        (site.root / "file").unlink()
        (site.root / "gone").unlink()

    done = site.update({"file": b"newer"}, before_commit=remove)
    assert tree_bytes(site.root) == {"file": b"newer"}
    assert done.outcome.trashed == []


def test_a_folder_that_became_a_link_after_the_look_leads_nowhere(
    site: Site, tmp_path: Path
) -> None:
    outside = write_tree(tmp_path / "outside", {"file": b"outside", "gone": b"outside"})
    site.update({"folder/file": b"old", "folder/gone": b"gone"})

    def swap() -> None:
        (site.root / "folder").rename(tmp_path / "moved")
        (site.root / "folder").symlink_to(outside)
        site.tree.forget_folders()

    with pytest.raises(TreeError, match="link") as caught:
        site.update({"folder/file": b"new"}, before_commit=swap)
    assert caught.value.path == "folder/file"
    assert tree_bytes(outside) == {"file": b"outside", "gone": b"outside"}
    assert all((outside / name).stat().st_nlink == 1 for name in ("file", "gone"))


def test_a_folder_of_the_user_that_appeared_where_a_file_goes_is_not_touched(site: Site) -> None:
    with pytest.raises(TreeError) as caught:
        site.update(
            {"name": b"new"},
            before_commit=lambda: write_tree(site.root, {"name/mine": b"mine"}),
        )
    assert caught.value.path == "name"
    assert tree_bytes(site.root) == {"name/mine": b"mine"}


# --- hard links -----------------------------------------------------------------------------


def test_the_other_name_of_a_hard_linked_file_keeps_its_content(site: Site, tmp_path: Path) -> None:
    old: Files = {"patched": LONG, "replaced": b"old", "gone": b"gone", "twin": LONG}
    site.update(old)
    outside = tmp_path / "outside"
    outside.mkdir()
    for path in ("patched", "replaced", "gone"):
        os.link(site.root / path, outside / path)
    site.update({"patched": PATCHED, "replaced": b"newer", "twin": LONG})
    assert tree_bytes(outside) == {"patched": LONG, "replaced": b"old", "gone": b"gone"}
    assert tree_bytes(site.root) == {"patched": PATCHED, "replaced": b"newer", "twin": LONG}


def test_two_names_of_one_file_are_updated_one_by_one(site: Site) -> None:
    site.update({"one": LONG, "two": LONG})
    (site.root / "two").unlink()
    os.link(site.root / "one", site.root / "two")
    site.update({"one": PATCHED, "two": LONG})
    assert tree_bytes(site.root) == {"one": PATCHED, "two": LONG}


# --- files, folders, links ------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["x/file", "x/y/z/file"])
def test_a_file_becomes_a_folder(site: Site, inside: str) -> None:
    site.update({"x": b"file", "other": b"1"})
    done = site.update({inside: b"inside", "other": b"1"})
    assert tree_bytes(site.root) == {inside: b"inside", "other": b"1"}
    assert site.trashed() == [("x", b"file")]
    assert done.outcome.trashed == ["x"]
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)


@pytest.mark.parametrize("inside", ["x/file", "x/y/z/file"])
@pytest.mark.parametrize("new", [b"file", link("other"), b""])
def test_a_folder_becomes_a_file_or_a_link(site: Site, inside: str, new: bytes | RawFile) -> None:
    site.update({inside: b"inside", "x/second": b"2", "other": b"1"})
    done = site.update({"x": new, "other": b"1"})
    wanted = ("link", "other") if isinstance(new, RawFile) else new
    assert tree_bytes(site.root) == {"x": wanted, "other": b"1"}
    assert site.trashed() == sorted([(inside, b"inside"), ("x/second", b"2")])
    assert sorted(done.outcome.trashed) == sorted([inside, "x/second"])
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)


def test_a_folder_deep_inside_becomes_a_file_and_its_parents_stay(site: Site) -> None:
    site.update({"a/b/c/file": b"1"})
    (site.root / "a/b").chmod(0o2775)
    before = (site.root / "a/b").stat()
    site.update({"a/b/c": b"2"})
    after = (site.root / "a/b").stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert tree_bytes(site.root) == {"a/b/c": b"2"}


def test_an_empty_folder_makes_room_for_a_file(site: Site) -> None:
    write_tree(site.root, {"x/empty/emptier": ("dir", None)})
    site.update({"x": b"file"})
    assert tree_bytes(site.root) == {"x": b"file"}


def test_a_link_becomes_a_file_and_a_file_a_link(site: Site) -> None:
    site.update({"a": link("t"), "b": b"file", "t": b"target"})
    assert os.readlink(site.root / "a") == "t"
    done = site.update({"a": b"file now", "b": link("t"), "t": b"target"})
    assert tree_bytes(site.root) == {"a": b"file now", "b": ("link", "t"), "t": b"target"}
    assert site.trashed() == [("a", ("link", "t")), ("b", b"file")]
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)


def test_links_say_what_leads_to_their_target_from_where_they_are(site: Site) -> None:
    files: Files = {
        "one/two/data": b"1",
        "one/up": link("one", "two", "data"),
        "one/two/top": link("top"),
        "top": b"2",
    }
    site.update(files)
    assert os.readlink(site.root / "one/up") == "two/data"
    assert os.readlink(site.root / "one/two/top") == "../../top"
    assert (site.root / "one/up").read_bytes() == b"1"
    assert (site.root / "one/two/top").read_bytes() == b"2"
    done = site.update({**files, "one/up": link("top")})
    assert os.readlink(site.root / "one/up") == "../top"
    assert done.outcome.fetched == ["one/up"]
    assert site.trashed() == [("one/up", ("link", "two/data"))]


def test_a_leftover_in_the_stage_is_no_obstacle_for_a_link(site: Site) -> None:
    site.update(
        {"a": link("t"), "t": b"1"},
        before_commit=lambda: (
            next((site.root / ".torsync/stage").glob("*")).joinpath("0").write_bytes(b"left")
        ),
    )
    assert os.readlink(site.root / "a") == "t"


# --- folders --------------------------------------------------------------------------------


def test_emptied_folders_go_but_never_those_of_the_user(site: Site) -> None:
    site.update({"gone/deep/er/file": b"1", "half/file": b"1", "mine/file": b"1", "stays": b"1"})
    write_tree(
        site.root,
        {
            "half/note": b"mine",
            "mine/empty": ("dir", None),
            "empty/mine too": ("dir", None),
        },
    )
    site.update({"stays": b"1"})
    assert tree_bytes(site.root) == {"half/note": b"mine", "stays": b"1"}
    folders = {
        os.path.relpath(folder, site.root)
        for folder, _folders, _files in os.walk(site.root)
        if ".torsync" not in folder
    }
    assert folders == {".", "half", "mine", "mine/empty", "empty", "empty/mine too"}


def test_a_mirror_removes_what_is_not_listed_but_not_what_is_kept(site: Site) -> None:
    write_tree(site.root, {"mine": b"1", "saves/one": b"1", "way": ("link", "/etc"), "d/e/f": b""})
    os.mkfifo(site.root / "d" / "fifo")
    keep = "saves/one".__eq__
    site.update({"file": b"new"}, clean=CleanMode.MIRROR, keep=keep)
    assert tree_bytes(site.root) == {"file": b"new", "saves/one": b"1"}
    assert not (site.root / "d").exists()
    trash = next((site.root / ".torsync/trash").iterdir())
    assert stat.S_ISFIFO((trash / "d/fifo").lstat().st_mode)
    (trash / "d/fifo").unlink()
    assert site.trashed() == [("d/e/f", b""), ("mine", b"1"), ("way", ("link", "/etc"))]


def test_the_users_files_are_told_from_an_old_releases_in_the_trash(site: Site) -> None:
    """They are given up last: what a mirror removes, and what was edited after the look."""
    old = {"edited": b"1", "replaced": b"2", "removed": b"3", "removed, edited": b"4"}
    site.update(old)
    write_tree(site.root, {"mine": b"mine"})

    def edit() -> None:
        for path in ("edited", "removed, edited"):
            (site.root / path).write_bytes(b"edited")

    done = site.update(
        {"edited": b"new 1", "replaced": b"new 2"}, clean=CleanMode.MIRROR, before_commit=edit
    )
    stamp = site.journal.stamp
    trash = site.root / ".torsync/trash"
    assert tree_bytes(trash / stamp).keys() == {"edited", "mine", "removed, edited"}
    assert tree_bytes(trash / f"{stamp}-release").keys() == {"replaced", "removed"}
    known = done.outcome.content_in_trash({path: row_of("old") for path in ("replaced", "other")})
    released = f".torsync/trash/{stamp}-release"
    assert {path: row.digest for path, row in known.items()} == {f"{released}/replaced": "old"}


def test_what_is_locked_or_kept_is_not_right(site: Site) -> None:
    site.update({"a": b"1", "b": b"2"})
    plan = site.update({"a": b"3", "b": b"4", "c": b"5"}).plan
    assert CommitOutcome().right(plan) == b"\1\1\1"
    assert CommitOutcome(locked=["a", "not in it"]).right(plan) == b"\0\1\1"
    assert CommitOutcome(kept_local=["c"]).right(plan) == b"\1\1\0"


# --- modes and times ------------------------------------------------------------------------


def _mode(site: Site, path: str) -> int:
    return stat.S_IMODE((site.root / path).stat().st_mode)


def test_executable_bits_come_and_go_with_the_releases(site: Site) -> None:
    site.update({"tool": executable(b"1"), "plain": b"1"})
    assert _mode(site, "tool") & 0o111 == (_mode(site, "tool") & 0o444) >> 2 != 0
    assert _mode(site, "plain") & 0o111 == 0
    done = site.update({"tool": b"1", "plain": executable(b"1")})
    assert _mode(site, "tool") & 0o111 == 0
    assert _mode(site, "plain") & 0o100
    assert (done.outcome.fetched, done.outcome.trashed) == ([], [])
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)


def test_the_users_mode_survives_an_update(site: Site) -> None:
    site.update({"script": b"1" * 100, "secret": b"1" * 100})
    (site.root / "script").chmod(0o755)
    (site.root / "secret").chmod(0o600)
    site.update({"script": b"2" * 100, "secret": b"2" * 100})
    assert (_mode(site, "script"), _mode(site, "secret")) == (0o755, 0o600)
    site.update({"script": b"3" * 100, "secret": executable(b"3" * 100)})
    assert (_mode(site, "script"), _mode(site, "secret")) == (0o755, 0o700)


def test_modification_times_are_the_publishers(site: Site) -> None:
    site.update({"new": dated(b"1", 1000), "kept": b"1"})
    assert (site.root / "new").stat().st_mtime_ns == 1000 * 10**9
    done = site.update({"new": dated(b"1", 1000), "kept": dated(b"1", 2000)})
    assert (site.root / "kept").stat().st_mtime_ns == 2000 * 10**9
    assert done.outcome.fetched == []
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)


@pytest.mark.parametrize("set_mtime_back", [False, True])
def test_a_file_that_is_edited_meanwhile_keeps_its_time_and_is_not_vouched_for(
    site: Site, set_mtime_back: bool
) -> None:
    site.update({"kept": b"123456", "other": b"1"})
    site.update(
        {"kept": dated(b"123456", 2000), "other": b"2"},
        before_commit=lambda: edit_in_place(site.root / "kept", set_mtime_back=set_mtime_back),
    )
    assert (site.root / "kept").read_bytes() == b"edited"
    assert (site.root / "kept").stat().st_mtime_ns != 2000 * 10**9
    index = site.tree.scan()
    vouched = {path: row.vouches_for(index.entries[path]) for path, row in site.ledger.items()}
    assert vouched == {"kept": False, "other": True}


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_this_update_wrote_to_gets_its_time_whatever_its_ctime(
    site: Site, is_ours: bool
) -> None:
    """A file that is patched where it is has another ctime than the look saw."""
    manifest = release({"file": dated(b"content", 1000)})
    write_tree(site.root, {"file": b"content"})
    found = site.tree.scan().entries["file"]
    ctime_ns = -1 if is_ours else found.ctime_ns - 1
    kept = Kept("file", 0, 7, found.mtime_ns, found.inode, ctime_ns, mtime_s=1000)
    journal = Journal("", "stage", "stamp", kept=(kept,))
    outcome = Commit(site.tree, journal, Trash(site.tree, "stamp"), digest=manifest.digest).run()
    assert ((site.root / "file").stat().st_mtime_ns == 1000 * 10**9) == is_ours
    assert list(outcome.rows) == (["file"] if is_ours else [])


def test_files_that_get_modes_and_times_do_not_stay_open(site: Site) -> None:
    site.update({"a": LONG, "kept": b"1"})
    before = len(os.listdir("/proc/self/fd"))
    site.update({"b": dated(LONG, 1000), "kept": dated(b"1", 2000)})
    site.tree.forget_folders()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_file_written_to_right_after_it_was_placed_is_not_vouched_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Commit._rename_into_place

    def rename_and_edit(self: Commit, placed: Placed, there: DiskEntry | None) -> None:
        rename(self, placed, there)
        (site.root / placed.path).write_bytes(b"edited by somebody")

    monkeypatch.setattr(Commit, "_rename_into_place", rename_and_edit)
    outcome = site.update({"new": b"1"}).outcome
    assert outcome.rows["new"].digest == ""


def test_a_file_that_is_removed_right_after_it_was_placed_is_no_failure_and_in_no_ledger(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": LONG, "stays": b"1"})
    rename = Commit._rename_into_place

    def rename_and_remove(self: Commit, placed: Placed, there: DiskEntry | None) -> None:
        rename(self, placed, there)
        (site.root / placed.path).unlink()

    monkeypatch.setattr(Commit, "_rename_into_place", rename_and_remove)
    done = site.update({"moved": dated(LONG, 1000), "new": b"2", "stays": b"1"})
    assert (done.outcome.moved, done.outcome.fetched) == (["moved"], ["new"])
    assert done.outcome.rows == {}


# --- readers --------------------------------------------------------------------------------

_READ = """
import os, sys

paths = sys.argv[2:]
os.chdir(sys.argv[1])
rounds = 0
while not os.path.exists(".torsync/stop") or rounds < 2:
    rounds += 1
    for path in paths:
        if path.startswith("link:"):
            seen = os.readlink(path[5:]).encode()
        else:
            with open(path, "rb") as file:
                seen = file.read()
        if len(set(seen)) != 1:
            sys.exit(f"{path} was {seen[:100]}")
    if rounds == 1:
        print("reading", flush=True)
print(rounds)
"""


@contextmanager
def _a_reader(root: Path, *paths: str) -> Iterator[None]:
    """A process that reads the paths all the time, and fails if one is absent or mixed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _READ, root, *paths],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "reading\n"
        yield
        (root / ".torsync/stop").touch()
        complaint = process.stderr.read()
        assert process.wait(30) == 0, complaint


@pytest.mark.parametrize("has_links", [True, False])
def test_a_reader_never_misses_a_file_and_never_sees_a_mixture(
    site: Site, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Where there are no hard links, old and new version are exchanged (``RENAME_EXCHANGE``)."""
    if not has_links:

        def refuse(*_arguments: object, **_options: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)

    def files(number: int) -> Files:
        letter = b"%c" % (ord("a") + number % 26)
        size = PIECE * (1 + number % 5)
        return {
            "file": letter * size,
            "folder/file": letter * (size + 1),
            "folder/link": link(letter.decode()),
            "folder/empty or not": letter * (1 + number % 3),
        }

    site.update(files(0))
    with _a_reader(site.root, "file", "folder/file", "folder/empty or not"):
        for number in range(1, 15):
            site.update(files(number))


def test_a_reader_never_misses_a_link(site: Site) -> None:
    targets: Mapping[str, bytes] = dict.fromkeys("abcdefgh", b"1")
    site.update({**targets, "z": link("a")})
    with _a_reader(site.root, "link:z"):
        for letter in "bcdefgh":
            site.update({**targets, "z": link(letter)})
