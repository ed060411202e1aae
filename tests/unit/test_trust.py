"""Which signed release may follow which, and how long a signature that doesn't fit gets."""

from __future__ import annotations

import pytest

from torsync.model.config_values import to_public_key
from torsync.model.trust import (
    Order,
    Refusal,
    Vouched,
    judge_order,
    key_id,
    next_wait_s,
    read_order,
    release_comment,
    signature_url,
)

OLD, NEW, OTHER = ("RW" + letter * 54 for letter in "QRS")
URL = "https://mods.example/pack.torrent"
NEWEST = Vouched("body-7", OLD, Order(1000, 7), URL)


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        (URL, f"{URL}.minisig"),
        (f"{URL}?token=a/b.torrent", f"{URL}.minisig?token=a/b.torrent"),
        (f"{URL}#part", f"{URL}.minisig"),
        ("https://u:p@mods.example/latest/?x=1#y", "https://u:p@mods.example/latest/.minisig?x=1"),
        ("file:///srv/a?b#c.torrent", "file:///srv/a?b#c.torrent.minisig"),
        ("FILE:/srv/a.torrent", "FILE:/srv/a.torrent.minisig"),
    ],
)
def test_the_suffix_of_the_signature_ends_the_path(url: str, signature: str) -> None:
    assert signature_url(url) == signature


class TestOrder:
    def test_what_a_publication_signs_is_read_back(self) -> None:
        comment = release_comment(Order(1_700_000_000, 12), "pack.torrent")
        assert comment == "timestamp:1700000000\tfile:pack.torrent\thashed\trelease:12"
        assert read_order(comment) == Order(1_700_000_000, 12)

    @pytest.mark.parametrize(
        "comment",
        ["timestamp:1700000000\tfile:pack.torrent\thashed", "timestamp:1700000000"],
    )
    def test_what_minisign_signs_has_a_time(self, comment: str) -> None:
        assert read_order(comment) == Order(1_700_000_000, 0)

    @pytest.mark.parametrize(
        "comment",
        [
            *("", "signed by me", "timestamp:", "timestamp:soon", "timestamp:-1", "timestamp:1.5"),
            *("timestamp: 1", "timestamp:1_0", "timestamp:\u0661", "file:timestamp:1", "release:1"),
            *("timestamp:1\trelease:x", "timestamp:1\trelease:", f"timestamp:1\trelease:{10**15}"),
            "timestamp:1700000000000",  # milliseconds: nothing could follow for 50,000 years
        ],
    )
    def test_what_has_no_order_is_told(self, comment: str) -> None:
        assert read_order(comment) is None

    def test_a_file_name_cannot_pretend_to_be_a_later_release(self) -> None:
        comment = release_comment(Order(5, 1), "a\trelease:99\ttimestamp:99\n\x7fä")
        assert comment == "timestamp:5\tfile:a_release:99_timestamp:99___\thashed\trelease:1"
        assert read_order(comment) == Order(5, 1)
        assert read_order("timestamp:5\tfile:a\ttimestamp:99\trelease:1\trelease:9") == Order(5, 1)


class TestJudgeOrder:
    def judge(
        self,
        order: Order | None,
        digest: str = "another",
        *,
        url: str = URL,
        newest: Vouched | None = NEWEST,
        keys: tuple[str, ...] = (OLD,),
    ) -> Refusal | None:
        return judge_order(order, digest, url, newest, keys)

    def test_the_first_release_is_accepted_whenever_it_was_signed(self) -> None:
        assert self.judge(Order(1), newest=None) is None

    @pytest.mark.parametrize("order", [Order(1000, 8), Order(1001, 7), Order(1001, 0)])
    def test_a_later_one_is_accepted(self, order: Order) -> None:
        assert self.judge(order) is None

    @pytest.mark.parametrize("order", [Order(1000, 6), Order(999, 7), Order(999, 8), Order(0)])
    def test_an_older_one_is_a_rollback_attack(self, order: Order) -> None:
        assert self.judge(order) is Refusal.OLDER

    def test_two_releases_at_the_same_place_are_refused(self) -> None:
        assert self.judge(Order(1000, 7)) is Refusal.AMBIGUOUS

    @pytest.mark.parametrize("order", [Order(1000, 7), Order(999, 1), Order(2000, 0)])
    def test_the_same_bytes_are_fine_however_they_were_signed(self, order: Order) -> None:
        assert self.judge(order, NEWEST.digest) is None

    def test_without_an_order_even_the_first_is_refused(self) -> None:
        assert self.judge(None) is Refusal.UNDATED
        assert self.judge(None, newest=None) is Refusal.UNDATED

    @pytest.mark.parametrize("keys", [(OLD, NEW), (NEW,)], ids=["both", "new"])
    def test_after_a_key_rotation_an_older_one_is_refused(self, keys: tuple[str, ...]) -> None:
        assert self.judge(Order(999), keys=keys) is Refusal.OLDER

    def test_after_a_change_of_the_url_alone_an_older_one_is_refused(self) -> None:
        assert self.judge(Order(999), url="https://mirror.example/p.torrent") is Refusal.OLDER

    def test_another_url_and_other_keys_are_another_publication(self) -> None:
        other = "https://other.example/p.torrent"
        assert self.judge(Order(1), url=other, keys=(NEW, OTHER)) is None


