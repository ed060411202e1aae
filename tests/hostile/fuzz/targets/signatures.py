"""A minisign signature, a trusted comment that is signed, and what is remembered of both."""

from __future__ import annotations

from tests.hostile.fuzz.oracle import judged
from torsync.model.errors import UntrustedError
from torsync.model.trust import Order, Vouched, judge_order, read_order
from torsync.subscribe.trust import Patience, Trust, check_signature

MAX_BYTES = 16 * 1024
BODY = b"de"
URL = "https://host.example/a.torrent"
# Made with minisign for this purpose; the secret half is not kept.
KEYS = ("RWRmhoR761MWeNY9Wrxl6IabL2wrLfQwUa5wyr242Zgy5GhMCNoVMMUB",)


class _Remembered(dict[str, str]):
    """Facts in memory."""

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
        return super().get(key, default)

    def put(self, **facts: str) -> None:
        self.update(facts)


def try_one(data: bytes) -> None:
    """Take the bytes for a signature, for a comment, and for what was remembered."""
    with judged() as outcome:
        key, comment = check_signature(BODY, data, KEYS, URL)
        assert key in KEYS
        comment.encode()
    assert outcome.error is None or isinstance(outcome.error, UntrustedError)
    text = data.decode("utf-8", "replace")
    order = read_order(text)
    assert order is None or (0 <= order.time_s < 10**11 and 0 <= order.number < 10**15)
    newest = Vouched("0" * 64, KEYS[0], Order(1_700_000_000, 3), URL)
    judge_order(order, "1" * 64, URL, newest, KEYS)
    facts = _Remembered(vouched=text)
    with judged():
        trust = Trust(URL, KEYS, facts, Patience(lambda _seconds: True), headers={})
        found = trust.newest
        if found is not None:
            assert isinstance(found.covers("0" * 64, KEYS), bool)
            judge_order(Order(1, 1), "1" * 64, URL, found, KEYS)
