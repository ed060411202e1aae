"""libtorrent's settings for torsync: its defaults are made for a desktop client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import libtorrent as lt

from torsync import __version__
from torsync.swarm.peer_id import CLIENT_CODE

if TYPE_CHECKING:
    from torsync.model.config import SessionConfig, SettingValue

_CATEGORIES = lt.alert_category
_TORSYNCS_OWN = frozenset({"alert_mask", "alert_queue_size", "listen_interfaces"})
ALERT_MASK = (
    _CATEGORIES.error
    | _CATEGORIES.status
    | _CATEGORIES.storage
    | _CATEGORIES.tracker
    | _CATEGORIES.connect
)


def setting_types() -> dict[str, type]:
    """Every setting that may be set, and the type of its value; torsync relies on the others."""
    return {
        name: type(value)
        for name, value in lt.default_settings().items()
        if name not in _TORSYNCS_OWN
    }


def session_settings(config: SessionConfig) -> dict[str, SettingValue]:
    """Decide the settings of a session; what ``[session.settings]`` says comes last."""
    settings: dict[str, Any] = {
        "user_agent": f"torsync/{__version__} libtorrent/{lt.__version__}",
        "peer_fingerprint": lt.generate_fingerprint(CLIENT_CODE, *_version_numbers()),
        "listen_interfaces": ",".join(config.listen),
        "enable_dht": config.dht,
        "enable_lsd": config.lsd,
        "enable_upnp": config.upnp,
        "enable_natpmp": config.upnp,
        "download_rate_limit": config.download_limit,
        "upload_rate_limit": config.upload_limit,
        "webtorrent_stun_server": "",
        "alert_mask": ALERT_MASK,
        "alert_queue_size": 20_000,
        "hashing_threads": os.cpu_count() or 1,
        # Comes later, see ``Calling``: where it is allowed it is preferred. With 400 Mbit/s it
        # takes 1.5 times as long as TCP; over 100 ms of round-trip time they are alike.
        "enable_outgoing_utp": False,
        # Time for a retransmission of a SYN; who isn't reached by then is tried by uTP.
        "peer_connect_timeout": 3,
        # Larger web seed requests make v2 pieces fail their hash.
        "urlseed_max_request_bytes": 1024**2,
        # As fast as the default of 100 MB, and as much less memory.
        "max_queued_disk_bytes": 16 * 1024**2,
        # With 3 s each of several subscribers has a large part of a small torrent queued at the
        # seed before it learns what the others have; 1 s fills any line up to 1 s of latency.
        "request_queue_time": 1,
        # While a connection speeds up its queue has no other limit: 4 MiB, which is also what
        # Linux lets a TCP connection have in flight, so it slows down no line.
        "max_allowed_in_request_queue": 256,
        # Else a fast peer is asked for 8 MiB in one go, however short its queue shall be.
        "whole_pieces_threshold": 0,
        # The first pieces, too: those that nobody else has, and of the subscriber's own share.
        "initial_picker_threshold": 0,
        # A super-seeder goes on only when it hears what became of a piece; see ``Swarm.add``.
        "send_redundant_have": True,
        # An honest peer that had a part in a wrong piece would only be asked for pieces that nobody
        # else has begun: with the liar silent and the honest one alone, for nothing any more.
        "use_parole_mode": False,
        "min_reconnect_time": 2,
        "tick_interval": 100,
        "stop_tracker_timeout": 1,
        "connection_speed": 200,
        "connections_limit": 1000,
        "allow_multiple_connections_per_ip": True,
        "announce_to_all_tiers": True,
        "active_limit": -1,
        "active_downloads": -1,
        "active_seeds": -1,
        "active_checking": -1,
        "active_tracker_limit": -1,
        "active_dht_limit": -1,
        "active_lsd_limit": -1,
        **config.settings,
    }
    known = lt.default_settings()
    return {name: value for name, value in settings.items() if name in known}


def _version_numbers() -> tuple[int, int, int, int]:
    major, minor, patch = (int(part) for part in __version__.split(".")[:3])
    return major, minor, patch, 0
