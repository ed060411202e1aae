"""A piece that lies in pieces elsewhere is laid out over the files that it belongs to."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.trees import random_bytes
from torsync.model.assessment import Extent
from torsync.model.manifest import Segment
from torsync.model.placement import Run, matched_runs
from torsync.model.shifts import Stretch

FILES = {path: random_bytes(200, path) for path in ("x", "y", "z")}


@st.composite
def split(draw: st.DrawFn, total: int) -> list[int]:
    """Lengths that add up to ``total``."""
    cuts = draw(st.sets(st.integers(1, total - 1), max_size=6)) if total > 1 else set()
    ends = [*sorted(cuts), total]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[Segment], list[Extent]]:
    """Segments and extents of as many bytes."""
    total = draw(st.integers(1, 60))
    numbers = draw(st.lists(st.none() | st.integers(0, 5), min_size=7, max_size=7))
    segments = [
        Segment(number, 0 if number is None else 100 * at, length)
        for at, (number, length) in enumerate(zip(numbers, draw(split(total)), strict=False))
    ]
    extents = [
        Extent(draw(st.sampled_from(["", *FILES])), draw(st.integers(0, 140)), length)
        for length in draw(split(total))
    ]
    return segments, extents


def content(extents: list[Extent]) -> bytes:
    return b"".join(
        FILES[path][offset : offset + length] if path else bytes(length)
        for path, offset, length in extents
    )


@given(layouts())
@example(([Segment(0, 0, 8)], [Extent("x", 0, 8)]))
@example(([Segment(0, 7, 3), Segment(None, 0, 5)], [Extent("x", 1, 2), Extent("", 0, 6)]))
def test_every_byte_is_copied_to_where_it_belongs(
    layout: tuple[list[Segment], list[Extent]],
) -> None:
    segments, extents = layout
    whole = content(extents)
    written: dict[tuple[int, int], int] = {}
    for run in matched_runs(segments, [Stretch(0, tuple(extents))]):
        assert run.length > 0
        source = Extent(run.source, run.source_offset, run.length)
        for at, byte in enumerate(content([source])):
            place = (run.file_index, run.offset + at)
            assert place not in written, "each byte is written once"
            written[place] = byte
    expected: dict[tuple[int, int], int] = {}
    start = 0
    for file_index, offset, length in segments:
        if file_index is not None:
            part = whole[start : start + length]
            expected |= {(file_index, offset + at): byte for at, byte in enumerate(part)}
        start += length
    assert written == expected


@given(layouts())
def test_no_more_runs_are_made_than_there_are_borders(
    layout: tuple[list[Segment], list[Extent]],
) -> None:
    segments, extents = layout
    assert len(list(matched_runs(segments, [Stretch(0, tuple(extents))]))) < len(segments) + len(
        extents
    )


def test_runs_end_where_a_file_or_a_place_does() -> None:
    segments = [Segment(4, 100, 5), Segment(None, 0, 2), Segment(5, 0, 3)]
    extents = [Extent("x", 10, 3), Extent("y", 0, 5), Extent("", 0, 2)]
    assert list(matched_runs(segments, [Stretch(0, tuple(extents))])) == [
        Run(4, 100, "x", 10, 3),
        Run(4, 103, "y", 0, 2),
        Run(5, 0, "y", 4, 1),
        Run(5, 1, "", 0, 2),
    ]


def test_nothing_has_no_runs() -> None:
    assert list(matched_runs([], [])) == []


def test_what_a_place_lacks_is_left_out() -> None:
    """It is padding in v2, and found out by hashing elsewhere."""
    runs = list(matched_runs([Segment(0, 0, 9)], [Stretch(0, (Extent("x", 0, 8),))]))
    assert runs == [Run(0, 0, "x", 0, 8)]


def test_padding_need_not_be_anywhere() -> None:
    """What a v2 release hashes ends with the file; the layout goes on to the next piece."""
    segments = [Segment(0, 8, 5), Segment(None, 0, 3)]
    assert list(matched_runs(segments, [Stretch(0, (Extent("x", 0, 5),))])) == [
        Run(0, 8, "x", 0, 5)
    ]


def test_stretches_go_where_they_are_in_the_piece_and_leave_the_rest_alone() -> None:
    segments = [Segment(4, 100, 5), Segment(None, 0, 2), Segment(5, 0, 6)]
    stretches = [
        Stretch(3, (Extent("x", 10, 3),)),
        Stretch(8, (Extent("", 0, 1), Extent("y", 7, 2))),
        Stretch(12, (Extent("z", 0, 1),)),
    ]
    assert list(matched_runs(segments, stretches)) == [
        Run(4, 103, "x", 10, 2),
        Run(5, 1, "", 0, 1),
        Run(5, 2, "y", 7, 2),
        Run(5, 5, "z", 0, 1),
    ]
