"""One torrent in a session: what is known of it, waiting for it, taking it out again."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import libtorrent as lt

from torsync.model.errors import DiskFullError, SwarmError, TreeError
from torsync.model.secrets import Redactor, mask_tracker, secrets_of_tracker
from torsync.swarm.claims import WrongClaimError
from torsync.swarm.events import (
    AlertsDropped,
    FileFailed,
    Finished,
    HashFailed,
    PeerCalled,
    PeerNotReached,
    Removed,
    SwarmEvent,
    TorrentFailed,
    TrackerFailed,
    TrackerReplied,
    WebSeedFailed,
)
from torsync.swarm.memory import return_freed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from torsync.swarm.held_web_seeds import HeldWebSeeds
    from torsync.swarm.share import Share

_REMOVAL_DEADLINE_S = 60.0
_SLOW_REMOVAL_S = 1.0
_MOST_PEERS = 200
NOWHERE = "/sys/torsync-nowhere"
"""Where files are mapped to that must be neither read nor written: sysfs lets nobody make it."""


@dataclass(frozen=True, slots=True)
class AddRequest:
    """What to add to a session, and what is there already.

    Attributes:
        metainfo: gives the bytes of the ``.torrent``.
        save_path: absolute folder that relative ``paths`` start at.
        paths: one per file of the manifest (pad files left out), in its order.
        sizes: bytes of each of these files, to be sure that both mean the same files.
        have: one byte per piece; 1 where the content at ``paths`` is right. Nothing is checked.
        wanted: one byte per piece; 0 for pieces that are not to be fetched.
        peers: host and port of peers to try besides those found.
        web_seeds: URLs besides those in the torrent.
        use_web_seeds: False to use none, not even the torrent's own.
        web_seed_machines: hosts of the torrent's own web seeds that are left alone while a peer at
            one of these addresses sends; see ``held_web_seeds``.
        upload_only: never ask anybody for anything, so that nothing is ever written.
        unfinished: piece → one byte per block of 16 KiB (BEP 3); 1 where its content is at
            ``paths`` already. The blocks of a piece are checked when all of it is there.
    """

    metainfo: Callable[[], bytes]
    save_path: str
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    have: bytes
    wanted: bytes
    peers: tuple[tuple[str, int], ...] = ()
    web_seeds: tuple[str, ...] = ()
    use_web_seeds: bool = True
    web_seed_machines: Mapping[str, frozenset[str]] = field(default_factory=dict)
    upload_only: bool = False
    unfinished: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TorrentProgress:
    """A moment's figures; sizes in bytes, rates in bytes per second."""

    bytes_done: int
    bytes_wanted: int
    payload_downloaded: int
    payload_uploaded: int
    download_rate: int
    upload_rate: int
    peers: int
    overhead_downloaded: int = 0


@dataclass
class SwarmNews:
    """What trackers, web seeds and peers had to say, newest last; bounded."""

    trackers: dict[str, str] = field(default_factory=dict)
    web_seeds: dict[str, str] = field(default_factory=dict)
    hash_failures: int = 0

    def reasons(
        self,
        show_url: Callable[[str], str],
        show_tracker: Callable[[str], str] = mask_tracker,
    ) -> list[str]:
        """Why nothing may be arriving, one sentence each; URLs are shown without secrets."""
        found = []
        for url, message in self.trackers.items():
            said = Redactor(secrets_of_tracker(url)).text(message)
            found.append(f"the tracker {show_tracker(url)} said: {said}")
        found += [
            f"the web seed {show_url(url)} failed: {said}" for url, said in self.web_seeds.items()
        ]
        if self.hash_failures:
            found.append(
                f"{self.hash_failures} pieces arrived with wrong content and were thrown away"
            )
        return found


