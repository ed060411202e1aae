"""Whether the DHT (BEP 5) can be joined from here, and who it knows of some torrents."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import libtorrent as lt

from torsync.model.errors import SwarmError
from torsync.swarm.settings import session_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.config import SessionConfig

_TICK_MS = 200
_ENOUGH = 8


class DhtFound(NamedTuple):
    """What a session that joined the DHT for a moment found.

    Attributes:
        nodes: in its routing table.
        listens: whether it could listen at all.
    """

    nodes: int
    listens: bool


def join_dht(config: SessionConfig, *, timeout_s: float, stopping: Callable[[], bool]) -> DhtFound:
    """Start a session beside the one that may run, on free ports, and wait for DHT nodes.

    Args:
        config: of the session; its addresses are used, not its ports.
        timeout_s: how long to wait for a few nodes.
        stopping: asked several times a second.

    Raises:
        SwarmError: libtorrent refused the settings.
    """
    settings: dict[str, Any] = session_settings(config)
    hosts = dict.fromkeys(listen.rpartition(":")[0] for listen in config.listen)
    settings["listen_interfaces"] = ",".join(f"{host}:0" for host in hosts)
    settings["enable_lsd"] = settings["enable_upnp"] = settings["enable_natpmp"] = False
    settings["alert_mask"] = lt.alert_category.stats | lt.alert_category.status
    try:
        session = lt.session(lt.session_params(cast("Any", settings)))
    except (RuntimeError, KeyError, TypeError) as error:
        raise SwarmError(f"libtorrent refused its settings: {error}") from error
    nodes, listens = 0, False
    ends_s = time.monotonic() + timeout_s
    while nodes < _ENOUGH and time.monotonic() < ends_s and not stopping():
        session.post_dht_stats()
        session.wait_for_alert(_TICK_MS)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.dht_stats_alert):
                nodes = max(nodes, sum(bucket["num_nodes"] for bucket in alert.routing_table))
            listens = listens or isinstance(alert, lt.listen_succeeded_alert)
    return DhtFound(nodes, listens)
