"""What a changed configuration means for a service that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.config import Config, PublicationConfig, SubscriptionConfig


@dataclass(frozen=True)
class Reload:
    """What to do, by the names of subscriptions and publications.

    Attributes:
        started: that are new, in the order of the configuration.
        stopped: that are gone.
        restarted: that are described otherwise, or that need something else that is.
        unchanged: that go on undisturbed.
        sections: names of the configuration's other tables that say something else: ``session``
            (it is begun anew), ``feed`` (the same), ``service``, ``notify``.
    """

    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()


def plan_reload(old: Config, new: Config) -> Reload:
    """Decide what is to be restarted, as little as possible.

    A name that belongs to another folder than before, or to a publication that was a
    subscription, is restarted.
    """
    sections = tuple(
        name
        for name in ("session", "feed", "service", "notify")
        if getattr(old, name) != getattr(new, name)
    )
    before, after = _works(old), _works(new)
    stays = [name for name in after if name in before]
    restarted = tuple(
        name
        for name in stays
        if "session" in sections
        or before[name] != after[name]
        or ("feed" in sections and name in new.publications)
    )
    return Reload(
        started=tuple(name for name in after if name not in before),
        stopped=tuple(name for name in before if name not in after),
        restarted=restarted,
        unchanged=tuple(name for name in stays if name not in restarted),
        sections=sections,
    )


def _works(config: Config) -> Mapping[str, SubscriptionConfig | PublicationConfig]:
    return {**config.subscriptions, **config.publications}
