"""What an update waits for, as a value; and what is automatic."""

from __future__ import annotations

import pytest

from torsync.model.errors import PostponedError, UsageError
from torsync.model.orders import Terms
from torsync.model.postponed import Postponed

WAITS = Postponed("ab", is_timed=False, reason="3 players")


def test_it_is_remembered() -> None:
    assert Postponed.load(WAITS.dump()) == WAITS


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "3", '{"release": "ab", "other": 1}'])
def test_what_another_version_left_is_nothing(text: str) -> None:
    assert Postponed.load(text) is None


def test_the_same_cause_may_have_other_words() -> None:
    assert WAITS.is_same_cause(WAITS._replace(reason="2 players"))
    assert not WAITS.is_same_cause(WAITS._replace(is_timed=True))
    assert not WAITS.is_same_cause(WAITS._replace(release="cd"))
    assert not WAITS.is_same_cause(None)


def test_the_reason_is_the_message_unless_there_is_a_shorter_one() -> None:
    assert PostponedError("not now").reason == "not now"
    assert PostponedError("not now: busy", reason="busy").reason == "busy"


def test_what_is_sent_was_asked_for_by_somebody() -> None:
    assert not Terms.from_json(Terms(automatic=True).as_json()).automatic
    with pytest.raises(UsageError):
        Terms.from_json({"automatic": True})
