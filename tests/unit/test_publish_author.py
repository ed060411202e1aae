"""From a folder to a ``.torrent``, the first time and again."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.privileges import unprivileged_environment
from tests.support.publishing import LATER_NS, PIECE, assert_right, fail, publish
from tests.support.trees import edit_in_place, write_tree
from torsync.model.config import TorrentFormat
from torsync.model.errors import InterruptedByUserError, TreeError
from torsync.publish import rounds
from torsync.publish.author import AuthorOptions, Sources
from torsync.publish.errors import EmptyFolderError, HashingError, PieceSizeError, PublishError
from torsync.publish.hash_cache import HashCache
from torsync.publish.hashing import engine, jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.publish.hashing.progress import HashProgress

_TREE = {
    **{f"small/{n:03}": 100 + 37 * n for n in range(200)},
    "a": 10,
    "large": 5 * PIECE + 1,
    "piece": PIECE,
    "empty": b"",
    "run": ("exec", 70_000),
    ".hidden": 20_000,
    "link": ("link", "small/001"),
    "almost": PIECE - 1,
    "two": 2 * PIECE,
}
_SIZE = sum(size for size in _TREE.values() if isinstance(size, int)) + 70_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "folder", _TREE)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hashes.sqlite"


def _options(format_: str = "v1", **changes: object) -> AuthorOptions:
    given = {"piece_size": PIECE, **changes}
    return AuthorOptions("release", TorrentFormat(format_), **given)  # type: ignore[arg-type]


@pytest.fixture
def always_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes do what would be done in this one."""
    monkeypatch.setattr(engine, "_ALONE_BYTES", 0)
    monkeypatch.setattr(jobs, "JOB_BYTES", PIECE)


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_every_hash_is_right_and_the_same_from_any_folder_and_any_workers(
    folder: Path, cache: Path, tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authored = publish(folder, cache, _options(format_))

    assert_right(authored, folder)
    assert authored.bytes_hashed == _SIZE
    assert authored.skipped == ()
    by_path = {file.path: file for file in authored.manifest.files}
    assert [by_path[path].executable for path in ("run", "a")] == [True, False]
    assert [by_path[path].hidden for path in (".hidden", "a")] == [True, False]
    assert by_path["link"].link_target == "small/001"
    assert by_path["a"].mtime_s == int((folder / "a").stat().st_mtime)
    assert authored.stamps["a"].mtime_ns == (folder / "a").stat().st_mtime_ns

    other = tmp_path / "other"
    for path in sorted(_TREE, reverse=True):
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / path, other / path, follow_symlinks=False)
    monkeypatch.setattr(engine, "_ALONE_BYTES", 0)
    monkeypatch.setattr(jobs, "JOB_BYTES", PIECE)
    again = publish(other, tmp_path / "other.sqlite", _options(format_), workers=3)
    assert again.manifest.info_hash == authored.manifest.info_hash
    assert again.bytes_hashed >= authored.bytes_hashed


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_where_nothing_changed_nothing_is_read_and_the_release_says_the_same(
    folder: Path, cache: Path, format_: str
) -> None:
    first = publish(folder, cache, _options(format_))

    again = publish(folder, cache, _options(format_), previous=first.manifest)

    assert again.bytes_hashed == 0
    assert again.metainfo == first.metainfo
    assert again.says_the_same_as(first.manifest)
    assert not again.says_the_same_as(None)
    os.utime(folder / "a", (5, 5))
    touched = publish(folder, cache, _options(format_))
    assert touched.manifest.info_hash == first.manifest.info_hash
    assert not touched.says_the_same_as(first.manifest)
    elsewhere = publish(
        folder, cache, _options(format_), sources=lambda _: Sources(web_seeds=("http://x/",))
    )
    assert not elsewhere.says_the_same_as(touched.manifest)


