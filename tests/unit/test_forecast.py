"""What a plan would do, as a report."""

from __future__ import annotations

from tests.support.releases import Link, make_release
from tests.support.situations import Item, Situation
from torsync.model.forecast import forecast
from torsync.model.tree_index import Kind


def test_every_file_is_told_by_what_happens_to_it() -> None:
    release = make_release(
        {
            "fetched": b"12345678",
            "kept": b"abcdefgh",
            "link": Link("kept"),
            "patched": b"12345678abcdefgh",
        },
        layout="padded",
    )
    disk = {
        "kept": Item(content=b"abcdefgh"),
        "patched": Item(content=b"12345678ABCDEFGH"),
        "link": Item(Kind.LINK, target="elsewhere"),
    }
    report = forecast("pack", Situation(release, disk).plan())
    assert (report.name, report.kept, report.changed) == ("pack", 1, True)
    assert report.fetched == ["fetched", "link"]
    assert report.patched == ["patched"]
    assert sorted(report.trashed) == ["link", "patched"]
    assert (report.kept_local, report.unreadable) == ([], [])
    assert report.bytes_total == release.manifest.total_size
    assert 0 < report.bytes_to_fetch < report.bytes_total


def test_nothing_to_do_is_no_change() -> None:
    release = make_release({"a": b"12345678"}, layout="padded")
    report = forecast("pack", Situation(release, {"a": Item(content=b"12345678")}).plan())
    assert (report.changed, report.kept, report.trashed) == (False, 1, [])
