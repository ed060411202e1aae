"""A tree on a real disk: nothing leads out of it, nothing odd in it is opened or followed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import math
import os
import socket
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.trees import write_tree
from torsync.disk import syscalls
from torsync.disk import tree as tree_module
from torsync.disk.tree import Tree, doing
from torsync.model.errors import DiskFullError, TreeError
from torsync.model.names import MAX_DEPTH
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOBODY = 65534
DEEP = "/".join(["deep"] * MAX_DEPTH)

_SWAP = """
import os, sys
os.chdir(sys.argv[1])
print(flush=True)
while True:
    os.rename("folder", "aside")
    os.rename("link", "folder")
    os.rename("folder", "link")
    os.rename("aside", "folder")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


@pytest.fixture
def tree(root: Path) -> Iterator[Tree]:
    opened = Tree(root)
    yield opened
    opened.close()


@contextmanager
def _no_new_descriptors() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


@contextmanager
def _without_roots_rights() -> Iterator[None]:
    """Root may read everything; for a while this process is another user."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def mounted(target: Path, *arguments: str | Path) -> Iterator[Path]:
    """Mount a file system with ``mount ARGUMENTS target``; skip the test where that is refused."""
    target.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run(
        ["mount", *arguments, target], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


def tmpfs(options: str = "size=1m") -> list[str]:
    """What ``mounted`` needs for a file system in memory."""
    return ["-t", "tmpfs", "-o", options, "none"]


def _let_others_reach(folder: Path) -> None:
    """pytest's folders are for their owner only."""
    for parent in [folder, *folder.parents[:3]]:
        parent.chmod(parent.stat().st_mode | 0o011)


def _read(tree: Tree, path: str) -> bytes:
    fd = tree.open(path)
    try:
        return os.read(fd, 1000)
    finally:
        os.close(fd)


