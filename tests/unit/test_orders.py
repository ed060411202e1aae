"""Orders as values that are sent: what comes back, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from torsync.model.errors import UsageError
from torsync.model.guard import Allowance
from torsync.model.orders import (
    Apply,
    Check,
    EmptyTrash,
    MakeRelease,
    Order,
    Pause,
    Restore,
    Resume,
    Rollback,
    Terms,
    Verify,
    order_as_json,
    order_from_json,
)


@pytest.mark.parametrize(
    "order",
    [
        Check(force=True),
        Apply(),
        Rollback("pack-1.2"),
        Verify(quick=True, clean=True),
        Restore("a", ("a", "b/a"), "2026"),
        EmptyTrash(86_400.5),
        MakeRelease(dry_run=True),
        Pause(),
        Resume(),
    ],
)
def test_an_order_that_is_sent_is_the_same(order: Order) -> None:
    assert order_from_json(order_as_json(order)) == order
    assert order_from_json({"command": order.command}) == type(order)()


@pytest.mark.parametrize(
    "terms", [Terms(), Terms(2.5, frozenset(Allowance), ("verify", "--clean"))]
)
def test_terms_that_are_sent_are_the_same(terms: Terms) -> None:
    assert Terms.from_json(terms.as_json()) == terms
    assert Terms.from_json({}) == Terms()


_NO_SECONDS = [True, "1", -1, float("nan"), float("inf"), 10**400, [1]]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, "'command': expected one of check-now, "),
        ({"command": ["apply"]}, "'command': expected one of"),
        ({"command": "format"}, "found 'format'"),
        ({"command": "apply", "force": True}, "'force' is no option of 'apply'"),
        ({"command": "check-now", "force": 1}, "'force': expected bool, found 1"),
        ({"command": "rollback", "release": None}, "'release': expected str, found nothing"),
        ({"command": "rollback", "release": "\ud800"}, "'release': expected text that a file name"),
        ({"command": "trash restore", "meant": "a"}, "'meant': expected an array of text"),
        ({"command": "trash restore", "meant": ["a", 1]}, "'meant': expected an array of text"),
        *(
            ({"command": "trash empty", "older_than_s": wrong}, "'older_than_s': expected seconds")
            for wrong in [*_NO_SECONDS, None]
        ),
    ],
)
def test_what_is_no_order_is_refused(found: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        order_from_json(found)
    assert expected in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"automatic": True}, "'automatic' is no option of the terms of an order"),
        ({"allowed": "space"}, "'allowed': expected an array of text"),
        ({"allowed": ["everything"]}, "'allowed': expected one of"),
        ({"again": [1]}, "'again': expected an array of text"),
        *(({"patience_s": wrong}, "'patience_s': expected seconds") for wrong in _NO_SECONDS),
    ],
)
def test_what_are_no_terms_is_refused(found: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        Terms.from_json(found)
    assert expected in str(caught.value)


def test_to_go_back_twice_without_a_release_goes_back_further() -> None:
    assert not Rollback().is_repeatable
    assert Rollback("pack-1").is_repeatable
