"""What is asked of a ``torsync run`` that is looked at from outside."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.cli import Json, Outcome, Running

ENDS_S = 20.0  # of a machine that is ten times slower


def wait_for_notice(
    service: Running, code: str, name: str = "pack", *, since: int = 0, deadline_s: float = 30
) -> Json:
    """Return the first notice of a code about one subscription or publication."""
    return service.wait_for(
        lambda one: one["type"] == "notice" and (one["code"], one["name"]) == (code, name),
        f"{code} is told of {name!r}",
        since=since,
        deadline_s=deadline_s,
    )


def codes(service: Running, name: str = "pack", *, since: int = 0) -> list[str]:
    """The codes of the notices of errors about one subscription or publication."""
    return [
        one["code"]
        for one in service.objects()[since:]
        if one["type"] == "notice" and one["name"] == name and one["level"] == "error"
    ]


def stages(service: Running, name: str = "pack", *, since: int = 0) -> set[str]:
    """The stages that one has been in."""
    return {
        one["stage"]
        for one in service.objects()[since:]
        if one["type"] == "progress" and one["name"] == name
    }


def end(service: Running) -> Outcome:
    """Stop it as systemd does; it ends well."""
    outcome = service.stop(signal.SIGTERM, within_s=ENDS_S)
    assert outcome.exit_code == 0
    assert "Traceback" not in outcome.stderr
    return outcome


def open_files_on(pid: int, devices: Iterable[int]) -> list[str]:
    """What a process has open on some devices, also on those that are unmounted."""
    wanted, folder = set(devices), Path(f"/proc/{pid}/fd")
    found = []
    for descriptor in folder.iterdir():
        with suppress(OSError):  # closed by now
            if os.stat(descriptor).st_dev in wanted:
                found.append(os.readlink(descriptor))
    return found


def wait_until_let_go(service: Running, device: int) -> None:
    """Return once the process has nothing open on a device."""
    wait_until(
        lambda: not open_files_on(service.pid, [device]), "the disk is let go", deadline_s=30
    )
