"""The service's log: kept in files that are bounded and private, read with and without it."""

from __future__ import annotations

import errno
import io
import json
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest

from torsync.model.errors import NoPeersError, StateError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted
from torsync.model.log_records import LogRecord
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport, PauseReport, VerifyReport
from torsync.model.trash_reports import TrashEmptied
from torsync.service.logbook import Following, Logbook, log_folder, read_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_S = 1_800_000_000.25


@pytest.fixture
def logbook(tmp_path: Path) -> Iterator[Logbook]:
    opened = Logbook(tmp_path, now_s=lambda: NOW_S)
    yield opened
    opened.close()


def notice(message: str, level: Level = Level.INFO, name: str = "pack") -> Notice:
    return Notice(name, level, "a_code", message, "a hint")


def messages(records: list[LogRecord]) -> list[str]:
    return [record.message for record in records]


def test_a_line_has_time_level_name_release_code_and_message(logbook: Logbook) -> None:
    logbook.sink(Notice("pack", Level.WARNING, "stalled", "nothing \n comes", "wait", "pack-2"))
    assert logbook.lines() == [
        LogRecord(
            "2027-01-15T08:00:00.250Z",
            Level.WARNING,
            "pack",
            "pack-2",
            "stalled",
            "nothing \n comes",
            "wait",
        )
    ]


def test_progress_and_what_every_check_passes_through_are_not_logged(logbook: Logbook) -> None:
    for stage in (Stage.WAITING, Stage.CHECKING_REMOTE, Stage.LOOKING):
        logbook.sink(StageStarted("pack", stage))
    logbook.sink(Progress("pack", Stage.DOWNLOADING, bytes_done=1))
    logbook.sink(StageStarted("pack", Stage.STAGING, "3 files"))
    assert messages(logbook.lines(level=Level.DEBUG)) == ["staging: 3 files"]
    assert logbook.lines() == []


def test_what_was_done_is_logged_with_its_release(logbook: Logbook) -> None:
    logbook.report(
        CheckReport("pack", release="pack-2", changed=True, fetched=["a"], bytes_fetched=5), "run"
    )
    logbook.report(CheckReport("pack", release="pack-2", dry_run=True, changed=True), "check-now")
    logbook.report(CheckReport("pack", release="pack-2"), "check-now")
    logbook.report(VerifyReport("pack", release="pack-2", ok=7, missing=["a"]), "verify")
    logbook.report(PublishReport("maps", number=3, changed=True, removed=["b"]), "run")
    logbook.report(PauseReport("maps", paused=True), "pause")
    logbook.report(PauseReport("maps", paused=True, changed=False), "pause")
    logbook.report(TrashEmptied("maps"), "trash empty")
    logbook.failed("pack", NoPeersError("nobody", hint="wait"))
    found = [(one.name, one.release, one.code, one.message) for one in logbook.lines()]
    assert found == [
        ("pack", "pack-2", "updated", "files: 1 added · 5 B fetched · 0 B hashed in 0.00 s"),
        ("pack", "pack-2", "checked", "in sync"),
        ("pack", "pack-2", "verify", "verified: 7 files right, 1 not"),
        ("maps", "3", "released", "published: files: 1 removed · 0 B hashed in 0.00 s"),
        ("maps", "3", "pause", "paused"),
        ("maps", "3", "trash empty", "`trash empty` done"),
        ("pack", "pack-2", "no_peers", "nobody"),
    ]


def test_the_newest_lines_of_names_and_levels_are_read_in_order(logbook: Logbook) -> None:
    for number in range(10):
        level = Level.ERROR if number % 2 else Level.DEBUG
        logbook.sink(notice(str(number), level, "pack" if number < 6 else "maps"))
    assert messages(logbook.lines(last=2)) == ["7", "9"]
    assert messages(logbook.lines(["pack"], level=Level.ERROR)) == ["1", "3", "5"]
    assert messages(logbook.lines(["pack", "maps"], 3, Level.DEBUG)) == ["7", "8", "9"]
    assert logbook.lines(last=0) == []


