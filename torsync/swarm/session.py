"""A libtorrent session, and the one place where torrents are added to it."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import bencode2
import libtorrent as lt

from torsync.model.errors import ManifestError, SwarmError, TreeError
from torsync.model.events import EventSink, Level, Notice, discard
from torsync.model.metainfo_notes import trackers, web_seeds
from torsync.swarm.alerts import best_hash, info_hash_of, translate
from torsync.swarm.calling import Calling
from torsync.swarm.claims import claims_to_make
from torsync.swarm.events import (
    AlertsDropped,
    FileFailed,
    ListenFailed,
    Listening,
    Removed,
    TorrentFailed,
)
from torsync.swarm.held_web_seeds import HeldWebSeeds, host_of
from torsync.swarm.loading import PAD, load
from torsync.swarm.memory import return_freed_memory
from torsync.swarm.openers import free_openers
from torsync.swarm.settings import session_settings
from torsync.swarm.share import PEER_ID_SIZE, Share
from torsync.swarm.torrent import AddRequest, Torrent

if TYPE_CHECKING:
    from torsync.model.config import SessionConfig
    from torsync.swarm.events import SwarmEvent

_ALERT_WAIT_MS = 200
_MANY_PIECES = 8192


class DuplicateTorrentError(SwarmError):
    """The session holds this info-hash already: it can do so once."""

    code = "duplicate_torrent"


class Swarm:
    """One libtorrent session with the thread that drains its alerts."""

    def __init__(self, config: SessionConfig, *, sink: EventSink = discard) -> None:
        """Start a session.

        Raises:
            SwarmError: libtorrent refused the settings.
        """
        self._sink = sink
        self._torrents: dict[bytes, Torrent] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._endpoints: dict[str, int] = {}
        self._says_redundant_have = "send_redundant_have" in config.settings
        self._ports = {int(listen.rpartition(":")[2]) for listen in config.listen}
        settings = session_settings(config)
        # Given in full, so that it is known which id other peers see.
        settings["peer_fingerprint"] = peer_id = _peer_id(str(settings["peer_fingerprint"]))
        self._peer_id = peer_id.encode()
        try:
            self._session: lt.session = lt.session(lt.session_params(cast("Any", settings)))
        except (RuntimeError, KeyError, TypeError) as error:
            raise SwarmError(f"libtorrent refused its settings: {error}") from error
        _limit_local_peers_too(self._session)
        self._calling = Calling(self._call_by_utp, config.settings)
        self._drain = threading.Thread(target=self._drain_alerts, name="alerts", daemon=True)
        self._drain.start()

    def add(self, request: AddRequest) -> Torrent:
        """Add a torrent as it is described: libtorrent checks nothing and creates nothing.

        Raises:
            ManifestError: libtorrent cannot read the metainfo, or reads other files in it.
            DuplicateTorrentError: the session holds the info-hash already.
            TreeError: the name of a folder cannot be told to libtorrent.
            SwarmError: libtorrent refused it.
        """
        try:
            parameters, held = _parameters(request)
        except UnicodeEncodeError as error:
            raise TreeError(
                f"libtorrent cannot use the folder {request.save_path!r}: its name is not UTF-8",
                path=request.save_path,
                hint="rename it, or use another folder",
            ) from error
        key = best_hash(parameters.info_hashes)
        if len(request.have) > _MANY_PIECES and not self._says_redundant_have:
            # With many pieces this costs a seed more time than sending them does.
            self._session.apply_settings({"send_redundant_have": False})
        with self._lock:
            if key in self._torrents:
                raise DuplicateTorrentError(f"the session already holds the torrent {key.hex()}")
            self._calling.added(time.monotonic())
            try:
                handle = self._session.add_torrent(parameters)
            except RuntimeError as error:
                raise SwarmError(f"libtorrent refused the torrent: {error}") from error

            def forget() -> None:
                with self._lock:
                    self._torrents.pop(key, None)

            share = Share(handle, request.wanted, self._peer_id)
            waiting = HeldWebSeeds(handle, held)
            torrent = Torrent(
                handle,
                self._take_out,
                forget,
                self.endpoints,
                share,
                waiting,
                claimed=frozenset(parameters.unfinished_pieces),
                free_openers=partial(free_openers, request.save_path, request.paths),
            )
            self._torrents[key] = torrent
        return torrent

    def listen_port(self) -> int:
        """The TCP port that peers can connect to; 0 if there is none."""
        return self._session.listen_port()

    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Where peers can connect to: address and TCP port of each socket.

        libtorrent listens on each address of the machine where it is told to on all of them.
        """
        return tuple(self._endpoints.copy().items())

    def close(self) -> None:
        """Stop the session; its torrents are gone."""
        self._closing.set()
        self._session.post_session_stats()  # an alert that wakes the thread
        self._drain.join()
        with self._lock:
            gone = list(self._torrents.values())
            self._torrents.clear()
        del self._session
        for torrent in gone:
            torrent.tell(Removed())

    def _call_by_utp(self, allowed: bool) -> None:
        self._session.apply_settings({"enable_outgoing_utp": allowed})

    def _take_out(self, handle: lt.torrent_handle) -> None:
        if not self._closing.is_set():
            self._session.remove_torrent(handle)

    def _drain_alerts(self) -> None:
        """Take in alerts to the end; if that fails, nobody shall wait for one in vain."""
        try:
            while not self._closing.is_set():
                with self._lock:
                    self._calling.look(time.monotonic())
                if self._session.wait_for_alert(_ALERT_WAIT_MS) is None:
                    continue
                for alert in self._session.pop_alerts():
                    self._dispatch(alert)
        except BaseException as error:
            with self._lock:
                torrents = list(self._torrents.values())
            for torrent in torrents:
                torrent.tell(TorrentFailed(f"its alerts cannot be taken in: {error!r}"))
            raise

    def _dispatch(self, alert: lt.alert) -> None:
        event = translate(alert)
        if event is None:
            return
        if isinstance(event, ListenFailed):
            self._notice(
                "listen_failed",
                f"could not listen on {event.interface}: {event.message}",
                "peers cannot connect to this machine; set another port in [session] listen",
            )
        elif isinstance(event, Listening):
            self._endpoints[event.address] = event.port
            self._check_port(event.port)
        elif isinstance(event, AlertsDropped):
            self._notice("alerts_dropped", "libtorrent reported more than could be taken in", "")
            with self._lock:
                torrents = list(self._torrents.values())
            for each in torrents:
                each.tell(event)
        else:
            for torrent in self._torrents_of(alert, event):
                torrent.tell(event)

    def _torrents_of(self, alert: lt.alert, event: SwarmEvent) -> list[Torrent]:
        """Whom an alert is for.

        Once libtorrent has taken a torrent out, its alerts no longer say whose they are. That a
        file could not be written must not get lost then: all that are being taken out are told.
        """
        key = info_hash_of(alert)
        with self._lock:
            if key is None and isinstance(event, FileFailed | TorrentFailed):
                return [each for each in self._torrents.values() if each.is_gone()]
            torrent = self._torrents.get(key) if key is not None else None
        return [] if torrent is None else [torrent]

    def _check_port(self, port: int) -> None:
        if port not in self._ports and 0 not in self._ports:
            self._ports.add(port)
            self._notice(
                "listen_port_taken",
                f"the port to listen on is in use by another program; peers can connect to {port}",
                "stop the other program, or set another port in [session] listen",
            )

    def _notice(self, code: str, message: str, hint: str) -> None:
        self._sink(Notice("", Level.WARNING, code, message, hint))


