"""A plain libtorrent download, to see whether other parts are any good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import libtorrent as lt

from tests.support.processes import HOST
from tests.support.torrents import root_name
from tests.support.trees import assert_same_tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SETTINGS = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "webtorrent_stun_server": "",
    "allow_multiple_connections_per_ip": True,
    "announce_to_all_trackers": True,
    "announce_to_all_tiers": True,
    "tick_interval": 100,
    "stop_tracker_timeout": 1,
    # Transmission closes a connection while it shakes hands with another of the same address.
    "min_reconnect_time": 1,
    "alert_queue_size": 20_000,
}


class DownloadError(AssertionError):
    """A download did not finish, or met damage that was not to be tolerated."""


def libtorrent_download(
    torrent: bytes,
    save_path: Path,
    *,
    peers: Iterable[tuple[str, int]] = (),
    web_seeds: bool = False,
    timeout_s: float = 20,
    settings: dict[str, Any] | None = None,
) -> None:
    """Download a torrent below ``save_path`` and return once libtorrent has closed its files.

    Args:
        torrent: the ``.torrent``; its trackers are announced to.
        save_path: becomes the parent of the root folder.
        peers: host and port of peers, besides those that trackers name.
        web_seeds: also use the torrent's web seeds.
        timeout_s: for the whole download.
        settings: further libtorrent settings, by name.

    Raises:
        DownloadError: a piece failed its hash check, a file could not be written, or time
            was up; the message says how far it got and what trackers said.
    """
    categories = lt.alert_category
    mask = categories.error | categories.status | categories.tracker | categories.storage
    session = lt.session({**SETTINGS, "alert_mask": mask, **(settings or {})})
    params = lt.load_torrent_buffer(torrent)
    params.save_path = str(save_path)
    params.peers = list(peers)
    flags = lt.torrent_flags
    params.flags = flags.duplicate_is_error | flags.disable_pex
    if not web_seeds:
        params.url_seeds = []
    handle = session.add_torrent(params)
    deadline = time.monotonic() + timeout_s
    heard: list[str] = []
    while not handle.status().is_seeding:
        if time.monotonic() > deadline:
            status = handle.status()
            got = f"{status.total_wanted_done} of {status.total_wanted} bytes"
            raise DownloadError(f"{got} in {timeout_s} s; trackers said: {heard}")
        session.wait_for_alert(20)
        for alert in session.pop_alerts():
            if isinstance(alert, (lt.hash_failed_alert, lt.file_error_alert)):
                raise DownloadError(alert.message())
            if isinstance(alert, (lt.tracker_reply_alert, lt.tracker_error_alert)):
                heard.append(alert.message())
    session.remove_torrent(handle)
    removed = False
    while not removed:
        assert time.monotonic() < deadline, "the torrent was not removed in time"
        session.wait_for_alert(20)
        alerts = session.pop_alerts()
        removed = any(isinstance(alert, lt.torrent_removed_alert) for alert in alerts)


def assert_seeds(port: int, torrent: bytes, expected: Path, target: Path) -> None:
    """A stranger can have all of it from the peer of this machine that listens there alone."""
    libtorrent_download(torrent, target, peers=[(HOST, port)])
    assert_same_tree(target / root_name(torrent), expected)
