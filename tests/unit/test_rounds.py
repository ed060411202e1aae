"""When a fetch begins anew: after wrong content, and without web seeds that hold it up."""

from __future__ import annotations

from dataclasses import replace

from torsync.subscribe.arrivals import Arrivals
from torsync.subscribe.rounds import Rounds, Situation, Why

MIB = 1024**2
CALM = Situation(hash_failures=0, peers=2, web_seeds=False, payload_bytes=0, overhead_bytes=0)


def test_after_wrong_content_it_begins_anew_once_nothing_arrives() -> None:
    rounds = Rounds(Arrivals(0.0))
    wrong = replace(CALM, hash_failures=1)
    assert rounds.why_again(wrong, 4.0) is None
    assert rounds.why_again(CALM, 6.0) is None
    assert rounds.why_again(wrong, 6.0) is Why.WRONG_CONTENT


def test_rounds_that_bring_nothing_become_longer() -> None:
    rounds = Rounds(Arrivals(0.0))
    lengths = []
    now_s = 0.0
    for number in range(1, 10):
        wrong = replace(CALM, hash_failures=number)
        length_s = next(s for s in range(1000) if rounds.why_again(wrong, now_s + s))
        now_s += length_s
        lengths.append(length_s)
        rounds.hash_failures = number
        rounds.begin_next(Why.WRONG_CONTENT, now_s, brought_pieces=False)
    assert lengths == [6, 11, 21, 41, 81, 161, 301, 301, 301]
    rounds.begin_next(Why.WRONG_CONTENT, now_s, brought_pieces=True)
    assert rounds.why_again(replace(CALM, hash_failures=10), now_s + 6) is Why.WRONG_CONTENT


def test_web_seeds_are_left_out_of_every_other_round() -> None:
    rounds = Rounds(Arrivals(0.0))
    assert rounds.use_web_seeds
    rounds.begin_next(Why.WRONG_CONTENT, 6.0, brought_pieces=True)
    assert not rounds.use_web_seeds
    assert rounds.why_again(CALM, 10.0) is None
    assert rounds.why_again(CALM, 12.0) is Why.WITHOUT_WEB_SEEDS
    rounds.begin_next(Why.WITHOUT_WEB_SEEDS, 12.0, brought_pieces=False)
    assert rounds.use_web_seeds


def test_a_web_seed_that_holds_what_was_asked_of_it_is_left_out_where_there_are_peers() -> None:
    rounds = Rounds(Arrivals(0.0))
    held = replace(CALM, web_seeds=True)
    assert rounds.why_again(held, 29.0) is None
    assert rounds.why_again(replace(held, peers=1), 31.0) is None
    assert rounds.why_again(held, 31.0) is Why.HELD


def test_a_web_seed_that_floods_is_left_out_at_once() -> None:
    rounds = Rounds(Arrivals(0.0))
    flooded = replace(CALM, web_seeds=True, payload_bytes=MIB, overhead_bytes=70 * MIB)
    assert rounds.why_again(replace(flooded, payload_bytes=3 * MIB), 1.0) is None
    assert rounds.why_again(replace(flooded, web_seeds=False), 1.0) is None
    assert rounds.why_again(flooded, 1.0) is Why.FLOODED
    rounds.begin_next(Why.FLOODED, 1.0, brought_pieces=False)
    assert not rounds.use_web_seeds


def test_wrong_claims_are_no_reason_to_leave_web_seeds_out() -> None:
    rounds = Rounds(Arrivals(0.0))
    rounds.begin_next(None, 1.0, brought_pieces=False)
    assert rounds.use_web_seeds
