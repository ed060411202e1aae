"""An update whose n-th file-system call fails, for every n until a run has none left."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.torrents import RawFile, link, make_raw
from tests.support.trees import random_bytes, tree_bytes, write_tree
from torsync.disk import syscalls
from torsync.model.config import ApplyMode, MaxDelete, SubscriptionConfig
from torsync.model.errors import TorsyncError, TreeError
from torsync.model.events import Event, Notice
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.metainfo import parse_metainfo
from torsync.subscribe.state import TreeState
from torsync.subscribe.subscription import Subscription
from torsync.subscribe.surroundings import Surroundings
from torsync.swarm.torrent import SwarmNews, TorrentProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.trees import Found
    from torsync.model.reports import CheckReport
    from torsync.swarm.torrent import AddRequest

PIECE = 16 * 1024
LONG = random_bytes(5 * PIECE, "long")

OLD: dict[str, bytes | RawFile] = {
    "empties": b"123",
    "gone/deep/file": b"gone",
    "gone/other": b"gone too",
    "half gone/file": b"gone as well",
    "keep.bin": random_bytes(2 * PIECE, "keep"),
    "link": link("keep.bin"),
    "patched.bin": LONG,
    "replaced/inside.txt": b"old",
    "shrinks.bin": LONG[::-1],
    "tool": b"tool",
    "x": b"file",
    "y/inside/deep": b"in a folder",
    "y/other": b"in a folder as well",
}
NEW: dict[str, bytes | RawFile] = {
    "empties": b"",
    "keep.bin": random_bytes(2 * PIECE, "keep"),
    "link": link("patched.bin"),
    "new/folder/file": b"new",
    "patched.bin": LONG[: 2 * PIECE] + b"patched" + LONG[2 * PIECE + 7 :],
    "replaced/inside.txt": b"newer",
    "shrinks.bin": LONG[::-1][: 2 * PIECE + 100],
    "tool": RawFile(b"tool", {b"attr": b"x", b"mtime": 1_000_000}),
    "x/inside": b"file in a folder",
    "y": b"a file now",
}
MINE = {"half gone/mine": b"mine", "mine": b"mine too"}

_COPY = "copy_file_range"

# What the modules call to look at the disk and to change it.
CALLS = [
    "copy_file_range",
    "fchmod",
    "fsync",
    "fstat",
    "ftruncate",
    "link",
    "listdir",
    "makedirs",
    "mkdir",
    "open",
    "pread",
    "preadv",
    "pwrite",
    "readlink",
    "rename",
    "replace",
    "rmdir",
    "scandir",
    "stat",
    "symlink",
    "unlink",
    "utime",
]


def found(files: Mapping[str, bytes | RawFile]) -> dict[str, Found]:
    """What ``tree_bytes`` gives where these files are."""
    seen: dict[str, Found] = {}
    for path, given in files.items():
        file = given if isinstance(given, RawFile) else RawFile(given)
        target = file.keys.get(b"symlink path")
        seen[path] = ("link", b"/".join(target).decode()) if target else file.content
    return seen


def _fetched(claimed: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What of a part of a piece is not in claimed blocks."""
    for block in range(start // BLOCK_SIZE, -(-end // BLOCK_SIZE)):
        if not (claimed and claimed[block]):
            yield max(start, block * BLOCK_SIZE), min(end, (block + 1) * BLOCK_SIZE)


class HandTorrent:
    """Stands for a torrent in a swarm: what is wanted is there at once, where it was asked for.

    Of a piece with claimed blocks the others come, as libtorrent has them fetched.
    """

    wrong_claim = None

    def __init__(self, request: AddRequest, files: Mapping[str, bytes | RawFile]) -> None:
        self.news = SwarmNews()
        self._have = bytearray(request.have)
        self._fetched = 0
        manifest = parse_metainfo(request.metainfo(), windows=False)
        contents = list(found(files).values())
        for piece, wanted in enumerate(request.wanted):
            if wanted and not request.have[piece]:
                self._have[piece] = 1
                claimed = request.unfinished.get(piece, b"")
                begin = 0
                for index, offset, length in manifest.segments(piece):
                    for start, end in _fetched(claimed, begin, begin + length):
                        if index is not None:
                            target = Path(request.save_path, request.paths[index])
                            at = offset + start - begin
                            self._write(target, at, contents[index][at : at + end - start])
                    begin += length

    def _write(self, target: Path, offset: int, data: Any) -> None:
        is_staged = target.is_relative_to("/proc/self/fd") or "/.torsync/stage/" in str(target)
        assert is_staged, f"{target} is not in the stage"
        with target.open("ab"):
            pass
        with target.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        self._fetched += len(data)

    def wait(self, _timeout_s: float) -> bool:
        return True

    def raise_failure(self) -> None:
        pass

    def progress(self) -> TorrentProgress:
        return TorrentProgress(self._fetched, self._fetched, self._fetched, 0, 0, 0, 1)

    def pieces(self) -> bytes:
        return bytes(self._have)

    def halt(self) -> None:
        pass

    def listening_peers(self) -> tuple[()]:
        return ()

    def remove(self) -> None:
        pass


class Scene:
    """A tree that was brought to the old release, and the new one at its URL."""

    def __init__(
        self, folder: Path, published: str = "old", apply: ApplyMode = ApplyMode.STAGED
    ) -> None:
        """``published`` tells which release is at the URL already."""
        self._apply = apply
        self.folder = folder
        self.tree = folder / "tree"
        self._url_file = folder / "pack.torrent"
        self._files: Mapping[str, bytes | RawFile] = OLD if published == "old" else NEW
        self.notices: list[Notice] = []

    @property
    def patched_in_place(self) -> set[str]:
        """The paths that may hold anything while an update is under way."""
        return {"patched.bin", "shrinks.bin"} if self._apply is ApplyMode.IN_PLACE else set()

    def prepare(self) -> None:
        """Make the tree, and publish the new release."""
        self.publish(OLD)
        self.check_now()
        write_tree(self.tree, MINE)
        assert tree_bytes(self.tree) == found(OLD) | MINE
        self.publish(NEW)

    def publish(self, files: Mapping[str, bytes | RawFile]) -> None:
        """Put the release at the URL, unpadded: small files share pieces."""
        self._files = files
        self._url_file.write_bytes(make_raw(files, roots=True))

    def check_now(self) -> CheckReport:
        """What ``torsync check-now`` does, without a swarm."""
        config = SubscriptionConfig(
            "pack",
            self._url_file.as_uri(),
            self.tree,
            apply=self._apply,
            max_delete=MaxDelete(100, is_percentage=True),
        )
        around = Surroundings(
            pool=lambda: self,  # type: ignore[arg-type,return-value]
            sink=self._note,
            stopping=lambda: False,
            wait=lambda _seconds: False,
        )
        subscription = Subscription(config, self.folder / "state", around)
        try:
            return subscription.check_now()
        finally:
            subscription.close()

    def _note(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event)

    def add(self, request: AddRequest) -> HandTorrent:
        """Be the pool of sessions."""
        return HandTorrent(request, self._files)

    def trashed(self) -> dict[str, set[Found]]:
        """Every content that is in the trash, by path."""
        contents: dict[str, set[Found]] = {}
        trash = self.tree / ".torsync/trash"
        for folder in trash.iterdir() if trash.exists() else ():
            for path, content in tree_bytes(folder).items():
                contents.setdefault(path, set()).add(content)
        return contents

    def has_journal(self) -> bool:
        """Whether a commit was cut off."""
        state = TreeState(self.folder / "state", read_only=True)
        try:
            return state.has_journal
        finally:
            state.close()

    def check_cut_off(self) -> None:
        """Each path has its old or its new content, and nothing is lost."""
        old, new = found(OLD), found(NEW)
        seen, trashed = tree_bytes(self.tree), self.trashed()
        for path in old.keys() | new.keys():
            allowed = {release[path] for release in (old, new) if path in release}
            if path in self.patched_in_place:
                assert path in seen, f"{path!r} is absent"
            elif path in seen:
                assert seen[path] in allowed, f"{path!r} is neither old nor new"
            else:
                assert not (path in old and path in new), f"{path!r} is absent"
        for path, content in old.items():
            kept = seen.get(path) == content or content in trashed.get(path, set())
            assert kept or path in self.patched_in_place, f"the old content of {path!r} is lost"
        assert {path: seen.get(path) for path in MINE} == MINE
        assert seen.keys() <= old.keys() | new.keys() | MINE.keys()

    def check_finished(self) -> None:
        """The tree is the new release, and what it replaced is in the trash."""
        old, new = found(OLD), found(NEW)
        assert tree_bytes(self.tree) == new | MINE
        assert (self.tree / "tool").stat().st_mode & 0o100
        assert (self.tree / "tool").stat().st_mtime == 1_000_000
        trashed = self.trashed()
        for path, content in old.items():
            if path not in self.patched_in_place:
                assert new.get(path) == content or content in trashed[path], path
        stages = self.tree / ".torsync/stage"
        assert [name for _folder, _folders, names in os.walk(stages) for name in names] == []


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: syncing all of a disk takes long."""
    memory = "/dev/shm"
    folder = tempfile.mkdtemp(prefix="faults-", dir=memory if os.path.isdir(memory) else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


class Strike(NamedTuple):
    """The call that was hit."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    @property
    def asks_the_clock(self) -> bool:
        """Whether it only touches the lock, to see what time the file system has."""
        return self.name == "utime" and "ns" not in self.options


@contextmanager
def nth_call(
    number: int,
    hit: Callable[[Strike], None],
    *,
    of: Callable[[Strike], bool] = lambda _call: True,
) -> Iterator[list[Strike]]:
    """Call ``hit`` before the ``number``-th (from 0) call of ``CALLS`` that is one ``of``.

    Gives a list that then holds that call.
    """
    count = 0
    struck: list[Strike] = []

    def on_call(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        nonlocal count
        call = Strike(name, arguments, options)
        count += of(call)
        if count == number + 1 and not struck:
            struck.append(call)
            hit(call)

    with calls_told_to(on_call):
        yield struck


@contextmanager
def calls_told_to(
    on_call: Callable[[str, tuple[Any, ...], dict[str, Any]], None],
) -> Iterator[None]:
    """Have ``on_call`` called before each call of ``CALLS``, and each write to a database.

    What it raises is raised in its place: an OSError as the error that SQLite has for it.
    """
    real = {name: getattr(os, name) for name in CALLS}
    connect = sqlite3.connect

    def wrap(name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            on_call(name, arguments, options)
            return real[name](*arguments, **options)

        return wrapped

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *given: Any) -> sqlite3.Cursor:
            self._tell(statement)
            return super().execute(statement, *given)

        def executemany(self, statement: str, *given: Any) -> sqlite3.Cursor:
            self._tell(statement)
            return super().executemany(statement, *given)

        def _tell(self, statement: str) -> None:
            if statement.split(maxsplit=1)[0] in {"BEGIN", "COMMIT", "INSERT", "DELETE", "CREATE"}:
                try:
                    on_call("database", (statement,), {})
                except OSError as error:
                    raise sqlite3.OperationalError(error.strerror) from error

    def renameat2(source: str, target: str, source_fd: int, target_fd: int, flags: int) -> bool:
        options = {"src_dir_fd": source_fd, "dst_dir_fd": target_fd}
        on_call("rename", (source, target), options)
        return real_renameat2(source, target, source_fd, target_fd, flags)

    real_renameat2, syscalls.renameat2 = syscalls.renameat2, renameat2
    for name in CALLS:
        setattr(os, name, wrap(name))
    sqlite3.connect = partial(connect, factory=Connection)  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = connect
        syscalls.renameat2 = real_renameat2
        for name, function in real.items():
            setattr(os, name, function)


def _fail_at(
    number: int,
    error: int,
    apply: ApplyMode,
    of: Callable[[Strike], bool] = lambda _call: True,
) -> tuple[Strike | None, TorsyncError | None]:
    """Run the update with one failing call, of some or all, and check what it leaves."""

    def fail(_strike: Strike) -> None:
        raise OSError(error, os.strerror(error))

    with fast_folder() as folder:
        scene = Scene(folder, apply=apply)
        scene.prepare()
        raised = report = None
        descriptors = sorted(os.listdir("/proc/self/fd"))
        with nth_call(number, fail, of=of) as struck:
            try:
                report = scene.check_now()
            except TorsyncError as caught:
                raised = caught
        assert sorted(os.listdir("/proc/self/fd")) == descriptors
        scene.check_cut_off()
        if report is not None and tree_bytes(scene.tree) != found(NEW) | MINE:
            assert report.unreadable or scene.notices, "something was left alone without a word"
        scene.check_now()
        scene.check_finished()
    return (struck[0] if struck else None), raised


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("error", "apply"),
    [
        (errno.ENOSPC, ApplyMode.STAGED),
        (errno.EIO, ApplyMode.IN_PLACE),
        pytest.param(errno.EIO, ApplyMode.STAGED, marks=pytest.mark.long),
        pytest.param(errno.EACCES, ApplyMode.STAGED, marks=pytest.mark.long),
        pytest.param(errno.ENOSPC, ApplyMode.IN_PLACE, marks=pytest.mark.long),
    ],
)
def test_wherever_a_call_fails_nothing_is_lost_and_the_next_run_ends_in_the_new_release(
    error: int, apply: ApplyMode
) -> None:
    number, seen, silent = _fail_each(error, apply)
    assert number > 100
    assert seen >= {"fchmod", "link", "mkdir", "open"}
    assert seen >= {"rename", "rmdir", "symlink", "unlink", "utime", "preadv"}
    assert "database" in seen
    # Another thread copies: when, among all other calls, is another time each run.
    copies, seen, silent_copies = _fail_each(error, apply, lambda call: call.name == _COPY)
    assert seen == ({_COPY} if apply is ApplyMode.STAGED else set()), copies
    loud = {_COPY, "fchmod", "link", "rename", "replace", "symlink", "utime", "fsync"}
    untold = {strike.name for strike in (*silent, *silent_copies) if not strike.asks_the_clock}
    assert loud.isdisjoint(untold), silent


def _fail_each(
    error: int, apply: ApplyMode, of: Callable[[Strike], bool] = lambda _call: True
) -> tuple[int, set[str], list[Strike]]:
    """Have each call fail; gives how many there are, which, and those that nobody told of."""
    seen: set[str] = set()
    silent: list[Strike] = []
    number = 0
    while True:
        try:
            strike, raised = _fail_at(number, error, apply, of)
            if raised is not None:
                _check_error(raised, error, strike)
        except BaseException as failure:
            failure.args = (f"call {number}: {failure}", *failure.args)
            raise
        if strike is None:
            break
        seen.add(strike.name)
        if raised is None:
            silent.append(strike)
        number += 1
    return number, seen, silent


def _check_error(raised: TorsyncError, error: int, strike: Strike) -> None:
    assert os.strerror(error) in raised.message or isinstance(raised, TreeError), strike
    assert re.search(r"'[^']+'|file://", raised.message), f"{raised.message!r} names no path"
    if isinstance(raised, TreeError):
        assert raised.path or "'.'" in raised.message, raised.message


def test_a_file_that_could_not_be_read_is_removed_once_it_can_be_and_is_not_listed() -> None:
    def fail(_strike: Strike) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with fast_folder() as folder:
        scene = Scene(folder)
        scene.prepare()
        (scene.tree / "patched.bin").touch()
        with nth_call(0, fail, of=lambda call: call.arguments[:1] == ("patched.bin",)) as struck:
            report = scene.check_now()
        assert struck
        assert report.unreadable == ["patched.bin"]
        scene.check_cut_off()
        assert tree_bytes(scene.tree)["patched.bin"] == LONG
        scene.publish({"keep.bin": NEW["keep.bin"]})
        scene.check_now()
        assert tree_bytes(scene.tree) == {"keep.bin": NEW["keep.bin"]} | MINE
        assert scene.trashed()["patched.bin"] == {LONG}


def test_a_neighbour_that_is_edited_after_an_update_was_cut_off_is_fetched() -> None:
    """What was staged and is still right says nothing of the other files in its pieces."""
    head = random_bytes(2 * PIECE + PIECE // 2, "head")
    neighbour = random_bytes(PIECE + PIECE // 2, "neighbour")

    def fail(_strike: Strike) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with fast_folder() as folder:
        scene = Scene(folder)
        scene.publish({"a": head, "b": neighbour})
        scene.check_now()
        new: dict[str, bytes | RawFile] = {"a": b"new" + head[3:], "b": neighbour}
        scene.publish(new)
        with (
            nth_call(0, fail, of=lambda call: call.name == "rename" and call.arguments[1] == "a"),
            pytest.raises(TreeError),
        ):
            scene.check_now()
        with (scene.tree / "b").open("r+b") as file:
            file.write(b"edited")
        report = scene.check_now()
        assert tree_bytes(scene.tree) == new
        assert report.bytes_fetched <= 2 * PIECE
