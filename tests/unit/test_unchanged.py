"""A check of a tree in which nothing has changed: stat alone, and never a change missed."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import torsync.model.metainfo
import torsync.subscribe.preview
import torsync.subscribe.syncing
from tests.support.torrents import RawFile, link, make_raw
from tests.support.trees import random_bytes, tree_bytes, write_tree
from tests.unit.test_racy_rows import coarse
from tests.unit.test_state import ruin
from tests.unit.test_tree import mounted, tmpfs
from torsync.model.config import CleanMode, SubscriptionConfig
from torsync.model.errors import NotSyncedError, RefusedError, RemoteError, TorsyncError
from torsync.model.events import Event, Notice
from torsync.model.guard import Allowance
from torsync.model.orders import Terms
from torsync.subscribe.preview import poll_and_preview
from torsync.subscribe.subscription import Subscription
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torsync.model.reports import CheckReport

PIECE = 16 * 1024
FILES: dict[str, bytes | RawFile] = {
    "a": random_bytes(PIECE + 7, "a"),
    "b": random_bytes(5, "b"),
    "d/empty": b"",
    "d/e/f/deep": random_bytes(300, "deep"),
    "d/link": link("a"),
    "g/only": b"only",
}
LINK = ("link", "../a")


class Scene:
    """A tree that holds a release, whose ``.torrent`` is at a URL; there is no swarm."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.torrent = folder / "new.torrent"
        self.publish(FILES)
        self.write(FILES)
        self.config = SubscriptionConfig("pack", self.torrent.as_uri(), self.tree)
        self.events: list[Event] = []
        self.looks = self.parses = 0
        for module in (torsync.subscribe.syncing, torsync.subscribe.preview):
            self._count(monkeypatch, module, "take_look", "looks")
        self._count(monkeypatch, torsync.model.metainfo, "parse_metainfo", "parses")

    def _count(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, count: str) -> None:
        real = getattr(module, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            setattr(self, count, getattr(self, count) + 1)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    def publish(self, files: dict[str, bytes | RawFile]) -> None:
        """Make a release the newest."""
        self.torrent.write_bytes(make_raw(files, align=True, roots=True))

    def write(self, files: dict[str, bytes | RawFile]) -> None:
        """Put what a release has into the tree."""
        write_tree(
            self.tree,
            {path: LINK if isinstance(given, RawFile) else given for path, given in files.items()},
        )

    @contextmanager
    def subscription(self, **around: Any) -> Iterator[Subscription]:
        surroundings = replace(self.surroundings, **around)
        opened = Subscription(self.config, self.folder / "state", surroundings)
        try:
            yield opened
        finally:
            opened.close()

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            pool=partial(pytest.fail, "there is no swarm"),
            sink=self.events.append,
            stopping=lambda: False,
            wait=lambda _seconds: False,
        )

    def check(self, *, force: bool = False, dry_run: bool = False) -> CheckReport:
        """Check in a process of its own, as it were."""
        self.looks = self.parses = 0
        self.events.clear()
        if dry_run:
            state = self.folder / "state"
            return poll_and_preview(self.config, state, self.surroundings, force=force)
        with self.subscription() as subscription:
            return subscription.check_now(force=force)

    @property
    def is_quick(self) -> bool:
        """Whether the last check did by stat."""
        assert self.looks in {0, 1}
        return not self.looks

    @property
    def notices(self) -> list[Notice]:
        return [event for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """In sync, and found so by stat."""
    scene = Scene(tmp_path, monkeypatch)
    settle(scene)
    return scene


def settle(scene: Scene) -> None:
    """Check until stat is enough: fresh files have to grow old first."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        assert not scene.check().changed
        if scene.is_quick:
            return
    pytest.fail("the check never gets quick")


def facts(report: CheckReport) -> dict[str, Any]:
    """A report without what is measured."""
    return {**report.as_json(), "seconds": 0, "bytes_hashed": 0, "space_free": 0}


def test_the_report_is_that_of_the_whole_way_and_nothing_is_parsed_or_hashed(scene: Scene) -> None:
    for dry_run in (False, True):
        whole = scene.check(force=True, dry_run=dry_run)
        assert not scene.is_quick
        assert scene.parses == 1
        quick = scene.check(dry_run=dry_run)
        assert scene.is_quick
        assert scene.parses == 0
        assert quick.bytes_hashed == 0
        assert facts(quick) == facts(whole)
        assert quick.kept == len(FILES)


def test_the_second_check_is_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch)
    old = [path for path in scene.tree.rglob("*") if path.is_file() and not path.is_symlink()]
    for path in old:
        os.utime(path, (1, 1))
    scene.check()
    assert not scene.is_quick
    settle(scene)


def _edited(root: Path) -> None:
    file = root / "d/e/f/deep"
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"edited")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced_by_a_link_to_its_like(root: Path) -> None:
    (root / "b").rename(root / ".torsync/b")
    (root / "b").symlink_to(".torsync/b")


def _folder_replaced_by_a_link(root: Path) -> None:
    (root / "g").rename(root / "moved")
    (root / "g").symlink_to("moved")


def _folder_on_the_way_replaced_by_a_link(root: Path) -> None:
    (root / "d").rename(root / "moved")
    (root / "d").symlink_to("moved")


def _link_renewed(root: Path) -> None:
    (root / "d/link").unlink()
    (root / "d/link").symlink_to("../b")


def _swapped(root: Path) -> None:
    (root / "b").rename(root / "x")
    (root / "g/only").rename(root / "b")
    (root / "x").rename(root / "g/only")


def _stage_left(root: Path) -> None:
    write_tree(root, {".torsync/stage/old/0": b"1"})


CHANGES: dict[str, Callable[[Path], object]] = {
    "edited, its time set back": _edited,
    "touched": lambda root: os.utime(root / "a"),
    "another mode": lambda root: (root / "a").chmod(0o755),
    "a copy of itself": lambda root: (
        (root / "x").write_bytes((root / "a").read_bytes()) and (root / "x").replace(root / "a")
    ),
    "missing": lambda root: (root / "g/only").unlink(),
    "an empty one missing": lambda root: (root / "d/empty").unlink(),
    "its folder missing": lambda root: (root / "g").rename(root.parent / "g"),
    "a link in its place": _replaced_by_a_link_to_its_like,
    "its folder a link": _folder_replaced_by_a_link,
    "a folder on the way a link": _folder_on_the_way_replaced_by_a_link,
    "a link with another target": _link_renewed,
    "swapped": _swapped,
    "a stage left": _stage_left,
}


@pytest.mark.parametrize("clean", CleanMode)
@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_missed(scene: Scene, change: str, clean: CleanMode) -> None:
    scene.config = replace(scene.config, clean=clean)
    settle(scene)
    CHANGES[change](scene.tree)
    refused = change in {"its folder a link", "a folder on the way a link"}
    with pytest.raises(TorsyncError, match="link") if refused else nullcontext():
        scene.check(dry_run=True)
    assert not scene.is_quick


@pytest.mark.parametrize("clean", CleanMode)
def test_files_of_the_user_matter_in_a_mirror_only(scene: Scene, clean: CleanMode) -> None:
    scene.config = replace(scene.config, clean=clean, keep=("saves/",))
    settle(scene)
    write_tree(scene.tree, {"saves/one": b"1", "d/saves/two/three": b"3"})
    assert not scene.check(dry_run=True).changed
    assert scene.is_quick
    for place in ("mine", "d/mine", "new/folder/mine"):
        write_tree(scene.tree, {place: b"mine"})
        report = scene.check(dry_run=True)
        assert scene.is_quick == (clean is not CleanMode.MIRROR)
        assert report.changed == (clean is CleanMode.MIRROR)
        (scene.tree / place).unlink()
    (scene.tree / "empty folder").mkdir()
    assert not scene.check(dry_run=True).changed
    assert scene.is_quick


def test_another_policy_is_looked_at_once(scene: Scene) -> None:
    for changed in ({"clean": CleanMode.OFF}, {"keep": ("*.ini",)}, {"keep": ("a", "*.ini")}):
        scene.config = replace(scene.config, **changed)  # type: ignore[arg-type]
        scene.check()
        assert not scene.is_quick
        scene.check()
        assert scene.is_quick


def test_what_an_old_release_left_stays_and_does_not_matter(scene: Scene) -> None:
    scene.config = replace(scene.config, clean=CleanMode.OFF)
    scene.publish({path: given for path, given in FILES.items() if path != "b"})
    scene.check()
    assert not scene.is_quick
    settle(scene)
    (scene.tree / "b").write_bytes(b"the user's now")
    scene.check()
    assert scene.is_quick
    (scene.tree / "b").unlink()
    scene.check()
    assert not scene.is_quick
    scene.config = replace(scene.config, clean=CleanMode.MANAGED)
    (scene.tree / "b").write_bytes(b"mine")
    scene.check()
    assert (scene.tree / "b").read_bytes() == b"mine"


def test_an_edited_keep_file_is_told_each_time(scene: Scene) -> None:
    scene.config = replace(scene.config, keep=("b",))
    settle(scene)
    (scene.tree / "b").write_bytes(b"mine")
    for _time in range(2):
        assert scene.check().kept_local == ["b"]


def test_a_new_release_is_parsed_and_refused_before_it_counts(scene: Scene) -> None:
    good = scene.torrent.read_bytes()
    scene.torrent.write_bytes(b"d4:infod4:name3:badee")
    for _time in range(2):
        with pytest.raises(RemoteError):
            scene.check()
    scene.torrent.write_bytes(good)
    scene.check()
    assert scene.is_quick


def test_a_file_system_mounted_into_the_tree_is_noticed(scene: Scene) -> None:
    for place in ("g", "d/e"):
        with mounted(scene.tree / place, *tmpfs()):
            with pytest.raises(TorsyncError, match="mount point"):
                scene.check()
            assert not scene.is_quick
    with mounted(scene.tree / "g", "--bind", scene.tree / "g"), pytest.raises(TorsyncError):
        scene.check()
    with mounted(scene.tree / "elsewhere", *tmpfs()):
        scene.check()
        assert scene.is_quick


def test_a_tree_that_was_replaced_is_refused_and_nothing_is_made_in_it(scene: Scene) -> None:
    with scene.subscription() as subscription:
        scene.tree.rename(scene.folder / "old")
        scene.tree.mkdir()
        for _ in range(2):
            with pytest.raises(RefusedError, match="not mounted"):
                subscription.check_now()
        assert list(scene.tree.iterdir()) == []
        scene.tree.rmdir()
        with pytest.raises(RefusedError, match="not mounted"):
            subscription.check_now()
        assert not scene.tree.exists()
        (scene.folder / "old").rename(scene.tree)
        assert not subscription.check_now().changed
    assert scene.is_quick, "what was there before is known"


def test_a_tree_that_was_replaced_is_looked_at_if_that_is_allowed(scene: Scene) -> None:
    with scene.subscription(
        terms=lambda: Terms(allowed=frozenset({Allowance.MARKER}))
    ) as subscription:
        scene.tree.rename(scene.folder / "old")
        scene.tree.mkdir()
        with pytest.raises(pytest.fail.Exception, match="no swarm"):
            subscription.check_now()
    assert not scene.is_quick


@pytest.mark.parametrize("damage", ["garbage", "zeroed pages", "newer"])
def test_a_lost_ledger_is_rebuilt_by_hashing_and_nothing_is_fetched(
    scene: Scene, damage: str
) -> None:
    ruin(scene.folder / "state/state.sqlite", damage)
    before = tree_bytes(scene.tree)
    report = scene.check()
    assert (report.changed, report.fetched, report.bytes_fetched) == (False, [], 0)
    assert report.bytes_hashed >= report.bytes_total
    assert tree_bytes(scene.tree) == before
    [notice] = scene.notices
    assert (notice.code, notice.level.value) == ("state_rebuilt", "warning")
    assert "hashed once" in notice.hint
    settle(scene)
    assert not scene.notices


def test_verify_after_a_lost_ledger_says_what_to_do(scene: Scene) -> None:
    ruin(scene.folder / "state/state.sqlite", "garbage")
    with scene.subscription() as subscription, pytest.raises(NotSyncedError) as caught:
        subscription.verify()
    assert "check-now" in caught.value.hint


def test_a_ledger_that_lies_is_found_out_by_verify_and_then_by_the_check(scene: Scene) -> None:
    """Bytes that rot leave no trace in stat; only hashing finds them."""
    with scene.subscription() as subscription:
        state = subscription._state
        (scene.tree / "b").write_bytes(b"12345")
        found = subscription._tree.stat("b")
        assert found is not None
        row = state.load_ledger()["b"]
        lie = row._replace(
            mtime_ns=found.mtime_ns, ctime_ns=found.ctime_ns, inode=found.inode, size=found.size
        )
        seal = state.load_seal()
        assert seal is not None
        state.record_rows({"b": lie})
        state.put(seal=seal.dump())
    scene.check()
    assert scene.is_quick, "the lie is believed"
    with scene.subscription() as subscription:
        assert subscription.verify().damaged == ["b"]
    assert scene.check(dry_run=True).fetched == ["b"]


class Pool:
    """Stands for the sessions; what is added is never heard of again."""

    def __init__(self) -> None:
        self.added: list[Any] = []

    def add(self, request: Any) -> Pool:
        self.added.append(request)
        return self

    def listening_peers(self) -> tuple[()]:
        return ()

    def remove(self) -> None:
        pass


def test_a_check_by_stat_seeds_what_is_not_seeded_yet(scene: Scene) -> None:
    pool = Pool()
    with scene.subscription(pool=lambda: pool, seed=True) as subscription:
        scene.looks = scene.parses = 0
        for _time in range(3):
            subscription.check_now()
        assert scene.is_quick
        assert scene.parses == 1
    [request] = pool.added
    assert set(request.have) == {1}
    assert request.save_path == str(scene.tree)


@pytest.mark.parametrize("number", range(3))
def test_an_edit_in_the_second_of_the_check_is_noticed_where_time_stamps_are_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with mounted(tmp_path / "tree", *coarse(tmp_path / "image")):
        scene = Scene(tmp_path, monkeypatch)
        for _time in range(number):
            scene.check()
        assert not scene.check().changed
        file = scene.tree / "d/e/f/deep"
        before = file.stat()
        with file.open("r+b") as opened:
            opened.write(b"edited")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert scene.check(dry_run=True).patched + scene.check(dry_run=True).fetched
        file.write_bytes(FILES["d/e/f/deep"])  # type: ignore[arg-type]
        settle(scene)


class TestSelection:
    """Of ``FILES`` three are selected in ``d/``, three are not."""

    def select(self, scene: Scene, *patterns: str) -> None:
        scene.config = replace(scene.config, select=patterns)

    @pytest.mark.parametrize("clean", [CleanMode.MANAGED, CleanMode.MIRROR])
    def test_a_check_is_quick_again_once_the_selection_stays(
        self, scene: Scene, clean: CleanMode
    ) -> None:
        scene.config = replace(scene.config, clean=clean)
        for patterns, kept in [(("d/",), 3), (("d/", "b"), 4), (("!d/",), 3), ((), 6)]:
            self.select(scene, *patterns)
            report = scene.check()
            assert not scene.is_quick
            assert (report.kept, report.unselected) == (kept, 6 - kept)
            again = scene.check()
            assert scene.is_quick
            assert facts(again) == facts(report)

    @pytest.mark.parametrize("clean", [CleanMode.MANAGED, CleanMode.MIRROR])
    def test_what_is_not_selected_may_change_or_go(self, scene: Scene, clean: CleanMode) -> None:
        self.select(scene, "d/")
        scene.config = replace(scene.config, clean=clean)
        settle(scene)
        (scene.tree / "b").write_bytes(b"mine")
        settle(scene)
        (scene.tree / "b").unlink()
        (scene.tree / "g/only").unlink()
        (scene.tree / "g").rmdir()
        settle(scene)
        assert tree_bytes(scene.tree).keys() == {"a", "d/empty", "d/e/f/deep", "d/link"}
