"""What of a folder is published, what arrives at a subscriber, and what cannot be published."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until
from tests.support.publishers import (
    KIB,
    MIB,
    PIECE,
    all_errors,
    decoded,
    paths_in,
    publication,
    released,
    subscriber,
    wait_for_release,
)
from tests.support.trees import assert_same_tree, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cli import Torsync
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

FORMATS = ["v1", "v2", "hybrid"]
GOOD: dict[str, Content] = {"good/big": 5 * PIECE + 3, "good/small": 10}


@contextmanager
def seeded(publishing: Publishing) -> Iterator[None]:
    """The service has published, and seeds."""
    service = publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    yield
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


def synced(torsync: Torsync) -> Path:
    torsync.run("check-now", "--timeout", "20s").assert_ok()
    return torsync.tree


@pytest.mark.parametrize("format_", FORMATS)
def test_attributes_arrive_at_a_subscriber(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    entries: dict[str, Content] = {
        **GOOD,
        "run.sh": ("exec", 100),
        "big tool": ("exec", 3 * PIECE),
        "empty": 0,
        "d/empty too": 0,
        ".hidden": 20,
        ".config/.deep": PIECE,
        "link": ("link", "good/big"),
        "d/up": ("link", "../good/small"),
        "d/folder": ("link", "../good"),
    }
    folder = publishing.publish(entries=entries, format=format_)
    for number, path in enumerate(sorted(tree_bytes(folder))):
        if not (folder / path).is_symlink():
            os.utime(folder / path, (1_500_000_000 + number, 1_500_000_000 + number))
    with seeded(publishing), subscriber(tmp_path / "s", publishing) as torsync:
        tree = synced(torsync)
        assert_same_tree(tree, folder)
        for path in sorted(tree_bytes(folder)):
            if not (folder / path).is_symlink():
                times = (tree / path).stat().st_mtime, (folder / path).stat().st_mtime
                assert int(times[0]) == int(times[1]), path
    for entry in decoded(publishing.torrent())[b"info"].get(b"files", ()):
        hidden = any(part.startswith(b".") for part in entry[b"path"])
        attributes = entry.get(b"attr", b"")
        if b"p" not in attributes:
            # BEP 47
            assert (b"h" in attributes) == hidden, entry


@pytest.mark.parametrize("format_", FORMATS)
def test_unusual_names_arrive_at_a_subscriber(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    deep = "/".join(f"level {number}" for number in range(40))
    entries: dict[str, Content] = {
        "Größe/naïve 日本語.bin": 2 * PIECE,
        "👩‍🚀 emoji": 5,
        "back\\slash": 6,
        "new\nline": 7,
        "-o": 8,
        "*?[x]": 9,
        "a#b%20c&d=e": PIECE,
        " leading and trailing ": 11,
        "x" * 255: 12,
        "é" * 127: 13,
        f"{deep}/bottom": 14,
        ".pad/16": 15,
    }
    folder = publishing.publish(entries=entries, format=format_)
    with seeded(publishing), subscriber(tmp_path / "s", publishing) as torsync:
        assert_same_tree(synced(torsync), folder)


def test_a_thousand_files_in_many_folders_arrive(publishing: Publishing, tmp_path: Path) -> None:
    entries: dict[str, Content] = {f"{n % 50}/{n % 7}/{n}": n % 5000 for n in range(1000)}
    folder = publishing.publish(entries=entries)
    with seeded(publishing), subscriber(tmp_path / "s", publishing) as torsync:
        assert_same_tree(synced(torsync), folder)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_release_of_attributes_alone_reaches_subscribers(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    folder = publishing.publish(entries={**GOOD, "run": 50, "l": ("link", "run")}, format=format_)
    with subscriber(tmp_path / "s", publishing) as torsync:
        service = publishing.start("run")
        service.wait_for_stage("pack", "seeding")
        synced(torsync)
        heard = len(service.objects())
        (folder / "run").chmod(0o755)
        (folder / "l").unlink()
        (folder / "l").symlink_to("good/small")
        report = wait_for_release(service, since=heard)
        assert report["bytes_to_fetch"] == 0
        wait_until(lambda: torsync.run("check-now").assert_ok().subscription["changed"], "synced")
        assert_same_tree(torsync.tree, folder)


def test_what_cannot_be_published_in_an_ignored_folder_is_no_problem(
    publishing: Publishing,
) -> None:
    """A pattern for a folder goes for all of it, also for what cannot be published there."""
    folder = publishing.publish(entries=GOOD, ignore=["cache/"])
    (folder / "cache").mkdir()
    os.mkfifo(folder / "cache" / "pipe")
    (folder / "cache" / "out").symlink_to("/etc/passwd")
    released(publishing.run("check-now"))
    assert paths_in(publishing.torrent().read_bytes()) == set(GOOD)


def _not_utf8(folder: Path) -> str:
    (folder.joinpath(os.fsdecode(b"bad\xff\xfename"))).write_bytes(b"x")
    return "bad"


def _not_utf8_folder(folder: Path) -> str:
    where = folder / os.fsdecode(b"dir\xff")
    where.mkdir()
    (where / "inside").write_bytes(b"x")
    return "dir"


def _fifo(folder: Path) -> str:
    os.mkfifo(folder / "a pipe")
    return "a pipe"


def _socket(folder: Path) -> str:
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket may not be long
        try:
            listening.bind("a socket")
        finally:
            os.chdir(here)
    return "a socket"


def _device(folder: Path) -> str:
    if os.geteuid():
        pytest.skip("only root makes devices")
    os.mknod(folder / "a device", 0o666 | 0o020000, os.makedev(1, 3))
    return "a device"


def _absolute_link(folder: Path) -> str:
    (folder / "escape").symlink_to("/etc/passwd")
    return "escape"


def _link_out(folder: Path) -> str:
    (folder / "good" / "out").symlink_to("../../elsewhere")
    return "good/out"


def _link_out_and_in(folder: Path) -> str:
    (folder / "roundabout").symlink_to(f"../{folder.name}/good/small")
    return "roundabout"


def _link_through_a_link(folder: Path) -> str:
    """By its text it leads to ``good/secret``, on disk out of the folder."""
    (folder / "good" / "sub").mkdir()
    (folder / "good" / "sub" / "way").symlink_to("../../good")
    (folder / "sly").symlink_to("good/sub/way/../../secret")
    return "sly"


BAD = [
    _not_utf8,
    _not_utf8_folder,
    _fifo,
    _socket,
    _device,
    _absolute_link,
    _link_out,
    _link_out_and_in,
    _link_through_a_link,
]


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__[1:])
def test_what_cannot_be_published_is_named_and_nothing_is_published_until_it_may_be_left_out(
    publishing: Publishing, make: Callable[[Path], str]
) -> None:
    folder = publishing.publish(entries=GOOD)
    name = make(folder)
    outcome = publishing.run("check-now")
    assert outcome.exit_code == 1, outcome.objects
    assert name in all_errors(outcome)
    assert not publishing.torrent().exists()
    assert publication(publishing.run("status"))["last_error"]

    publishing.publish(skip_unreadable=True)
    outcome = publishing.run("check-now")
    assert outcome.exit_code == 0, outcome.errors
    report = publication(outcome)
    assert len(report["skipped_paths"]) == 1
    assert name in report["skipped_paths"][0]
    assert paths_in(publishing.torrent().read_bytes()) - {"good/sub/way"} == set(GOOD)


def test_all_that_cannot_be_published_is_named_at_once(publishing: Publishing) -> None:
    folder = publishing.publish(entries=GOOD)
    names = [make(folder) for make in (_not_utf8, _fifo, _absolute_link, _link_out)]
    told = all_errors(publishing.run("check-now"))
    assert [name for name in names if name not in told] == []


def test_one_off_publishing_refuses_and_skips_alike(torsync: Torsync, tmp_path: Path) -> None:
    folder, out = write_tree(tmp_path / "pack", GOOD), tmp_path / "out.torrent"
    _fifo(folder)
    outcome = torsync.run("publish", folder, "-o", out)
    assert outcome.exit_code == 1
    assert "a pipe" in all_errors(outcome)
    assert not out.exists()
    report = released(torsync.run("publish", folder, "-o", out, "--skip-unreadable"))
    assert report["skipped_paths"] == ["a pipe"]
    assert paths_in(out.read_bytes()) == set(GOOD)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_cannot_be_read_is_named_and_is_not_taken_for_absent(
    publishing: Publishing, unprivileged: dict[str, str], kind: str
) -> None:
    folder = publishing.publish(entries={**GOOD, "shut/inside": 2 * PIECE})
    first = released(publishing.run("check-now", environment=unprivileged))
    torrent = publishing.torrent().read_bytes()
    shut = folder / "shut" if kind == "folder" else folder / "shut" / "inside"
    (folder / "good/small").write_bytes(b"another content")
    if kind == "file":
        shut.write_bytes(b"changed, so it has to be read")
    shut.chmod(0)
    try:
        outcome = publishing.run("check-now", environment=unprivileged)
        assert outcome.exit_code == 1
        assert "shut" in all_errors(outcome)
        assert publishing.torrent().read_bytes() == torrent

        publishing.publish(skip_unreadable=True)
        outcome = publishing.run("check-now", environment=unprivileged)
        assert outcome.exit_code == 0, outcome.errors
        report = publication(outcome)
        assert report["skipped_paths"] in (["shut"], ["shut/inside"])
        assert paths_in(publishing.torrent().read_bytes()) == set(GOOD)
        assert report["number"] == first["number"] + 1
    finally:
        shut.chmod(0o755)


@contextmanager
def always_changing(file: Path) -> Iterator[None]:
    """Write to a file again and again."""
    stop = threading.Event()

    def write() -> None:
        with file.open("r+b") as stream:
            while not stop.is_set():
                stream.seek(0)
                stream.write(os.urandom(16))
                stream.flush()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_file_that_changes_while_it_is_hashed_is_named_and_not_published(
    publishing: Publishing,
) -> None:
    folder = publishing.publish(entries={**GOOD, "restless": 100 * KIB})
    with (folder / "restless").open("r+b") as stream:
        stream.truncate(64 * MIB)
    with always_changing(folder / "restless"):
        outcome = publishing.run("check-now")
        assert outcome.exit_code == 1, outcome.objects
        assert "restless" in all_errors(outcome)
        assert not publishing.torrent().exists()
        publishing.publish(skip_unreadable=True)
        outcome = publishing.run("check-now")
        assert outcome.exit_code == 0, outcome.errors
        assert publication(outcome)["skipped_paths"] == ["restless"]
    publishing.publish(skip_unreadable=False)
    report = released(publishing.run("check-now"))
    assert report["added_paths"] == ["restless"]


def test_what_is_left_out_comes_when_it_can_be_published(publishing: Publishing) -> None:
    folder = publishing.publish(entries=GOOD, skip_unreadable=True)
    (folder / "later").symlink_to("/nowhere")
    assert publication(publishing.run("check-now"))["skipped_paths"] == ["later"]
    (folder / "later").unlink()
    (folder / "later").write_bytes(b"now a file")
    report = released(publishing.run("check-now"))
    assert (report["skipped"], report["added_paths"]) == (0, ["later"])


def test_an_empty_or_vanished_folder_is_not_released_over_one_with_files(
    publishing: Publishing, tmp_path: Path
) -> None:
    folder = publishing.publish(entries=GOOD)
    released(publishing.run("check-now"))
    torrent = publishing.torrent().read_bytes()
    folder.rename(tmp_path / "away")
    for make in (lambda: None, folder.mkdir):
        make()
        outcome = publishing.run("check-now")
        assert outcome.exit_code in {1, 5}
        assert str(folder) in all_errors(outcome)
        assert outcome.error["hint"]
        assert publishing.torrent().read_bytes() == torrent
