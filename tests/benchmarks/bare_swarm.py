"""A peer by libtorrent with its default settings. Run by path.

``TORRENT SAVE_PATH ADDRESS [seed] [super]``: it finds others by the torrent's tracker alone. It
ends when it has everything; with ``seed`` it has everything and never ends; with ``super`` it
does that by BEP 16.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import libtorrent as lt

_SETTINGS: dict[str, Any] = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "webtorrent_stun_server": "",
    "alert_mask": lt.alert_category.error | lt.alert_category.status,
}
_FOREVER_MS = 10**9


def main() -> None:
    """Download, or seed."""
    torrent, save_path, address, *options = sys.argv[1:]
    session = lt.session({**_SETTINGS, "listen_interfaces": f"{address}:6881"})
    params = lt.load_torrent_buffer(Path(torrent).read_bytes())
    params.save_path = save_path
    params.flags = lt.torrent_flags.duplicate_is_error
    if "super" in options:
        params.flags |= lt.torrent_flags.super_seeding
    session.add_torrent(params)
    while True:
        session.wait_for_alert(_FOREVER_MS)
        for alert in session.pop_alerts():
            if isinstance(alert, (lt.file_error_alert, lt.hash_failed_alert)):
                raise SystemExit(alert.message())
            if isinstance(alert, lt.torrent_finished_alert) and "seed" not in options:
                return


if __name__ == "__main__":
    main()