def test_a_change_costs_the_file_or_the_pieces_that_a_small_one_shares(
    folder: Path, cache: Path
) -> None:
    publish(folder, cache)

    edit_in_place(folder / "large")
    large = publish(folder, cache)
    edit_in_place(folder / "small/100", set_mtime_back=True)
    small = publish(folder, cache)
    write_tree(folder, {"small/100": 4_000, "new": 3 * PIECE})
    (folder / "two").unlink()
    other = publish(folder, cache)

    for authored in (large, small):
        assert authored.bytes_hashed <= 6 * PIECE
    assert large.bytes_hashed == 5 * PIECE + 1
    assert small.bytes_hashed <= 2 * PIECE + 2 * 8_000
    assert 3 * PIECE < other.bytes_hashed < _SIZE / 2 + 3 * PIECE
    assert_right(other, folder)
    assert other.manifest.info_hash == publish(folder, cache.with_name("fresh")).manifest.info_hash


def test_a_renamed_folder_is_known_again_where_the_file_system_tells_generations(
    folder: Path, cache: Path
) -> None:
    from torsync.publish.hashing.kernel import generation_of

    fd = os.open(folder / "a", os.O_RDONLY)
    has_generations = generation_of(fd) >= 0
    os.close(fd)
    first = publish(folder, cache, _options("v2"))
    (folder / "small").rename(folder / "moved")
    (folder / "large").rename(folder / "moved/large")
    os.link(folder / "run", folder / "run2")

    again = publish(folder, cache, _options("v2"))

    assert again.manifest.total_size == first.manifest.total_size + 70_000
    # A link gives its file a new ctime, as a change would.
    read = again.bytes_hashed
    assert read == 2 * 70_000 if has_generations else read > 2 * 70_000
    shutil.rmtree(folder / "moved")
    (folder / "link").unlink()
    assert publish(folder, cache, _options("v2")).bytes_hashed == 0


