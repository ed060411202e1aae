"""Read what a hints file says of some files, in few requests and within a budget."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints.chunks import CELL_BYTES, CELL_HASH_BYTES
from torsync.model.hints.format import (
    HEADER_BYTES,
    HintsError,
    Range,
    find_record,
    parse_chunks,
    parse_groups,
    parse_header,
)
from torsync.model.hints.matching import Unit, units_of_chunks
from torsync.subscribe.shifts.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torsync.model.hints.chunks import Group
    from torsync.model.hints.format import Header, Record
    from torsync.model.hints.worth import Sought, Span
    from torsync.subscribe.shifts.source import HintsSource

_WHOLE_FILE = 64 * 1024  # a hints file that is read in one go, whatever is lacking
_LARGEST_WHOLE = 512 * 1024  # and if it is little beside what is lacking: requests take time
_WHOLE_SHARE = 128  # one part in so many
_SMALL_ENTRY = 4 * 1024  # an entry that is read whole instead of in parts
_MOST_BYTES = 64 * 1024**2
_MOST_AT_A_TIME = 16 * 1024**2  # of one file: in memory they take twenty times as much
_SHARE_IN_ALL = 4  # of what is lacking, one part in so many may be spent on hints
_SHARE_PER_FILE = 32  # chunks of 1 KiB take one part in 50
_FINE_FILE = 1024**2  # a larger one has no need of small chunks
_SMALLEST_ON_AVERAGE = 2048  # bytes of its chunks


class Unknown(NamedTuple):
    """Parts of a wanted file of which more is to be known; ascending, apart from one another."""

    file: Sought
    spans: Sequence[Span]


class Detail(NamedTuple):
    """Chunks and cells of a part of a wanted file, with their places in it."""

    chunks: list[Unit]
    cells: list[Unit]


class Entries:
    """The entries of the files that are sought."""

    def __init__(self, source: HintsSource, sought: Sequence[Sought]) -> None:
        """Prepare; nothing is read yet.

        Args:
            source: of the hints; its errors go to the caller.
            sought: the files.
        """
        lacking = sum(file.lacking_bytes for file in sought)
        self._reading = Reading(source, min(lacking // _SHARE_IN_ALL, _MOST_BYTES))
        self._whole_bytes = max(_WHOLE_FILE, min(lacking // _WHOLE_SHARE, _LARGEST_WHOLE))
        self._records: dict[int, Record] = {}
        self._groups: dict[int, bytes] = {}

    def average(self, file_index: int) -> int:
        """The average size of a file's chunks, in bytes."""
        return self._records[file_index].average

    def group_count(self, file_index: int) -> int:
        """How many groups a file has."""
        return self._records[file_index].groups

    def groups(self, file: Sought) -> list[Group]:
        """All groups of a file that ``read_groups`` named."""
        index = file.file_index
        return parse_groups(self._groups[index], self._records[index], file.size)

    # --- finding entries ------------------------------------------------------------------------

    def read_groups(self, sought: Sequence[Sought]) -> list[Sought]:
        """Read the groups of all files.

        Returns:
            The files that the hints say something of that is worth its bytes.

        Raises:
            HintsError: it is no hints file.
            HintsUnavailableError: it cannot be read.
        """
        reading = self._reading
        header = parse_header(reading.read([Range(0, HEADER_BYTES)])[0])
        if header.size <= self._whole_bytes and reading.reserve(header.size):
            reading.read([Range(0, header.size)])
        self._records = self._read_records(header, sought)
        listed = [
            (file, self._first_range(file)) for file in sought if file.file_index in self._records
        ]
        chosen = self._affordable(listed)
        reading.read([wanted for _file, wanted in chosen])
        return [file for file, _wanted in chosen if self._has_groups(file)]

    def _has_groups(self, file: Sought) -> bool:
        index = file.file_index
        (self._groups[index],) = self._reading.read([self._records[index].groups_range])
        try:
            self.groups(file)
        except HintsError:
            return False  # other files' may be as they should be
        return True

    def _read_records(self, header: Header, sought: Sequence[Sought]) -> dict[int, Record]:
        reading = self._reading
        chosen = self._affordable([(file, header.fanout_of(file.key)) for file in sought])
        numbers = reading.read([pair for _file, pair in chosen])
        chosen = self._affordable(
            [
                (file, header.bucket_of(two))
                for (file, _pair), two in zip(chosen, numbers, strict=True)
            ]
        )
        found = {}
        buckets = reading.read([bucket for _file, bucket in chosen])
        for (file, _bucket), data in zip(chosen, buckets, strict=True):
            try:
                record = find_record(data, file.key, header, file.size)
            except HintsError:
                continue  # other files' may be as they should be
            if record is not None and _is_worth_it(record, file):
                found[file.file_index] = record
        return found

    def _affordable(self, asked: Sequence[tuple[Sought, Range]]) -> list[tuple[Sought, Range]]:
        """As many as there is a budget for, which they are taken out of."""
        reading = self._reading
        return [
            (file, wanted)
            for file, wanted in asked
            if reading.has(wanted) or reading.reserve(wanted.length)
        ]

    def _first_range(self, file: Sought) -> Range:
        """The groups of a file, or all of its entry if that is small."""
        record = self._records[file.file_index]
        entry = record.entry_range(file.size)
        return entry if entry.length <= _SMALL_ENTRY else record.groups_range

    # --- details --------------------------------------------------------------------------------

    def read_details(self, unknown: Sequence[Unknown]) -> dict[int, Detail]:
        """Read chunks and cells that overlap what is still unknown, of some files at once.

        Raises:
            HintsUnavailableError: they cannot be read.
        """
        reading = self._reading
        chosen = [
            (each.file.file_index, parts)
            for each in unknown
            if self._may_read(parts := self._parts_of(each), each.spans)
        ]
        found = {}
        with reading.forgetting():
            reading.read([part.range for _index, parts in chosen for part in parts])
            for index, parts in chosen:
                detail = found[index] = Detail([], [])
                data = reading.read([part.range for part in parts])
                for part, part_data in zip(parts, data, strict=True):
                    part.parse(part_data, detail)
        return found

    def _may_read(self, parts: Sequence[_Part], spans: Sequence[Span]) -> bool:
        if all(self._reading.has(part.range) for part in parts):
            return True
        cost = _cost(parts)
        return cost <= _worth(sum(map(_length, spans))) and self._reading.reserve(cost)

    def detail_bytes(self, unknown: Unknown) -> int:
        """How much ``read_details`` would read for one file."""
        return _cost(self._parts_of(unknown))

    def _parts_of(self, unknown: Unknown) -> list[_Part]:
        file, spans = unknown
        record = self._records[file.file_index]
        chunks = _chunk_parts(record, self.groups(file), spans)
        return [*chunks, *_cell_parts(record, spans, file.size)]


