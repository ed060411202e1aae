"""The name by which other programs know torsync."""

from __future__ import annotations

import warnings

import libtorrent as lt

from torsync.model.config import SessionConfig
from torsync.swarm.peer_id import passing_peer_id
from torsync.swarm.settings import session_settings


def client_of(peer_id: bytes) -> str:
    """What other programs, that know many, take the owner of a peer id for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        name: str = lt.identify_client(lt.sha1_hash(peer_id))
    return name.partition(" ")[0]


def test_other_programs_are_known_by_their_letters() -> None:
    assert client_of(b"-TS0100-abcdefghijkl") == "TorrentStorm"


def test_torsync_is_not_taken_for_another_program() -> None:
    """Peers ban some programs by their letters."""
    fingerprint = str(session_settings(SessionConfig())["peer_fingerprint"]).encode()
    assert client_of(fingerprint.ljust(20, b"0")) == "TY"


def test_connections_of_no_session_have_a_peer_id_of_their_own() -> None:
    one, other = passing_peer_id("probe"), passing_peer_id("probe")
    assert one != other
    assert one.startswith(b"-TYprobe")
    assert len(one) == len(other) == 20
