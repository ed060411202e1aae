"""What a tracker says of a torrent: an announce over HTTP (BEP 3) or UDP (BEP 15)."""

from __future__ import annotations

import secrets
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import bencode2

from torsync.model.checkup import Finding, failed, ok, warning
from torsync.model.errors import RemoteError
from torsync.service.doctor.reach import resolve
from torsync.subscribe.remote.rules import Timeouts, mask_url
from torsync.swarm.udp_tracker import Announced, TrackerError, announce

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMEOUTS = Timeouts(connect_s=4.0, read_s=6.0, total_s=9.0, attempts=1)
_UDP_S = 6.0
_MOST_BYTES = 256 * 1024
_REFUSED = (
    "the publisher has to register the torrent there, or to name another tracker; private "
    "trackers also want the passkey in the URL to be right"
)
_TELL = "tell the publisher, or who runs the tracker"


def check_tracker(url: str, info_hashes: Sequence[bytes], listen_port: int) -> tuple[Finding, bool]:
    """Join a swarm for a moment, and leave it again.

    Args:
        url: to announce to; its path may be a secret, and is not shown.
        info_hashes: of the torrent, by which swarms are told apart.
        listen_port: that the tracker is told.

    Returns:
        What was found, and whether the tracker knows a seed.
    """
    shown = show_tracker(url)
    is_udp = urlsplit(url).scheme == "udp"
    answers = []
    for info_hash in info_hashes:
        try:
            if is_udp:
                answers.append(_ask_udp(url, info_hash, listen_port))
            else:
                answers.append(_ask_http(url, info_hash, listen_port))
        except TrackerError as error:  # noqa: PERF203 - of few
            return failed("tracker", f"{shown}: {error.message}", error.hint or _REFUSED), False
    return judge_answers(shown, answers), any(answer.seeds > 0 for answer in answers)


def show_tracker(url: str) -> str:
    """Show a tracker's URL without its path and query, in which a passkey may be."""
    return mask_url(urlsplit(url)._replace(path="", query="", fragment="").geturl())


def judge_answers(shown: str, answers: Sequence[Announced]) -> Finding:
    """Decide what a tracker's answers say."""
    seeds = max((answer.seeds for answer in answers), default=-1)
    leechers = max((answer.leechers for answer in answers), default=-1)
    peers = max((answer.peers for answer in answers), default=0)
    if seeds < 0:
        return ok("tracker", f"{shown} answers, with {peers} peers")
    others = max(leechers - 1, 0)  # the one that asked has been counted
    said = f"{shown} answers: {seeds} seeds, {others} others"
    if seeds == 0 and peers == 0:
        nobody = "start the publisher's seed, and see that it announces to this tracker"
        return warning("tracker", f"{said}: it knows nobody", nobody)
    return ok("tracker", said)


def _ask_udp(url: str, info_hash: bytes, listen_port: int) -> Announced:
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
            return announce(
                family,
                host,
                at,
                info_hash,
                listen_port=listen_port,
                timeout_s=_UDP_S / len(found[:2]),
            )
        except TrackerError as error:  # noqa: PERF203 - another address may do
            failures.append(error)
    raise failures[0]


def _ask_http(url: str, info_hash: bytes, listen_port: int) -> Announced:
    from torsync.subscribe.remote.exchange import Exchange, place_of  # noqa: PLC0415 - requests

    deadline = time.monotonic() + _TIMEOUTS.total_s
    peer_id = "-TSdoctr" + secrets.token_hex(6)
    with Exchange(url, headers={}, timeouts=_TIMEOUTS, deadline=lambda: deadline) as exchange:

        def ask(**more: str | int) -> bytes:
            query = {
                "info_hash": info_hash[:20],
                "peer_id": peer_id,
                "port": listen_port,
                "uploaded": 0,
                "downloaded": 0,
                "left": 1,
                "compact": 1,
                **more,
            }
            glue = "&" if urlsplit(url).query else "?"
            # A plus sign would not be read as the byte 0x20.
            place = place_of(f"{url}{glue}{urlencode(query, quote_via=quote)}")
            with exchange.ask("GET", place, {"Accept-Encoding": "identity"}) as (answer, _):
                body = answer.raw.read(_MOST_BYTES, decode_content=True)
                if answer.status_code != 200 and not body.startswith(b"d"):
                    raise TrackerError(f"status {answer.status_code}", hint=_REFUSED)
                return bytes(body)

        try:
            answer = ask(numwant=50)
            ask(numwant=0, event="stopped")
        except RemoteError as error:
            found = error.message.rpartition("found ")[2]
            raise TrackerError(
                found, hint="check the network; else it is down: try later"
            ) from None
    return read_answer(answer)


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
        listed = found.get(key, b"")
        peers += len(listed) // (size if isinstance(listed, bytes) else 1)
    return Announced(seeds, leechers, peers)
