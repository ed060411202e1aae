"""Links, FIFOs and other people's files take the places of files while torsync works there."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.test_fail_everywhere import NEW, Scene, Strike, fast_folder, found, nth_call
from tests.support.cli import Publisher, Torsync, staged
from tests.support.leecher import DownloadError, libtorrent_download
from tests.support.processes import HOST, free_port
from tests.support.publishers import Publishing
from tests.support.trees import assert_same_tree, tree_bytes, write_tree
from tests.support.updates import Updates, publish
from torsync.disk.tree import Tree
from torsync.model.errors import TorsyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder

KIB = 1024
_real = {name: getattr(os, name) for name in ("link", "rename", "unlink")}

_RACE = """
import os, random, sys
tree, outside, seed = sys.argv[1:]
choose = random.Random(int(seed))
os.chdir(tree)
tick = 0

def swap_file(path, make):
    aside = path + ".aside"
    os.rename(path, aside)
    try:
        make(path)
        os.rename(aside, path)  # from here on what was there is back
    finally:
        if os.path.lexists(aside):
            os.rename(aside, path)

def link_out(path):
    os.symlink(os.path.join(outside, "precious"), path)

def hard_link(path):
    os.link(os.path.join(outside, "linked"), path)

def link_beside(path):
    os.symlink("/dev/zero", path)

def swap_folder(path):
    aside = path + " aside"
    os.rename(path, aside)
    try:
        os.symlink(outside, path)
        os.unlink(path)
    finally:
        os.rename(aside, path)

def change_mode(name):
    # A link to what is outside, of either kind, may have been restored.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if os.fstat(file).st_nlink == 1:
            os.fchmod(file, choose.choice([0o600, 0o644, 0o755, 0o000]))
    finally:
        os.close(file)

def enter_folder(path):
    # Work in the folder itself: a link to what is outside may be in its place.
    folder, name = os.path.split(path)
    opened = os.open(folder or ".", os.O_DIRECTORY | os.O_NOFOLLOW)
    os.fchdir(opened)
    os.close(opened)
    return name

MAKERS = [link_out, hard_link, link_beside, os.mkfifo]
print(flush=True)
while True:
    names = [name for name in ("a/one", "a/two", "b") if os.path.lexists(name)]
    try:
        what = choose.randrange(4)
        if what < 2 and names:
            swap_file(enter_folder(choose.choice(names)), choose.choice(MAKERS))
        elif what == 2:
            swap_folder(choose.choice(["a", "c"]))
        elif names:
            change_mode(enter_folder(choose.choice(names)))
    except OSError:
        pass
    os.chdir(tree)
"""


@contextmanager
def racing(tree: Path, outside: Path, seed: int) -> Iterator[None]:
    """Another process swaps files and folders of a tree for links and back, all the time."""
    racer = subprocess.Popen(
        [sys.executable, "-c", _RACE, tree, outside, str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with racer:
        assert racer.stdout is not None
        racer.stdout.readline()
        try:
            yield
        finally:
            racer.kill()


def clear_up(tree: Path) -> None:
    """Take away what the racer was in the middle of when it ended."""
    for path in sorted(tree.rglob("*"), reverse=True):
        if ".torsync" in path.relative_to(tree).parts:
            continue
        seen = path.lstat()
        if stat.S_ISREG(seen.st_mode):
            path.chmod(0o644)
        elif not stat.S_ISDIR(seen.st_mode):
            path.unlink()
    for path in tree.glob("* aside"):
        with suppress(OSError):
            path.rename(path.with_name(path.name.removesuffix(" aside")))


def precious(folder: Path) -> Path:
    """A folder beside the tree with the names of the tree's files, and others."""
    names = ("precious", "linked", "one", "two", "b", "0", "1", "2", "marker", "lock")
    return write_tree(folder / "outside", {name: f"precious {name}".encode() for name in names})


