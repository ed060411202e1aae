"""The control API is open where the configuration says, also after that has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torsync.model.errors import TorsyncError
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.config import ServiceConfig
    from torsync.model.events import EventSink

_RETRY_S = 10.0


class Closable(Protocol):
    """Something that runs until it is closed."""

    def close(self) -> None:
        """End it."""


class ControlKeeper:
    """Opens the control API, and opens it anew where that has to be; one thread uses it."""

    def __init__(
        self,
        open_control: Callable[[ServiceConfig], Closable],
        sink: EventSink,
        clock: Callable[[], float],
    ) -> None:
        """Prepare; nothing is open yet.

        Args:
            open_control: opens it.
            sink: for what goes wrong.
            clock: gives seconds that only grow.
        """
        self._open_control = open_control
        self._sink = sink
        self._clock = clock
        self._control: Closable | None = None
        self._config: ServiceConfig | None = None
        self._due_s = 0.0
        self._failed = ""
        self._failed_with: ServiceConfig | None = None

    def open(self, config: ServiceConfig) -> None:
        """Open it where a configuration says, if it is not open there.

        Raises:
            TorsyncError: that was not possible; it is closed.
        """
        if config == self._config:
            return
        self.close()
        if config.control is not None:
            self._control = self._open_control(config)
        self._config = config

    def follow(self, config: ServiceConfig) -> None:
        """``open``, again and again if need be: what fails is told, and is no end of the service.

        To be called often.
        """
        if config == self._failed_with and self._clock() < self._due_s:
            return
        try:
            self.open(config)
        except TorsyncError as error:
            self._due_s, self._failed_with = self._clock() + _RETRY_S, config
            if error.message != self._failed:
                hint = f"{error.hint}; it is tried again, and all else goes on"
                self._sink(Notice("", Level.ERROR, error.code, error.message, hint))
            self._failed = error.message
        else:
            self._failed, self._failed_with = "", None

    def close(self) -> None:
        """Close it; harmless when repeated."""
        if self._control is not None:
            self._control.close()
        self._control = self._config = None
