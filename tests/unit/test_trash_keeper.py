"""The trash is kept as small as it is to be: what goes, what is told, and what never goes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import Content, tree_bytes, write_tree
from tests.unit.test_tree import mounted, tmpfs
from torsync.disk.tree import Tree
from torsync.model.config import SubscriptionConfig
from torsync.model.errors import StateError
from torsync.model.events import Event, Level, Notice
from torsync.model.units import SizeLimit
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Voice
from torsync.subscribe.trash import Trash, trash_stamp
from torsync.subscribe.trash_content import make_room, read_trash, remove_trashed, room_in_trash
from torsync.subscribe.trash_keeper import TrashKeeper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NOW_S = 1_700_000_000.0
DAY_S = 86400.0
MIB = 2**20


class Site:
    """A tree with a trash, and what keeps it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trash = root / ".torsync/trash"
        self.tree = Tree(root)
        self.state = TreeState(root.with_name(f"state of {root.name}"))
        self.now_s, self.clock_s = NOW_S, 0.0
        self.told: list[Notice] = []

    def put(
        self, entries: Mapping[str, Content], *, days_ago: float = 0, released: bool = False
    ) -> None:
        """Have files go to the trash."""
        write_tree(self.root, entries)
        trash = Trash(self.tree, trash_stamp(NOW_S - days_ago * DAY_S))
        for path in entries:
            assert trash.take(path, released=released)

    def keeper(self, *, days: float = 14, limit: SizeLimit | None = None) -> TrashKeeper:
        config = SubscriptionConfig(
            name="pack",
            url="",
            path=self.root,
            trash_age_s=days * DAY_S,
            trash_limit=limit or SizeLimit(percent=100),
        )
        return TrashKeeper(
            config,
            self.tree,
            self.state,
            Voice("pack", self._hear),
            now_s=lambda: self.now_s,
            clock=lambda: self.clock_s,
        )

    def _hear(self, event: Event) -> None:
        assert isinstance(event, Notice)
        self.told.append(event)

    def paths(self) -> set[str]:
        """What is in the trash, by the path that it had."""
        return {file.path for file in read_trash(self.tree).files}

    def codes(self) -> list[tuple[str, Level]]:
        return [(notice.code, notice.level) for notice in self.told]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(write_tree(tmp_path / "tree", {"file": b"1"})) as found:
        yield found


@contextmanager
def opened(root: Path) -> Iterator[Site]:
    found = Site(root)
    yield found
    found.state.close()
    found.tree.close()


# --- reading ----------------------------------------------------------------------------------


def test_where_there_is_no_trash_there_is_nothing_to_keep(site: Site) -> None:
    site.keeper(days=0).tidy()
    assert read_trash(site.tree).files == []
    assert site.told == []


def test_what_is_in_the_trash_is_known_with_its_space(site: Site) -> None:
    site.put({"a/b": 5000, "link": ("link", "a")}, released=True)
    found = {file.path: file for file in read_trash(site.tree).files}
    stat = (site.trash / f"{trash_stamp(NOW_S)}-release/a/b").stat()
    block = os.statvfs(site.root).f_frsize
    assert set(found) == {"a/b", "link"}
    file = found["a/b"]
    assert (file.size, file.inode, file.links) == (5000, stat.st_ino, 1)
    assert (file.released, file.at_s) == (True, NOW_S)
    assert stat.st_blocks * 512 <= file.disk_bytes < stat.st_blocks * 512 + block
    assert file.disk_bytes % block == 0


# --- age --------------------------------------------------------------------------------------


def pass_time(site: Site, days: float) -> None:
    """Both clocks go on, as they do while the machine sleeps, too."""
    site.now_s += days * DAY_S
    site.clock_s += days * DAY_S


def test_a_clock_that_is_put_forward_makes_nothing_old_but_time_that_passes_does(
    site: Site,
) -> None:
    site.put({"a": 10}, days_ago=13)
    keeper = site.keeper()
    keeper.heed()
    site.now_s += 365 * DAY_S  # a machine that had no clock has met a time server
    keeper.heed()
    pass_time(site, 1.5)
    keeper.heed()
    assert site.paths() == {"a"}
    another = site.keeper()  # the service was started again
    pass_time(site, 12)
    another.heed()
    another.after_update(0)
    assert site.paths() == {"a"}
    pass_time(site, 1)
    another.heed()
    assert site.paths() == set()


