"""The service: whether it runs, answers, and is looked after by systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from torsync import __version__
from torsync.disk.lock import holder_command, holder_pid
from torsync.model.checkup import Finding, failed, failure, ok, skipped, warning
from torsync.model.errors import ExitCode, InterruptedByUserError, TorsyncError
from torsync.service.control.credentials import service_pid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torsync.model.config import ServiceConfig

SERVICE = "torsync run"
UNIT = "torsync.service"
_ANSWER_S = 5.0
_TICK_S = 0.2
_AGAIN = "see its log: `torsync logs`; stop it and start it again"
_SYSTEMCTL_S = 5.0
_SYSTEMD = "/run/systemd/system"
_LINGER = "/var/lib/systemd/linger"
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "NRestarts", "UnitFileState")
_START = "run `torsync run`, or have it started: `torsync service install`"


class Holders(NamedTuple):
    """Who holds the trees.

    Attributes:
        service: process ids of ``torsync run``.
        served: how many trees it holds.
        trees: how many there are.
    """

    service: frozenset[int]
    served: int
    trees: int


def find_holders(state_dir: Path, folders: Iterable[Path]) -> Holders:
    """See who holds trees, by the folders of their states, and who has the control API."""
    pids: list[int] = []
    trees = 0
    for folder in folders:
        trees += 1
        with suppress(OSError):  # told by the check of the state directory
            pid = holder_pid(folder)
            if pid is not None and holder_command(folder) == SERVICE:
                pids.append(pid)
    served = len(pids)
    with suppress(OSError):
        pid = service_pid(state_dir)
        pids += [pid] if pid is not None else []
    return Holders(frozenset(pids), served, trees)


def check_service(
    service: ServiceConfig, state_dir: Path, holders: Holders, stopping: Callable[[], bool]
) -> list[Finding]:
    """See whether the service runs, and its control API answers."""
    findings = [judge_holders(holders)]
    if not holders.service:
        return [*findings, skipped("service.control", "there is no service that could answer")]
    if service.control is None:
        said = 'control = "" in [service]: the service takes no orders, such as `torsync pause`'
        return [*findings, skipped("service.control", said)]
    return [*findings, _check_control(state_dir, stopping)]


def judge_holders(found: Holders) -> Finding:
    """Decide what it means who holds the trees."""
    check = "service.running"
    if not found.service:
        return warning(check, "the service does not run: nothing is polled by itself", _START)
    pids = ", ".join(map(str, sorted(found.service)))
    if found.served < found.trees:
        said = f"the service (process {pids}) holds {found.served} of {found.trees} trees"
        hint = "have it read the configuration again: `torsync reload`; else see `torsync status`"
        return warning(check, said, hint)
    trees = "the tree" if found.trees == 1 else f"all {found.trees} trees"
    return ok(check, f"the service runs (process {pids}), and holds {trees}")


def _check_control(state_dir: Path, stopping: Callable[[], bool]) -> Finding:
    from torsync.service.control.client import find_service  # noqa: PLC0415 - costs start-up time

    check = "service.control"
    ends_s = time.monotonic() + _ANSWER_S

    def wait(seconds: float) -> bool:
        time.sleep(min(seconds, _TICK_S))
        return stopping() or time.monotonic() > ends_s

    try:
        client = find_service(state_dir, wait)
        if client is None:
            said = f"the service has no control API in {str(state_dir)!r}: it takes no orders"
            return warning(check, said, _AGAIN)
        told = client.ask("GET", "/api/v1/status", silence_s=_ANSWER_S)
    except InterruptedByUserError:
        return failed(check, f"the service did not answer within {_ANSWER_S:g} s", _AGAIN)
    except TorsyncError as error:
        if error.exit_code is ExitCode.USAGE:  # one that answers, and knows no status
            return judge_version("")
        return failure(check, error, _AGAIN)
    return judge_version(str(told.get("version", "")))


def judge_version(version: str) -> Finding:
    """Decide what it means that the service is of some version; empty if it did not say."""
    check = "service.control"
    if version != __version__:
        said = (
            f"the service is torsync {version or 'of another version'}, and this is {__version__}"
        )
        return warning(check, said, f"start it again: `systemctl restart {UNIT}`")
    return ok(check, f"the service answers; it is torsync {version}")


def run_systemctl(arguments: list[str]) -> str:
    """Run ``systemctl`` and give what it prints; empty if that is nothing, or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - no text of others
            ["systemctl", *arguments],  # noqa: S607 - wherever the system has it
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def check_unit(run: Callable[[list[str]], str] = run_systemctl) -> list[Finding]:
    """Ask systemd, if it is there, for torsync's unit: the user's, and the system's."""
    if shutil.which("systemctl") is None or not os.path.isdir(_SYSTEMD):
        return [skipped("service.unit", "this system is not run by systemd")]
    known = {}
    for scope in ("--user", "--system"):
        told = run([scope, "show", UNIT, f"--property={','.join(_PROPERTIES)}"])
        unit = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        if unit.get("LoadState") not in {None, "not-found"}:
            known[scope] = unit
    return judge_units(known, lingers=_lingers())


def _lingers() -> bool:
    """Whether this user's services go on when they log out."""
    import pwd  # noqa: PLC0415 - where there is systemd

    with suppress(KeyError):
        return os.path.exists(os.path.join(_LINGER, pwd.getpwuid(os.geteuid()).pw_name))
    return False


def judge_units(known: Mapping[str, Mapping[str, str]], *, lingers: bool) -> list[Finding]:
    """Decide what systemd says of torsync's units.

    Args:
        known: ``--user`` or ``--system`` → the unit's properties, where there is one.
        lingers: whether a user's unit goes on when they log out.
    """
    if not known:
        hint = "to have it started with the system: `torsync service install`"
        return [skipped("service.unit", f"systemd has no {UNIT}", hint)]
    return [_judge_unit(scope, unit, lingers=lingers) for scope, unit in known.items()]


def _judge_unit(scope: str, unit: Mapping[str, str], *, lingers: bool) -> Finding:
    check = "service.unit"
    ctl = "systemctl --user" if scope == "--user" else "systemctl"
    log = f"journalctl {'--user ' if scope == '--user' else ''}-u {UNIT} -n 50"
    state = f"{unit.get('ActiveState', 'unknown')} ({unit.get('SubState', 'unknown')})"
    shown = f"{scope.removeprefix('--')} unit {UNIT}: {state}"
    if unit.get("LoadState") != "loaded":
        said = f"{shown}, and cannot be loaded: {unit.get('LoadState')}"
        return failed(check, said, f"see `{ctl} status {UNIT}`")
    if unit.get("ActiveState") == "failed":
        said = f"{shown}, result {unit.get('Result', 'unknown')}"
        return failed(check, said, f"see why: `{log}`; then `{ctl} restart {UNIT}`")
    if unit.get("SubState") == "auto-restart":
        said = f"{shown}: it ends again and again, {unit.get('NRestarts', '?')} times so far"
        return failed(check, said, f"see why: `{log}`")
    if unit.get("ActiveState") != "active":
        return warning(check, shown, f"start it: `{ctl} enable --now {UNIT}`")
    if unit.get("UnitFileState") == "disabled":
        said = f"{shown}, and not started with the system"
        return warning(check, said, f"run `{ctl} enable {UNIT}`")
    if scope == "--user" and not lingers:
        said = f"{shown}, until you log out"
        return warning(check, said, "run `loginctl enable-linger`: then it goes on")
    return ok(check, shown)
