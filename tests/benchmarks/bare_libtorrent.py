"""The least that a download by libtorrent takes: add, wait, remove. Run by path.

``TORRENT SAVE_PATH HOST PORT [sync] [mirror]``: with ``sync`` it ends when all is on the disk,
which is what torsync promises and libtorrent does not. With ``mirror`` it first removes files
that the torrent does not list, and cuts off what is behind a listed file's end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import libtorrent as lt

_SETTINGS: dict[str, Any] = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "webtorrent_stun_server": "",
    "allow_multiple_connections_per_ip": True,
    "hashing_threads": os.cpu_count() or 1,
    "send_redundant_have": False,
    "tick_interval": 100,
    "alert_mask": lt.alert_category.error | lt.alert_category.status,
}
_PAD = 1
_LIMITS: Any = {"max_buffer_size": 1 << 30, "max_pieces": 1 << 26, "max_decode_tokens": 1 << 28}


def main() -> None:
    """Download, and return when the files are closed."""
    torrent, save_path, host, port, *options = sys.argv[1:]
    session = lt.session(_SETTINGS)
    params = lt.load_torrent_buffer(Path(torrent).read_bytes(), _LIMITS)
    params.save_path = save_path
    if "mirror" in options:
        _mirror(params.ti.layout(), Path(save_path))
    params.peers = [(host, int(port))]
    params.trackers = []
    params.flags = lt.torrent_flags.duplicate_is_error
    handle = session.add_torrent(params)
    _wait_for(session, lt.torrent_finished_alert)
    session.remove_torrent(handle)
    _wait_for(session, lt.torrent_removed_alert)
    if "sync" in options:
        os.sync()


def _mirror(layout: Any, save_path: Path) -> None:
    listed = {
        str(save_path / layout.file_path(index)): layout.file_size(index)
        for index in range(layout.num_files())
        if not int(layout.file_flags(index)) & _PAD
    }
    for folder, _, names in os.walk(save_path / layout.name(), topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            if path not in listed:
                os.unlink(path)
            elif os.path.getsize(path) > listed[path]:
                os.truncate(path, listed[path])
        if not os.listdir(folder):
            os.rmdir(folder)


def _wait_for(session: lt.session, kind: type[lt.alert]) -> None:
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, (lt.file_error_alert, lt.hash_failed_alert)):
                raise SystemExit(alert.message())
            if isinstance(alert, kind):
                return


if __name__ == "__main__":
    main()
