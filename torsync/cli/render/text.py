"""Text that is safe to print, and the small words that all lines for people are made of.

Pure. Everything that came from a torrent, a file name or a server goes through
``printable`` before a person's terminal or log gets to see it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torsync.model.errors import ConfigError
from torsync.model.printable import printable as printable  # noqa: PLC0414 - others have it from here
from torsync.model.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.errors import TorsyncError
    from torsync.model.events import Progress

PATHS_SHOWN = 10
_RELEASE_LENGTH = 80
_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*@")


def shortened(text: str, length: int = _RELEASE_LENGTH) -> str:
    """Show ``text`` printably in at most ``length`` characters."""
    shown = printable(text[: length + 1])
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def printable_url(url: str) -> str:
    """Show a URL without its password."""
    return printable(_PASSWORD.sub(r"\1:…@", url))


def counted(number: int, noun: str) -> str:
    """Show a number with its noun: ``"1 file"``, ``"1,204 files"``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def piece_ranges(pieces: Iterable[int], limit: int | None = PATHS_SHOWN) -> str:
    """Condense piece indexes: ``"piece 3"``, ``"pieces 3-7, 12"``."""
    runs: list[tuple[int, int]] = []
    for piece in sorted(set(pieces)):
        if runs and runs[-1][1] == piece - 1:
            runs[-1] = (runs[-1][0], piece)
        else:
            runs.append((piece, piece))
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:limit]]
    hidden = sum(last - first + 1 for first, last in runs[len(shown) :])
    more = f" and {hidden:,} more" if hidden else ""
    is_one = len(runs) == 1 and runs[0][0] == runs[0][1]
    return f"{'piece' if is_one else 'pieces'} {', '.join(shown)}{more}"


def percent_done(progress: Progress) -> int | None:
    """How much of a stage is done, by bytes or else by files; 100 only when all is."""
    for done, total in (
        (progress.bytes_done, progress.bytes_total),
        (progress.files_done, progress.files_total),
    ):
        if total > 0:
            return max(0, min(100, done * 100 // total))
    return None


def time_left(seconds: float) -> str:
    """Show the time left without fractions, which would flicker."""
    return f"{max(0, round(seconds))} s" if seconds < 10 else format_duration(seconds)


def describe_progress(progress: Progress) -> str:
    """Say how far a stage is, in one line."""
    parts = []
    percent = percent_done(progress)
    if percent is not None:
        parts.append(f"{percent}%")
    if progress.bytes_total:
        parts.append(f"{format_size(progress.bytes_done)} of {format_size(progress.bytes_total)}")
    if progress.files_total:
        parts.append(f"{progress.files_done:,} of {counted(progress.files_total, 'file')}")
    if progress.download_rate:
        parts.append(f"{format_size(progress.download_rate)}/s down")
    if progress.rate:
        parts.append(f"{format_size(progress.rate)}/s")
    if progress.upload_rate:
        parts.append(f"{format_size(progress.upload_rate)}/s up")
    if progress.peers:
        parts.append(counted(progress.peers, "peer"))
    if progress.eta_s is not None and progress.eta_s < float("inf"):
        parts.append(f"{time_left(progress.eta_s)} left")
    return ", ".join(parts)


def error_lines(error: TorsyncError) -> list[tuple[str, str]]:
    """What to print of an error: (label, text), labels ``error``, ``""`` and ``hint``."""
    lines = [("error", printable(error.message))]
    if isinstance(error, ConfigError):
        lines += [("", printable(problem)) for problem in error.problems]
    if error.hint:
        lines.append(("hint", printable(error.hint)))
    return lines
