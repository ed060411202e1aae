"""A real tracker on loopback: Debian's opentracker, which serves only what it is told to.

with Tracker([torrent]) as tracker:
    torrent = with_trackers(torrent, [tracker.http_url])
    seeder.add(torrent, folder)
    tracker.wait_for_peer(torrent, seeder.port)
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
from typing import TYPE_CHECKING, Any, Union
from urllib.parse import quote, urlencode

import bencode2

from tests.support.processes import HOST, ServerProcess, free_port
from tests.support.programs import require
from tests.support.torrents import V1_HASH_SIZE, info_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable

Named = Union[str, bytes]

_WHITELIST = "whitelist"
_PEER_ID = b"-XX0000-000000000000"
_NOBODY_LISTENS = 9


class Tracker(ServerProcess):
    """An opentracker, TCP and UDP on one port.

    Info-hashes can be given as the bytes of a ``.torrent``, as 20 or 32 bytes, or in hex;
    those of v2 are cut to 20 bytes, as on the wire (BEP 52).

    Attributes:
        host: an address of the loopback interface, another one for each tracker: libtorrent
            keeps connection ids of UDP trackers (BEP 15) for a minute per process and address,
            and a tracker refuses those that are another's.
        port: for TCP and UDP.
    """

    def __init__(
        self, info_hashes: Iterable[Named] = (), *, host: str = "", port: int | None = None
    ) -> None:
        """Start it and return once it answers and its whitelist is in force.

        Args:
            info_hashes: what it serves; ``allow`` adds to it.
            host: address to listen on; empty takes a new one of the loopback interface.
            port: TCP and UDP; None takes a free one.
        """
        program = require("opentracker")
        super().__init__()
        try:
            # Started by root it becomes another user, who has to read the whitelist.
            self.folder.chmod(0o755)
            self._allowed: list[bytes] = []
            for given in info_hashes:
                self._allowed += _hashes(given)
            self.host = host or f"127.{_number()}.{_number()}.{_number()}"
            self.port = free_port(udp=True) if port is None else port
            probe = self._write_whitelist()
            place = ["-i", self.host, "-p", str(self.port), "-P", str(self.port)]
            # It refuses to run as root; any other user cannot change to another one.
            user = ["-u", "nobody"] if os.geteuid() == 0 else []
            self._start([program, *place, *user, "-d", str(self.folder), "-w", _WHITELIST])
            self._wait(lambda: self._serves(probe), "it serves what is allowed")
        except BaseException:
            self.close()
            raise

    @property
    def http_url(self) -> str:
        """The announce URL over TCP."""
        return f"http://{self.host}:{self.port}/announce"

    @property
    def udp_url(self) -> str:
        """The announce URL over UDP (BEP 15)."""
        return f"udp://{self.host}:{self.port}/announce"

    def allow(self, info_hash: Named) -> None:
        """Serve one more torrent; returns once that is in force. Peers are not forgotten."""
        self._allowed += _hashes(info_hash)
        probe = self._write_whitelist()
        os.kill(self.pid, signal.SIGHUP)
        self._wait(lambda: self._serves(probe), "the new whitelist is in force")

    def peers(self, info_hash: Named) -> set[tuple[str, int]]:
        """Host and port of all peers of a torrent (of all its info-hashes).

        To ask, it joins for a moment as a peer whose port nobody listens on.
        """
        found: set[tuple[str, int]] = set()
        for wanted in _hashes(info_hash):
            answer = self._announce(wanted, event="started", numwant=200)
            self._announce(wanted, event="stopped")
            compact = answer[b"peers"]
            found |= {
                (
                    ".".join(map(str, compact[at : at + 4])),
                    int.from_bytes(compact[at + 4 : at + 6], "big"),
                )
                for at in range(0, len(compact), 6)
            }
        return found - {(HOST, _NOBODY_LISTENS)}

    def seeds(self, info_hash: Named) -> int:
        """How many announced to have everything, by scraping (of the first info-hash)."""
        return self._scrape(info_hash).get(b"complete", 0)

    def leechers(self, info_hash: Named) -> int:
        """How many announced to miss something, by scraping (of the first info-hash)."""
        return self._scrape(info_hash).get(b"incomplete", 0)

    def wait_for_peer(self, info_hash: Named, port: int, *, deadline_s: float = 15) -> None:
        """Return once the peer of 127.0.0.1 with that port is in the swarm."""
        peer = (HOST, port)
        self._wait(
            lambda: peer in self.peers(info_hash), f"{peer} announces", deadline_s=deadline_s
        )

    def wait_for_seeds(self, info_hash: Named, count: int, *, deadline_s: float = 15) -> None:
        """Return once so many have announced to have everything."""
        self._wait(
            lambda: self.seeds(info_hash) >= count, f"{count} seeds announce", deadline_s=deadline_s
        )

    def _write_whitelist(self) -> bytes:
        """Write what is allowed, and a new info-hash whose being served shows it is read."""
        probe = secrets.token_bytes(V1_HASH_SIZE)
        lines = [info_hash.hex() + "\n" for info_hash in (*self._allowed, probe)]
        fresh = self.folder / "fresh"
        fresh.write_text("".join(lines))
        fresh.chmod(0o644)
        fresh.replace(self.folder / _WHITELIST)
        return probe

    def _serves(self, info_hash: bytes) -> bool:
        try:
            # Who only leaves is never refused.
            is_served = b"failure reason" not in self._announce(info_hash, event="started")
            self._announce(info_hash, event="stopped")
        except OSError:
            return False
        return is_served

    def _announce(self, info_hash: bytes, **more: Any) -> dict[bytes, Any]:
        return self._get(
            "/announce",
            info_hash=info_hash,
            peer_id=_PEER_ID,
            port=_NOBODY_LISTENS,
            uploaded=0,
            downloaded=0,
            left=1,
            compact=1,
            **more,
        )

    def _scrape(self, info_hash: Named) -> dict[bytes, Any]:
        wanted = _hashes(info_hash)[0]
        files: dict[bytes, Any] = self._get("/scrape", info_hash=wanted)[b"files"]
        return files.get(wanted, {})

    def _get(self, path: str, **query: Any) -> dict[bytes, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            # A plus sign would not be read as the byte 0x20.
            connection.request("GET", f"{path}?{urlencode(query, quote_via=quote)}")
            return bencode2.bdecode(connection.getresponse().read())
        finally:
            connection.close()


def _number() -> int:
    return 1 + secrets.randbelow(254)


def _hashes(given: Named) -> list[bytes]:
    if isinstance(given, str):
        given = bytes.fromhex(given)
    if len(given) in {V1_HASH_SIZE, 32}:
        return [given[:V1_HASH_SIZE]]
    return info_hashes(given)
