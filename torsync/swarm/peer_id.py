"""How torsync names itself to peers and trackers (BEP 20)."""

from __future__ import annotations

import secrets

CLIENT_CODE = "TY"
"""Two letters that no other program uses: ``TS`` is TorrentStorm, which ban lists name."""


def passing_peer_id(purpose: str) -> bytes:
    """The peer id of a connection that belongs to no session, 20 bytes.

    Args:
        purpose: 5 ASCII characters.
    """
    return f"-{CLIENT_CODE}{purpose}{secrets.token_hex(6)}".encode("ascii")
