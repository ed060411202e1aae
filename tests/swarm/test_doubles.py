"""Content that a release has more than once is fetched once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.trees import random_bytes
from tests.support.updates import PIECE, overwritten

if TYPE_CHECKING:
    from tests.support.updates import Updates

FORMATS = ["packed", "v2", "hybrid"]
LONG = random_bytes(10 * PIECE + 99, "long")
OTHER = random_bytes(3 * PIECE + 7, "other")
ZEROS = bytes(6 * PIECE)


@pytest.mark.parametrize("format_", FORMATS)
def test_equal_files_are_fetched_once(updates: Updates, format_: str) -> None:
    updates.sync_first({"other": OTHER, "small": b"small"}, format_)
    after = {"a": LONG, "b/copy": LONG, "c": LONG[: 4 * PIECE], "zeros": ZEROS, "other": OTHER}
    report = updates.update(after, format_)
    assert len(LONG) + PIECE <= report["bytes_fetched"] < len(LONG) + 2 * PIECE
    assert report["bytes_fetched"] <= report["bytes_to_fetch"]
    updates.assert_at_rest()


@pytest.mark.parametrize("format_", FORMATS)
def test_equal_files_that_both_have_a_part_are_brought_up_to_date(
    updates: Updates, format_: str
) -> None:
    """With v2 libtorrent alone never ends here."""
    updates.sync_first({"a": LONG, "b": LONG, "other": OTHER}, format_)
    changed = overwritten(overwritten(LONG, PIECE, b"one"), 5 * PIECE, b"two")
    report = updates.update({"a": changed, "b": changed, "other": OTHER}, format_)
    assert report["bytes_fetched"] == 2 * PIECE
    updates.assert_at_rest()


@pytest.mark.parametrize("apply", ["staged", "in-place"])
@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_that_repeats_itself_is_patched(updates: Updates, apply: str, format_: str) -> None:
    updates.torsync.subscribe(apply=apply)
    updates.sync_first({"a": OTHER + bytes(5), "other": OTHER}, format_)
    repeated = random_bytes(PIECE, "again")
    longer = OTHER[: 2 * PIECE] + 4 * repeated + OTHER[2 * PIECE :]
    report = updates.update({"a": longer, "other": OTHER}, format_)
    assert report["bytes_fetched"] <= 3 * PIECE
    updates.assert_at_rest()
