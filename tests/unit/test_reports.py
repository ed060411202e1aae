"""What finished commands tell, as values: put together, sent and read again."""

from __future__ import annotations

from torsync.model.past import PastRelease
from torsync.model.reports import CheckReport, PastReport, PlannedAction, Reused

V1, V2 = "1" * 40, "2" * 40


def test_what_finishing_a_cut_off_update_did_is_told_once() -> None:
    report = CheckReport("pack", info_hash=V1, kept=9, fetched=["a"], trashed=["old"])
    report.add_finished(
        CheckReport(
            *("pack", "", V1), changed=True, moved=["m"], fetched=["a", "b"], trashed=["old", "o"]
        )
    )
    assert report.changed
    assert (report.moved, report.fetched, report.trashed) == (["m"], ["a", "b"], ["o", "old"])
    assert report.kept == 7, "what was fetched or moved was not kept"


def test_what_finished_another_release_is_not_told_of_this_one() -> None:
    report = CheckReport("pack", info_hash=V2, kept=9)
    report.add_finished(CheckReport("pack", info_hash=V1, changed=True, fetched=["a"]))
    assert report == CheckReport("pack", info_hash=V2, kept=9)


def test_a_dry_run_tells_nothing_that_was_done() -> None:
    report = CheckReport("pack", info_hash=V1, dry_run=True, kept=9)
    report.add_finished(CheckReport("pack", info_hash=V1, changed=True, trashed=["a"]))
    assert report == CheckReport("pack", info_hash=V1, dry_run=True, kept=9)


def test_a_check_that_is_sent_is_the_same() -> None:
    done = CheckReport("pack", "pack-2", V2, "pack-1", changed=True, fetched=["a"], trashed=["b"])
    done.bytes_reused = Reused(1, 2, 3, 4)
    done.bytes_hints = 5
    assert CheckReport.from_json(done.as_json()) == done


def test_a_dry_run_that_is_sent_has_its_plan_and_the_space() -> None:
    planned = CheckReport("pack", "pack-2", V2, dry_run=True, space_needed=10, space_free=20)
    planned.actions = [PlannedAction("patch", "a", "a", 7, "content changed")]
    assert CheckReport.from_json(planned.as_json()) == planned


def test_what_an_older_version_tells_of_a_check_is_read() -> None:
    told = CheckReport("pack", "pack-2", V2, dry_run=True).as_json()
    for name in (*("space_needed", "space_free", "actions"), "bytes_hints", "bytes_reused"):
        del told[name]
    assert CheckReport.from_json(told) == CheckReport("pack", "pack-2", V2, dry_run=True)


def test_of_the_releases_to_go_back_to_one_is_the_current() -> None:
    releases = [PastRelease("d2", V2, "pack-2", 20.0), PastRelease("d1", V1, "pack-1", 10.0)]
    told = PastReport("pack", current="d1", pinned=True, releases=releases).as_json()
    assert told["pinned"]
    assert told["releases"] == [
        {"release": "pack-2", "info_hash": V2, "synced_s": 20.0, "current": False},
        {"release": "pack-1", "info_hash": V1, "synced_s": 10.0, "current": True},
    ]
