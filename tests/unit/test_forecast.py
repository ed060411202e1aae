"""What a plan would do, as a report."""

from __future__ import annotations

from hypothesis import given

from tests.support.releases import Link, make_release
from tests.support.situations import Item, Situation, situations
from torsync.model.errors import TreeError
from torsync.model.forecast import forecast
from torsync.model.plan import Action
from torsync.model.reports import CheckReport, PlannedAction
from torsync.model.tree_index import Kind, LedgerRow


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


def ledger_of(*paths: str) -> dict[str, LedgerRow]:
    """What torsync put there once, and no longer vouches for."""
    return {path: LedgerRow(1, 0, 0, 0, "") for path in paths}


def test_a_dry_run_tells_each_action_once_with_its_reason() -> None:
    release = make_release(
        {
            "fetched": b"12345678",
            "kept": b"abcdefgh",
            "mine": b"mine",
            "link": Link("kept"),
            "patched": b"12345678abcdefgh",
        },
        layout="padded",
    )
    disk = {
        "gone": Item(content=b"123"),
        "gone link": Item(Kind.LINK, target="kept"),
        "kept": Item(content=b"abcdefgh"),
        "mine": Item(content=b"edited"),
        "patched": Item(content=b"12345678ABCDEFGH"),
    }
    situation = Situation(
        release, disk, ledger_of("gone", "gone link", "mine"), keep=frozenset({"mine"})
    )
    report = forecast("pack", situation.plan(), dry_run=True)
    assert report.dry_run
    assert report.actions == [
        PlannedAction("fetch", "fetched", "", 8, "not there"),
        PlannedAction("kept_local", "mine", "", 4, "matches a keep pattern"),
        PlannedAction("link", "link", "", 0, "a link to kept"),
        PlannedAction("patch", "patched", "patched", 16, "1 of 2 pieces are right"),
        PlannedAction("trash", "gone", "", 3, "no longer in the release"),
        PlannedAction("trash", "gone link", "", 0, "no longer in the release"),
    ]
    assert report.as_json()["actions"][0] == {
        "action": "fetch",
        "path": "fetched",
        "source": "",
        "size": 8,
        "reason": "not there",
    }


def test_what_is_in_the_way_of_a_folder_is_told_as_removed() -> None:
    release = make_release({"folder/a": b"12345678"}, layout="padded")
    situation = Situation(release, {"folder": Item(content=b"old")}, ledger_of("folder"))
    report = forecast("pack", situation.plan(), dry_run=True)
    assert [(action.action, action.path) for action in report.actions] == [
        ("fetch", "folder/a"),
        ("trash", "folder"),
    ]


@given(situations())
def test_the_actions_and_the_counts_agree(situation: Situation) -> None:
    try:
        plan = situation.plan()
    except TreeError:
        return
    report = forecast("pack", plan, dry_run=True)
    by_action: dict[str, list[str]] = {}
    for action in report.actions:
        by_action.setdefault(action.action, []).append(action.path)
    assert len({action.path for action in report.actions}) == len(report.actions)
    planned = len(report.actions) - len(by_action.get("trash", []))
    assert report.kept + report.unselected + planned == len(plan.files)
    left_out = plan.paths(Action.UNSELECTED)
    assert report.unselected == len(left_out)
    weights = {file.path: file.size for file in plan.wanted.files}
    assert report.bytes_total == sum(weights.values()) - sum(weights[path] for path in left_out)
    assert report.fetched == [*by_action.get("fetch", []), *by_action.get("link", [])]
    assert report.patched == by_action.get("patch", [])
    assert report.kept_local == by_action.get("kept_local", [])
    assert report.moved == by_action.get("move", [])
    assert report.copied == by_action.get("copy", [])
    placed = {*report.fetched, *report.patched, *report.moved, *report.copied}
    assert set(report.trashed) - placed == {*by_action.get("trash", [])}
    assert report.changed == (not plan.is_empty)


def test_a_report_can_be_read_from_its_json() -> None:
    report = CheckReport(
        "pack",
        release="r",
        info_hash="ab" * 20,
        changed=True,
        kept=3,
        unselected=2,
        moved=["m"],
        fetched=["a", "b"],
        trashed=["c"],
        bytes_fetched=5,
        bytes_total=9,
        seconds=0.5,
    )
    assert CheckReport.from_json(report.as_json()) == report
