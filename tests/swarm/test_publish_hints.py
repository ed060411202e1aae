"""The hints file that a publication has: what is in it, when it is there, what it costs."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.hints import assert_describes, hints_reference, read_hints
from tests.support.nginx import nginx
from tests.support.processes import HOST, free_port, wait_until
from tests.support.publications import Publisher
from tests.support.publishers import KIB, MIB, publication, released, wait_for_release
from tests.support.torrents import info_hash
from tests.support.trees import edit_in_place, random_bytes, tree_bytes, write_tree
from torsync.model.errors import InterruptedByUserError, StateError
from torsync.model.events import Level, Stage, StageStarted
from torsync.model.hints.chunks import SMALLEST_FILE
from torsync.model.metainfo import parse_metainfo
from torsync.publish import hinting
from torsync.publish.hints.cache import HintsCache
from torsync.publish.hints.file import HintsFile
from torsync.publish.hints.kernel import CHANGED, CutKernel
from torsync.publish.keys import generate_keys
from torsync.publish.output import Output
from torsync.subscribe import room

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from tests.support.cli import Json
    from tests.support.publishers import Publishing
    from torsync.publish.hints.kernel import Cut, CutResult

FILES = {
    "one": 100 * KIB,
    "two": 300 * KIB + 7,
    "d/small": 16 * KIB,
    "d/first that counts": 16 * KIB + 1,
    "copy": b"same" * 10_000,
    "another copy": b"same" * 10_000,
    "empty": b"",
    "link": ("link", "one"),
}
CUT = 4  # files, the copies once


def _hints_file(torrent: Path) -> Path:
    return torrent.with_name(f"{torrent.name}.hints")


def _assert_right(torrent: Path, folder: Path) -> None:
    """The hints file has an entry of each file that is large enough, and each is right."""
    contents = tree_bytes(folder)
    large = {
        file.pieces_root: contents[file.path]
        for file in parse_metainfo(torrent.read_bytes()).files
        if file.size >= SMALLEST_FILE and file.pieces_root is not None
    }
    data = _hints_file(torrent).read_bytes()
    found = read_hints(data, {root: len(content) for root, content in large.items()})
    assert found.keys() == large.keys()
    for root, content in large.items():
        assert isinstance(content, bytes)
        assert_describes(found[root], content)
    assert int.from_bytes(data[20:24], "little") == len(large), "and of no other"


# --- by command ------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_each_large_file_is_described_and_the_torrent_names_the_hints(
    publishing: Publishing, format_: str
) -> None:
    folder = publishing.publish(entries=FILES, format=format_)
    report = released(publishing.run("check-now"))

    torrent = publishing.torrent()
    _assert_right(torrent, folder)
    assert hints_reference(torrent.read_bytes()) == "pack.torrent.hints"
    assert report["hints_bytes"] == _hints_file(torrent).stat().st_size
    assert report["hints_made"] == CUT
    assert parse_metainfo(torrent.read_bytes()).hints == "pack.torrent.hints"


def test_a_next_release_cuts_only_what_changed(publishing: Publishing) -> None:
    folder = publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    before = _hints_file(publishing.torrent()).read_bytes()

    outcome = publishing.run("check-now")
    assert publication(outcome)["hints_made"] == 0
    assert publication(outcome)["hints_bytes"] == len(before)
    assert not [one for one in outcome.objects if one.get("stage") == Stage.HINTING.value]

    edit_in_place(folder / "two")
    (folder / "one").rename(folder / "uno")
    outcome = publishing.run("check-now")
    report = released(outcome)
    assert report["hints_made"] == 1
    assert _bytes_cut(outcome.of_type("progress")) == 300 * KIB + 7
    _assert_right(publishing.torrent(), folder)

    (folder / "two").unlink()
    write_tree(folder, FILES)  # and back: the release before had it
    report = released(publishing.run("check-now"))
    assert report["hints_made"] == 0
    _assert_right(publishing.torrent(), folder)


def _bytes_cut(progress: list[Json]) -> int:
    return max(one["bytes_total"] for one in progress if one["stage"] == Stage.HINTING.value)


@pytest.mark.parametrize("is_told_by", ["configuration", "command line"])
def test_without_hints_the_torrent_names_none_and_has_the_same_info_hash(
    publishing: Publishing, tmp_path: Path, is_told_by: str
) -> None:
    folder = publishing.publish(entries=FILES)
    if is_told_by == "configuration":
        torrent = publishing.torrent()
        released(publishing.run("check-now"))
        with_hints = torrent.read_bytes()
        publishing.publish(hints=False)
        report = released(publishing.run("check-now"))
    else:
        torrent = tmp_path / "pack.torrent"
        publishing.run("publish", folder, "-o", torrent).assert_ok()
        with_hints = torrent.read_bytes()
        report = released(publishing.run("publish", folder, "-o", torrent, "--no-hints"))

    assert hints_reference(with_hints) == "pack.torrent.hints"
    assert hints_reference(torrent.read_bytes()) is None
    assert info_hash(torrent.read_bytes()) == info_hash(with_hints)
    assert (report["hints_bytes"], report["hints_made"]) == (0, 0)
    assert not _hints_file(torrent).exists(), "what nothing names any more is removed"


def test_a_folder_of_small_files_has_no_hints(publishing: Publishing) -> None:
    publishing.publish(entries={str(n): 16 * KIB for n in range(20)})
    report = released(publishing.run("check-now"))
    assert report["hints_bytes"] == 0
    assert hints_reference(publishing.torrent().read_bytes()) is None
    assert not _hints_file(publishing.torrent()).exists()


def test_a_plan_makes_no_hints(publishing: Publishing) -> None:
    publishing.publish(entries=FILES)
    outcome = publishing.run("plan")
    assert publication(outcome)["hints_bytes"] == 0
    assert not _hints_file(publishing.torrent()).exists()


def test_hints_that_are_lost_or_cut_off_are_made_up(publishing: Publishing) -> None:
    folder = publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    hints = _hints_file(publishing.torrent())
    before = hints.read_bytes()

    hints.unlink()
    report = publication(publishing.run("check-now").assert_ok())
    assert (report["changed"], report["hints_made"]) == (False, 0)
    assert hints.read_bytes() == before

    hints.write_bytes(before[:-1])
    publication(publishing.run("check-now").assert_ok())
    assert hints.read_bytes() == before

    for file in publishing.state_dir.rglob("hashes.sqlite*"):
        file.unlink()
    edit_in_place(folder / "one")
    released(publishing.run("check-now"))
    _assert_right(publishing.torrent(), folder)


# --- in order --------------------------------------------------------------------------------


class Heard(list[Any]):
    """Events, and something to be done when hints begin to be made."""

    def __init__(self) -> None:
        super().__init__()
        self.on_hinting: Callable[[], object] = lambda: None

    def append(self, event: Any) -> None:
        super().append(event)
        if isinstance(event, StageStarted) and event.stage is Stage.HINTING:
            self.on_hinting()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def publisher(tmp_path: Path, heard: Heard) -> Iterator[Publisher]:
    made = Publisher(tmp_path)
    made.events = heard
    with closing(made):
        yield made


def test_a_first_release_is_public_before_its_hints_are_made(
    publisher: Publisher, heard: Heard
) -> None:
    seen = []
    heard.on_hinting = lambda: seen.append(publisher.torrent.exists())
    report = publisher.open().release(FILES)
    assert seen == [True]
    assert report.hints_made == CUT
    _assert_right(publisher.torrent, publisher.folder)


def test_a_next_release_has_its_hints_before_its_torrent_is_replaced(
    publisher: Publisher, heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    generate_keys(tmp_path / "key")
    publisher.configure(secret_key=tmp_path / "key")
    publisher.open(seed=False).release(FILES)
    before = publisher.torrent.read_bytes()
    seen = []
    heard.on_hinting = lambda: seen.append(publisher.torrent.read_bytes() == before)
    replaced = []
    replace = os.replace

    def note(source: Any, target: Any) -> None:
        replaced.append(os.path.basename(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    report = publisher.release({"two": b"other" * 20_000})
    assert (seen, report.hints_made) == ([True], 1)
    public = [name for name in replaced if name.startswith("pack.torrent")]
    assert public == ["pack.torrent.hints", "pack.torrent.minisig", "pack.torrent"]
    _assert_right(publisher.torrent, publisher.folder)


def test_what_has_changed_comes_first_where_there_were_no_hints(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.configure(hints=False)
    publisher.open(seed=False).release(FILES)
    publisher.configure(hints=True)
    publisher.open(seed=False)
    seen = []
    show = Output.show

    def note(self: Output, **given: bool) -> None:
        seen.append(int.from_bytes(_hints_file(self.torrent).read_bytes()[20:24], "little"))
        show(self, **given)

    monkeypatch.setattr(Output, "show", note)
    report = publisher.release({"two": b"other" * 20_000})
    assert seen == [1]
    assert report.hints_made == CUT
    _assert_right(publisher.torrent, publisher.folder)


# --- when something goes wrong ---------------------------------------------------------------


def test_hints_that_cannot_be_written_are_a_warning_and_the_release_goes_out(
    publisher: Publisher,
) -> None:
    _hints_file(publisher.torrent).mkdir()
    publisher.open(seed=False)
    report = publisher.release(FILES)
    assert (report.changed, report.hints_bytes) == (True, 0)
    report = publisher.release({"two": b"other" * 20_000})
    assert report.changed
    assert publisher.notices(Level.WARNING) == ["hints_failed"], "it is told once"
    assert not list(publisher.torrent.parent.glob(".*")), "nothing is left under hidden names"

    _hints_file(publisher.torrent).rmdir()
    report = publisher.release()
    assert not report.changed
    _assert_right(publisher.torrent, publisher.folder)


def test_a_disk_that_is_full_is_a_warning(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: HintsCache, *_given: object) -> None:
        raise StateError("the hash cache could not be used: database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(HintsCache, "remember", fail)
        assert publisher.open(seed=False).release(FILES).changed
    assert publisher.notices(Level.WARNING) == ["hints_failed"]
    assert publisher.release().hints_made == CUT
    _assert_right(publisher.torrent, publisher.folder)


def test_the_last_room_on_a_disk_is_for_the_release_and_not_for_its_hints(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.open(seed=False).release(FILES)
    with monkeypatch.context() as patched:
        patched.setattr(room, "free_bytes", lambda _folder: 8 * MIB)
        patched.setattr(HintsCache, "remember", lambda *_given: pytest.fail("it fills the disk"))
        for seed in range(2):
            report = publisher.release({"two": random_bytes(300 * KIB, seed)})
            assert (report.changed, report.hints_made) == (True, 0)
    assert publisher.notices(Level.WARNING) == ["hints_failed"]
    assert publisher.release().hints_made == 1
    _assert_right(publisher.torrent, publisher.folder)


def test_entries_that_the_cache_has_lost_do_not_make_a_wrong_file(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(HintsCache, "entries", lambda *_given: iter([b"less"]))
        publisher.open(seed=False).release(FILES)
    assert publisher.notices(Level.WARNING) == ["hints_failed"]
    assert not _hints_file(publisher.torrent).exists()
    publisher.release()
    _assert_right(publisher.torrent, publisher.folder)


def test_a_file_that_somebody_else_has_written_to_is_written_anew(publisher: Publisher) -> None:
    publisher.open(seed=False).release(FILES)
    publisher.release({"two": b"other" * 20_000})
    hints = _hints_file(publisher.torrent)
    before = hints.read_bytes()
    for wrong in (b"", before[:-1], bytes(len(before)), before[:-1] + b"x"):
        hints.write_bytes(wrong)
        assert publisher.release().hints_bytes == len(before)
        assert hints.read_bytes() == before


def test_a_file_is_written_once_for_the_same_content(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    replace = HintsFile.replace

    def note(self: HintsFile, parts: Iterable[bytes]) -> None:
        written.append(self.path.name)
        replace(self, parts)

    monkeypatch.setattr(HintsFile, "replace", note)
    publisher.open(seed=False).release(FILES)
    publisher.release({"two": b"other" * 20_000})
    assert len(written) == 2
    os.utime(publisher.folder / "two", (0, 0))
    assert publisher.release().changed, "the times of files are outside the info dictionary"
    publisher.release()
    publisher.open(seed=False).release()
    assert len(written) == 2


def test_a_file_that_lacks_something_is_not_written_again_and_again(
    publisher: Publisher, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(CutKernel, "run", lambda _self, job: [CHANGED] * len(job))
        publisher.open(seed=False).release(FILES)
        written = _hints_file(publisher.torrent).stat()
        for _ in range(2):
            assert not publisher.release().changed
        assert _hints_file(publisher.torrent).stat() == written
    assert publisher.release().hints_made == CUT
    _assert_right(publisher.torrent, publisher.folder)


def test_without_the_library_that_cuts_the_release_goes_out(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hinting, "find_spec", lambda _name: None)
    assert publisher.open(seed=False).release(FILES).changed
    assert publisher.notices(Level.WARNING) == ["hints_failed"]


def test_what_was_left_under_a_hidden_name_is_removed(publisher: Publisher) -> None:
    hidden = publisher.torrent.with_name(".pack.torrent.hints.new")
    hidden.write_bytes(b"half")
    publisher.open(seed=False)
    assert not hidden.exists()


def test_hints_have_the_permissions_of_the_torrent(publisher: Publisher) -> None:
    publisher.open(seed=False).release(FILES)
    publisher.torrent.chmod(0o640)
    _hints_file(publisher.torrent).unlink()
    publisher.release()
    assert _hints_file(publisher.torrent).stat().st_mode & 0o777 == 0o640
    _hints_file(publisher.torrent).chmod(0o604)
    publisher.release({"two": b"other" * 20_000})
    assert _hints_file(publisher.torrent).stat().st_mode & 0o777 == 0o604


def test_entries_are_forgotten_also_where_a_file_never_gets_hints(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CutKernel.run

    def fail_for_two(self: CutKernel, job: list[Cut]) -> list[CutResult]:
        results = run(self, job)
        return [CHANGED if cut[0] == "two" else it for cut, it in zip(job, results, strict=True)]

    forgotten = []
    finish = HintsCache.finish_release

    def note(self: HintsCache, keys: Collection[bytes]) -> None:
        finish(self, keys)
        forgotten.append(len(self.keys()))

    monkeypatch.setattr(CutKernel, "run", fail_for_two)
    monkeypatch.setattr(HintsCache, "finish_release", note)
    publisher.open(seed=False).release(FILES)
    for seed in range(3):
        assert publisher.release({"one": random_bytes(100 * KIB, seed)}).changed
    assert forgotten == [CUT - 1, CUT, CUT, CUT], "those of the release before, and of no other"


def test_hints_that_are_being_written_are_not_for_more_eyes_than_those_before(
    tmp_path: Path,
) -> None:
    hints = HintsFile(tmp_path / "pack.torrent.hints")
    hints.replace([b"old"])
    hints.path.chmod(0o600)

    def parts() -> Iterator[bytes]:
        yield b"new"
        (hidden,) = tmp_path.glob(".*")
        assert hidden.stat().st_mode & 0o777 == 0o600

    hints.replace(parts())
    assert hints.path.read_bytes() == b"new"


def test_hints_that_are_turned_on_make_a_release_of_the_same_content(
    publisher: Publisher,
) -> None:
    publisher.configure(hints=False)
    before = publisher.open(seed=False).release(FILES)
    publisher.configure(hints=True)
    report = publisher.open(seed=False).release()
    assert (report.changed, report.info_hash) == (True, before.info_hash)
    assert (report.bytes_hashed, report.hints_made) == (0, CUT)
    assert not publisher.open(seed=False).release().changed


def test_stopped_while_the_first_hints_are_made_it_goes_on_the_next_time(
    publisher: Publisher, heard: Heard
) -> None:
    heard.on_hinting = publisher.stop.set
    report = publisher.open(seed=False).release(FILES)
    assert (report.changed, report.hints_bytes) == (True, 0)
    assert "hints_later" in publisher.notices(Level.INFO)
    assert publisher.torrent.exists()

    publisher.stop.clear()
    heard.on_hinting = lambda: None
    report = publisher.open(seed=False).release()
    assert (report.changed, report.hints_made) == (False, CUT)
    _assert_right(publisher.torrent, publisher.folder)


def test_stopped_while_the_next_hints_are_made_the_release_before_stays_public(
    publisher: Publisher, heard: Heard
) -> None:
    publisher.open(seed=False).release(FILES)
    before = publisher.torrent.read_bytes()
    heard.on_hinting = publisher.stop.set
    with pytest.raises(InterruptedByUserError):
        publisher.release({"two": b"other" * 20_000})
    assert publisher.torrent.read_bytes() == before

    publisher.stop.clear()
    heard.on_hinting = lambda: None
    assert publisher.release().changed
    _assert_right(publisher.torrent, publisher.folder)


def test_a_file_that_is_edited_meanwhile_is_left_out_until_the_next_release(
    publisher: Publisher, heard: Heard
) -> None:
    heard.on_hinting = lambda: edit_in_place(publisher.folder / "two")
    report = publisher.open(seed=False).release(FILES)
    assert report.hints_made == CUT - 1

    heard.on_hinting = lambda: None
    report = publisher.release()
    assert (report.changed, report.hints_made) == (True, 1)
    _assert_right(publisher.torrent, publisher.folder)


def test_what_is_edited_while_the_hints_of_a_public_release_are_made_is_withdrawn_at_once(
    publisher: Publisher, heard: Heard
) -> None:
    publication = publisher.open().publication
    withdrawn = []

    def edit_once() -> None:
        heard.on_hinting = lambda: None
        edit_in_place(publisher.folder / "two")

    heard.on_hinting = edit_once

    def see_to() -> None:
        publication.edited(["two"])
        withdrawn.append("withdrawn" in publisher.notices(Level.INFO))

    publication.hinting.meanwhile = see_to
    assert publisher.release(FILES).hints_made == CUT - 1
    assert withdrawn == [True]
    publisher.release()
    assert withdrawn == [True], "not while a release is not public yet"


def _write_huge(folder: Path, seed: str) -> None:
    """Files that take a while to be cut; mostly holes, which cost no disk."""
    for number in range(8):
        with (folder / f"{number}.bin").open("wb") as file:
            file.write(random_bytes(16 * KIB, f"{seed} {number}"))
            file.truncate(32 * MIB)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("when", ["first", "next"])
def test_killed_while_hints_are_made_it_goes_on_the_next_time(
    publishing: Publishing, when: str
) -> None:
    folder = publishing.publish()
    _write_huge(folder, "first")
    if when == "next":
        released(publishing.run("check-now"))
        _write_huge(folder, "next")
    running = publishing.start("check-now")
    running.wait_for_stage("pack", Stage.HINTING.value)
    running.send(signal.SIGKILL)
    assert running.wait().exit_code == -signal.SIGKILL

    report = publication(publishing.run("check-now").assert_ok())
    assert (report["bytes_hashed"], report["changed"]) == (0, when == "next")
    torrent = publishing.torrent()
    files = parse_metainfo(torrent.read_bytes()).files
    sizes = {file.pieces_root: file.size for file in files if file.pieces_root is not None}
    found = read_hints(_hints_file(torrent).read_bytes(), sizes)
    assert len(found) == len(files)
    first = files[0]
    assert first.pieces_root is not None
    assert_describes(found[first.pieces_root], (folder / first.path).read_bytes())


# --- served ----------------------------------------------------------------------------------


def test_the_feed_serves_it_also_of_a_publication_without_a_public_file(
    publishing: Publishing,
) -> None:
    port = free_port()
    publishing.feed = {"listen": f"{HOST}:{port}"}
    folder = publishing.publish(entries=FILES)
    del publishing.publications["pack"]["torrent"]
    service = publishing.start("run")
    report = wait_for_release(service)
    service.stop(signal.SIGTERM, within_s=20)
    assert report["hints_made"] == CUT

    (hints,) = publishing.state_dir.rglob("pack.torrent.hints")
    torrent = hints.with_suffix("")
    service = publishing.start("run")
    url = f"http://{HOST}:{port}/pack.torrent"
    torrent.write_bytes(_fetched(url))
    _assert_right(torrent, folder)
    _assert_ranges(f"http://{HOST}:{port}/{hints_reference(torrent.read_bytes())}", hints)
    edit_in_place(folder / "two")
    wait_for_release(service)
    torrent.write_bytes(_fetched(url))
    _assert_right(torrent, folder)
    assert _fetched(f"{url}.hints") == hints.read_bytes()
    service.stop(signal.SIGTERM, within_s=20)


def test_nginx_serves_it(publishing: Publishing) -> None:
    publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    torrent = publishing.torrent()
    with nginx(torrent.parent) as server:
        reference = hints_reference(torrent.read_bytes())
        assert reference is not None
        _assert_ranges(server.url_for(reference), _hints_file(torrent))


def _fetched(url: str) -> bytes:
    def answer() -> bytes | None:
        with requests.Session() as session:
            session.trust_env = False
            try:
                found = session.get(url, timeout=10)
            except requests.ConnectionError:  # it does not listen yet
                return None
        return found.content if found.status_code == 200 else None

    wait_until(lambda: answer() is not None, f"{url} is there")
    return answer() or b""


def _assert_ranges(url: str, file: Path) -> None:
    data = file.read_bytes()
    with requests.Session() as session:
        session.trust_env = False
        whole = session.get(url, timeout=10)
        part = session.get(
            url,
            headers={"Range": "bytes=5-1004", "If-Range": whole.headers["ETag"]},
            timeout=10,
        )
    assert whole.content == data
    assert (part.status_code, part.content) == (206, data[5:1005])
