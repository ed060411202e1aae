"""A tracker for whatever is announced (BEP 3, compact answers), in a thread of this process.

Debian's opentracker serves only info-hashes that it was told before, and a publisher that makes
releases by itself tells nobody before it announces them.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import bencode2

if TYPE_CHECKING:
    from typing_extensions import Self

INTERVAL_S = 1800
"""As large as those of public trackers: whoever comes later is not in an earlier answer."""


class AnyTracker:
    """Serves every info-hash; its socket is in the network that this thread is in now.

    Attributes:
        url: to announce to.
    """

    def __init__(self, host: str) -> None:
        self._swarms: dict[bytes, dict[bytes, None]] = defaultdict(dict)
        self._lock = threading.Lock()
        tracker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = tracker._answer(self.client_address[0], urlsplit(self.path).query)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):  # who leaves may not wait for the answer
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_address[1]}/announce"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _answer(self, host: str, query: str) -> bytes:
        asked: dict[str, list[str]] = parse_qs(query, encoding="latin-1")
        peer = bytes(map(int, host.split("."))) + int(asked["port"][0]).to_bytes(2, "big")
        with self._lock:
            peers = self._swarms[asked["info_hash"][0].encode("latin-1")]
            if asked.get("event") == ["stopped"]:
                peers.pop(peer, None)
            else:
                peers[peer] = None
            others = b"".join(one for one in peers if one != peer)
        answer: dict[str, Any] = {"interval": INTERVAL_S, "peers": others}
        return bencode2.bencode(answer)

    def close(self) -> None:
        """Answer nobody any longer."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