class SwarmPool:
    """Sessions, started when they are needed.

    A session can hold an info-hash once, so a second tree with the same release gets a
    session of its own, on a free port.
    """

    def __init__(self, config: SessionConfig, *, sink: EventSink = discard) -> None:
        self._config = config
        self._sink = sink
        self._swarms: list[Swarm] = []
        self._lock = threading.Lock()

    def add(self, request: AddRequest) -> Torrent:
        """Add a torrent to the first session that can hold it; see ``Swarm.add``."""
        with self._lock:
            for swarm in self._swarms:
                with suppress(DuplicateTorrentError):
                    return swarm.add(request)
            swarm = Swarm(self._config_of(len(self._swarms)), sink=self._sink)
            self._swarms.append(swarm)
            return swarm.add(request)

    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Where the first session listens, which is started if there is none; see ``Swarm``.

        Raises:
            SwarmError: libtorrent refused the settings.
        """
        with self._lock:
            if not self._swarms:
                self._swarms.append(Swarm(self._config, sink=self._sink))
            return self._swarms[0].endpoints()

    def close(self) -> None:
        """Stop all sessions."""
        with self._lock:
            while self._swarms:
                self._swarms.pop().close()

    def _config_of(self, number: int) -> SessionConfig:
        if number == 0:
            return self._config
        anywhere = tuple(f"{listen.rpartition(':')[0]}:0" for listen in self._config.listen)
        return replace(self._config, listen=anywhere)


def _parameters(
    request: AddRequest,
) -> tuple[lt.add_torrent_params, dict[str, frozenset[str]]]:
    """What libtorrent is told; and the web seeds that are held back, by URL."""
    parameters = load(request.metainfo())
    return_freed_memory()
    assert parameters.ti is not None, "it was read from an info dictionary"
    _drop_unreadable_urls(parameters, request)
    if len(request.have) != parameters.ti.num_pieces():
        raise ManifestError(
            f"libtorrent reads {parameters.ti.num_pieces()} pieces, torsync {len(request.have)}"
        )
    layout = parameters.ti.layout()
    parameters.save_path = request.save_path
    parameters.renamed_files = _renamed(layout, request)
    parameters.have_pieces = [bool(flag) for flag in request.have]
    parameters.unfinished_pieces = claims_to_make(
        request.unfinished, request.have, request.wanted, layout.piece_size
    )
    if not all(request.wanted):
        parameters.piece_priorities = [4 if flag else 0 for flag in request.wanted]
    parameters.flags = (
        lt.torrent_flags.no_verify_files
        | lt.torrent_flags.duplicate_is_error
        | lt.torrent_flags.update_subscribe
    )
    if request.upload_only:
        parameters.flags |= lt.torrent_flags.upload_mode
    parameters.peers = list(request.peers)
    seeds = [*parameters.url_seeds, *request.web_seeds] if request.use_web_seeds else []
    held = {
        url: request.web_seed_machines[host_of(url)]
        for url in seeds
        if host_of(url) in request.web_seed_machines and url not in request.web_seeds
    }
    parameters.url_seeds = [url for url in seeds if url not in held]
    return parameters, held


def _drop_unreadable_urls(parameters: lt.add_torrent_params, request: AddRequest) -> None:
    """Leave out trackers and web seeds that are not UTF-8; the binding can read all or none."""
    try:
        _readable = parameters.trackers, parameters.url_seeds
    except UnicodeDecodeError:
        outer = bencode2.bdecode(request.metainfo())
        tiers = [(url, tier) for tier, urls in enumerate(trackers(outer)) for url in urls]
        parameters.trackers = [url for url, _tier in tiers]
        parameters.tracker_tiers = [tier for _url, tier in tiers]
        parameters.url_seeds = list(web_seeds(outer))


def _renamed(layout: lt.file_storage, request: AddRequest) -> dict[int, str]:
    renamed: dict[int, str] = {}
    at = 0
    for index in range(layout.num_files()):
        if int(layout.file_flags(index)) & PAD:
            continue
        if at >= len(request.sizes) or layout.file_size(index) != request.sizes[at]:
            raise ManifestError(f"libtorrent reads another file as number {at}")
        renamed[index] = request.paths[at]
        at += 1
    if at != len(request.sizes):
        raise ManifestError(f"libtorrent reads {at} files, torsync {len(request.sizes)}")
    return renamed


def _peer_id(fingerprint: str) -> str:
    """A peer id (BEP 20) that begins with the program's fingerprint, and is random after it."""
    return (fingerprint + secrets.token_hex(PEER_ID_SIZE))[:PEER_ID_SIZE]


def _limit_local_peers_too(session: lt.session) -> None:
    """Put local peers under the session's rate limits, from which libtorrent exempts them."""
    everyone = lt.ip_filter()
    mask = 1 << session.global_peer_class_id
    everyone.add_rule("0.0.0.0", "255.255.255.255", mask)  # noqa: S104 - a filter, no socket
    everyone.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", mask)
    session.set_peer_class_filter(everyone)
