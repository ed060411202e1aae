"""Whether this machine's clock, the servers' and the file system's agree."""

from __future__ import annotations

import os
import tempfile
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, failed, ok, warning
from torsync.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ASTRAY_S = 300.0
_WRONG_S = 86_400.0
_SET_IT = "see `timedatectl`, and have it set from the network: `timedatectl set-ntp true`"


def judge_server_clock(headers: Mapping[str, str], now_s: float) -> list[Finding]:
    """Compare this machine's clock with the header ``Date`` of an answer that has just come."""
    there_s = http_date_s(headers.get("Date", ""))
    return [] if there_s is None else [judge_clock("clock.server", "the server's", now_s - there_s)]


def judge_clock(check: str, whose: str, ahead_s: float) -> Finding:
    """Decide what the difference of two clocks says.

    Args:
        check: identifier of the check.
        whose: the other clock is.
        ahead_s: how far this machine's is ahead of it; negative if it is behind.
    """
    if abs(ahead_s) < _ASTRAY_S:
        return ok(check, f"this machine's clock and {whose} agree within {_ASTRAY_S / 60:.0f} min")
    side = "ahead of" if ahead_s > 0 else "behind"
    said = f"this machine's clock is {format_duration(abs(ahead_s))} {side} {whose}"
    if abs(ahead_s) >= _WRONG_S:
        return failed(check, f"{said}: certificates and signatures may be refused", _SET_IT)
    return warning(check, f"{said}: the ages in the trash and update windows are off", _SET_IT)


def http_date_s(text: str) -> float | None:
    """Read a header ``Date`` (RFC 9110, section 5.6.7) as Unix seconds; None if it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def check_disk_clock(folder: Path) -> list[Finding]:
    """Compare this machine's clock with that of the file system that a folder is on.

    Args:
        folder: torsync's own; a file is made there, and removed.
    """
    try:
        descriptor, probe = tempfile.mkstemp(prefix="doctor-", dir=folder)
    except OSError:
        return []  # told by the checks of permissions
    try:
        now_s = time.time()
        os.utime(descriptor)
        there_s = os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        os.unlink(probe)
    return [judge_clock("clock.disk", "that of the folder's file system", now_s - there_s)]
