"""``torsync publish``: from a folder to a ``.torrent`` that every client can open."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import libtorrent as lt
import pytest

from tests.support.cli import snapshot
from tests.support.foreign_seeders import TransmissionSeeder
from tests.support.leecher import assert_seeds
from tests.support.processes import HOST
from tests.support.programs import require
from tests.support.publishers import (
    KIB,
    PIECE,
    all_errors,
    decoded,
    paths_in,
    publication,
    released,
    subscriber,
)
from tests.support.signing import Minisign
from tests.support.torrents import info_hash, root_name
from tests.support.trees import assert_same_tree, tree_bytes, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Torsync
    from tests.support.publishers import Publishing
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.tracker import Tracker
    from tests.support.trees import Content

FORMATS = ["v1", "v2", "hybrid"]
FILES: dict[str, Content] = {
    "big.bin": 10 * PIECE + 77,
    "exact.bin": 4 * PIECE,
    "small/a": 100,
    "small/b": 3000,
    "small/c/d": 1,
    "empty": 0,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "maps", FILES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.torrent"


def test_the_torrent_is_named_after_the_folder_and_written_where_it_is_run(
    torsync: Torsync, tmp_path: Path, folder: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    done = subprocess.run(
        torsync.command("publish", folder),
        cwd=here,
        env=torsync.environment(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in here.iterdir()} == {"maps.torrent", "maps.torrent.hints"}
    assert root_name((here / "maps.torrent").read_bytes()) == "maps"


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_published_is_what_libtorrent_finds_in_the_folder(
    torsync: Torsync, folder: Path, out: Path, seeder: LibtorrentSeeder, format_: str
) -> None:
    report = released(torsync.run("publish", folder, "-o", out, "--format", format_))
    torrent = out.read_bytes()
    hashes = lt.load_torrent_buffer(torrent).info_hashes
    assert (hashes.has_v1(), hashes.has_v2()) == (format_ != "v2", format_ != "v1")
    assert paths_in(torrent) == set(FILES)
    # It hashes everything, and raises unless all of it is right.
    seeder.add(torrent, folder.parent)
    assert report["info_hash"] == info_hash(torrent)
    assert report["format"] == format_
    assert report["torrent"] == str(out)
    assert report["torrent_bytes"] == len(torrent)
    assert report["files"] == report["added"] == len(FILES)
    assert report["bytes_total"] == sum(map(len, tree_bytes(folder).values()))
    assert report["signed"] is report["dry_run"] is False


def test_the_default_format_is_v1_and_each_file_has_its_pieces_root(
    torsync: Torsync, folder: Path, out: Path
) -> None:
    torsync.run("publish", folder, "-o", out).assert_ok()
    info = decoded(out)[b"info"]
    assert b"pieces" in info
    assert b"meta version" not in info
    for entry in info[b"files"]:
        is_content = entry[b"length"] and b"p" not in entry.get(b"attr", b"")
        assert (b"pieces root" in entry) == bool(is_content), entry


def test_files_of_a_piece_or_more_start_on_piece_boundaries_and_small_ones_share(
    torsync: Torsync, folder: Path, out: Path
) -> None:
    torsync.run("publish", folder, "-o", out, "--piece-size", "16 KiB").assert_ok()
    layout = lt.load_torrent_buffer(out.read_bytes()).ti.layout()
    offsets = {
        layout.file_path(index).partition("/")[2]: layout.file_offset(index)
        for index in range(layout.num_files())
    }
    assert offsets["big.bin"] % PIECE == offsets["exact.bin"] % PIECE == 0
    assert {offsets[path] // PIECE for path in ("small/a", "small/b", "small/c/d")} == {
        offsets["small/a"] // PIECE
    }


def test_trackers_web_seeds_comment_and_privacy_are_in_the_torrent(
    torsync: Torsync, folder: Path, out: Path
) -> None:
    trackers = ["http://tracker.example/announce", "udp://other.example:6969/announce"]
    seeds = ["https://mirror.example/pub/", "http://other.example/"]
    options = [f"--tracker={url}" for url in trackers] + [f"--web-seed={url}" for url in seeds]
    # Where the web seeds do not answer, nothing goes public; here is nobody to ask.
    outcome = torsync.run("publish", folder, "-o", out, *options[:2], "--comment", "für alle")
    outcome.assert_ok()
    outer = decoded(out)
    assert outer[b"announce"] == trackers[0].encode()
    assert [url for tier in outer[b"announce-list"] for url in tier] == [
        url.encode() for url in trackers
    ]
    assert outer[b"comment"].decode() == "für alle"
    assert b"private" not in outer[b"info"]

    torsync.run("publish", folder, "-o", out, "--private", options[0]).assert_ok()
    assert decoded(out)[b"info"][b"private"] == 1
    assert lt.load_torrent_buffer(out.read_bytes()).ti.priv()


def test_a_private_torrent_has_another_info_hash_and_names_no_nodes(
    torsync: Torsync, folder: Path, out: Path
) -> None:
    public = released(torsync.run("publish", folder, "-o", out))
    tracker = "http://tracker.example/announce"
    private = released(torsync.run("publish", folder, "-o", out, "--private", "--tracker", tracker))
    assert public["info_hash"] != private["info_hash"]
    # BEP 27: peers of a private torrent are found by its trackers alone.
    assert b"nodes" not in decoded(out)


@pytest.mark.parametrize(("given", "size"), [("16 KiB", 16 * KIB), ("1 MiB", 1024 * KIB)])
def test_the_piece_size_can_be_chosen(
    torsync: Torsync, folder: Path, out: Path, given: str, size: int
) -> None:
    report = released(torsync.run("publish", folder, "-o", out, "--piece-size", given))
    assert report["piece_size"] == decoded(out)[b"info"][b"piece length"] == size


def test_ignored_files_and_torsyncs_own_are_left_out(
    torsync: Torsync, folder: Path, out: Path
) -> None:
    extra: dict[str, Content] = {
        ".torsync/marker": 5,
        ".torsync/trash/x/y": 5,
        "notes.tmp": 5,
        "drafts/one": 5,
        "small/drafts/two": 5,
        "important.tmp": 5,
    }
    write_tree(folder, extra)
    patterns = ["*.tmp", "!important.tmp", "/drafts/"]
    options = [f"--ignore={pattern}" for pattern in patterns]
    torsync.run("publish", folder, "-o", out, *options).assert_ok()
    assert paths_in(out.read_bytes()) == {*FILES, "small/drafts/two", "important.tmp"}


def test_the_root_name_can_be_given(torsync: Torsync, folder: Path, out: Path) -> None:
    report = released(torsync.run("publish", folder, "-o", out, "--name", "maps-1.3"))
    assert root_name(out.read_bytes()) == report["release"] == "maps-1.3"


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "v3"],
        ["--piece-size", "3"],
        ["--piece-size", "48 KiB"],
        ["--piece-size", "1 TiB"],
        ["--piece-size", "lots"],
        ["--tracker", "not a url"],
        ["--web-seed", "ftp:nothing"],
        ["--name", "../up"],
        ["--name", "a/b"],
        ["--name", ".."],
        ["--name", ""],
        ["--secret-key", "/nowhere/minisign.key"],
    ],
    ids=" ".join,
)
def test_nonsense_is_a_usage_error_and_writes_nothing(
    torsync: Torsync, folder: Path, out: Path, options: list[str]
) -> None:
    outcome = torsync.run("publish", folder, "-o", out, *options)
    assert outcome.exit_code == 2, outcome.objects
    assert outcome.error["code"] in {"usage", "config"}
    assert outcome.error["hint"]
    assert not out.exists()


def test_an_output_inside_the_folder_is_refused(torsync: Torsync, folder: Path) -> None:
    before = snapshot(folder)
    outcome = torsync.run("publish", folder, "-o", folder / "small" / "out.torrent")
    assert outcome.exit_code == 2
    assert "inside" in outcome.error["message"]
    assert snapshot(folder) == before


def test_what_is_no_folder_with_content_is_named(
    torsync: Torsync, tmp_path: Path, folder: Path, out: Path
) -> None:
    (tmp_path / "bare" / "nested").mkdir(parents=True)
    for given, word in (
        (tmp_path / "missing", "not there"),
        (folder / "big.bin", "not a folder"),
        (tmp_path / "bare", "nothing to publish"),
    ):
        outcome = torsync.run("publish", given, "-o", out)
        assert outcome.exit_code in {1, 2}
        assert str(given) in outcome.error["message"]
        assert word in outcome.error["message"]
        assert outcome.error["hint"], outcome.error
        assert not out.exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_the_same_content_has_the_same_info_hash_wherever_and_whenever_it_is_written(
    torsync: Torsync, tmp_path: Path, folder: Path, out: Path, format_: str
) -> None:
    write_tree(folder, {"run": ("exec", 50), "link": ("link", "small/b"), "Zé/é.txt": 10})
    twin = tmp_path / "elsewhere" / "maps"
    twin.mkdir(parents=True)
    for path in sorted((path for path in folder.rglob("*")), reverse=True):
        target = twin / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(os.readlink(path))
        elif path.is_file():
            shutil.copy(path, target)
            os.utime(target, (1_000_000_000, 1_000_000_000))
    arguments = ["--format", format_, "--piece-size", "32 KiB"]
    one = released(torsync.run("publish", folder, "-o", out, *arguments))
    two = released(torsync.run("publish", twin, "-o", tmp_path / "2.torrent", *arguments))
    assert one["info_hash"] == two["info_hash"]


def test_publishing_again_without_a_change_makes_no_release(
    torsync: Torsync, folder: Path, out: Path
) -> None:
    first = released(torsync.run("publish", folder, "-o", out))
    before = out.stat()
    again = publication(torsync.run("publish", folder, "-o", out).assert_ok())
    assert not again["changed"]
    assert (again["info_hash"], again["number"]) == (first["info_hash"], first["number"])
    assert out.stat().st_mtime_ns == before.st_mtime_ns
    assert again["unchanged"] == len(FILES)


def test_another_output_is_another_torrent_and_no_complaint(
    torsync: Torsync, tmp_path: Path, folder: Path, out: Path
) -> None:
    torsync.run("publish", folder, "-o", out).assert_ok()
    other = tmp_path / "other.torrent"
    outcome = torsync.run("publish", folder, "-o", other, "--format", "v2").assert_ok()
    assert not [one for one in outcome.notices if one["level"] in {"warning", "error"}]
    assert b"meta version" in decoded(other)[b"info"]
    assert b"meta version" not in decoded(out)[b"info"]


def test_a_dry_run_tells_and_writes_nothing(torsync: Torsync, folder: Path, out: Path) -> None:
    outcome = torsync.run("publish", folder, "-o", out, "--dry-run")
    assert outcome.exit_code == 4
    report = publication(outcome)
    assert report["dry_run"]
    assert set(report["added_paths"]) == set(FILES)
    assert not out.exists()
    hash_then = released(torsync.run("publish", folder, "-o", out))["info_hash"]
    assert report["info_hash"] == hash_then


def test_seed_serves_it_until_it_is_stopped(
    publishing: Publishing, tmp_path: Path, folder: Path, out: Path
) -> None:
    before = snapshot(folder)
    running = publishing.start("publish", folder, "-o", out, "--seed")
    running.wait_for_stage("maps", "seeding")
    assert_seeds(publishing.port, out.read_bytes(), folder, tmp_path / "leecher")
    assert running.stop(signal.SIGTERM, within_s=5).exit_code == 0
    assert snapshot(folder) == before


@pytest.mark.programs
def test_other_clients_open_it_and_find_its_content(
    torsync: Torsync, tmp_path: Path, folder: Path, out: Path, tracker: Tracker
) -> None:
    (folder / "empty").unlink()  # transmission 3.00 makes no empty files
    released(torsync.run("publish", folder, "-o", out, "--tracker", tracker.http_url))
    torrent = out.read_bytes()
    shown = subprocess.run(
        [require("transmission-show"), out], capture_output=True, text=True, timeout=30
    )
    assert shown.returncode == 0, shown.stderr
    assert info_hash(torrent) in shown.stdout
    assert "maps/small/c/d" in shown.stdout

    tracker.allow(torrent)
    with TransmissionSeeder() as seeder:
        # It raises unless transmission finds every piece right.
        seeder.add_folder(torrent, folder)
        target = tmp_path / "aria2"
        target.mkdir()
        options = {
            "dir": target,
            "seed-time": 0,
            "enable-dht": "false",
            "bt-enable-lpd": "false",
            "disable-ipv6": "true",
            "interface": HOST,
            "follow-torrent": "mem",
            "bt-tracker-interval": 1,
            "no-conf": "true",
            "stop": 50,
        }
        arguments = [f"--{key}={value}" for key, value in options.items()]
        done = subprocess.run(
            [require("aria2c"), *arguments, out], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout
    shutil.rmtree(target / "maps" / ".pad", ignore_errors=True)
    assert_same_tree(target / "maps", folder, modes=False)


@pytest.mark.programs
def test_a_signed_release_is_taken_and_a_changed_one_is_not(
    publishing: Publishing, tmp_path: Path
) -> None:
    key = tmp_path / "publisher.key"
    public = publishing.run("keygen", "-o", key).assert_ok().of_type("key")[0]["public_key"]
    publishing.publish(entries=FILES, secret_key=str(key))
    assert released(publishing.run("check-now"))["signed"]
    signature = publishing.torrent().with_name("pack.torrent.minisig")
    Minisign(tmp_path / "minisign").run("-Vm", publishing.torrent(), "-P", public)
    assert len(signature.read_text().splitlines()) == 4
    service = publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    with subscriber(tmp_path / "s", publishing, public_keys=[public]) as torsync:
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, publishing.content())
        service.stop(signal.SIGTERM, within_s=5)
        publishing.torrent().write_bytes(publishing.torrent().read_bytes() + b"\n")
        signature.unlink()
        outcome = torsync.run("check-now", timeout_s=90)
        assert (outcome.exit_code, outcome.error["code"]) == (3, "untrusted"), all_errors(outcome)
