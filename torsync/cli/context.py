"""What every command needs: configuration, state directory, a renderer, and when to stop."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torsync.model.errors import UsageError
from torsync.model.secrets import Redactor, secrets_of_config

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from torsync.cli.render import Renderer
    from torsync.model.config import (
        Config,
        PublicationConfig,
        SessionConfig,
        SubscriptionConfig,
    )
    from torsync.model.events import EventSink
    from torsync.model.guard import Allowance
    from torsync.service.hooks.commands import CommandHooks
    from torsync.subscribe.surroundings import Surroundings


@dataclass
class Context:
    """The surroundings of one command.

    Attributes:
        json: whether standard output is for scripts.
        stop: set when the command shall end.
        reload: set when the configuration is to be read anew; only the service does that.
        signal: the number of the signal that asked for it; 0 before.
        redactor: knows what is secret, once the configuration has been read.
    """

    config_path: Path
    state_dir: Path
    renderer: Renderer
    json: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)
    signal: int = 0
    redactor: Redactor = field(default_factory=Redactor)

    def load_config(self) -> Config:
        """Read the configuration.

        Raises:
            ConfigError: with all its problems.
        """
        from torsync.service.config_file import LibtorrentSettings, load_config

        config = load_config(
            self.config_path, state_dir=self.state_dir, setting_types=LibtorrentSettings()
        )
        self.redactor.learn(secrets_of_config(config, os.environ))
        return config

    def chosen(self, config: Config, names: list[str]) -> list[SubscriptionConfig]:
        """Find the subscriptions that were named; all if none was.

        Raises:
            UsageError: there is no such subscription, or none at all.
        """
        if not config.subscriptions:
            raise UsageError(
                f"there is no subscription in {str(self.config_path)!r}",
                hint="add one with `torsync init URL PATH`",
            )
        published = [name for name in names if name in config.publications]
        if published:
            raise UsageError(
                f"{published[0]!r} is a publication, and this command is for subscriptions",
                hint=f"there are: {', '.join(config.subscriptions)}",
            )
        return self.chosen_of_both(config, names)[0] if names else [*config.subscriptions.values()]

    def chosen_of_both(
        self, config: Config, names: list[str]
    ) -> tuple[list[SubscriptionConfig], list[PublicationConfig]]:
        """Find the subscriptions and publications that were named; all if none was.

        Raises:
            UsageError: there is none of such a name, or none at all.
        """
        known = [*config.subscriptions, *config.publications]
        if not known:
            raise UsageError(
                f"there is no subscription and no publication in {str(self.config_path)!r}",
                hint="add a subscription with `torsync init URL PATH`, or a table "
                "[publications.NAME] with the path of a folder",
            )
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(
                f"there is no subscription or publication {unknown[0]!r}",
                hint=f"there are: {', '.join(known)}",
            )
        wanted = names or known
        return (
            [config.subscriptions[name] for name in wanted if name in config.subscriptions],
            [config.publications[name] for name in wanted if name in config.publications],
        )

    @contextmanager
    def surroundings(
        self,
        session: SessionConfig,
        *,
        seed: bool = False,
        patience_s: float | None = None,
        allowed: frozenset[Allowance] = frozenset(),
        again: tuple[str, ...] = ("apply",),
        told: Config | None = None,
    ) -> Iterator[Surroundings]:
        """Give subscriptions what they need; the sessions end with the block.

        Args:
            session: libtorrent's.
            seed: see ``Surroundings``.
            patience_s: see ``Terms``.
            allowed: the same.
            again: the same.
            told: says who is told of what is done; see ``hooks``.

        Raises:
            ConfigError: there are notifications, and nothing that could send them.
        """
        from torsync.model.orders import Terms
        from torsync.service.lazy_pool import LazyPool
        from torsync.subscribe.surroundings import Surroundings

        sessions = LazyPool(session, self.renderer.event)
        with self.hooks(told) as hooks:
            try:
                yield Surroundings(
                    pool=sessions.get,
                    sink=self.renderer.event,
                    stopping=self.stop.is_set,
                    wait=self.stop.wait,
                    seed=seed,
                    terms=lambda: Terms(patience_s, allowed, again),
                    hooks=hooks,
                )
            finally:
                sessions.close()

    @contextmanager
    def hooks(
        self, config: Config | None, *, check: bool = False, sink: EventSink | None = None
    ) -> Iterator[CommandHooks]:
        """Give what runs the commands of the configuration, and notifies.

        At the end of the block it is waited for commands that run, and what is being sent.

        Args:
            config: says who is notified, and which variables are secret; None: nobody and none.
            check: see first that this can be done, which takes a moment.
            sink: for events; None: the renderer.

        Raises:
            ConfigError: there are notifications, and nothing that could send them.
        """
        from torsync.service.hooks.commands import CommandHooks

        sink = sink or self.renderer.event
        notifications = None
        if config is not None and (config.notify.urls or check):
            from torsync.service.hooks.notify import Notifications

            notifications = Notifications(config.notify.urls, sink)
            if check:
                notifications.check()
        hooks = CommandHooks(sink, self.stop.is_set, notifications=notifications)
        if config is not None:
            hooks.withhold(config)
        try:
            yield hooks
        finally:
            hooks.close()
            if notifications is not None:
                notifications.close(self.stop.is_set)


def allowances(arguments: argparse.Namespace) -> frozenset[Allowance]:
    """What a command line says is meant, should a guard ask."""
    from torsync.model.guard import ALLOWABLE, Allowance

    found = {ALLOWABLE[name] for name in arguments.allow}
    if getattr(arguments, "adopt", False):
        found.add(Allowance.ADOPT)
    return frozenset(found)
