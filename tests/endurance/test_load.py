"""Two hundred subscriptions in one service: what that takes, as far as no clock is needed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.many_trees import Many

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 200
MIB = 1024**2
# What the service has for itself: libtorrent, the control API, and standard streams.
OWN_THREADS, OWN_DESCRIPTORS = 30, 60


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize(
    ("kind", "threads_each"), [pytest.param("plain", 1, marks=pytest.mark.long), ("feed", 2)]
)
@pytest.mark.timeout(600)
def test_two_hundred_subscriptions_take_little(
    tmp_path: Path, record_property: pytest.RecordProperty, kind: str, threads_each: int
) -> None:
    with Many(tmp_path, COUNT) as many:
        publisher = many.start("publications")
        publisher.wait_until_all_seed()
        if kind == "plain":
            publisher.stop()
        subscriber = many.start(kind)
        subscriber.wait_until_all_seed()
        figures = subscriber.rest(0.5)
        record_property("figures", figures._asdict())
        assert figures.peak_bytes < 400 * MIB
        assert figures.threads <= COUNT * threads_each + OWN_THREADS
        assert figures.descriptors <= COUNT * (6 + threads_each) + OWN_DESCRIPTORS
