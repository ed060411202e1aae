"""What a request asks for: its path, its range, its conditions and preferences; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.IGNORECASE)
_WAIT = re.compile(r'wait[ \t]*=[ \t]*"?([0-9]+)"?[ \t]*(?:;.*)?', re.IGNORECASE | re.DOTALL)
_MOST_DIGITS = 18  # more than any file has; Python refuses to read thousands of them


class Span(NamedTuple):
    """A part of a file: ``start`` up to, but not including, ``end``, in bytes."""

    start: int
    end: int


class UnsatisfiableRangeError(Exception):
    """A range that begins after the end of the file (RFC 9110, section 14.1.1)."""


def path_components(raw: bytes) -> tuple[str, ...] | None:
    """Take the path of a request apart, before anything in it is decoded.

    Args:
        raw: the request's target without its query, as it came.

    Returns:
        The components, percent-decoded once; None if one of them could mean another path
        than it shows: empty, ``.``, ``..``, with a slash or a NUL in it, or not UTF-8.
    """
    if not raw.startswith(b"/"):
        raw = _origin_form(raw)
    if raw == b"/":
        return ()
    decoded = [unquote_to_bytes(part) for part in raw[1:].split(b"/")]
    if any(part in {b"", b".", b".."} or b"/" in part or b"\0" in part for part in decoded):
        return None
    try:
        return tuple(part.decode() for part in decoded)
    except UnicodeDecodeError:
        return None


def _origin_form(raw: bytes) -> bytes:
    """Drop scheme and host, which a server has to accept (RFC 9112, section 3.2.2)."""
    scheme, _, rest = raw.partition(b"://")
    if scheme.lower() not in {b"http", b"https"}:
        return b"//"  # no path at all
    return b"/" + rest.partition(b"/")[2]


def parse_range(value: str, size_bytes: int) -> Span | None:
    """Read a header ``Range`` (RFC 9110, section 14.2).

    Args:
        value: of the header.
        size_bytes: of the file.

    Returns:
        The bytes that are asked for; None for all of them: there is no range, it is not
        understood, or there are several, which a server may ignore.

    Raises:
        UnsatisfiableRangeError: there is nothing of it in the file.
    """
    match = _RANGE.fullmatch(value)
    if match is None:
        return None
    first, last, suffix = (_number(text) for text in match.groups())
    if suffix is not None:
        if not suffix:
            raise UnsatisfiableRangeError
        return Span(max(size_bytes - suffix, 0), size_bytes) if size_bytes else None
    assert first is not None
    if last is not None and last < first:
        return None  # not valid, and to be ignored (section 14.1.1)
    if first >= size_bytes:
        raise UnsatisfiableRangeError
    return Span(first, size_bytes if last is None else min(last + 1, size_bytes))


def _number(text: str | None) -> int | None:
    if not text:
        return None
    return int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS


def is_match(if_none_match: str, etag: str) -> bool:
    """Whether a header ``If-None-Match`` names this version (RFC 9110, section 13.1.2)."""
    if if_none_match.strip() == "*":
        return True
    return any(tag == etag for _weak, tag in _ENTITY_TAG.findall(if_none_match))


def allows_range(if_range: str, etag: str) -> bool:
    """Whether a header ``If-Range`` is absent or names this version (RFC 9110, section 13.1.5).

    A date never does, as the feed gives none; nor does a weak tag.
    """
    return not if_range or if_range.strip() == etag


def preferred_wait_s(preferences: Iterable[str]) -> int:
    """Read ``wait`` from the headers ``Prefer`` (RFC 7240, section 4.3); 0 without one.

    The first one counts, where there are several.
    """
    for value in preferences:
        for preference in value.split(","):
            if match := _WAIT.fullmatch(preference.strip()):
                return _number(match[1]) or 0
    return 0
