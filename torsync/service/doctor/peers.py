"""Whether the peers that the configuration names have the torrent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, failed, ok
from torsync.service.doctor.reach import resolve
from torsync.swarm.handshake import NoHandshakeError, shake_hands

if TYPE_CHECKING:
    from collections.abc import Sequence

_HANDSHAKE_S = 5.0


def check_peer(peer: tuple[str, int], info_hashes: Sequence[bytes]) -> tuple[Finding, bool]:
    """Shake hands with a peer.

    Args:
        peer: host and port.
        info_hashes: of the torrent; one of them will do.

    Returns:
        What was found, and whether it takes part in the torrent.
    """
    host, port = peer
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    found = resolve(host, port)
    if isinstance(found, str):
        said = f"{shown}: no address for it: {found}"
        return failed("peer", said, "correct it in peers of the subscription"), False
    failure = None
    for family, address, at in found[:2]:
        for info_hash in info_hashes:
            try:
                client = shake_hands(family, address, at, info_hash, timeout_s=_HANDSHAKE_S)
            except NoHandshakeError as error:  # noqa: PERF203 - another address may do
                failure = failure or error
            else:
                return ok("peer", f"{shown} has the torrent ({client or 'unknown client'})"), True
    assert failure is not None
    return failed(
        "peer", f"{shown}: {failure.message}", f"{failure.hint}, or remove it from peers"
    ), False
