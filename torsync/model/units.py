"""Durations and byte sizes as people write them in configuration, and as they are shown."""

from __future__ import annotations

import re
from typing import NamedTuple

_DURATION_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_DURATION_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(ms|[smhdw])\s*")
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,15}))?\s*([a-z]*)")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,15})?)\s*%")


class SizeLimit(NamedTuple):
    """A number of bytes, or a part of a file system."""

    size_bytes: int = 0
    percent: float = 0.0

    def of(self, total_bytes: int) -> int:
        """The limit in bytes, on a file system of ``total_bytes``."""
        return self.size_bytes + int(total_bytes * self.percent / 100)


def parse_duration_s(text: str) -> float:
    """Parse ``"10m"``, ``"1h 30m"`` or ``"2.5s"`` into seconds.

    Raises:
        ValueError: the text is no duration; the message says what is expected.
    """
    total, position = 0.0, 0
    stripped = text.strip().lower()
    while part := _DURATION_PART.match(stripped, position):
        total += float(part[1]) * _DURATION_UNITS_S[part[2]]
        position = part.end()
    if not stripped or position < len(stripped):
        raise ValueError(f'expected a duration such as "30s", "10m" or "1h 30m", found "{text}"')
    return total


def parse_size(text: str) -> int:
    """Parse ``"64 MiB"``, ``"10 MB"`` or ``"4096"`` into bytes (decimal and binary units).

    The result is exact; a part of a byte counts as a byte, so that only zero is 0.

    Raises:
        ValueError: the text is no size; the message says what is expected.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[3] not in _SIZE_UNITS:
        raise ValueError(f'expected a size such as "64 MiB" or "500 kB", found "{text}"')
    fraction = match[2] or ""
    scaled = int(match[1] + fraction) * _SIZE_UNITS[match[3]]
    divisor: int = 10 ** len(fraction)
    return -(-scaled // divisor)


def parse_size_limit(text: str) -> SizeLimit:
    """Parse ``"10%"`` or a size such as ``"20 GB"``.

    Raises:
        ValueError: the text is neither; the message says what is expected.
    """
    match = _PERCENT.fullmatch(text.strip())
    try:
        if match is None:
            return SizeLimit(size_bytes=parse_size(text))
        if float(match[1]) <= 100:
            return SizeLimit(percent=float(match[1]))
    except ValueError:
        pass
    raise ValueError(
        f'expected a size such as "20 GB" or a percentage up to "100%", found "{text}"'
    )


def parse_rate(text: str) -> int:
    """Parse ``"10 MB/s"`` into bytes per second; the empty text is 0, no limit.

    Raises:
        ValueError: the text is no rate; the message says what is expected.
    """
    stripped = text.strip()
    if not stripped:
        return 0
    try:
        return parse_size(re.sub(r"\s*/\s*s(ec)?$", "", stripped, flags=re.IGNORECASE))
    except ValueError:
        raise ValueError(f'expected a rate such as "10 MB/s", found "{text}"') from None


def format_size(size_bytes: float) -> str:
    """Show a size with decimal units: ``"0 B"``, ``"3.25 MB"``, ``"145 MB"``."""
    if abs(size_bytes) < 999.5:
        return f"{size_bytes:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size_bytes /= 1000
        if abs(size_bytes) < 999.5:
            return f"{size_bytes:.3g} {unit}"
    return f"{size_bytes:.0f} TB"


def format_duration(seconds: float) -> str:
    """Show a duration in its two largest units: ``"0.42 s"``, ``"3 m 20 s"``, ``"2 d 4 h"``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        large, large_s, small, small_s = "m", 60, "s", 1
    elif whole < 86400:
        large, large_s, small, small_s = "h", 3600, "m", 60
    else:
        large, large_s, small, small_s = "d", 86400, "h", 3600
    rest = whole % large_s // small_s
    shown = f"{whole // large_s} {large}"
    return f"{shown} {rest} {small}" if rest else shown