class _Part(NamedTuple):
    """Part of an entry: chunks of consecutive groups, or cells if there are none."""

    range: Range
    start: int
    size: int
    groups: list[Group]

    def parse(self, data: bytes, detail: Detail) -> None:
        """Add what it says to ``detail``; nothing if that makes no sense."""
        if self.groups:
            with suppress(HintsError):
                detail.chunks.extend(units_of_chunks(parse_chunks(data, self.groups), self.start))
            return
        start = self.start
        for at in range(0, len(data), CELL_HASH_BYTES):
            length = min(CELL_BYTES, self.size - start)
            detail.cells.append(Unit(start, length, data[at : at + CELL_HASH_BYTES]))
            start += length


def _chunk_parts(record: Record, groups: Sequence[Group], spans: Sequence[Span]) -> Iterable[_Part]:
    """The chunks of all groups that overlap ``spans``; those of neighbours together."""
    parts: list[_Part] = []
    offset = first = at = 0
    is_open = False
    for group in groups:
        while at < len(spans) and spans[at].end <= offset:
            at += 1
        if at < len(spans) and spans[at].start < offset + group.length:
            if not is_open:
                parts.append(_Part(record.chunks_range(first, 0), offset, 0, []))
            part = parts[-1]
            part.groups.append(group)
            length = part.range.length + record.chunks_range(0, group.chunks).length
            parts[-1] = part._replace(range=Range(part.range.offset, length))
            is_open = True
        else:
            is_open = False
        offset += group.length
        first += group.chunks
    return parts


def _cell_parts(record: Record, spans: Sequence[Span], size: int) -> Iterable[_Part]:
    """The cells that overlap ``spans``; each once."""
    done = 0
    for span in spans:
        first = max(span.start // CELL_BYTES, done)
        done = max(done, -(-span.end // CELL_BYTES))
        if first < done:
            yield _Part(record.cells_range(first, done - first), first * CELL_BYTES, size, [])


def _is_worth_it(record: Record, file: Sought) -> bool:
    """Whether what the hints say of a file costs little beside what the file lacks."""
    is_fine = file.size <= _FINE_FILE or record.chunks <= file.size // _SMALLEST_ON_AVERAGE
    return is_fine and record.groups_range.length <= _worth(file.lacking_bytes)


def _worth(lacking: int) -> int:
    """Bytes of hints that may be read at a time for that many bytes."""
    return min(_SMALL_ENTRY + lacking // _SHARE_PER_FILE, _MOST_AT_A_TIME)


def _cost(parts: Iterable[_Part]) -> int:
    return sum(part.range.length for part in parts)


def _length(span: Span) -> int:
    return span.end - span.start
