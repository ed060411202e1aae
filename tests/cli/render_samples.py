"""Events and reports that the renderer tests share."""

from __future__ import annotations

import dataclasses

from torsync.model.checkup import Finding, failed, named, ok, skipped, warning
from torsync.model.events import Level, Progress, Stage
from torsync.model.history import record_of_release, record_of_update, without_paths
from torsync.model.log_records import LogRecord
from torsync.model.publish_reports import PublicationStatus, PublishReport
from torsync.model.reports import (
    CheckReport,
    HistoryReport,
    PlannedAction,
    StatusReport,
    VerifyReport,
)
from torsync.model.retention import Trashed
from torsync.model.trash_reports import TrashEmptied, TrashListed, TrashReport, TrashRestored
from torsync.model.tree_index import Kind

HOSTILE = "\x1b]0;owned\x07[bold red]x[/]\r\n\u202egnp.\x9b31m\u200b\udcff"
HOSTILE_SHOWN = "\\x1b]0;owned\\x07[bold red]x[/]\\r\\n\\u202egnp.\\x9b31m\\u200b\\xff"
NOW_S = 1_800_000_000.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def check_report() -> CheckReport:
    return CheckReport(
        "skyrim",
        release="pack-1.3",
        info_hash="ab" * 20,
        changed=True,
        kept=1204,
        patched=["a.bsa", "b.bsa", "c.bsa"],
        fetched=[f"new/{index:02}.dds" for index in range(12)],
        trashed=["old/1", "old/2"],
        bytes_to_fetch=34_100_000,
        bytes_fetched=34_100_000,
        bytes_hashed=50_000_000,
        bytes_total=2_100_000_000,
        seconds=3.2004,
    )


def plan_report() -> CheckReport:
    """The plan of what ``check_report`` tells of; two files are moved besides."""
    report = check_report()
    report.dry_run = True
    report.bytes_fetched, report.seconds = 0, 0.25
    report.moved = ["b/moved", "z/copied"]
    report.trashed = ["a.bsa", "b.bsa", "c.bsa", "old/1", "old/2"]
    report.space_needed, report.space_free = 40_000_000, 2_000_000_000
    report.actions = [
        *(PlannedAction("patch", path, path, 7_000_000, "3 of 9 right") for path in report.patched),
        PlannedAction("move", "b/moved", "old/place", 5_000_000, "its content is there"),
        PlannedAction("copy", "z/copied", "a.bsa", 6_000_000, "its content is there"),
        *(PlannedAction("fetch", path, "", 1_000_000, "not there") for path in report.fetched),
        PlannedAction("kept_local", "my.ini", "", 10, "matches a keep pattern"),
        PlannedAction("unreadable", "locked", "", 10, "it could not be read"),
        PlannedAction("link", "newest", "", 0, "a link to b/moved"),
        PlannedAction("trash", "old/1", "", 1000, "no longer in the release"),
        PlannedAction("trash", "old/2", "", 500, "no longer in the release"),
    ]
    return report


def verify_report() -> VerifyReport:
    return VerifyReport(
        "skyrim",
        release="pack-1.3",
        info_hash="cd" * 32,
        ok=1204,
        missing=["gone"],
        damaged=["data/b.bsa", "data/c.bsa"],
        wrong_size=["short"],
        unlisted=["extra"],
        unreadable=["locked"],
        damaged_pieces={"data/b.bsa": [9, 3, 4, 5], "data/c.bsa": [5]},
        bytes_hashed=2_100_000_000,
        bytes_total=2_100_000_000,
        seconds=12.0,
    )


def status_reports() -> list[StatusReport]:
    return [
        StatusReport(
            "skyrim",
            "https://mods.example/skyrim.torrent",
            "/games/skyrim",
            "seeding",
            release="pack-1.3",
            info_hash="ab" * 20,
            files=1219,
            bytes_total=2_100_000_000,
            last_check_s=NOW_S - 200,
            last_update_s=NOW_S - 200_000,
            holder_pid=4711,
        ),
        StatusReport(
            "wiki",
            "https://wiki.example/w.torrent",
            "/srv/wiki",
            "waiting",
            last_check_s=NOW_S - 3,
            last_error="wiki.example answered 503",
            last_error_hint="torsync tries again by itself",
        ),
    ]


def live_status() -> StatusReport:
    """What the service tells of a subscription that it works on."""
    report = status_reports()[0]
    report.stage, report.detail, report.newest = "downloading", "from peers", "pack-1.4"
    report.next_check_s, report.live, report.restarts = NOW_S + 200, True, 1
    report.progress = downloading()
    return report


