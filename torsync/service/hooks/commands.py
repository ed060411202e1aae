"""Commands of the configuration: asked before updates, and run after what people want to know."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Union

from torsync.model.errors import (
    InterruptedByUserError,
    PostponedError,
    TorsyncError,
    is_same_failure,
)
from torsync.model.events import Level, Notice
from torsync.service.hooks.errands import Errands
from torsync.service.hooks.outcome import HookOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torsync.model.config import Command, Config, PublicationConfig, SubscriptionConfig
    from torsync.model.events import EventSink
    from torsync.model.publish_reports import PublishReport
    from torsync.model.reports import CheckReport
    from torsync.service.hooks.notify import Notifications

    OneConfig = Union[SubscriptionConfig, PublicationConfig]

_ENV = "env:"
# What is ours alone: the key's password, and what ties this process to the one that started it.
_WITHHELD = frozenset(
    {
        "TORSYNC_KEY_PASSWORD",
        "TORSYNC_KEY_PASSWORD_FILE",
        "CREDENTIALS_DIRECTORY",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PID",
    }
)


class HookFailedError(TorsyncError):
    """A command of the configuration could not be run, or was ended."""

    code = "hook_failed"


def _never() -> bool:
    return False


@dataclass(frozen=True)
class CommandHooks:
    """``Hooks`` that run the commands of the configuration, and notify. For any thread.

    What is only told runs beside the work, which goes on to look after what is seeded; for each
    name one after the other, and before ``before_update`` is asked again.

    Attributes:
        sink: is told how commands ended.
        stopping: whether the program ends: a command is ended with it.
        interrupted: whether the work on this tree shall end: nobody is asked any more.
        notifications: are sent, too, if there are any.
        environ: this process's variables.
    """

    sink: EventSink
    stopping: Callable[[], bool] = _never
    interrupted: Callable[[], bool] = _never
    notifications: Notifications | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _secret: set[str] = field(default_factory=lambda: {*_WITHHELD})
    _errands: dict[str, Errands] = field(default_factory=dict)
    _broken: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def interruptible(self, interrupted: Callable[[], bool]) -> CommandHooks:
        """The same for one tree, where the asking ends once ``interrupted`` says so."""
        return replace(self, interrupted=interrupted)

    def withhold(self, config: Config) -> None:
        """Keep variables that a configuration takes secrets from out of commands' environments."""
        for subscription in config.subscriptions.values():
            values = subscription.headers.values()
            self._secret.update(one[len(_ENV) :] for one in values if one.startswith(_ENV))

    # --- asked ------------------------------------------------------------------------------

    def before_update(self, config: SubscriptionConfig, report: CheckReport) -> None:
        """Ask ``before_update`` whether a tree may be changed.

        Raises:
            PostponedError: it says no, or cannot be asked.
            InterruptedByUserError: it was ended, as the work shall stop.
        """
        if not config.before_update:
            return
        from torsync.model.update_report import (  # noqa: PLC0415 - costs start-up time
            BEFORE_UPDATE,
            update_details,
        )

        details = update_details(BEFORE_UPDATE, config, report)
        outcome = HookOutcome(None, is_cut_off=True)
        if self._errands_of(config.name).wait(stopping=self._is_asking_over):
            outcome = self._run(config, config.before_update, details, self._is_asking_over)
        if outcome.is_cut_off:
            raise InterruptedByUserError("stopped while `before_update` was asked")
        if outcome.problem:
            raise self._cannot_ask(config, outcome)
        with self._lock:
            self._broken.pop(config.name, None)
        if outcome.is_good:
            self._say_ended(config.name, details["event"], outcome)
            return
        reason = outcome.last_line or f"`before_update` {_ended(outcome)}"
        raise PostponedError(
            f"the update to {report.release!r} is postponed: {reason}",
            reason=reason,
            hint="`before_update` said so, and is asked again at the next check",
        )

    def _is_asking_over(self) -> bool:
        return self.stopping() or self.interrupted()

    def _cannot_ask(self, config: SubscriptionConfig, outcome: HookOutcome) -> PostponedError:
        """Tell of a command that does not work, once in a row: nothing is updated without it."""
        said = f"`before_update` {outcome.problem}"
        error = HookFailedError(
            f"{said}: {config.before_update[0]!r}; nothing is updated until it works",
            hint="correct the command, or take it out of the configuration",
        )
        with self._lock:
            known = self._broken.get(config.name, "")
            self._broken[config.name] = error.message
        if not is_same_failure(known, error.message):
            self.sink(Notice(config.name, Level.ERROR, error.code, error.message, error.hint))
            self.failed(config, error)
        return PostponedError(f"the update is postponed: {said}", reason=said, hint=error.hint)

    # --- told -------------------------------------------------------------------------------

    def updated(self, config: SubscriptionConfig, report: CheckReport) -> None:
        """Run ``on_update``, and notify."""
        if self._is_anyone_told(config.on_update):
            from torsync.model.update_report import (  # noqa: PLC0415 - costs start-up time
                ON_UPDATE,
                update_details,
            )

            self._tell(config, config.on_update, update_details(ON_UPDATE, config, report))

    def failed(self, config: SubscriptionConfig, error: TorsyncError) -> None:
        """Run ``on_error``, and notify."""
        self._tell_failure(config, error)

    def released(self, config: PublicationConfig, report: PublishReport) -> None:
        """Run ``on_release``, and notify."""
        if self._is_anyone_told(config.on_release):
            from torsync.model.update_report import release_details  # noqa: PLC0415 - the same

            self._tell(config, config.on_release, release_details(config, report))

    def publication_failed(self, config: PublicationConfig, error: TorsyncError) -> None:
        """Run ``on_error``, and notify."""
        self._tell_failure(config, error)

    def _tell_failure(self, config: OneConfig, error: TorsyncError) -> None:
        if self._is_anyone_told(config.on_error):
            from torsync.model.update_report import error_details  # noqa: PLC0415 - the same

            self._tell(config, config.on_error, error_details(config, error))

    def _is_anyone_told(self, command: Command) -> bool:
        return bool(command) or self.notifications is not None

    def _tell(self, config: OneConfig, command: Command, details: dict[str, Any]) -> None:
        if self.notifications is not None:
            from torsync.model.update_report import message_of  # noqa: PLC0415 - the same

            self.notifications.send(config.name, message_of(details))
        if command:
            run = partial(self._run_and_say, config, command, details)
            if not self._errands_of(config.name).add(run):
                said = f"`{details['event']}` was not run, as too many others wait"
                self._warn(config.name, said)

    def _run_and_say(self, config: OneConfig, command: Command, details: dict[str, Any]) -> None:
        outcome = self._run(config, command, details, self.stopping)
        self._say_ended(config.name, details["event"], outcome)

    def _errands_of(self, name: str) -> Errands:
        with self._lock:
            return self._errands.setdefault(name, Errands(f"hooks of {name}"))

    def close(self) -> None:
        """Wait until all commands have ended; those that run end when ``stopping`` says so."""
        for errands in tuple(self._errands.values()):
            errands.wait()

    # --- commands ---------------------------------------------------------------------------

    def _run(
        self,
        config: OneConfig,
        command: Command,
        details: dict[str, Any],
        stopping: Callable[[], bool],
    ) -> HookOutcome:
        from torsync.model.update_report import as_variables  # noqa: PLC0415 - costs start-up time
        from torsync.service.hooks.process import run_command  # noqa: PLC0415 - the same

        return run_command(
            command,
            details,
            folder=str(config.path),
            environment={**self._inherited(), **as_variables(details)},
            timeout_s=config.hook_timeout_s,
            stopping=stopping,
        )

    def _inherited(self) -> dict[str, str]:
        """This process's variables, without those that are nobody else's business."""
        return {name: value for name, value in self.environ.items() if name not in self._secret}

    def _say_ended(self, name: str, event: str, outcome: HookOutcome) -> None:
        line = f": {outcome.last_line}" if outcome.last_line else ""
        if outcome.is_good:
            said = f"`{event}` has been run{line}"
            self.sink(Notice(name, Level.DEBUG, "hook", said))
            return
        self._warn(name, f"`{event}` {outcome.problem or _ended(outcome)}{line}")

    def _warn(self, name: str, said: str) -> None:
        hint = "what it was to be told of is done all the same; correct the command"
        self.sink(Notice(name, Level.WARNING, HookFailedError.code, said, hint))


def _ended(outcome: HookOutcome) -> str:
    code = outcome.exit_code or 0
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
