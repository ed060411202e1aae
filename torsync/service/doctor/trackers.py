"""What a tracker says of a torrent, over HTTP (BEP 3, BEP 48) or UDP (BEP 15)."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import bencode2

from torsync.model.checkup import Finding, failed, ok, warning
from torsync.model.errors import RemoteError
from torsync.model.secrets import Redactor, mask_tracker, secrets_of_tracker
from torsync.service.doctor.reach import resolve
from torsync.subscribe.remote.rules import Timeouts
from torsync.swarm.peer_id import passing_peer_id
from torsync.swarm.udp_tracker import PORT_OF_NOBODY, Announced, TrackerError, ask_tracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torsync.subscribe.remote.exchange import Exchange

_TIMEOUTS = Timeouts(connect_s=4.0, read_s=6.0, total_s=9.0, attempts=1)
_UDP_S = 6.0
_MOST_BYTES = 256 * 1024
_REFUSED = (
    "the publisher has to register the torrent there, or to name another tracker; private "
    "trackers also want the passkey in the URL to be right"
)
_TELL = "tell the publisher, or who runs the tracker"


def check_tracker(url: str, info_hashes: Sequence[bytes]) -> tuple[Finding, bool]:
    """Ask how many there are; only if it knows no seed, join the swarm for a moment to see why.

    Args:
        url: to announce to; its path may be a secret, and is not shown.
        info_hashes: of the torrent, by which swarms are told apart.

    Returns:
        What was found, and whether the tracker knows a seed.
    """
    shown = mask_tracker(url)
    is_udp = urlsplit(url).scheme == "udp"
    answers = []
    for info_hash in info_hashes:
        try:
            if is_udp:
                answers.append(_ask_udp(url, info_hash))
            else:
                answers.append(_ask_http(url, info_hash))
        except TrackerError as error:  # noqa: PERF203 - of few
            # It may say again what it was asked, with a passkey in it.
            said = Redactor(secrets_of_tracker(url)).text(error.message)
            return failed("tracker", f"{shown}: {said}", error.hint or _REFUSED), False
    return judge_answers(shown, answers), any(answer.seeds > 0 for answer in answers)


def judge_answers(shown: str, answers: Sequence[Announced]) -> Finding:
    """Decide what a tracker's answers say."""
    seeds = max((answer.seeds for answer in answers), default=-1)
    leechers = max((answer.leechers for answer in answers), default=-1)
    peers = max((answer.peers for answer in answers), default=0)
    if seeds < 0:
        return ok("tracker", f"{shown} answers, with {peers} peers")
    said = f"{shown} answers: {seeds} seeds, {max(leechers, 0)} others"
    if seeds == 0 and leechers <= 0:
        nobody = "start the publisher's seed, and see that it announces to this tracker"
        return warning("tracker", f"{said}: it knows nobody", nobody)
    return ok("tracker", said)


def _ask_udp(url: str, info_hash: bytes) -> Announced:
    parts = urlsplit(url)
    port = parts.port or 0
    found = resolve(parts.hostname or "", port, socket.SOCK_DGRAM) if port else "it has no port"
    if isinstance(found, str):
        raise TrackerError(
            f"no address: {found}", hint="check the network; else tell the publisher"
        )
    failures = []
    for family, host, at in found[:2]:
        try:
            return ask_tracker(family, host, at, info_hash, timeout_s=_UDP_S / len(found[:2]))
        except TrackerError as error:  # noqa: PERF203 - another address may do
            failures.append(error)
    raise failures[0]


def _ask_http(url: str, info_hash: bytes) -> Announced:
    from torsync.subscribe.remote.exchange import Exchange  # noqa: PLC0415 - requests is slow

    deadline = time.monotonic() + _TIMEOUTS.total_s
    with Exchange(url, headers={}, timeouts=_TIMEOUTS, deadline=lambda: deadline) as exchange:
        known = _scrape(exchange, url, info_hash)
        if known is not None and known.seeds > 0:
            return known
        query: dict[str, bytes | str | int] = {
            "info_hash": info_hash[:20],
            "peer_id": passing_peer_id("doctr"),
            "port": PORT_OF_NOBODY,
            "uploaded": 0,
            "downloaded": 0,
            "left": 1,
            "compact": 1,
        }
        try:
            answer = _get(exchange, url, {**query, "numwant": 50})
            _get(exchange, url, {**query, "numwant": 0, "event": "stopped"})
        except RemoteError as error:
            found = error.message.rpartition("found ")[2]
            raise TrackerError(
                found, hint="check the network; else it is down: try later"
            ) from None
    return read_answer(answer)


def _get(exchange: Exchange, url: str, query: Mapping[str, bytes | str | int]) -> bytes:
    from torsync.subscribe.remote.exchange import place_of  # noqa: PLC0415 - requests is slow

    glue = "&" if urlsplit(url).query else "?"
    # A plus sign would not be read as the byte 0x20.
    place = place_of(f"{url}{glue}{urlencode(query, quote_via=quote)}")
    with exchange.ask("GET", place, {"Accept-Encoding": "identity"}) as (answer, _):
        body = answer.raw.read(_MOST_BYTES, decode_content=True)
        if answer.status_code != 200 and not body.startswith(b"d"):
            raise TrackerError(f"status {answer.status_code}", hint=_REFUSED)
        return bytes(body)


def _scrape(exchange: Exchange, url: str, info_hash: bytes) -> Announced | None:
    """Ask how many there are, without joining them (BEP 48); None if it does not say."""
    address = scrape_url(url)
    if address is None:
        return None
    try:
        found = bencode2.bdecode(_get(exchange, address, {"info_hash": info_hash[:20]}))
        counts = found[b"files"][info_hash[:20]]
        return Announced(int(counts[b"complete"]), int(counts.get(b"incomplete", 0)), 0)
    except (RemoteError, TrackerError, ValueError, RecursionError, LookupError, TypeError):
        return None  # the announce tells


def scrape_url(url: str) -> str | None:
    """Decide where a tracker is scraped (BEP 48); None if its announce URL leaves no way to it."""
    parts = urlsplit(url)
    folder, _, name = parts.path.rpartition("/")
    if not name.startswith("announce"):
        return None
    scrape = f"{folder}/scrape{name.removeprefix('announce')}"
    return parts._replace(path=scrape).geturl()


def read_answer(body: bytes) -> Announced:
    """Read what an HTTP tracker answers (BEP 3, BEP 23).

    Raises:
        TrackerError: it refuses, or that is no answer of a tracker.
    """
    try:
        found: Any = bencode2.bdecode(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TrackerError("what it answers is not bencoded", hint=_TELL)
    refusal = found.get(b"failure reason")
    if isinstance(refusal, bytes):
        raise TrackerError(f"it refuses: {refusal[:200].decode('utf-8', 'replace')}", hint=_REFUSED)
    seeds, leechers = (
        value if isinstance(value := found.get(key), int) else -1
        for key in (b"complete", b"incomplete")
    )
    peers = 0
    for key, size in ((b"peers", 6), (b"peers6", 18)):
        listed = found.get(key)
        if isinstance(listed, (bytes, list)):
            peers += len(listed) // (size if isinstance(listed, bytes) else 1)
    # The one that asks has been counted.
    return Announced(seeds, max(0, leechers - 1) if leechers >= 0 else -1, peers)
