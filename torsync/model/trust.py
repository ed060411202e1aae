"""Which signed releases a subscription accepts, and how long it waits for a signature to fit.

Decisions only: ``subscribe.trust`` fetches and checks signatures, and asks here. A signature is a
minisign file beside the ``.torrent``. Its trusted comment, which is signed too, says when the
release was signed and which one it is; that puts releases in order, so that nobody can pass off
an old one as the newest (a rollback attack).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from torsync.model.stored import fits, load_json

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SUFFIX = ".minisig"
MAX_SIGNATURE_BYTES = 16 * 1024  # minisign's comments have at most 1 and 8 KiB

_TIME_S = re.compile(r"[0-9]{1,11}", re.ASCII)  # milliseconds have more digits
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_NO_FILE_NAME = re.compile(r"[^\x20-\x7e]")
_WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 29.0)  # a minute in all; the first: past caches
_SHORT_PATIENCE_S = 7.0


class Order(NamedTuple):
    """Where a release stands among others: compared by the first field, then by the second.

    Attributes:
        time_s: when it was signed, in Unix seconds.
        number: of the release; 0 where the signature does not say.
    """

    time_s: int
    number: int = 0


class Refusal(str, Enum):
    """Why a release is not accepted."""

    UNSIGNED = "unsigned"
    MALFORMED = "malformed"
    FORGED = "forged"
    OTHER_KEY = "other_key"
    UNDATED = "undated"
    OLDER = "older"
    AMBIGUOUS = "ambiguous"


_NOT_THERE_YET = frozenset({Refusal.UNSIGNED, Refusal.MALFORMED, Refusal.OTHER_KEY})


class Vouched(NamedTuple):
    """The newest release that was ever accepted.

    Attributes:
        digest: the SHA-256 of its bytes, in hex.
        key: the public key whose signature it has, in base64.
        order: where it stands among others.
        url: where it came from.
    """

    digest: str
    key: str
    order: Order
    url: str

    def covers(self, digest: str, keys: Collection[str]) -> bool:
        """Whether a release was accepted under one of these keys."""
        return self.digest == digest and self.key in keys

    def dump(self) -> str:
        """Give the text that ``load`` reads."""
        return json.dumps([self.digest, self.key, *self.order, self.url])

    @classmethod
    def load(cls, text: str) -> Vouched | None:
        """Read what ``dump`` gave; None if there is nothing, or something else."""
        found = load_json(text)
        if not fits(found, str, str, int, int, str):
            return None
        digest, key, time_s, number, url = found
        return cls(digest, key, Order(time_s, number), url)


def signature_url(url: str) -> str:
    """Decide where the signature of a ``.torrent`` is: the suffix ends the path.

    It goes before a query string, which is sent as it is; a file URL has none.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return url + SUFFIX
    return parts._replace(path=parts.path + SUFFIX, fragment="").geturl()


def release_comment(order: Order, file_name: str) -> str:
    """Compose the trusted comment of a release: minisign's own, and the release's number.

    What minisign would not print of the file's name, or could be taken for another field, is
    replaced.
    """
    name = _NO_FILE_NAME.sub("_", file_name)
    return f"timestamp:{order.time_s}\tfile:{name}\thashed\trelease:{order.number}"


def read_order(comment: str) -> Order | None:
    """Read a trusted comment; None if it does not say when it was signed.

    Fields end with tabs. Of several with one name the first counts.
    """
    fields: dict[str, str] = {}
    for field in comment.split("\t"):
        name, _, value = field.partition(":")
        fields.setdefault(name, value)
    time_s, number = fields.get("timestamp", ""), fields.get("release", "0")
    if not _TIME_S.fullmatch(time_s) or not _NUMBER.fullmatch(number):
        return None
    return Order(int(time_s), int(number))


def judge_order(
    order: Order | None, digest: str, url: str, newest: Vouched | None, keys: Collection[str]
) -> Refusal | None:
    """Decide whether a release may follow the newest one that was ever accepted.

    New keys alone leave the order in force: they may be a rotation. With another URL besides, it
    is another publication, which begins anew.

    Args:
        order: of the release, whose signature is right.
        digest: the SHA-256 of its bytes, in hex.
        url: where it came from.
        newest: that was accepted.
        keys: that are configured.

    Returns:
        None if it is accepted.
    """
    if order is None:
        return Refusal.UNDATED
    if newest is None or (newest.url != url and newest.key not in keys):
        return None
    if digest == newest.digest:
        return None
    if order < newest.order:
        return Refusal.OLDER
    return Refusal.AMBIGUOUS if order == newest.order else None


def next_wait_s(refusals: Sequence[Refusal], *, is_known: bool) -> float | None:
    """Decide how long to wait before a refused release and its signature are fetched again.

    They are two files, replaced one after the other: until both are, the signature is wrong, and
    that gets a minute. Where there is no signature, or another key's, there is less: else those who
    ask for signatures where there are none would wait for nothing. Whatever it is, a cache may be
    at fault, so that all are fetched once more, past caches.

    Args:
        refusals: of the tries so far.
        is_known: the last check gave up on the same bytes for the same reason.

    Returns:
        Seconds; None: no more tries.
    """
    tries, reason = len(refusals), refusals[-1]
    if tries == 1:
        return _WAITS_S[0]
    if is_known or tries > len(_WAITS_S):
        return None
    if reason is Refusal.FORGED:
        return _WAITS_S[tries - 1]
    if reason in _NOT_THERE_YET and sum(_WAITS_S[:tries]) <= _SHORT_PATIENCE_S:
        return _WAITS_S[tries - 1]
    return None


def key_id(public_key: str) -> str:
    """The id of a public key as minisign prints it: 16 hexadecimal digits."""
    return show_key_id(b64decode(public_key)[2:10])


def show_key_id(raw: bytes) -> str:
    """Write a key id, 8 bytes, as minisign prints it: the last byte first."""
    return raw[::-1].hex().upper()