def test_an_update_after_the_clock_was_put_forward_gives_up_nothing(site: Site) -> None:
    site.put({"a": 10}, days_ago=13)
    keeper = site.keeper()
    site.now_s += 365 * DAY_S
    keeper.after_update(0)
    assert site.paths() == {"a"}


def test_a_clock_that_is_put_back_where_it_belongs_keeps_nothing_for_ever(site: Site) -> None:
    site.put({"a": 10}, days_ago=10)
    keeper = site.keeper()
    site.now_s += 365 * DAY_S
    keeper.heed()
    site.now_s -= 365 * DAY_S
    pass_time(site, 2)
    keeper.heed()
    assert site.paths() == {"a"}
    pass_time(site, 14)
    keeper.heed()
    assert site.paths() == set()


def test_time_that_passes_while_the_machine_sleeps_counts(site: Site) -> None:
    site.put({"a": 10}, days_ago=10)
    keeper = site.keeper()
    keeper.heed()
    pass_time(site, 5)
    keeper.heed()
    assert site.paths() == set()


def test_what_is_too_old_goes_with_its_folders_and_without_a_word(site: Site) -> None:
    site.put({"a/old": 10, "link": ("link", "/etc")}, days_ago=14)
    site.put({"a/old": 10}, days_ago=15, released=True)
    site.put({"a/young": 10}, days_ago=13.9)
    site.keeper().tidy()
    assert site.paths() == {"a/young"}
    assert len(os.listdir(site.trash)) == 1
    assert site.told == []
    assert tree_bytes(site.root) == {"file": b"1"}


def test_an_age_of_nothing_keeps_nothing(site: Site) -> None:
    site.put({"a/b": 10, "c": b""})
    (site.trash / "mine/empty").mkdir(parents=True)
    site.keeper(days=0).tidy()
    assert os.listdir(site.trash) == []


def test_a_folder_with_another_name_is_as_old_as_its_last_change(site: Site) -> None:
    for name, days_ago in {"old": 14, "young": 13}.items():
        write_tree(site.trash / name, {f"{name} file": b"1"})
        os.utime(site.trash / name, (NOW_S, NOW_S - days_ago * DAY_S))
    site.keeper().tidy()
    assert site.paths() == {"young file"}


def test_a_clock_that_was_set_back_empties_nothing(site: Site) -> None:
    site.put({"a": 10}, days_ago=0)
    site.now_s = 0.0
    site.keeper().tidy()
    assert site.paths() == {"a"}


# --- size -------------------------------------------------------------------------------------


def test_a_full_trash_gives_up_old_releases_first_and_says_so(site: Site) -> None:
    site.put({"user/old": MIB}, days_ago=9)
    site.put({"huge": 4 * MIB}, released=True)
    site.put({"user/new": MIB}, days_ago=1)
    site.keeper(limit=SizeLimit(2 * MIB)).tidy()
    assert site.paths() == {"user/old", "user/new"}
    assert site.codes() == [("trash_given_up", Level.INFO)]
    assert "1 file of old releases (4.19 MB)" in site.told[0].message
    assert "'huge'" in site.told[0].message
    assert "trash_size" in site.told[0].hint


def test_that_files_of_the_user_were_given_up_is_a_warning(site: Site) -> None:
    site.put({f"user/{number}": MIB for number in range(5)}, days_ago=9)
    site.put({"user/new": MIB}, days_ago=1)
    site.keeper(limit=SizeLimit(MIB)).tidy()
    assert site.paths() == {"user/new"}
    assert site.codes() == [("trash_given_up", Level.WARNING)]
    assert "5 files that were edited here" in site.told[0].message
    assert site.told[0].message.endswith("'user/0', 'user/1', 'user/2' and 2 more")


def test_the_size_may_be_a_part_of_the_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", *tmpfs("size=16m")) as root, opened(root) as site:
        site.put({"a": MIB}, days_ago=2, released=True)
        site.put({"b": MIB}, days_ago=1, released=True)
        keeper = site.keeper(limit=SizeLimit(percent=10))
        keeper.tidy()
        assert site.paths() == {"b"}


def test_what_has_a_name_in_the_tree_is_not_counted(site: Site) -> None:
    write_tree(site.root, {"here": MIB})
    Trash(site.tree, trash_stamp(NOW_S)).save("here", released=True)
    site.put({"gone": MIB}, released=True)
    site.keeper(limit=SizeLimit(MIB)).tidy()
    assert site.paths() == {"here", "gone"}


