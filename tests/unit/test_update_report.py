"""What hooks and notifications are told of an event."""

from __future__ import annotations

from pathlib import Path

import pytest

from torsync.model.config import PublicationConfig, SubscriptionConfig
from torsync.model.errors import TreeError
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport
from torsync.model.update_report import (
    BEFORE_UPDATE,
    ON_UPDATE,
    as_variables,
    error_details,
    message_of,
    release_details,
    update_details,
)

SUBSCRIPTION = SubscriptionConfig("pack", "https://example.org/x.torrent", Path("/srv/pack"))
PUBLICATION = PublicationConfig("maps", Path("/srv/maps"))


def report(**changes: object) -> CheckReport:
    found = CheckReport("pack", release="pack-1.3", info_hash="ab" * 20, from_release="pack-1.2")
    found.fetched, found.patched = ["new", "replaced"], ["patched"]
    found.moved, found.copied = ["moved"], ["copied"]
    found.trashed = ["gone", "patched", "replaced"]
    found.bytes_fetched, found.bytes_total, found.seconds = 1_500_000, 9_000_000, 2.5
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_an_update_is_told_by_what_it_means_to_who_uses_the_files() -> None:
    details = update_details(ON_UPDATE, SUBSCRIPTION, report())
    listed = {name: details[f"{name}_paths"] for name in ("added", "changed", "moved", "removed")}
    assert listed == {
        "added": ["copied", "new"],
        "changed": ["patched", "replaced"],
        "moved": ["moved"],
        "removed": ["gone"],
    }
    assert {name: details[name] for name in listed} == {
        name: len(paths) for name, paths in listed.items()
    }
    assert (details["path"], details["from_release"]) == ("/srv/pack", "pack-1.2")


def test_before_an_update_it_is_told_what_it_would_fetch() -> None:
    details = update_details(BEFORE_UPDATE, SUBSCRIPTION, report(bytes_to_fetch=7))
    assert details["bytes_to_fetch"] == 7
    assert not {"bytes_fetched", "seconds"} & details.keys()


def test_variables_are_what_is_no_list() -> None:
    variables = as_variables(update_details(ON_UPDATE, SUBSCRIPTION, report(release="a\0b")))
    assert variables["TORSYNC_EVENT"] == "on_update"
    assert variables["TORSYNC_CHANGED"] == "2"
    assert variables["TORSYNC_RELEASE"] == "ab"
    assert not [name for name in variables if name.endswith("_PATHS")]


def test_the_message_of_an_update_lists_files_by_what_became_of_them() -> None:
    message = message_of(update_details(ON_UPDATE, SUBSCRIPTION, report()))
    assert message.title == "pack: updated to pack-1.3"
    assert message.body.splitlines() == [
        *("2 files added:", "", "- `copied`", "- `new`", ""),
        *("2 files changed:", "", "- `patched`", "- `replaced`", ""),
        *("1 file moved:", "", "- `moved`", ""),
        *("1 file removed:", "", "- `gone`", ""),
        "From `pack-1.2`. 1.5 MB of 9 MB fetched in 2.50 s.",
    ]
    assert not message.is_failure


def test_of_many_files_the_first_are_named() -> None:
    many = [f"{number:04}" for number in range(1234)]
    body = message_of(update_details(ON_UPDATE, SUBSCRIPTION, report(fetched=many))).body
    assert "1,235 files added:" in body
    assert "- `0009`\n- and 1,225 more" in body
    assert "`0010`" not in body


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("<img src=x>", "`<img src=x>`"),
        ("a`b", "`` a`b ``"),
        ("a``b`", "``` a``b` ```"),
        ("line\nbreak\x1b[0m", r"`line\nbreak\x1b[0m`"),
        ("x" * 5000, f"`{'x' * 499}…`"),
    ],
)
def test_a_path_is_no_markup_whatever_it_is_called(path: str, shown: str) -> None:
    changed = report(fetched=[path], patched=[], copied=[], moved=[], trashed=[])
    assert f"- {shown}\n" in message_of(update_details(ON_UPDATE, SUBSCRIPTION, changed)).body


def test_the_message_of_a_failure_has_the_hint() -> None:
    error = TreeError("'a_b*c' is gone", hint="mount <its> disk")
    details = error_details(SUBSCRIPTION, error)
    assert (details["event"], details["code"]) == ("on_error", "tree")
    message = message_of(details)
    assert message == ("pack: failed", r"'a\_b\*c' is gone" + "\n\n" + r"mount \<its\> disk", True)


def test_the_message_of_a_release_tells_what_subscribers_fetch() -> None:
    made = PublishReport("maps", "maps", "cd" * 20, 4, modified=["a"], skipped=["b"])
    made.bytes_to_fetch, made.bytes_total = 1000, 2000
    details = release_details(PUBLICATION, made)
    assert (details["changed_paths"], details["number"]) == (["a"], 4)
    message = message_of(details)
    assert message.title == "maps: release 4 is public"
    assert message.body.splitlines() == [
        *("1 file changed:", "", "- `a`", "", "1 file skipped:", "", "- `b`", ""),
        "1 kB of 2 kB to fetch for subscribers.",
    ]