def test_it_is_bounded_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path, file_bytes=2000)
    for number in range(500):
        logbook.sink(notice(f"{number:04}"))
    logbook.close()
    files = list(log_folder(tmp_path).iterdir())
    assert len(files) == 6
    assert sum(file.stat().st_size for file in files) <= 6 * 2000
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(log_folder(tmp_path).stat().st_mode) == 0o700
    found = messages(read_log(tmp_path, last=1000))
    assert found == [f"{number:04}" for number in range(500 - len(found), 500)]
    assert len(found) > 20


def test_a_line_that_was_cut_off_is_lost_and_no_other(tmp_path: Path) -> None:
    first = Logbook(tmp_path)
    first.sink(notice("one"))
    first.sink(notice("two"))
    first.close()
    file = log_folder(tmp_path) / "torsync.log"
    file.write_bytes(file.read_bytes()[:-20])
    second = Logbook(tmp_path)
    second.sink(notice("three"))
    second.close()
    assert messages(read_log(tmp_path)) == ["one", "three"]


@pytest.mark.parametrize("line", [b"", b"[]", b"7", b"{}", b'{"level": "loud"}', b"\xff{", b"{"])
def test_what_is_no_record_is_passed_over(tmp_path: Path, line: bytes) -> None:
    log_folder(tmp_path).mkdir()
    (log_folder(tmp_path) / "torsync.log").write_bytes(line + b"\n")
    assert read_log(tmp_path) == []


def test_without_a_log_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []


def test_a_log_that_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    log_folder(tmp_path).write_bytes(b"")
    with pytest.raises(StateError, match="cannot be read"):
        read_log(tmp_path)
    with pytest.raises(StateError, match="cannot be written"):
        Logbook(tmp_path)


class FullDisk(io.StringIO):
    """What is written to it is lost, and that is told."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_loses_lines_only(logbook: Logbook, capfd: pytest.CaptureFixture[str]) -> None:
    handler = logbook._handler
    real, handler.stream = handler.stream, FullDisk()
    logbook.sink(notice("lost"))
    handler.stream = real
    logbook.sink(notice("kept"))
    assert messages(logbook.lines()) == ["kept"]
    assert capfd.readouterr() == ("", "")


class Waits:
    """Does something at each wait, and ends it when there is nothing more to do."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)

    def __call__(self, _seconds: float) -> bool:
        if not self.steps:
            return True
        step = self.steps.pop(0)
        step()  # type: ignore[operator]
        return False


def test_lines_are_followed_as_they_are_written_through_rotations(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path, file_bytes=500)
    logbook.sink(notice("before"))
    following = Following(tmp_path)

    def write(first: int, last: int) -> None:
        for number in range(first, last):
            logbook.sink(notice(str(number)))

    waits = Waits(*(partial(write, first, first + 2) for first in range(0, 12, 2)))
    found = messages(list(following.records(waits)))
    following.close()
    logbook.close()
    assert found == [str(number) for number in range(12)]
    assert len(list(log_folder(tmp_path).iterdir())) > 2


def test_a_log_is_followed_from_before_its_first_line(tmp_path: Path) -> None:
    following = Following(tmp_path)
    made: list[Logbook] = []
    waits = Waits(lambda: made.append(Logbook(tmp_path)), lambda: made[0].sink(notice("the first")))
    assert messages(list(following.records(waits))) == ["the first"]
    following.close()
    made[0].close()


def test_half_a_line_is_waited_for(tmp_path: Path) -> None:
    log_folder(tmp_path).mkdir()
    file = log_folder(tmp_path) / "torsync.log"
    file.write_bytes(b"")
    record = LogRecord("now", Level.INFO, "pack", "", "code", "whole")
    line = json.dumps(record.as_json()).encode() + b"\n"

    def write(part: bytes) -> None:
        with file.open("ab") as stream:
            stream.write(part)

    following = Following(tmp_path)
    waits = Waits(lambda: write(line[:10]), lambda: write(line[10:]))
    assert list(following.records(waits)) == [record]
    following.close()
