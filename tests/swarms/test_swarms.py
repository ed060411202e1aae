"""Whatever happens to a swarm, all end in the newest release, and the publisher is spared.

The short form of each is small and slow enough to be cut into by what happens; the long form is
that of ``python -m tests.swarms``. What they cost is printed, and bounded only as far as a busy
machine lets it: bytes in the long form, and no times.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.netns import NoNetworkError
from tests.swarms.scenarios import SCENARIOS, Terms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.swarms.scenarios import Figures

ALWAYS = ("two-releases", "partition")
SHORT = Terms(subscribers=3, size_bytes=3_000_000, uplink_mbit=8, line_mbit=16, deadline_s=200)
LONG = Terms(deadline_s=1200)
# Who comes late, or finds nobody that can be called, begins with the publisher.
_MOST_COPIES = {"latecomers": 2, "only-call": 1.6}
_USUALLY = 1.35


def run_or_skip(scenario: Callable[[], Figures]) -> Figures:
    try:
        found = scenario()
    except NoNetworkError as error:
        pytest.skip(str(error))
    print(
        f"{found.seconds:.1f} s, {found.times_ideal:.2f} times the ideal; "
        f"{found.copies:.2f} copies sent; {found.note}"
    )
    return found


@pytest.mark.timeout(400)
def test_two_that_cannot_be_called_get_it_from_each_other(tmp_path: Path) -> None:
    # So slow that they find each other long before either has it.
    terms = replace(SHORT, subscribers=2, uplink_mbit=1)
    found = run_or_skip(partial(SCENARIOS["only-call"], tmp_path, terms))
    assert found.copies < 1.8  # 2 if each gets it from the publisher


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ALWAYS)
def test_all_end_in_the_newest_release(tmp_path: Path, name: str) -> None:
    found = run_or_skip(partial(SCENARIOS[name], tmp_path, SHORT))
    assert found.copies < SHORT.subscribers + 1


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", SCENARIOS)
def test_eight_subscribers_end_in_the_newest_release_and_the_publisher_sends_little_more_than_it(
    tmp_path: Path, name: str
) -> None:
    found = run_or_skip(partial(SCENARIOS[name], tmp_path, LONG))
    assert found.copies <= _MOST_COPIES.get(name, _USUALLY)