def what_is_outside(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that is there, but for times that a link from elsewhere changes."""
    found = {}
    for path in folder.rglob("*"):
        seen = path.lstat()
        found[path.name] = (seen.st_mode, seen.st_mtime_ns, path.read_bytes())
    return found


RELEASES = (
    {"a/one": 40 * KIB, "a/two": 100, "b": 20 * KIB},
    {"a/one": 41 * KIB, "a/two": 100, "b": 21 * KIB, "c/new": 7},
)


@pytest.fixture
def updates(tmp_path: Path, seeder: LibtorrentSeeder) -> Iterator[Updates]:
    with Torsync(tmp_path) as torsync:
        yield Updates(tmp_path, torsync, seeder)


def _race(updates: Updates, outside: Path, rounds: int, seed: int) -> None:
    updates.torsync.subscribe(
        url=updates.publisher.url, peers=updates.publisher.peers, max_delete="100%"
    )
    updates.publish(RELEASES[0], "packed")
    updates.torsync.run("check-now").assert_ok()
    updates.publish(RELEASES[1], "packed")
    updates.torsync.run("check-now").assert_ok()
    before = what_is_outside(outside)
    commands = [
        ("check-now", "--timeout", "10s"),
        ("verify", "--clean", "--repair"),
        ("rollback", "pack"),
        ("trash", "restore", "pack", "a/one"),
        ("apply", "pack"),
        ("publish", updates.tree, "-o", updates.folder.parent / "raced.torrent"),
    ]
    choose = random.Random(seed)
    for number in range(rounds):
        command = commands[number % len(commands)]
        with racing(updates.tree, outside, choose.randrange(2**32)):
            outcome = updates.torsync.run(*command, timeout_s=240)
        # There may be no release to go back to, if the last command did.
        usual = {0, 1, 4, 5} | ({2} if command[0] == "rollback" else set())
        assert outcome.exit_code in usual, (command, outcome.stderr)
        assert what_is_outside(outside) == before, command
    clear_up(updates.tree)
    updates.torsync.run("apply", "pack")  # after a rollback
    updates.torsync.run("check-now", "--allow", "deletes").assert_ok()
    wanted = tree_bytes(updates.folder)
    there = tree_bytes(updates.tree)
    assert {path: there.get(path) for path in wanted} == wanted
    assert staged(updates.tree) == []
    assert what_is_outside(outside) == before


@pytest.mark.timeout(600)
def test_nothing_outside_changes_while_another_process_swaps_files_for_links(
    updates: Updates, tmp_path: Path
) -> None:
    _race(updates, precious(tmp_path), rounds=6, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
def test_nothing_outside_changes_in_many_such_races(
    updates: Updates, tmp_path: Path, seed: int
) -> None:
    _race(updates, precious(tmp_path), rounds=40, seed=seed)


# --- swapped at a given moment --------------------------------------------------------------


def swap_for(path: Path, make: Callable[[Path], object]) -> Callable[[Strike], None]:
    def swap(_strike: Strike) -> None:
        _real["rename"](path, path.with_name(f"{path.name} aside"))
        make(path)

    return swap


def test_a_foreign_file_that_takes_the_place_of_one_keeps_its_mode_and_time() -> None:
    """It comes between the look at a file that is to get another mode and time, and the open."""
    with fast_folder() as folder:
        scene = Scene(folder)
        scene.prepare()
        outside = write_tree(folder / "outside", {"precious": b"tool"})
        file = outside / "precious"
        file.chmod(0o640)
        os.utime(file, (5, 5))
        before = what_is_outside(outside)

        def opens(call: Strike) -> bool:
            return call.name == "open" and call.arguments[0] == "tool"

        swap = swap_for(scene.tree / "tool", lambda path: _real["link"](file, path))
        number, swaps, is_over = 0, 0, False
        while not is_over:  # it is opened to be read, too
            with nth_call(number, swap, of=opens) as struck, suppress(TorsyncError):
                scene.check_now()
            is_over = not struck
            swaps += not is_over
            assert what_is_outside(outside) == before
            with suppress(FileNotFoundError):
                (scene.tree / "tool aside").replace(scene.tree / "tool")
            scene.publish(NEW if number % 2 else {**NEW, "tool": b"tool"})
            number += 1
        assert swaps


@pytest.mark.parametrize("kind", ["hard link", "fifo", "device"])
def test_a_lock_that_is_no_file_of_its_own_is_replaced(tmp_path: Path, kind: str) -> None:
    root = write_tree(tmp_path / "tree", {".torsync/marker": b""})
    outside = write_tree(tmp_path / "outside", {"precious": b"precious"})
    os.utime(outside / "precious", (5, 5))
    before = what_is_outside(outside)
    lock = root / ".torsync/lock"
    if kind == "hard link":
        lock.hardlink_to(outside / "precious")
    elif kind == "fifo":
        os.mkfifo(lock)
    else:
        try:
            os.mknod(lock, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root may make devices")
    tree = Tree(root)
    try:
        tree.hold()
        tree.clock_ns()
    finally:
        tree.close()
    assert what_is_outside(outside) == before
    seen = lock.lstat()
    assert stat.S_ISREG(seen.st_mode)
    assert seen.st_nlink == 1


@pytest.mark.parametrize("what", ["fifo", "link", "hard link", "folder"])
@pytest.mark.parametrize("path", ["keep.bin", "patched.bin", "new/folder/file"])
def test_what_takes_the_place_of_a_file_before_the_commit_is_not_written_to(
    path: str, what: str
) -> None:
    with fast_folder() as folder:
        scene = Scene(folder)
        scene.prepare()
        outside = write_tree(folder / "outside", {"precious": b"precious"})
        before = what_is_outside(outside)
        make: dict[str, Callable[[Path], object]] = {
            "fifo": os.mkfifo,
            "link": lambda at: at.symlink_to(outside / "precious"),
            "hard link": lambda at: _real["link"](outside / "precious", at),
            "folder": lambda at: at.mkdir(),
        }
        target = scene.tree / path

        def plant(_strike: Strike) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                _real["unlink"](target)
            make[what](target)

        def journals(call: Strike) -> bool:
            return call.name == "database" and "journal" in call.arguments[0]

        with nth_call(0, plant, of=journals) as struck, suppress(TorsyncError):
            scene.check_now()
        assert struck
        assert what_is_outside(outside) == before
        with suppress(TorsyncError):
            scene.check_now()
        assert what_is_outside(outside) == before
        if target.is_dir():
            target.rmdir()
        scene.check_now()
        there = tree_bytes(scene.tree)
        assert {at: there.get(at) for at in NEW} == found(NEW)
        assert what_is_outside(outside) == before


# --- FIFOs ----------------------------------------------------------------------------------


def test_a_service_whose_seeded_file_became_a_fifo_mends_it_and_ends(
    tmp_path: Path, seeder: LibtorrentSeeder
) -> None:
    """libtorrent waits for a writer when it opens it."""
    port = free_port(udp=True)
    with Torsync(tmp_path) as torsync:
        torsync.session["listen"] = [f"{HOST}:{port}"]
        publisher = Publisher(tmp_path / "published", seeder)
        torsync.subscribe(url=publisher.url, peers=publisher.peers, interval="1h")
        torrent = publish(publisher, tmp_path / "one", {"a": 300 * KIB, "b": 100})
        service = torsync.start("run")
        service.wait_for_stage("pack", "seeding")
        seeder.remove(torrent)
        (torsync.tree / "a").unlink()
        os.mkfifo(torsync.tree / "a")
        with pytest.raises(DownloadError):
            libtorrent_download(torrent, tmp_path / "got", peers=[(HOST, port)], timeout_s=2)
        heard = len(service.objects())
        seeder.add_folder(torrent, tmp_path / "one")
        service.wait_for_stage("pack", "committing", since=heard)
        service.wait_for_stage("pack", "seeding", since=heard)
        assert_same_tree(torsync.tree, tmp_path / "one")
        assert service.stop(signal.SIGTERM, within_s=50).exit_code == 0


def test_a_published_file_that_became_a_fifo_is_told_and_does_not_keep_anybody_waiting(
    tmp_path: Path,
) -> None:
    with Publishing(tmp_path) as torsync:
        folder = write_tree(tmp_path / "content", {"a": 100, "b": 200})
        (folder / "a").unlink()
        os.mkfifo(folder / "a")
        outcome = torsync.run("publish", folder, "-o", tmp_path / "out.torrent")
        assert outcome.exit_code == 1
        assert "'a'" in outcome.error["message"]
