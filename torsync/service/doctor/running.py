"""The service: whether it runs, answers, and is looked after by systemd."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from torsync import __version__
from torsync.disk.lock import holder_command, holder_pid
from torsync.model.checkup import Finding, failed, ok, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torsync.model.config import ServiceConfig

SERVICE = "torsync run"
UNIT = "torsync.service"
_ANSWER_S = 4.0
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


def find_holders(folders: Iterable[Path]) -> Holders:
    """See who holds trees, by the folders of their states."""
    pids, trees = [], 0
    for folder in folders:
        trees += 1
        with suppress(OSError):  # told by the check of the state directory
            pid = holder_pid(folder)
            if pid is not None and holder_command(folder) == SERVICE:
                pids.append(pid)
    return Holders(frozenset(pids), len(pids), trees)


def check_service(service: ServiceConfig, state_dir: Path, holders: Holders) -> list[Finding]:
    """See whether the service runs, and its control API answers."""
    findings = [judge_holders(holders)]
    if not holders.service:
        return [*findings, skipped("service.control", "there is no service that could answer")]
    if service.control is None:
        return [*findings, skipped("service.control", 'control = "" in [service]')]
    return [*findings, _check_control(state_dir)]


def judge_holders(found: Holders) -> Finding:
    """Decide what it means who holds the trees."""
    check = "service.running"
    if not found.service:
        return warning(check, "the service does not run: nothing is polled by itself", _START)
    pids = ", ".join(map(str, sorted(found.service)))
    if found.served < found.trees:
        said = f"the service (process {pids}) works on {found.served} of {found.trees} trees"
        return warning(check, said, "have it read the configuration again: `torsync reload`")
    return ok(check, f"the service runs (process {pids}), and works on all {found.trees} trees")


def _check_control(state_dir: Path) -> Finding:
    check = "service.control"
    again = "stop the service and start it again"
    try:
        address = (state_dir / "control" / "address").read_text("utf-8").strip()
        token = (state_dir / "control" / "token").read_text("utf-8").strip()
    except OSError as error:
        said = f"{error.filename!r} cannot be read: {error.strerror}; no orders can be given"
        return warning(check, said, f"run this as the user that the service runs as; else {again}")
    parts = urlsplit(address)
    # No proxy of the environment gets to see the token.
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/api/v1/status", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return failed(check, f"the service does not answer at {address}", again)
    finally:
        connection.close()
    return judge_answer(status, _version_in(body), address)


def _version_in(body: bytes) -> str:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("version", "")) if isinstance(found, dict) else ""


def judge_answer(status: int, version: str, address: str) -> Finding:
    """Decide what the control API's answer says.

    Args:
        status: three digits.
        version: of the service; empty if it did not say.
        address: that was asked.
    """
    check = "service.control"
    if status in {401, 403}:
        said = f"the service at {address} refuses the token of this state directory"
        return failed(check, said, "stop the service and start it again, which makes a new one")
    if status != 200:
        said = f"the service at {address} answers {status}"
        return failed(check, said, "see its log; stop it and start it again")
    if version and version != __version__:
        said = f"the service is torsync {version}, and this is {__version__}"
        return warning(check, said, f"start it again: `systemctl restart {UNIT}`")
    return ok(check, f"the service answers at {address}")


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
