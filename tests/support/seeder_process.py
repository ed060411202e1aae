"""A plain libtorrent session in a process of its own, told what to do in JSON lines.

It is run by path, with its options as one JSON object; requests come on standard input, and
each is answered by one line on standard output: the result, or ``{"error": text}``. It ends
with standard input.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tempfile
import time
from typing import Any

import libtorrent as lt

PAD = 1


def settings(options: dict[str, Any]) -> dict[str, Any]:
    """A session that talks TCP on loopback, and to nobody that it was not told about."""
    categories = lt.alert_category
    return {
        "listen_interfaces": f"{options['host']}:{options['port']}",
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
        "send_redundant_have": False,
        "tick_interval": 100,
        "unchoke_slots_limit": -1,
        "alert_queue_size": 20_000,
        "alert_mask": categories.error | categories.status | categories.tracker,
        **options["settings"],
    }


class Seeder:
    """One session and the torrents that were added to it."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._deadline_s = options["deadline_s"]
        self._session = lt.session(settings(options))
        self._handles: dict[str, lt.torrent_handle] = {}
        self._announced: dict[str, dict[str, str]] = {}
        self._scratch: dict[str, str] = {}
        self._removed: set[str] = set()
        self._until(self._session.listen_port, "the session listens")

    def port(self) -> dict[str, Any]:
        return {"port": self._session.listen_port()}

    def add(
        self,
        *,
        info_hash: str,
        torrent: str,
        save_path: str,
        check: bool,
        bad_pieces: list[int] | None,
        upload_limit: int,
        announce: bool,
    ) -> dict[str, Any]:
        params = lt.load_torrent_buffer(base64.b64decode(torrent), _LIMITS)
        layout = params.ti.layout()
        params.url_seeds = []
        params.dht_nodes = []
        params.upload_limit = upload_limit
        flags = lt.torrent_flags
        params.flags = flags.duplicate_is_error | flags.disable_pex
        if bad_pieces is not None:
            save_path = self._tampered_copy(info_hash, layout, save_path, bad_pieces)
            check = False
        params.save_path = save_path
        if check:
            # Stopped after the check: what is incomplete must never be downloaded.
            params.flags |= flags.stop_when_ready
        else:
            params.flags |= flags.no_verify_files
            params.have_pieces = [True] * layout.num_pieces()
        trackers = list(params.trackers)
        handle = self._session.add_torrent(params)
        self._handles[info_hash] = handle
        self._announced[info_hash] = {}
        if check:
            self._until(lambda: handle.flags() & flags.paused, "the files are checked")
            status = handle.status()
            if status.num_pieces != layout.num_pieces():
                self.remove(info_hash)
                count = f"{status.num_pieces} of {layout.num_pieces()} pieces"
                raise RuntimeError(f"not a seed: {count} are in {save_path}")
            handle.resume()
        self._until(lambda: handle.status().is_seeding, "it seeds")
        if announce and trackers:
            answers = self._announced[info_hash]
            self._until(lambda: answers.keys() >= set(trackers), "every tracker has answered")
        return {"announced": self._announced[info_hash]}

    def status(self, info_hash: str) -> dict[str, Any]:
        self._drain()
        status = self._handles[info_hash].status()
        return {
            "uploaded": status.total_payload_upload,
            "peers": status.num_peers,
            "is_seeding": status.is_seeding,
            "announced": self._announced[info_hash],
        }

    def connect(self, info_hash: str, host: str, port: int) -> dict[str, Any]:
        self._handles[info_hash].connect_peer((host, port))
        return {}

    def remove(self, info_hash: str) -> dict[str, Any]:
        self._removed.discard(info_hash)
        self._session.remove_torrent(self._handles[info_hash])
        self._until(lambda: info_hash in self._removed, "the torrent is removed")
        del self._handles[info_hash], self._announced[info_hash]
        if info_hash in self._scratch:
            shutil.rmtree(self._scratch.pop(info_hash))
        return {}

    def close(self) -> None:
        """Stop the session, which says good-bye to trackers, and remove tampered copies."""
        del self._session
        for folder in self._scratch.values():
            shutil.rmtree(folder)

    def _until(self, done: Any, what: str) -> None:
        deadline = time.monotonic() + self._deadline_s
        while True:
            self._drain()
            if done():
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {self._deadline_s} s until {what}")
            self._session.wait_for_alert(20)

    def _drain(self) -> None:
        for alert in self._session.pop_alerts():
            if isinstance(alert, lt.listen_failed_alert):
                raise OSError(alert.message())
            if isinstance(alert, lt.torrent_removed_alert):
                self._removed.update(_names(alert.info_hashes))
            elif isinstance(alert, lt.tracker_reply_alert):
                self._record(alert, "")
            elif isinstance(alert, lt.tracker_error_alert):
                self._record(alert, alert.message())
            elif isinstance(alert, lt.file_error_alert):
                print(alert.message(), file=sys.stderr, flush=True)

    def _record(self, alert: Any, error: str) -> None:
        for info_hash, handle in self._handles.items():
            if handle == alert.handle:
                self._announced[info_hash][alert.url] = error

    def _tampered_copy(
        self, info_hash: str, layout: Any, save_path: str, bad_pieces: list[int]
    ) -> str:
        """Copy what the torrent lists and invert every bit of the given pieces in the copy."""
        self._scratch[info_hash] = copy = tempfile.mkdtemp(prefix="tampered-")
        piece_size = layout.piece_length()
        for index in range(layout.num_files()):
            path, size = layout.file_path(index), layout.file_size(index)
            if int(layout.file_flags(index)) & PAD or not size:
                continue
            target = os.path.join(copy, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(os.path.join(save_path, path), target)
            offset = layout.file_offset(index)
            with open(target, "r+b") as file:
                for piece in bad_pieces:
                    start = max(piece * piece_size - offset, 0)
                    end = min((piece + 1) * piece_size - offset, size)
                    if start < end:
                        file.seek(start)
                        data = file.read(end - start)
                        file.seek(start)
                        file.write(data.translate(_INVERTED))
        return copy


_INVERTED = bytes(255 - value for value in range(256))
_LIMITS = {
    "max_buffer_size": 1 << 30,
    "max_pieces": 1 << 26,
    "max_decode_tokens": 1 << 28,
}


def _names(hashes: Any) -> list[str]:
    """What the other side calls this torrent: the v1 hash, or the v2 hash."""
    return [str(hashes.v1), str(hashes.v2)]


def main() -> None:
    """Answer requests until standard input ends."""
    seeder = Seeder(json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(seeder, request.pop("do"))(**request)
        except (RuntimeError, OSError, KeyError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    seeder.close()


if __name__ == "__main__":
    main()