def _refusal(action: Callable[[], object]) -> int | None:
    """The number of the operating system's error."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what counts
        action()
    return caught.value.errno


# --- the tree itself ------------------------------------------------------------------------


def test_a_tree_that_is_not_there_or_no_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", write_tree(tmp_path / "x", {"file": b"1"}) / "file"):
        with pytest.raises(TreeError, match="open") as caught:
            Tree(path)
        assert str(path) in caught.value.message


def test_links_that_lead_to_the_tree_are_followed(tmp_path: Path, root: Path) -> None:
    write_tree(root, {"a": b"1"})
    (tmp_path / "way").symlink_to(root)
    tree = Tree(tmp_path / "way")
    assert _read(tree, "a") == b"1"
    tree.close()


def test_closing_gives_all_descriptors_back_and_does_nothing_the_second_time(root: Path) -> None:
    write_tree(root, {f"folder {number}/file": b"1" for number in range(200)})
    with _no_new_descriptors():
        tree = Tree(root)
        tree.scan()
        for number in range(200):
            assert tree.stat(f"folder {number}/file") is not None
        tree.close()
        tree.close()


# --- nothing leads out ----------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "outside", {"secret": b"secret"})


def test_a_link_to_a_file_is_not_opened(tree: Tree, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "secret")
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_TRUNC):
        with _no_new_descriptors():
            assert _refusal(lambda flags=flags: tree.open("link", flags)) == errno.ELOOP
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_dangling_link_is_not_written_through(tree: Tree, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "new")
    assert _refusal(lambda: tree.open("link", os.O_RDWR | os.O_CREAT)) == errno.ELOOP
    assert not (outside / "new").exists()


@pytest.mark.parametrize("path", ["link/secret", "folder/link/secret", "link/sub/secret"])
def test_a_link_to_a_folder_is_not_walked_through(
    tree: Tree, root: Path, outside: Path, path: str
) -> None:
    write_tree(outside, {"sub/secret": b"secret"})
    (root / "folder").mkdir()
    (root / "link").symlink_to(outside)
    (root / "folder" / "link").symlink_to(outside)
    for action in (tree.open, tree.stat, tree.locate, lambda at: tree.locate(at, create=True)):
        with pytest.raises(TreeError, match="link") as caught, doing("use", path):
            action(path)
        assert path in caught.value.message
        assert caught.value.path == path
        assert "never followed" in caught.value.hint


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(
    tree: Tree, root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(root, {"a/b/secret": b"inside"})
    assert _read(tree, "a/b/secret") == b"inside"
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to(outside)
    (outside / "b").mkdir()
    (outside / "b" / "secret").write_bytes(b"outside")
    # The folders that are open stay what they were for a moment; then the link is refused.
    monkeypatch.setattr(tree_module, "LOOK_AGAIN_S", math.inf)
    assert _read(tree, "a/b/secret") == b"inside"
    monkeypatch.setattr(tree_module, "LOOK_AGAIN_S", 0.0)
    with pytest.raises(NotADirectoryError):
        tree.open("a/b/secret")


def test_a_swapped_folder_is_refused_or_right_while_another_process_swaps_all_the_time(
    tree: Tree, root: Path, outside: Path
) -> None:
    write_tree(root, {"folder/secret": b"inside"})
    (root / "link").symlink_to(outside)
    swapper = subprocess.Popen([sys.executable, "-c", _SWAP, root], stdout=subprocess.PIPE)
    with swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        seen: set[object] = set()
        tries = 0
        while tries < 3000 or b"inside" not in seen:
            tries += 1
            tree.forget_folders()
            try:
                seen.add(_read(tree, "folder/secret"))
            except OSError as error:
                seen.add(error.errno)
        swapper.kill()
    assert b"inside" in seen
    assert seen <= {b"inside", errno.ENOTDIR, errno.ELOOP, errno.ENOENT}


def test_folders_are_made_only_inside(tree: Tree, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        tree.folder_fd("link/new/newer", create=True)
    assert sorted(os.listdir(outside)) == ["secret"]
    tree.folder_fd("new/newer", create=True)
    assert (root / "new" / "newer").is_dir()


# --- what is no regular file ----------------------------------------------------------------


def _make_special(root: Path) -> dict[str, Callable[[], None]]:
    def make_socket() -> None:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(root / "socket"))

    return {
        "fifo": lambda: os.mkfifo(root / "fifo"),
        "socket": make_socket,
        "device": lambda: os.mknod(root / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    }


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_a_special_file_is_seen_as_such_and_never_given_out(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    try:
        _make_special(tmp_path / "tree")[kind]()
    except PermissionError:
        pytest.skip("only root may make devices")
    except OSError:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("tree/socket")
    entry = tree.stat(kind)
    assert entry is not None
    assert entry.kind is Kind.OTHER
    assert tree.scan().entries[kind].kind is Kind.OTHER
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY):
        with _no_new_descriptors():
            refused = _refusal(lambda flags=flags: tree.open(kind, flags))
            assert refused in {errno.EINVAL, errno.ENXIO}


def test_a_folder_is_not_given_out_as_a_file(tree: Tree, root: Path) -> None:
    (root / "folder").mkdir()
    with _no_new_descriptors(), pytest.raises(OSError, match="not a regular file"):
        tree.open("folder")


# --- scan -----------------------------------------------------------------------------------


def test_a_scan_lists_everything_but_the_private_folder(tree: Tree, root: Path) -> None:
    write_tree(
        root,
        {
            "file": b"12345",
            "tool": ("exec", b"1"),
            "folder/file": b"",
            "folder/empty": ("dir", None),
            "folder/.torsync/mine": b"only at the top it is private",
            "link": ("link", "folder/file"),
            "out": ("link", "/etc"),
            "dangling": ("link", "nowhere"),
            ".torsync/stage/x/1": b"staged",
        },
    )
    counts: list[int] = []
    index = tree.scan(counts.append)
    assert index.complete
    assert {path: entry.kind for path, entry in index.entries.items()} == {
        "file": Kind.FILE,
        "tool": Kind.FILE,
        "folder": Kind.FOLDER,
        "folder/file": Kind.FILE,
        "folder/empty": Kind.FOLDER,
        "folder/.torsync": Kind.FOLDER,
        "folder/.torsync/mine": Kind.FILE,
        "link": Kind.LINK,
        "out": Kind.LINK,
        "dangling": Kind.LINK,
    }
    assert index.entries["out"].link_target == "/etc"
    assert index.entries["file"].size == 5
    assert index.entries["tool"].executable
    assert not index.entries["file"].executable
    assert counts == sorted(counts)
    assert counts[-1] == len(index.entries)
    assert tree.scan().entries == index.entries
    for path, entry in index.entries.items():
        assert tree.stat(path) == entry


def test_what_another_file_system_holds_is_not_looked_at(tree: Tree, root: Path) -> None:
    (root / "folder").mkdir()
    with mounted(root / "other", *tmpfs()):
        (root / "other" / "file").write_bytes(b"1")
        index = tree.scan()
        assert {path: entry.kind for path, entry in index.entries.items()} == {
            "folder": Kind.FOLDER,
            "other": Kind.MOUNT,
        }
        assert index.complete
        tree.forget_folders()


def test_an_unreadable_folder_makes_a_scan_incomplete(tree: Tree, root: Path) -> None:
    write_tree(root, {"open/file": b"1", "closed/file": b"1", "closed/sub/file": b"1"})
    _let_others_reach(root)
    (root / "closed").chmod(0)
    try:
        with _without_roots_rights():
            index = tree.scan()
    finally:
        (root / "closed").chmod(0o755)
    assert not index.complete
    assert index.problems == {"closed": os.strerror(errno.EACCES)}
    assert set(index.entries) == {"open", "open/file", "closed"}


def test_a_folder_whose_entries_may_not_be_looked_at_is_a_problem_for_each(
    tree: Tree, root: Path
) -> None:
    write_tree(root, {"listable/one": b"1", "listable/two": b"1"})
    _let_others_reach(root)
    (root / "listable").chmod(0o444)
    try:
        with _without_roots_rights():
            index = tree.scan()
    finally:
        (root / "listable").chmod(0o755)
    assert set(index.problems) == {"listable/one", "listable/two"}
    assert set(index.entries) == {"listable"}


def test_a_file_that_may_not_be_looked_at_is_not_absent(tree: Tree, root: Path) -> None:
    write_tree(root, {"closed/file": b"1"})
    _let_others_reach(root)
    (root / "closed").chmod(0o600)
    try:
        with _without_roots_rights(), pytest.raises(PermissionError):
            tree.stat("closed/file")
    finally:
        (root / "closed").chmod(0o755)


def test_what_vanishes_during_a_scan_is_left_out(
    tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(root, {"a": b"", "b": b"", "link": ("link", "a"), "folder/file": b""})
    real = os.readlink

    def vanish(*args: object, **options: object) -> str:
        (root / "link").unlink()
        return real(*args, **options)

    monkeypatch.setattr(os, "readlink", vanish)
    index = tree.scan()
    assert index.complete
    assert set(index.entries) == {"a", "b", "folder", "folder/file"}


def test_a_folder_that_vanishes_before_it_is_scanned_makes_the_index_incomplete(
    tree: Tree, root: Path
) -> None:
    write_tree(root, {"folder/file": b""})
    renames = iter([lambda: (root / "folder").rename(root / "x")])
    index = tree.scan(lambda _count: next(renames, lambda: None)())
    assert set(index.problems) == {"folder"}


# --- names ----------------------------------------------------------------------------------


def test_names_that_are_no_utf8_can_be_listed_opened_and_looked_at(tree: Tree, root: Path) -> None:
    raw = b"\xff\xfe name"
    folder = os.fsencode(root) + b"/" + raw
    os.mkdir(folder)
    with open(folder + b"/" + raw, "wb") as file:
        file.write(b"content")
    os.symlink(raw, folder + b"/link")
    name = os.fsdecode(raw)
    index = tree.scan()
    assert set(index.entries) == {name, f"{name}/{name}", f"{name}/link"}
    assert index.entries[f"{name}/link"].link_target == name
    assert _read(tree, f"{name}/{name}") == b"content"
    with pytest.raises(TreeError) as caught, doing("read", f"{name}/absent"):
        tree.open(f"{name}/absent")
    caught.value.message.encode()  # it can be printed


def test_a_name_that_is_too_long_is_named(tree: Tree) -> None:
    path = "a/" + "x" * 256
    with pytest.raises(TreeError, match="too long") as caught, doing("make", path):
        tree.folder_fd(path, create=True)
    assert "names this long" in caught.value.hint


# --- many and deep folders ------------------------------------------------------------------


def test_the_deepest_path_that_a_release_may_have_can_be_used(tree: Tree, root: Path) -> None:
    with _no_new_descriptors():
        path = f"{DEEP}/file"
        tree.folder_fd(DEEP, create=True)
        os.close(tree.open(path, os.O_RDWR | os.O_CREAT))
        (root / path).write_bytes(b"deep")
        assert _read(tree, path) == b"deep"
        index = tree.scan()
        assert len(index.entries) == MAX_DEPTH + 1
        assert index.entries[path] == tree.stat(path)
        tree.forget_folders()
        assert _read(tree, path) == b"deep"
        tree.forget_folders()


def test_two_deep_folders_are_located_side_by_side(tree: Tree, root: Path) -> None:
    """The descriptor that was given first must not be closed for the sake of the second."""
    write_tree(root, {f"one/{DEEP}/here": b"one", f"two/{DEEP}/there": b"two"})
    (one, name), (two, other) = tree.locate_both(f"one/{DEEP}/here", f"two/{DEEP}/there")
    os.rename(name, other, src_dir_fd=one, dst_dir_fd=two)
    assert (root / f"two/{DEEP}/there").read_bytes() == b"one"


def test_more_folders_than_are_kept_open_can_be_used_in_any_order(tree: Tree, root: Path) -> None:
    paths = [f"f{number}/g{number}/file" for number in range(300)]
    write_tree(root, {path: path.encode() for path in paths})
    for path in [*paths, *reversed(paths), *paths[::7]]:
        assert _read(tree, path) == path.encode()
    assert len(os.listdir("/proc/self/fd")) < 150


def test_folders_above_one_that_is_open_need_not_be_open_any_more(
    tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "LOOK_AGAIN_S", 1e6)
    for number in range(100):
        write_tree(root, {f"a/b/{number}/x": b"1"})
        tree.folder_fd(f"a/b/{number}")
    tree._seen_s["a/b/98"] = -math.inf
    for one, other in (("a/b/99/x", "a/b/98/x"), ("a/b/98/x", "a/b/99/x")):
        for (fd, name), path in zip(tree.locate_both(one, other), (one, other), strict=True):
            assert os.stat(name, dir_fd=fd).st_ino == (root / path).stat().st_ino


def test_files_are_opened_from_several_threads(tree: Tree, root: Path) -> None:
    paths = [f"{number % 100}/{number}/file" for number in range(400)]
    write_tree(root, {path: path.encode() for path in paths})
    wrong: list[str] = []

    def read_all(order: list[str]) -> None:
        wrong.extend(path for path in order if _read(tree, path) != path.encode())

    threads = [
        threading.Thread(target=read_all, args=(order,))
        for order in (paths, paths[::-1], paths[200:] + paths[:200], paths[::3])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.ENOSPC, DiskFullError, "make room"),
        (errno.EDQUOT, DiskFullError, "make room"),
        (errno.EACCES, TreeError, "permission"),
        (errno.EROFS, TreeError, "read-only"),
        (errno.EIO, TreeError, "check"),
        (errno.ELOOP, TreeError, "never followed"),
        (errno.EBUSY, TreeError, ""),
    ],
)
def test_an_error_names_path_and_action_and_what_to_do(
    number: int, kind: type[TreeError], hint: str
) -> None:
    with pytest.raises(TreeError) as caught, doing("paint", "some/path"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert "paint" in caught.value.message
    assert "'some/path'" in caught.value.message
    assert caught.value.path == "some/path"
    assert hint in caught.value.hint


def test_a_read_only_tree_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "ro", *tmpfs("ro,size=1m")) as root:
        tree = Tree(root)
        try:
            with pytest.raises(TreeError, match="Read-only") as caught, doing("make", "a"):
                tree.folder_fd("a", create=True)
            assert "mount it writable" in caught.value.hint
        finally:
            tree.close()


# --- to the disk ----------------------------------------------------------------------------


class _Libc:
    """A C library whose syncfs fails, or is not there."""

    def __init__(self, failing_with: int = 0) -> None:
        if failing_with:
            self.syncfs = lambda _fd: ctypes.set_errno(failing_with) or -1


def test_sync_reports_what_the_disk_did_not_take(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.sync()
    monkeypatch.setattr(syscalls, "_libc", lambda: _Libc(errno.EIO))
    with pytest.raises(TreeError, match="Input/output") as caught:
        tree.sync()
    assert str(tree.root) in caught.value.message


def test_sync_works_without_syncfs(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(syscalls, "_libc", _Libc)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    tree.sync()
    assert synced == [True]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_tree_on_a_file_system_without_locks_can_be_held(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_fd: int, _operation: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    tree.hold()
    assert tree.clock_ns() > 0
