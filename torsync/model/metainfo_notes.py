"""What a ``.torrent`` says outside its info dictionary.

Wrong types are ignored: the content does not depend on any of it.
"""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TIME_S = 253_402_300_799  # the last second of the year 9999
MAX_LABEL_BYTES = 1024  # file systems hold no name of more than 255
MAX_HINTS_BYTES = 2048
"""Of a reference to a hints file: more than any server takes."""

_HOST = re.compile(rb"[0-9A-Za-z._:%-]{1,253}", re.ASCII)  # or an address of IPv6

_Dict = dict[bytes, Any]


def label(name: object) -> str:
    """The root name as a label, cut where it is absurdly long; it is never used as a path."""
    found = name[:MAX_LABEL_BYTES].decode(errors="replace") if isinstance(name, bytes) else ""
    return "".join(char if char.isprintable() else "\ufffd" for char in found) or "unnamed"


def text(value: object) -> str:
    """A string for people; empty if it is none."""
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def optional_time(value: object) -> int | None:
    """A Unix time of this side of the year 10000; anything else counts as not given."""
    return value if isinstance(value, int) and 0 < value <= MAX_TIME_S else None


def trackers(outer: _Dict) -> tuple[tuple[str, ...], ...]:
    """Tiers of announce URLs (BEP 3, BEP 12)."""
    listed = outer.get(b"announce-list")
    tiers = []
    for tier in listed if isinstance(listed, list) else []:
        urls = tuple(_urls(tier, {"http", "https", "udp"}))
        if urls:
            tiers.append(urls)
    if not tiers:
        tiers = [(url,) for url in _urls([outer.get(b"announce")], {"http", "https", "udp"})]
    return tuple(tiers)


def web_seeds(outer: _Dict) -> tuple[str, ...]:
    """BEP 19 URLs."""
    listed = outer.get(b"url-list")
    return tuple(_urls(listed if isinstance(listed, list) else [listed], {"http", "https"}))


def _urls(values: object, schemes: set[str]) -> list[str]:
    found: dict[str, None] = {}  # in order, each once; there can be a million of them
    for value in values if isinstance(values, list) else []:
        try:
            url = value.decode().strip() if isinstance(value, bytes) else ""
            parts = urlsplit(url)
            _in_range = parts.port
        except ValueError:
            continue
        if parts.scheme in schemes and parts.netloc and url.isprintable():
            found[url] = None
    return list(found)


def nodes(outer: _Dict) -> tuple[tuple[str, int], ...]:
    """DHT nodes (BEP 5), host and port."""
    listed = outer.get(b"nodes")
    found = []
    for node in listed if isinstance(listed, list) else []:
        if isinstance(node, list) and len(node) == 2:
            host, port = node
            is_host = isinstance(host, bytes) and _HOST.fullmatch(host)
            if is_host and isinstance(port, int) and 0 < port < 65536:
                found.append((host.decode("ascii"), port))
    return tuple(found)


def hints(outer: _Dict) -> str:
    """Where torsync's publisher says that the hints file is, as a reference (RFC 3986).

    It is outside the info dictionary, as ``hints`` under the key ``torsync``.

    Returns:
        Printable ASCII of at most ``MAX_HINTS_BYTES``; empty if there is none.
    """
    extra = outer.get(b"torsync")
    found = extra.get(b"hints") if isinstance(extra, dict) else None
    if not isinstance(found, bytes) or len(found) > MAX_HINTS_BYTES:
        return ""
    return found.decode("ascii") if all(0x20 < byte < 0x7F for byte in found) else ""


def modification_times(outer: _Dict, files: int) -> Sequence[int]:
    """What torsync's publisher says of modification times, in Unix seconds.

    They are outside the info dictionary, as ``mtimes`` under the key ``torsync``, so that the
    same content has the same info-hash wherever it is published.

    Args:
        outer: the whole ``.torrent``.
        files: how many files and links it lists.

    Returns:
        One per file and link, in their order; whether it is a sensible time is not looked at.
        Nothing at all if there is not exactly one integer of 64 bits for each.
    """
    extra = outer.get(b"torsync")
    listed = extra.get(b"mtimes") if isinstance(extra, dict) else None
    if not isinstance(listed, list) or len(listed) != files:
        return ()
    try:
        return array("q", listed)
    except (TypeError, OverflowError):
        return ()
