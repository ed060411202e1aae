"""Numbers and times of releases grow, whatever the clock says."""

from __future__ import annotations

import pytest

from tests.support.signing import sign, sign_with_comment
from torsync.model.succession import next_order, order_in_signature
from torsync.model.trust import Order


@pytest.mark.parametrize(
    ("before", "now_s", "expected"),
    [
        (None, 1000.9, Order(1000, 1)),
        (Order(1000, 1), 2000.0, Order(2000, 2)),
        (Order(1000, 1), 1000.5, Order(1001, 2)),
        (Order(1000, 7), 5.0, Order(1001, 8)),
    ],
)
def test_the_next_one_is_later_and_has_the_next_number(
    before: Order | None, now_s: float, expected: Order
) -> None:
    assert next_order(before, now_s) == expected


def test_what_was_signed_is_read_again() -> None:
    assert order_in_signature(sign(b"body", number=12, time_s=3000)) == Order(3000, 12)


@pytest.mark.parametrize("signature", [None, b"", b"\xff\xfe", b"trusted comment: nonsense\n"])
def test_a_signature_that_does_not_say_gives_nothing(signature: bytes | None) -> None:
    assert order_in_signature(signature) is None


def test_a_signature_of_the_program_has_no_number() -> None:
    assert order_in_signature(sign_with_comment(b"body", "timestamp:3000\tfile:x")) == Order(3000)
