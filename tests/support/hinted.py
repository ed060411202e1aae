"""Hints of files as a publisher writes them, and a source that counts what is read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.disk.chunking import Cutter
from torsync.model.hints.chunks import SMALLEST_FILE, average_for, cells_of
from torsync.model.hints.format import Filed, key_of, write_entry, write_front
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torsync.model.hints.format import Entry, Range
    from torsync.model.manifest import Manifest


def entry_of(file: Path, pieces_root: bytes) -> Entry:
    """What the hints say of one file."""
    size = file.stat().st_size
    average = average_for(size)
    with file.open("rb") as opened:
        chunks, blocks = Cutter(average).cut_with_blocks(opened.fileno(), 0, size)
    return write_entry(key_of(pieces_root), average, chunks, cells_of(blocks))


def entries_of(folder: Path, manifest: Manifest) -> list[Entry]:
    """What the hints say of the files of a release, which are in a folder."""
    found = {
        file.pieces_root: entry_of(folder / file.path, file.pieces_root)
        for file in manifest.files
        if file.pieces_root is not None and file.size >= SMALLEST_FILE
    }
    return list(found.values())


def hints_file(entries: Iterable[Entry]) -> bytes:
    """A whole hints file."""
    listed = sorted(entries)
    front = write_front(
        Filed(entry.key, len(entry.data), entry.groups, entry.chunks, entry.average)
        for entry in listed
    )
    return b"".join((front, *(entry.data for entry in listed)))


class CountingSource:
    """Hints in memory; it gives exactly what is asked for, or fails for good."""

    def __init__(self, data: bytes, *, fails_at: int = -1) -> None:
        """Prepare; ``fails_at`` is the request from which on there is no answer."""
        self._data = data
        self._fails_at = fails_at
        self.bytes_received = 0
        self.shown = "memory:hints"
        self.requests: list[list[Range]] = []

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """As ``HintsSource`` says."""
        self.requests.append(list(ranges))
        if 0 <= self._fails_at < len(self.requests):
            raise HintsUnavailableError("there are no hints any more")
        if any(wanted.end > len(self._data) for wanted in ranges):
            raise HintsUnavailableError(f"the hints end after {len(self._data)} bytes")
        self.bytes_received += sum(wanted.length for wanted in ranges)
        return [self._data[wanted.offset : wanted.end] for wanted in ranges]

    def close(self) -> None:
        """Nothing is open."""
