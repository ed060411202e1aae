"""A hints file, read in parts as an update reads it, for files that it should describe."""

from __future__ import annotations

from tests.hostile.fuzz.oracle import judged
from tests.support.hinted import CountingSource
from torsync.model.hints.worth import Sought, Span
from torsync.subscribe.shifts.entries import Entries, Unknown

MAX_BYTES = 16 * 1024
_SIZES = (100_000, 900_000, 40_000_000)
_KEYS = tuple(bytes([number]) * 16 for number in (0x11, 0x77, 0xEE))


def try_one(data: bytes) -> None:
    """Read what there is of three files that lack everything, and one that lacks a little."""
    sought = [
        Sought(number, size, key, (Span(0, size),), ("old",))
        for number, (size, key) in enumerate(zip(_SIZES, _KEYS, strict=True))
    ]
    sought.append(Sought(3, _SIZES[0], _KEYS[0], (Span(16_384, 32_768), Span(65_536, 81_920)), ()))
    source = CountingSource(data)
    lacking = sum(file.lacking_bytes for file in sought)
    with judged():
        entries = Entries(source, sought)
        for file in entries.read_groups(sought):
            groups = entries.groups(file)
            assert sum(group.length for group in groups) == file.size
            assert len(groups) == entries.group_count(file.file_index)
            detail = entries.read_details([Unknown(file, file.lacking)])
            for found in detail.values():
                for unit in (*found.chunks, *found.cells):
                    assert 0 <= unit.start < unit.end <= file.size
    assert source.bytes_received <= lacking // 4 + 512 * 1024
    assert len(source.requests) <= 4 + len(sought)