# --- room -------------------------------------------------------------------------------------


def test_room_is_made_of_old_releases_alone(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", *tmpfs("size=16m")) as root, opened(root) as site:
        site.put({"user": MIB}, days_ago=9)
        site.put({"b": MIB}, days_ago=2, released=True)
        site.put({"a": MIB}, days_ago=1, released=True)
        before = os.statvfs(root)
        assert room_in_trash(site.tree) == 2 * MIB
        assert make_room(site.tree, 100) == MIB
        freed = os.statvfs(root).f_bfree - before.f_bfree
        assert freed * before.f_frsize >= MIB
        assert site.paths() == {"user", "a"}
        assert make_room(site.tree, 2 * MIB) == 0
        assert site.paths() == {"user", "a"}


# --- once a day -------------------------------------------------------------------------------


def test_the_service_sees_to_it_once_a_day(site: Site) -> None:
    keeper = site.keeper(days=1)
    keeper.heed()
    site.put({"a": 10}, days_ago=1)
    site.clock_s = DAY_S - 1
    keeper.heed()
    assert site.paths() == {"a"}
    site.clock_s = DAY_S
    keeper.heed()
    assert site.paths() == set()


def test_a_tree_that_is_no_longer_at_its_path_is_left_alone(site: Site) -> None:
    site.put({"a": 10}, days_ago=99)
    aside = site.root.rename(site.root.with_name("aside"))
    site.keeper().heed()
    aside.rename(site.root)
    assert site.paths() == {"a"}


# --- after an update --------------------------------------------------------------------------


def test_a_trash_that_cannot_be_full_is_not_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put({"a": 10})
    keeper = site.keeper(limit=SizeLimit(MIB))
    keeper.after_update(10)  # nothing is known: it looks
    with monkeypatch.context() as patched:
        patched.setattr("torsync.subscribe.trash_keeper.read_trash", None)
        keeper.after_update(MIB // 2)
    site.put({"b": MIB}, released=True)
    keeper.after_update(MIB // 2 + 1)
    assert site.paths() == {"a"}


@pytest.mark.parametrize("days", [1, -1])
def test_a_trash_that_was_looked_at_on_another_day_is_looked_at(site: Site, days: int) -> None:
    keeper = site.keeper(limit=SizeLimit(MIB))
    keeper.after_update(0)
    site.put({"b": 2 * MIB}, released=True)
    keeper.after_update(0)
    assert site.paths() == {"b"}
    site.now_s += days * DAY_S
    keeper.after_update(0)
    assert site.paths() == set()


def test_a_trash_of_which_not_all_is_known_is_looked_at_each_time(site: Site) -> None:
    write_tree(site.trash, {"no folder": b"1"})
    keeper = site.keeper(limit=SizeLimit(MIB))
    for _ in range(2):
        keeper.after_update(0)
    assert site.codes() == [("trash_not_read", Level.WARNING)] * 2


def test_a_state_that_cannot_be_used_fails_no_update(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise StateError("the disk is full", hint="make room")

    site.put({"a": 10}, days_ago=99)
    monkeypatch.setattr(site.state, "get", fail)
    monkeypatch.setattr(site.state, "put", fail)
    site.keeper().after_update(0)
    assert site.paths() == set()
    assert site.told == []


# --- hostile ----------------------------------------------------------------------------------


def test_links_are_removed_and_never_followed(site: Site, tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "outside", {"folder/file": b"outside", "file": b"outside"})
    site.put({"a": 10}, days_ago=99)
    folder = site.trash / trash_stamp(NOW_S - 99 * DAY_S)
    (folder / "to folder").symlink_to(outside / "folder")
    (folder / "to file").symlink_to(outside / "file")
    os.link(outside / "file", folder / "other name")
    site.keeper().tidy()
    assert os.listdir(site.trash) == []
    assert tree_bytes(outside) == {"folder/file": b"outside", "file": b"outside"}


def test_a_link_in_the_place_of_a_stamp_leads_nowhere(site: Site, tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "outside", {"file": b"outside"})
    site.put({"a": 10}, days_ago=99)
    link = site.trash / trash_stamp(NOW_S - 98 * DAY_S)
    link.symlink_to(outside)
    site.keeper(limit=SizeLimit(0)).tidy()
    assert tree_bytes(outside) == {"file": b"outside"}
    assert os.listdir(site.trash) == [link.name]
    assert site.codes() == [("trash_not_read", Level.WARNING)]


@pytest.mark.parametrize("where", [".torsync", ".torsync/trash"])
def test_a_trash_that_is_a_link_is_no_trash(site: Site, tmp_path: Path, where: str) -> None:
    outside = write_tree(tmp_path / "outside", {"trash/x/file": b"outside", "x/file": b"outside"})
    (site.root / where).parent.mkdir(exist_ok=True)
    (site.root / where).symlink_to(outside)
    site.keeper(days=0).tidy()
    assert set(tree_bytes(outside)) == {"trash/x/file", "x/file"}
    assert site.codes() == [("trash_unreadable", Level.WARNING)]


def test_a_folder_that_becomes_a_link_after_the_look_is_not_followed(
    site: Site, tmp_path: Path
) -> None:
    outside = write_tree(tmp_path / "outside", {"file": b"outside"})
    site.put({"a/file": 10})
    content = read_trash(site.tree)
    folder = site.trash / trash_stamp(NOW_S) / "a"
    folder.rename(tmp_path / "aside")
    folder.symlink_to(outside)
    removed = remove_trashed(site.tree, content, content.files)
    assert removed.files == []
    assert list(removed.problems) == [content.files[0].disk_path]
    assert tree_bytes(outside) == {"file": b"outside"}


def test_a_file_that_becomes_another_after_the_look_stays(site: Site, tmp_path: Path) -> None:
    site.put({"file": 10})
    content = read_trash(site.tree)
    file = site.root / content.files[0].disk_path
    file.rename(tmp_path / "aside")
    file.write_bytes(b"another")
    assert remove_trashed(site.tree, content, content.files).freed_bytes == 0
    assert file.read_bytes() == b"another"


def test_what_is_gone_after_the_look_is_no_problem(site: Site) -> None:
    site.put({"a/file": 10})
    content = read_trash(site.tree)
    (site.root / content.files[0].disk_path).unlink()
    assert remove_trashed(site.tree, content, content.files).problems == {}
    assert os.listdir(site.trash) == []


def test_a_fifo_is_removed_like_a_file(site: Site) -> None:
    os.mkfifo(site.root / "fifo")
    Trash(site.tree, trash_stamp(0)).take("fifo")
    site.keeper().tidy()
    assert os.listdir(site.trash) == []


def test_what_is_mounted_in_the_trash_is_left_alone(site: Site, tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "outside", {"file": b"outside"})
    for options in (tmpfs(), ["--bind", outside]):
        site.told.clear()
        site.put({"a": 10, "m/x": 10}, days_ago=99)
        folder = site.trash / trash_stamp(NOW_S - 99 * DAY_S)
        with mounted(folder / "mounted", *options):
            (folder / "mounted/file").write_bytes(b"here")
            site.keeper().tidy()
            assert (folder / "mounted/file").read_bytes() == b"here"
            assert os.listdir(folder) == ["mounted"]
            assert site.codes() == [("trash_not_read", Level.WARNING)]
    assert (outside / "file").exists()


def test_what_may_not_be_removed_is_a_warning_and_the_rest_goes(site: Site) -> None:
    if os.geteuid() == 0:
        with as_nobody(site.root):
            _may_not_be_removed(site)
    else:
        _may_not_be_removed(site)


def _may_not_be_removed(site: Site) -> None:
    site.put({"a/locked": 10, "b/free": 10, "c/hidden": 10}, days_ago=99)
    folder = site.trash / trash_stamp(NOW_S - 99 * DAY_S)
    (folder / "a").chmod(0o500)
    (folder / "c").chmod(0)
    site.tree.forget_folders()
    site.keeper().tidy()
    assert site.codes() == [("trash_not_read", Level.WARNING), ("trash_not_removed", Level.WARNING)]
    assert "c'" in site.told[0].message
    assert "a/locked'" in site.told[1].message
    assert sorted(os.listdir(folder)) == ["a", "c"]
    for name in "ac":
        (folder / name).chmod(0o700)


@contextmanager
def as_nobody(root: Path) -> Iterator[None]:
    """Heed permissions for a while, as root does not."""
    os.chown(root, 65534, 65534)
    for parent in (root, *root.parents):
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o011)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
