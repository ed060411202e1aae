"""Which pieces each of several subscribers prefers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from torsync.swarm.share import share_priorities

PREFERRED = 5
ORDINARY = 4


@given(
    wanted=st.lists(st.booleans(), max_size=300).map(bytes),
    count=st.integers(min_value=1, max_value=40),
)
def test_every_wanted_piece_is_in_the_share_of_exactly_one(wanted: bytes, count: int) -> None:
    of_each = [share_priorities(wanted, number, count) for number in range(count)]
    for piece, flag in enumerate(wanted):
        given_to = sorted(priorities[piece] for priorities in of_each)
        assert given_to == ([ORDINARY] * (count - 1) + [PREFERRED] if flag else [0] * count)


@given(pieces=st.integers(min_value=40, max_value=2000), count=st.integers(2, 8))
def test_shares_are_about_equal(pieces: int, count: int) -> None:
    sizes = [
        share_priorities(bytes([1]) * pieces, number, count).count(PREFERRED)
        for number in range(count)
    ]
    assert max(sizes) - min(sizes) <= 8


def test_a_share_is_spread_over_the_whole_torrent() -> None:
    share = share_priorities(bytes([1]) * 1000, 1, 4)
    assert all(PREFERRED in share[at : at + 20] for at in range(980))
