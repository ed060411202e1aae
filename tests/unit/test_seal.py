"""Which ledgers cover a release, so that a check may leave the rest out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.releases import Link, make_release
from torsync.model.config import CleanMode
from torsync.model.seal import Seal, seal_release
from torsync.model.tree_index import LedgerRow

if TYPE_CHECKING:
    from collections.abc import Collection

MANIFEST = make_release({"a": b"12345", "d/b": b"", "l": Link("a")}, digests="root").manifest
ROW = LedgerRow(1, 2, 3, 4, "digest")
ROWS = dict.fromkeys(["a", "d/b", "l"], ROW)


def sealed(
    rows: dict[str, LedgerRow],
    *,
    clean: CleanMode = CleanMode.MANAGED,
    keep: Collection[str] = (),
    unselected: Collection[int] = (),
) -> Seal | None:
    return seal_release(
        MANIFEST,
        "body",
        rows,
        policy="policy",
        clean=clean,
        keep=lambda path: path in keep,
        unselected=unselected,
    )


def test_a_ledger_that_vouches_for_every_file_and_link_covers_the_release() -> None:
    expected = Seal("body", "policy", MANIFEST.name, MANIFEST.info_hash, 3, 5)
    for clean in CleanMode:
        assert sealed(ROWS, clean=clean) == expected
    assert Seal.load(expected.dump()) == expected


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "null", "[]", "{}", '{"beside": []}', '{"beside": 1}', '{"beside"'],
)
def test_what_another_version_wrote_is_no_seal(text: str) -> None:
    assert Seal.load(text) is None


def test_a_seal_with_anything_of_another_kind_is_none() -> None:
    stored = json.loads(Seal("body", "policy", "release", "00", 3, 5, ("left",), 1).dump())
    for name, value in stored.items():
        other = "1" if isinstance(value, int) else 1
        assert Seal.load(json.dumps({**stored, name: other})) is None, name


@pytest.mark.parametrize("path", ROWS)
@pytest.mark.parametrize(
    "row", [None, ROW._replace(digest=""), ROW._replace(ctime_ns=~ROW.ctime_ns)]
)
def test_a_file_without_a_row_that_vouches_breaks_it(path: str, row: LedgerRow | None) -> None:
    rows = {known: ROW for known in ROWS if known != path}
    assert sealed(rows if row is None else {**rows, path: row}) is None


@pytest.mark.parametrize("row", [None, ROW, ROW._replace(digest="")])
def test_files_that_are_not_selected_need_no_row_that_vouches(row: LedgerRow | None) -> None:
    rows = {"d/b": ROW, "l": ROW}
    seal = sealed(rows if row is None else {**rows, "a": row}, unselected={0})
    assert seal == Seal("body", "policy", MANIFEST.name, MANIFEST.info_hash, 2, 0, unselected=1)
    assert Seal.load(seal.dump()) == seal
    assert sealed({"a": ROW, "l": ROW}, unselected={0}) is None
    assert sealed({**rows, "a": ROW._replace(ctime_ns=~ROW.ctime_ns)}, unselected={0}) is None


@pytest.mark.parametrize("clean", CleanMode)
def test_what_will_be_removed_breaks_it_and_what_stays_is_named(clean: CleanMode) -> None:
    rows = {**ROWS, "left": ROW, "left/too": ROW._replace(digest="")}
    kept = sealed(rows, clean=clean, keep={"left", "left/too"})
    assert kept is not None
    assert kept.beside == ("left", "left/too")
    assert Seal.load(kept.dump()) == kept
    seal = sealed(rows, clean=clean, keep={"left"})
    assert (seal is not None) == (clean is CleanMode.OFF)


def test_very_much_beside_the_release_is_not_named() -> None:
    rows = ROWS | {f"left {number}": ROW for number in range(1001)}
    assert sealed(rows, clean=CleanMode.OFF) is None
    del rows["left 7"]
    assert sealed(rows, clean=CleanMode.OFF) is not None