class Torrent:
    """A torrent that has been added; made by ``Swarm.add``.

    The session's alert thread tells it events; one other thread uses it.
    """

    def __init__(
        self,
        handle: lt.torrent_handle,
        discard: Callable[[lt.torrent_handle], None],
        forget: Callable[[], None],
        endpoints: Callable[[], tuple[tuple[str, int], ...]],
        share: Share,
        held: HeldWebSeeds,
        claimed: Container[int] = (),
        free_openers: Callable[[], None] = lambda: None,
    ) -> None:
        self._handle = handle
        self._free_openers = free_openers
        self._discard = discard
        self._forget = forget
        self._share = share
        self._held = held
        self.endpoints = endpoints
        """Gives where its session listens for peers: address and TCP port of each socket."""
        self._changed = threading.Condition()
        self._finished = False
        self._removed = False
        self._called: dict[tuple[str, int], None] = {}
        self._failure: TreeError | SwarmError | None = None
        self._claimed = claimed
        self._alerts_dropped = False
        self.wrong_claim: WrongClaimError | None = None
        """That a piece with claimed blocks failed its hash, if one did."""
        self.wrong_pieces: set[int] = set()
        """Those of them that are known; libtorrent may have fetched one again since."""
        self._fresh: deque[SwarmEvent] = deque(maxlen=100)
        self.news = SwarmNews()

    # --- told by the session ----------------------------------------------------------------

    def tell(self, event: SwarmEvent) -> None:
        """Take note of an event of this torrent."""
        with self._changed:
            match event:
                case Finished():
                    self._finished = True
                case Removed():
                    self._removed = True
                case PeerCalled() if len(self._called) < _MOST_PEERS:
                    self._called[event.peer] = None
                case PeerNotReached():
                    self._called.pop(event.peer, None)
                case TorrentFailed() if event.path.startswith(NOWHERE):
                    with suppress(RuntimeError):  # it may be gone
                        self._handle.clear_error()  # a block that nobody asked for was to be hashed
                        self._handle.resume()
                    return
                case FileFailed() if event.path.startswith(NOWHERE):
                    return  # what was to be: somebody asked for a file that is withheld
                case FileFailed():
                    self._failure = self._failure or _file_failure(event)
                case TorrentFailed():
                    self._failure = self._failure or SwarmError(
                        f"libtorrent gave up on the torrent: {event.message}"
                    )
                case HashFailed():
                    self.news.hash_failures += 1
                    if event.piece in self._claimed:
                        self.wrong_pieces.add(event.piece)
                        self.wrong_claim = self.wrong_claim or WrongClaimError(event.piece)
                case AlertsDropped():
                    self._alerts_dropped = True
                case TrackerFailed():
                    self.news.trackers[event.url] = event.message
                    self._fresh.append(event)
                case TrackerReplied():
                    self.news.trackers.pop(event.url, None)
                case WebSeedFailed():
                    self.news.web_seeds[event.url] = event.message
                    self._fresh.append(event)
                case _:
                    return
            self._changed.notify_all()

    # --- asked by its user ------------------------------------------------------------------

    def wait(self, timeout_s: float) -> bool:
        """Wait until every wanted piece has arrived; False after ``timeout_s``.

        Each call looks at which other subscribers there are to share the fetching with, and
        whether the web seeds that are held back are needed.

        Raises:
            TreeError: a file could not be read or written; the first such error.
            WrongClaimError: the first piece with claimed blocks failed its hash. The torrent is
                to be removed: libtorrent blames the peers that sent the other blocks.
            SwarmError: the torrent cannot go on.
        """
        if not self._finished:
            self._share.update()
            self._held.update()
        with self._changed:
            self._changed.wait_for(
                lambda: self._finished or self._failure is not None or self.wrong_claim is not None,
                timeout=timeout_s,
            )
            self._raise_failure()
            if not self._finished:  # its alert may have been dropped
                status = self._handle.status(0)
                self._finished = status.is_finished
                if self._alerts_dropped and self._claimed and status.total_failed_bytes:
                    self.wrong_claim = self.wrong_claim or WrongClaimError()
            if not self._finished and self.wrong_claim is not None:
                raise self.wrong_claim
            return self._finished

    def raise_failure(self) -> None:
        """Raise the first file error since the torrent was added, if there was one.

        Raises:
            TreeError: a file could not be read or written.
            SwarmError: the torrent cannot go on.
        """
        with self._changed:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def fresh_failures(self) -> list[SwarmEvent]:
        """What trackers and web seeds failed with since the last call."""
        with self._changed:
            found = list(self._fresh)
            self._fresh.clear()
            return found

    def progress(self) -> TorrentProgress:
        """Ask for the current figures."""
        status = self._handle.status(0)
        return TorrentProgress(
            bytes_done=status.total_wanted_done,
            bytes_wanted=status.total_wanted,
            payload_downloaded=status.total_payload_download,
            payload_uploaded=status.total_payload_upload,
            download_rate=status.download_payload_rate,
            upload_rate=status.upload_payload_rate,
            peers=status.num_peers,
            overhead_downloaded=status.total_download - status.total_payload_download,
        )

    def pieces(self) -> bytes:
        """One byte per piece, 1 where its hash was checked or it was claimed."""
        return bytes(self._handle.status(lt.torrent_handle.query_pieces).pieces)

    def listening_peers(self) -> tuple[tuple[str, int], ...]:
        """Peers that torsync called: only their ports are ones they listen on.

        They need not be connected now: seeds leave as soon as there is nothing left to send.
        """
        web_seeds = {*self._handle.url_seeds(), *self._held.urls}
        with self._changed:
            # libtorrent calls web seeds like peers; where a name leads is not known here.
            web_ports = {_port(url) for url in (*web_seeds, *self.news.web_seeds)}
            return tuple(peer for peer in self._called if peer[1] not in web_ports)

    def replace_sources(self, trackers: Iterable[Iterable[str]], web_seeds: Iterable[str]) -> None:
        """Use these tracker tiers and web seeds from now on."""
        tiers = [{"url": url, "tier": tier} for tier, urls in enumerate(trackers) for url in urls]
        self._handle.replace_trackers(tiers)  # type: ignore[arg-type] # the stub wants all keys
        wanted = set(web_seeds)
        present = set(self._handle.url_seeds())
        for url in present - wanted:
            self._handle.remove_url_seed(url)
        for url in wanted - present:
            self._handle.add_url_seed(url)
        self._handle.force_reannounce()

    def super_seed(self) -> None:
        """Show each peer few pieces, so that they get them from one another (BEP 16)."""
        self._handle.set_flags(lt.torrent_flags.super_seeding)

    def is_sent_once(self) -> bool:
        """Whether some peer has all pieces but two: what super-seeding is for is reached.

        libtorrent 2.1.1 would keep the last piece from the only peer that there is, for ever, also
        if it is told to seed as usual from then on.
        """
        enough = len(self.pieces()) - 2
        return any(peer.num_pieces >= enough for peer in self._handle.get_peer_info())

    def is_wanted(self) -> bool:
        """Whether some connected peer does not have all pieces yet."""
        return any(not peer.flags & lt.peer_info.seed for peer in self._handle.get_peer_info())

    def sources(self) -> tuple[set[str], set[str]]:
        """The trackers and web seeds in use."""
        trackers = {str(entry["url"]) for entry in self._handle.trackers()}
        return trackers, set(self._handle.url_seeds())

    def web_seeds(self) -> list[str]:
        """The web seeds that libtorrent has now."""
        return sorted(self._handle.url_seeds())

    def halt(self) -> None:
        """Leave all peers, so that all they sent is counted: that is done once a second."""
        self._handle.unset_flags(lt.torrent_flags.auto_managed)
        self._handle.pause()

    def is_gone(self) -> bool:
        """Whether libtorrent has taken it out; its last alerts may be still to come."""
        return not self._handle.is_valid()

    def remove(self) -> None:
        """Take the torrent out and wait until its files are closed.

        Raises:
            TreeError: libtorrent did not let go of the files in time, after one of them failed.
            SwarmError: libtorrent did not let go of the files in time.
        """
        deadline = time.monotonic() + _REMOVAL_DEADLINE_S
        self._discard(self._handle)
        gone = False
        while not gone and time.monotonic() < deadline:
            with self._changed:
                gone = self._changed.wait_for(lambda: self._removed, timeout=_SLOW_REMOVAL_S)
            if not gone:
                self._free_openers()
        self._forget()
        return_freed_memory()
        if not gone:
            self.raise_failure()
            raise SwarmError(
                f"libtorrent did not close the torrent's files within {_REMOVAL_DEADLINE_S:.0f} s",
                hint="the disk may be stuck; look at the system's log",
            )


def _port(url: str) -> int:
    """The port of a web seed; 0 if the URL makes no sense."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return 0
    return port or (443 if parts.scheme == "https" else 80)


def _file_failure(event: FileFailed) -> TreeError:
    message = f"could not read or write {event.path!r}: {event.message}"
    if event.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(
            message,
            path=event.path,
            hint="make room on the file system; the tree is as it was, and what was fetched so "
            "far is kept for the next try",
        )
    return TreeError(
        message,
        path=event.path,
        hint="the tree is as it was; mend the cause (permissions, disk) and try again",
    )
