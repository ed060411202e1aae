"""Where ``torsync`` starts: read the command line, run the command, end with its exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from torsync.cli.account import refuse_root
from torsync.cli.context import Context
from torsync.cli.parser import make_parser
from torsync.cli.render import make_renderer
from torsync.cli.render.discreet import discreet
from torsync.model.errors import ExitCode, InterruptedByUserError, TorsyncError
from torsync.model.secrets import Redactor, secrets_of_environment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import FrameType

_STOP_PATIENCE_S = 1.5
_SERVICE_STOP_PATIENCE_S = 50.0  # systemd waits for 60; a commit is finished meanwhile
_GARBAGE_OBJECTS = 500_000
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_COMMANDS = {
    "init": ("torsync.cli.init", "run_init"),
    "check-now": ("torsync.cli.check", "run_check"),
    "plan": ("torsync.cli.check", "run_plan"),
    "apply": ("torsync.cli.apply", "run_apply"),
    "verify": ("torsync.cli.verify", "run_verify"),
    "status": ("torsync.cli.status", "run_status"),
    "history": ("torsync.cli.history", "run_history"),
    "logs": ("torsync.cli.logs", "run_logs"),
    "rollback": ("torsync.cli.rollback", "run_rollback"),
    "trash": ("torsync.cli.trash", "run_trash"),
    "pause": ("torsync.cli.pause", "run_pause"),
    "resume": ("torsync.cli.pause", "run_resume"),
    "reload": ("torsync.cli.reload", "run_reload"),
    "run": ("torsync.cli.run", "run_service"),
    "publish": ("torsync.cli.publish", "run_publish"),
    "doctor": ("torsync.cli.doctor", "run_doctor"),
    "keygen": ("torsync.cli.keygen", "run_keygen"),
    "service": ("torsync.cli.service", "run_service_command"),
    "demo": ("torsync.cli.demo", "run_demo"),
}


class _Stopped(BaseException):
    """A signal asked to stop; raised in the main thread while it waits for the work."""


def run() -> NoReturn:
    """Be the program ``torsync``.

    All that matters is closed when ``main`` returns: the interpreter is not taken apart object by
    object, which takes longer than many a command.
    """
    code = main()
    with suppress(OSError):  # the interpreter tells it, and ends with a code of its own
        _leave_at_once(ExitCode(code))
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``torsync`` and give its exit code."""
    # A tree of many files is many objects that stay: to look for garbage every 700 costs seconds.
    gc.set_threshold(_GARBAGE_OBJECTS)
    arguments = make_parser().parse_args(argv)
    redactor = Redactor(secrets_of_environment(os.environ))
    spoken = make_renderer(
        json=arguments.json,
        quiet=arguments.quiet,
        verbose=arguments.verbose,
        stdout=sys.stdout,
        stderr=sys.stderr,
    )
    renderer = discreet(spoken, redactor)
    context = Context(
        _config_path(arguments),
        _state_dir(arguments),
        renderer,
        arguments.json,
        redactor=redactor,
    )
    started = time.monotonic()
    command = _command(arguments.command)
    outcome: list[ExitCode] = []

    def work() -> None:
        try:
            refuse_root(context.state_dir, arguments.command, os.environ, os.geteuid())
            code = command(context, arguments)
            stopped = arguments.command == "run" and context.signal
            outcome.append(stopped_code("run", context.signal) if stopped else code)
        except TorsyncError as error:
            renderer.error(error)
            outcome.append(error.exit_code)

    try:
        ended = _run_interruptibly(work, context, is_service=arguments.command == "run")
        if not ended:
            code = stopped_code(arguments.command, context.signal)
            if code is not ExitCode.OK:
                renderer.error(InterruptedByUserError("stopped while waiting for the network"))
        else:
            code = outcome[0]
        renderer.result(code, time.monotonic() - started)
    finally:
        renderer.close()
    if not ended:
        _leave_at_once(code)
    return int(code)


def _run_interruptibly(work: Callable[[], None], context: Context, *, is_service: bool) -> bool:
    """Run ``work`` in a thread, so that a signal is answered even while the network is silent.

    Args:
        work: the command.
        context: its ``stop`` and ``reload`` are set by signals.
        is_service: whether it is given the time to end in order, and SIGHUP reloads it; on a
            terminal, whose end SIGHUP tells, that ends it.

    Returns:
        Whether the work ended; False if it did not do so in time after a signal. What it waits
        for then writes nothing, or can be cut off at any moment.
    """
    crash: list[BaseException] = []
    ended = threading.Event()  # a join that a signal cuts off would take the thread for ended

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            crash.append(error)
        finally:
            ended.set()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one means at once
        # Not SIG_IGN: Python complains of that if the signal has arrived by now.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        context.signal = number
        context.stop.set()
        raise _Stopped

    thread = threading.Thread(target=guarded, name="command", daemon=True)
    try:
        # Threads inherit the mask, so that only this one gets the signals: another would not
        # wake it from its wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        for number in _STOP_SIGNALS:
            signal.signal(number, on_signal)
        if is_service and sys.stdin is not None and sys.stdin.isatty():
            signal.signal(signal.SIGHUP, on_signal)
        elif is_service:
            signal.signal(signal.SIGHUP, lambda _number, _frame: context.reload.set())
        thread.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        ended.wait()
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
    except _Stopped:
        ended.wait(_SERVICE_STOP_PATIENCE_S if is_service else _STOP_PATIENCE_S)
    if crash:
        raise crash[0]
    return ended.is_set()


def stopped_code(command: str, number: int) -> ExitCode:
    """Decide what a command that a signal stopped ends with: the service may be told to."""
    if command == "run" and number == signal.SIGTERM:
        return ExitCode.OK
    return ExitCode.INTERRUPTED


def _leave_at_once(code: ExitCode) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code))


def _command(name: str) -> Callable[[Context, argparse.Namespace], ExitCode]:
    """Import the module of a command only when it is called."""
    module, function = _COMMANDS[name]
    found: Callable[[Context, argparse.Namespace], ExitCode] = getattr(
        import_module(module), function
    )
    return found


def _config_path(arguments: argparse.Namespace) -> Path:
    from torsync.service.config_file import default_config_path

    return arguments.config or default_config_path()


def _state_dir(arguments: argparse.Namespace) -> Path:
    from torsync.service.config_file import default_state_dir

    return arguments.state_dir or default_state_dir()


if __name__ == "__main__":
    run()