def waits(*refusals: Refusal, is_known: bool = False) -> list[float]:
    """All waits, if each try but the last ones given ends like the last one given."""
    so_far, found = list(refusals), []
    while (wait_s := next_wait_s(so_far, is_known=is_known)) is not None:
        found.append(wait_s)
        so_far.append(refusals[-1])
    return found


class TestPatience:
    def test_what_may_be_replaced_just_now_gets_a_minute(self) -> None:
        assert waits(Refusal.FORGED) == [0, 1, 2, 4, 8, 16, 29]
        assert sum(waits(Refusal.FORGED)) == 60

    @pytest.mark.parametrize("reason", [Refusal.UNSIGNED, Refusal.MALFORMED, Refusal.OTHER_KEY])
    def test_who_does_not_sign_is_not_waited_for_so_long(self, reason: Refusal) -> None:
        assert waits(reason) == [0, 1, 2, 4]

    @pytest.mark.parametrize("reason", [Refusal.OLDER, Refusal.AMBIGUOUS, Refusal.UNDATED])
    def test_what_waiting_cannot_mend_is_only_asked_for_past_caches(self, reason: Refusal) -> None:
        assert waits(reason) == [0]

    @pytest.mark.parametrize("reason", Refusal)
    def test_what_was_given_up_before_is_not_waited_for_again(self, reason: Refusal) -> None:
        assert waits(reason, is_known=True) == [0]

    def test_a_signature_that_comes_and_does_not_fit_gets_the_rest_of_the_minute(self) -> None:
        tries = [Refusal.UNSIGNED] * 3 + [Refusal.FORGED]
        assert next_wait_s(tries, is_known=False) == 4
        assert next_wait_s([*tries, Refusal.FORGED], is_known=False) == 8
        assert next_wait_s([*tries, Refusal.FORGED, Refusal.OLDER], is_known=False) is None


def test_what_is_vouched_for_is_read_back_and_covers_its_key_only() -> None:
    again = Vouched.load(NEWEST.dump())
    assert again == NEWEST
    assert again is not None
    assert again.order.number == 7
    assert Vouched.load("") is None
    assert NEWEST.covers("body-7", (NEW, OLD))
    assert not NEWEST.covers("body-7", (NEW,))
    assert not NEWEST.covers("body-8", (OLD,))


def test_a_key_id_is_as_minisign_prints_it() -> None:
    # From minisign's documentation.
    key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
    assert key_id(key) == "E7620F1842B4E81F"


class TestPublicKeysInTheConfiguration:
    KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"

    def test_the_second_line_of_a_pub_file_is_taken(self) -> None:
        assert to_public_key(f" {self.KEY}\n") == self.KEY

    @pytest.mark.parametrize(
        "found", ["", KEY[:-1], f"{KEY}A", f"RWa{KEY[3:]}", f"{KEY[:-1]}=", "untrusted comment: x"]
    )
    def test_anything_else_is_refused(self, found: str) -> None:
        with pytest.raises(ValueError, match="expected a minisign public key, 56 char") as caught:
            to_public_key(found)
        assert str(caught.value).endswith(f'"{found}"; write the second line of the .pub file')

    def test_a_public_key_may_begin_as_a_secret_one_does(self) -> None:
        assert to_public_key("RWRTY0Iy" + "A" * 48) == "RWRTY0Iy" + "A" * 48

    @pytest.mark.parametrize("begins", ["RWRTY0Iy", "RWQAAEIy"])
    def test_a_secret_key_by_mistake_is_not_shown(self, begins: str) -> None:
        with pytest.raises(ValueError, match="found a secret key") as caught:
            to_public_key(begins + "s3cret" * 34)
        assert "s3cret" not in str(caught.value)