def history_reports() -> list[HistoryReport]:
    first = record_of_update(check_report(), NOW_S - 500, from_info_hash="cd" * 20)
    mended = dataclasses.replace(first, from_release="pack-1.3", from_info_hash="ab" * 20)
    named = dataclasses.replace(first, from_release="pack-1.3")
    changed = dataclasses.replace(first, from_release=HOSTILE)
    updates = [mended, named, changed, without_paths(first)]
    releases = [record_of_release(one, NOW_S) for one in publish_reports()[1::-1]]
    return [
        HistoryReport("skyrim", updates=updates),
        HistoryReport("maps", is_publication=True, updates=releases),
        HistoryReport("empty"),
        HistoryReport("unpublished", is_publication=True),
    ]


def log_records() -> list[LogRecord]:
    time = "2027-01-15T08:00:00.000Z"
    return [
        LogRecord(time, Level.WARNING, "skyrim", "pack-1.3", "stalled", HOSTILE, "wait\n"),
        LogRecord(time, Level.INFO, "maps", "maps", "released", "published"),
        LogRecord(time, Level.INFO, "", "", "reloaded", "nothing changed"),
    ]


def trash_reports() -> list[TrashReport]:
    def trashed(folder: str, path: str, *, released: bool, size: int) -> Trashed:
        at_s, kind, inode = NOW_S - 1000, Kind.FILE, len(path)
        return Trashed(folder, path, at_s, released, kind, size, 0, inode, 1, size)

    return [
        TrashListed(
            "skyrim",
            [
                trashed("2027-01-15T074320Z", HOSTILE, released=False, size=1_200_000),
                trashed("2027-01-15T074320Z-release", "a.bsa", released=True, size=900),
            ],
            unreadable=[".torsync/trash/locked"],
        ),
        TrashListed("wiki"),
        TrashRestored("skyrim", "2027-01-15T074320Z", ["a", HOSTILE], ["a"], ["a"]),
        TrashRestored("wiki", "mine", ["b"]),
        TrashEmptied("skyrim", removed=1204, bytes_freed=2_100_000_000, left=["x"] * 12),
        TrashEmptied("wiki"),
    ]


def publish_reports() -> list[PublishReport]:
    first = PublishReport(
        "maps",
        release="maps",
        info_hash="ab" * 20,
        number=1,
        changed=True,
        format="v1",
        piece_size=65536,
        torrent="/srv/www/maps.torrent",
        files=1219,
        added=[f"new/{index:04}.dds" for index in range(1219)],
        bytes_total=2_100_000_000,
        bytes_hashed=2_100_000_000,
        bytes_to_fetch=2_100_000_000,
        torrent_bytes=123_000,
        seconds=1.25,
    )
    second = dataclasses.replace(
        first,
        number=2,
        signed=True,
        url="http://192.0.2.1:8080/maps.torrent",
        unchanged=1204,
        added=["new/a"],
        modified=[HOSTILE],
        moved=["b/moved"],
        removed=["old/1", "old/2"],
        skipped=["a pipe"],
        bytes_hashed=34_100_000,
        bytes_to_fetch=3_400_000,
        hints_bytes=9_200_000,
        hints_made=2,
        seconds=0.25,
    )
    plan = dataclasses.replace(second, dry_run=True)
    same = dataclasses.replace(
        first, changed=False, unchanged=1219, added=[], bytes_to_fetch=0, bytes_hashed=0
    )
    return [first, second, plan, same, PublishReport("empty")]


def publication_statuses() -> list[PublicationStatus]:
    return [
        PublicationStatus(
            "maps",
            "/srv/maps",
            "seeding",
            torrent="/srv/www/maps.torrent",
            release="maps",
            info_hash="ab" * 20,
            number=12,
            files=1219,
            bytes_total=2_100_000_000,
            last_release_s=NOW_S - 200,
            holder_pid=4711,
        ),
        PublicationStatus(
            "wiki-dump",
            "/srv/dump",
            "never published",
            last_error="a name is not UTF-8: 'x\udcff'",
            last_error_hint="rename it",
        ),
    ]


def downloading(subscription: str = "skyrim", percent: int = 45) -> Progress:
    return Progress(
        subscription,
        Stage.DOWNLOADING,
        files_done=12,
        files_total=345,
        bytes_done=2_100_000_000 * percent // 100,
        bytes_total=2_100_000_000,
        download_rate=12_300_000,
        upload_rate=120_000,
        peers=8,
        eta_s=94.0,
    )


def hashing(path: str) -> Progress:
    return Progress(
        "skyrim",
        Stage.VERIFYING,
        files_done=12,
        files_total=345,
        bytes_done=1_000_000_000,
        bytes_total=2_100_000_000,
        rate=2_900_000_000,
        eta_s=0.4,
        path=path,
    )


def findings() -> list[Finding]:
    """One of each verdict, of the whole and of a subscription."""
    return [
        ok("configuration.file", "it is right"),
        skipped("notify.urls", "nobody is told"),
        *named("skyrim", [warning("tracker", "it knows nobody", "start the seed")]),
        *named(
            "skyrim", [failed("url.http", f"found {HOSTILE}", "run `torsync check-now skyrim`")]
        ),
    ]
