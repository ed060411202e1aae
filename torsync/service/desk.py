"""What the running service can be asked for, whoever asks: the control API, or a signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.config import PublicationConfig, SubscriptionConfig
    from torsync.model.orders import Order, Terms
    from torsync.service.hub import Hub
    from torsync.service.inbox import Pending


@dataclass(frozen=True)
class ReloadReport:
    """What a reload of the configuration led to.

    Names of subscriptions and publications; ``sections`` are other tables that say something else.
    """

    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {
            "started": list(self.started),
            "stopped": list(self.stopped),
            "restarted": list(self.restarted),
            "unchanged": list(self.unchanged),
            "sections": list(self.sections),
        }


@dataclass(frozen=True)
class Worker:
    """One subscription or publication that the service works on.

    Attributes:
        config: of it.
        next_check_s: when it is polled, or looked at, next by itself, in Unix seconds; None
            while that is under way, or where nothing is due (paused, crashed).
        paused: whether it is left alone.
        restarts: how often its work has ended in a way that nobody foresaw.
    """

    config: SubscriptionConfig | PublicationConfig
    next_check_s: float | None = None
    paused: bool = False
    restarts: int = 0


class Desk(Protocol):
    """The running service. All methods may be called from any thread."""

    hub: Hub

    def workers(self) -> Sequence[Worker]:
        """All that the service works on: subscriptions, then publications, as configured."""

    def give(self, name: str, order: Order, terms: Terms) -> Pending:
        """Give an order to the one of this name.

        Raises:
            UsageError: there is none, or it cannot do that.
        """

    def reload(self) -> ReloadReport:
        """Read the configuration anew, and restart what has changed.

        Raises:
            ConfigError: it is wrong; all goes on as before.
        """