def test_another_file_of_the_same_inode_size_and_time_is_not_taken_for_a_renamed_one(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(folder / "large", ns=(10**18, 10**18))
    publish(folder, cache, _options("v2"))
    (folder / "large").rename(folder / "new")
    monkeypatch.setattr(rounds, "generation_of", lambda _fd: 2**40)

    again = publish(folder, cache, _options("v2"))

    assert again.bytes_hashed == 5 * PIECE + 1


def test_a_file_changed_in_the_tick_of_the_look_is_hashed_again_next_time(
    folder: Path, cache: Path
) -> None:
    publish(folder, cache, _options("v2"), clock_ns=(folder / "run").stat().st_ctime_ns)
    again = publish(folder, cache, _options("v2"))

    assert 70_000 <= again.bytes_hashed < _SIZE + 1
    assert publish(folder, cache, _options("v2")).bytes_hashed == 0


def test_layers_for_larger_pieces_need_no_reading_and_sha1_does(folder: Path, cache: Path) -> None:
    publish(folder, cache, _options("v2"))
    larger = publish(folder, cache, _options("v2", piece_size=4 * PIECE))
    assert larger.bytes_hashed == 0
    assert_right(larger, folder)

    packed = publish(folder, cache, _options("v1", piece_size=4 * PIECE))
    assert packed.bytes_hashed == _SIZE
    smaller = publish(folder, cache, _options("v2", piece_size=PIECE // 2))
    assert_right(smaller, folder)


def test_the_piece_size_of_the_release_before_is_kept(folder: Path, cache: Path) -> None:
    first = publish(folder, cache, _options(piece_size=0))
    assert first.manifest.piece_length == 16 * 1024
    again = publish(folder, cache, _options(piece_size=0))
    assert again.manifest.piece_length == 16 * 1024
    before = publish(folder, cache, _options()).manifest
    kept = publish(folder, cache, _options(piece_size=0), previous=before)
    assert kept.manifest.piece_length == PIECE


def test_all_problems_are_named_at_once_or_left_out(folder: Path, cache: Path) -> None:
    os.mkfifo(folder / "fifo")
    write_tree(folder, {"A": b"1", "out": ("link", "../x")})

    with pytest.raises(PublishError) as refused:
        publish(folder, cache)
    problems = refused.value.problems
    assert {problem.path for problem in problems} == {"fifo", "a", "out"}
    assert all(problem.path in refused.value.message for problem in problems)
    assert refused.value.exit_code == 1

    authored = publish(folder, cache, _options(skip_unreadable=True))
    assert authored.skipped == problems
    (folder / "fifo").unlink()
    assert_right(authored, folder, without={"fifo", "a", "out"})


def test_ignored_files_are_no_problem(folder: Path, cache: Path) -> None:
    os.mkfifo(folder / "fifo")
    authored = publish(folder, cache, _options(ignore=("fifo", "small/", "link")))
    left = {path for path in _TREE if path.startswith("small/")} | {"link"}
    (folder / "fifo").unlink()
    assert_right(authored, folder, without=left)


_UNREADABLE = """
import sys
from contextlib import closing
from pathlib import Path
from tests.support.publishing import publish
from torsync.publish.author import AuthorOptions
from torsync.publish.errors import PublishError
folder, cache = map(Path, sys.argv[1:])
try:
    publish(folder, cache)
except PublishError as error:
    print(*(f"{p.path}: {p.reason}" for p in error.problems), sep="\\n")
options = AuthorOptions("release", skip_unreadable=True)
print(len(publish(folder, cache, options).manifest.files))
"""


def test_unreadable_files_and_folders_are_named_all_at_once(
    folder: Path, cache: Path, tmp_path: Path
) -> None:
    names = ("a", "small/001", "large", "closed")
    write_tree(folder, {"closed/x": b"1"})
    for name in names:
        (folder / name).chmod(0)
    try:
        environment = {**os.environ, **unprivileged_environment(tmp_path / "site")}
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{environment.get('PYTHONPATH', '')}"
        done = subprocess.run(
            [sys.executable, "-c", _UNREADABLE, str(folder), str(cache)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        for name in names:
            (folder / name).chmod(0o755)
    assert done.returncode == 0, done.stderr
    *lines, count = done.stdout.splitlines()
    assert lines == [f"{name}: could not be read: Permission denied" for name in sorted(names)]
    assert int(count) == len(_TREE) - 3


def test_a_folder_that_is_missing_or_has_nothing_to_publish_is_said_to_be_so(
    tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(TreeError, match="No such file"):
        publish(tmp_path / "gone", cache)
    for tree in ({}, {"empty": b"", "folder": ("dir", None)}, {"x.tmp": b"1"}):
        folder = write_tree(tmp_path / f"folder{len(tree)}", tree)
        with pytest.raises(EmptyFolderError, match="nothing to publish"):
            publish(folder, cache, _options(ignore=("*.tmp",)))


def test_more_pieces_than_subscribers_accept_are_refused(tmp_path: Path, cache: Path) -> None:
    folder = write_tree(tmp_path / "folder", {"a": b""})
    os.truncate(folder / "a", 70 * 1024**3)
    with pytest.raises(PieceSizeError, match=r"4,587,520 pieces"):
        publish(folder, cache, _options(piece_size=16 * 1024))


def test_a_single_file_lies_in_a_folder_all_the_same(tmp_path: Path, cache: Path) -> None:
    folder = write_tree(tmp_path / "folder", {"only": 5})
    authored = publish(folder, cache, _options(comment="why", private=True))
    assert [file.path for file in authored.manifest.files] == ["only"]
    assert (authored.manifest.comment, authored.manifest.private) == ("why", True)
    assert authored.manifest.creation_date_s == 1_700_000_000
    assert authored.manifest.created_by.startswith("torsync ")


def test_sources_are_told_the_info_hash_and_stay_outside_it(folder: Path, cache: Path) -> None:
    without = publish(folder, cache).manifest

    def sources(info_hash: str) -> Sources:
        return Sources(("http://t/announce",), (f"http://w/{info_hash}/",), (("h", 1),))

    manifest = publish(folder, cache, sources=sources).manifest
    assert manifest.info_hash == without.info_hash
    assert manifest.trackers == (("http://t/announce",),)
    assert manifest.web_seeds == (f"http://w/{manifest.info_hash}/",)
    assert manifest.nodes == (("h", 1),)


class _Meddler:
    """Does something to the folder while it is hashed, so many times."""

    def __init__(self, action: Callable[[], None], times: int) -> None:
        self._action = action
        self.left = times

    def __call__(self, now: HashProgress) -> None:
        if self.left and now.bytes_done == now.bytes_total:
            self.left -= 1
            self._action()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hashing count as slow, so that the folder is looked at again after it."""
    monkeypatch.setattr(rounds, "_SOON_S", 0)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("format_", ["v1", "hybrid"])
def test_files_that_change_while_they_are_hashed_are_hashed_again(
    folder: Path, cache: Path, format_: str
) -> None:
    def meddle() -> None:
        edit_in_place(folder / "small/050")
        edit_in_place(folder / "large")
        write_tree(folder, {"small/051": 9_000, "new": 100})
        (folder / "two").unlink(missing_ok=True)
        (folder / "link").unlink(missing_ok=True)

    meddler = _Meddler(meddle, 2)
    authored = publish(folder, cache, _options(format_), progress=meddler)

    assert meddler.left == 0
    assert_right(authored, folder)
    fresh = publish(folder, cache.with_name("fresh"), _options(format_))
    assert fresh.manifest == authored.manifest


@pytest.mark.usefixtures("slow")
def test_a_file_that_always_changes_is_a_problem_or_left_out(folder: Path, cache: Path) -> None:
    meddler = _Meddler(lambda: edit_in_place(folder / "run"), 100)
    with pytest.raises(PublishError, match="'run' was changed each of the 3 times"):
        publish(folder, cache, progress=meddler)

    edit_in_place(folder / "run")
    meddler.left = 100
    authored = publish(folder, cache, _options(skip_unreadable=True), progress=meddler)
    assert [problem.path for problem in authored.skipped] == ["run"]
    assert_right(authored, folder, without={"run"})


@pytest.mark.usefixtures("slow")
def test_a_folder_in_which_there_is_always_a_new_file_is_published_all_the_same(
    folder: Path, cache: Path
) -> None:
    made: list[str] = []

    def meddle() -> None:
        made.append(f"temporary{len(made)}")
        write_tree(folder, {made[-1]: 1000})
        for path in made[:-1]:
            (folder / path).unlink(missing_ok=True)

    meddler = _Meddler(meddle, 100)
    authored = publish(folder, cache, progress=meddler)

    assert meddler.left > 80
    paths = {file.path for file in authored.manifest.files}
    assert paths - set(made) == set(_TREE)


def test_an_interruption_loses_nothing_that_was_hashed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tree(
        tmp_path / "folder", {"big": 3_000_000, **{f"s{n}": 900 for n in range(99)}}
    )
    monkeypatch.setattr(jobs, "JOB_BYTES", PIECE)
    monkeypatch.setattr("torsync.publish.hashing.progress._TELL_EVERY_S", 0)
    seen: list[HashProgress] = []
    done = 0
    rounds = 0
    while True:
        rounds += 1
        seen.clear()
        try:
            authored = publish(
                folder,
                cache,
                progress=seen.append,
                stopping=lambda: bool(seen) and seen[-1].bytes_done > 800_000,
                workers=1,
            )
        except InterruptedByUserError:
            done += seen[-1].bytes_done
        else:
            done += authored.bytes_hashed
            break
    assert rounds == 4
    assert 3_000_000 + 99 * 900 <= done <= 3_000_000 + 99 * 900 + 4 * PIECE
    assert_right(authored, folder)
    assert publish(folder, cache).bytes_hashed == 0


def test_parts_of_a_file_that_is_gone_are_forgotten(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tree(tmp_path / "folder", {"big": 3_000_000, "other": 5})
    monkeypatch.setattr(jobs, "JOB_BYTES", PIECE)
    with pytest.raises(ZeroDivisionError):
        publish(folder, cache, progress=lambda now: 1 // (now.bytes_done == 0))  # type: ignore[arg-type]

    def paths_of_parts() -> set[str]:
        with closing(HashCache(cache, on_new=fail)) as opened:
            return {path for path, _start in opened.parts()}

    assert paths_of_parts() == {"big"}
    (folder / "big").unlink()
    publish(folder, cache)
    assert paths_of_parts() == set()


def test_parts_of_a_file_that_has_changed_since_are_no_use(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tree(tmp_path / "folder", {"big": 3_000_000})
    monkeypatch.setattr(jobs, "JOB_BYTES", PIECE)
    monkeypatch.setattr("torsync.publish.hashing.progress._TELL_EVERY_S", 0)
    seen: list[HashProgress] = []
    with pytest.raises(InterruptedByUserError):
        publish(
            *(folder, cache),
            progress=seen.append,
            stopping=lambda: bool(seen) and seen[-1].bytes_done > 800_000,
        )
    edit_in_place(folder / "big")

    authored = publish(folder, cache)

    assert authored.bytes_hashed == 3_000_000
    assert_right(authored, folder)


@pytest.mark.usefixtures("always_workers")
def test_progress_grows_to_the_whole_with_speed_and_time_left(folder: Path, cache: Path) -> None:
    seen: list[HashProgress] = []

    publish(folder, cache, progress=seen.append, workers=2)

    assert [one.bytes_done for one in seen] == sorted(one.bytes_done for one in seen)
    last = seen[-1]
    assert last.bytes_done == last.bytes_total >= _SIZE
    assert last.files_done == last.files_total == sum(1 for v in _TREE.values() if v != b"") - 1
    assert re.fullmatch(r"[a-z/0-9.]+", last.path)
    assert last.eta_s == 0
    assert last.rate > 0


@pytest.mark.usefixtures("always_workers")
def test_where_no_process_can_be_started_it_is_hashed_in_this_one(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **_options: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "too many processes")

    monkeypatch.setattr(os, "posix_spawn", refuse)
    assert_right(publish(folder, cache, workers=2), folder)


@pytest.mark.usefixtures("always_workers")
def test_a_worker_that_is_killed_ends_the_release_and_what_was_hashed_is_kept(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[int] = []
    spawn = os.posix_spawn

    def note(*arguments: Any, **options: Any) -> int:
        spawned.append(spawn(*arguments, **options))
        return spawned[-1]

    monkeypatch.setattr(os, "posix_spawn", note)

    def kill(now: HashProgress) -> None:
        if now.bytes_done:
            for pid in spawned:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(HashingError, match="ended by signal 9"):
        publish(folder, cache, progress=kill, workers=2)

    assert len(spawned) == 2
    authored = publish(folder, cache)
    assert_right(authored, folder)
    whole = publish(folder, cache.with_name("fresh")).bytes_hashed
    assert 0 < authored.bytes_hashed < whole


def test_a_cache_that_is_lost_costs_hashing_and_nothing_else(folder: Path, cache: Path) -> None:
    first = publish(folder, cache)
    cache.unlink()
    assert publish(folder, cache).metainfo == first.metainfo


def test_the_real_clock_lets_old_files_be_believed(folder: Path, cache: Path) -> None:
    publish(folder, cache, clock_ns=None)
    again = publish(folder, cache, clock_ns=LATER_NS)
    assert again.bytes_hashed in range(_SIZE + 1)
    assert_right(again, folder)
