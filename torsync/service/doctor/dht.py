"""Whether the DHT (BEP 5) can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, failure, ok, skipped, warning
from torsync.model.errors import SwarmError
from torsync.service.doctor.listening import Listen, is_loopback_only

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.config import SessionConfig

_JOIN_S = 6.0


def check_dht(session: SessionConfig, stopping: Callable[[], bool]) -> list[Finding]:
    """Join the DHT for a moment, with a session of its own."""
    if not session.dht:
        hint = "set dht = true in [session], unless all torrents have trackers or known peers"
        return [skipped("dht.nodes", "dht = false in [session]", hint)]
    if is_loopback_only([Listen.parse(text) for text in session.listen]):
        return [skipped("dht.nodes", "the session listens for this machine alone")]
    from torsync.swarm.dht_probe import join_dht  # noqa: PLC0415 - libtorrent imports slowly

    try:
        found = join_dht(session, timeout_s=_JOIN_S, stopping=stopping)
    except SwarmError as error:
        return [failure("dht.nodes", error, "correct settings in [session]")]
    return [judge_dht(found.nodes)]


def judge_dht(nodes: int) -> Finding:
    """Decide what the number of nodes that answered says."""
    if nodes:
        return ok("dht.nodes", f"{nodes} DHT nodes answer")
    return warning(
        "dht.nodes",
        f"no DHT node answered within {_JOIN_S:g} s: torrents without trackers find nobody",
        "let UDP out through the firewall, or name nodes that are reachable: settings = "
        '{ dht_bootstrap_nodes = "HOST:PORT" } in [session]; else set dht = false',
    )
