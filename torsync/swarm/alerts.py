"""libtorrent's alerts as typed values, with messages a person understands."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import libtorrent as lt

from torsync.swarm.events import (
    AlertsDropped,
    FileFailed,
    Finished,
    HashFailed,
    ListenFailed,
    Listening,
    PeerCalled,
    PeerNotReached,
    Removed,
    SwarmEvent,
    TorrentFailed,
    TrackerFailed,
    TrackerReplied,
    WebSeedFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable


# The binding gives the direction of a connection only in the text.
_OUTGOING = re.compile(r" outgoing connection to peer \(\w+\)$")


def translate(alert: lt.alert) -> SwarmEvent | None:
    """Turn an alert into an event; None for those that nobody waits for."""
    match alert:
        case lt.file_error_alert():
            path = _text(alert.filename)
            return FileFailed(path, _system_errno(alert.error), _said(alert.error))
        case lt.torrent_error_alert():
            # The binding gives the file only in the text: ERROR: (2 No such file) /its/path
            return TorrentFailed(_said(alert.error), _text(alert.message).rpartition(") ")[2])
        case lt.tracker_error_alert():
            reason = _text(alert.error_message) or _said(alert.error)
            return TrackerFailed(_text(alert.tracker_url), reason)
        case lt.tracker_reply_alert():
            return TrackerReplied(_text(alert.tracker_url), alert.num_peers)
        case lt.url_seed_alert():
            reason = _text(alert.error_message) or _said(alert.error)
            if reason == "peer banned":
                reason = "what it sent has wrong content"
            return WebSeedFailed(_text(alert.server_url), reason)
        case lt.hash_failed_alert():
            return HashFailed(alert.piece_index)
        case lt.torrent_finished_alert():
            return Finished()
        case lt.torrent_removed_alert():
            return Removed()
        case lt.peer_connect_alert() if _OUTGOING.search(alert.message()):
            return PeerCalled(alert.endpoint)
        case lt.peer_disconnected_alert() if alert.op == lt.operation_t.connect:
            return PeerNotReached(alert.endpoint)
        case lt.listen_succeeded_alert() if alert.socket_type == lt.socket_type_t.tcp:
            return Listening(alert.address, alert.port)
        case lt.listen_failed_alert():
            return ListenFailed(alert.listen_interface(), _said(alert.error))
        case lt.alerts_dropped_alert():
            return AlertsDropped()
    return None


def info_hash_of(alert: lt.alert) -> bytes | None:
    """The info-hash (20 bytes, v2 cut short) of the torrent that an alert is about."""
    if isinstance(alert, lt.torrent_removed_alert):
        return best_hash(alert.info_hashes)
    if isinstance(alert, lt.torrent_alert) and alert.handle.is_valid():
        return best_hash(alert.handle.info_hashes())
    return None


def best_hash(hashes: lt.info_hash_t) -> bytes:
    """What a session tells torrents apart by: 20 bytes, of v2 where there is one."""
    return hashes.get_best().to_bytes()


def _text(read: Callable[[], str]) -> str:
    """Read a text that a tracker, a web server or a disk may have written: any bytes."""
    try:
        return read()
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", errors="replace")


def _system_errno(error: lt.error_code) -> int:
    return error.value() if error.category().name() in {"system", "generic"} else 0


def _said(error: lt.error_code) -> str:
    number = _system_errno(error)
    if number in errno.errorcode:
        return os.strerror(number)
    return error.message()
