"""What the feed reads in a request: paths, ranges, conditions, preferences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsync.publish.feed.request import (
    Span,
    UnsatisfiableRangeError,
    allows_range,
    is_match,
    parse_range,
    path_components,
    preferred_wait_s,
)

NONE = "unsatisfiable"


@pytest.mark.parametrize(
    ("raw", "components"),
    [
        (b"/", ()),
        (b"/a", ("a",)),
        (b"/content/x/a%20b/%C3%A4", ("content", "x", "a b", "ä")),
        (b"/a%252fb", ("a%2fb",)),
        (b"/a+b", ("a+b",)),
        (b"/a%5cb", ("a\\b",)),
        (b"/100%", ("100%",)),
        (b"/...", ("...",)),
        (b"http://host:80/a/b", ("a", "b")),
        (b"HTTP://host/a", ("a",)),
        (b"http://host", ()),
    ],
)
def test_a_path_is_taken_apart_before_it_is_decoded(
    raw: bytes, components: tuple[str, ...]
) -> None:
    assert path_components(raw) == components


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"*", b"a", b"//", b"/a//b", b"/a/", b"/.", b"/..", b"/a/../b", b"/%2e%2e/b"),
        *(b"/.%2e", b"/a%2fb", b"/a%2Fb", b"/%2f", b"/a%00b", b"/%ff", b"/%c0%af", b"ftp://x/a"),
        *(b"/%2e", b"//a", b"file:///a"),
    ],
)
def test_what_could_mean_another_path_is_none(raw: bytes) -> None:
    assert path_components(raw) is None


@given(st.binary(max_size=60))
def test_no_component_can_leave_its_folder(raw: bytes) -> None:
    for name in path_components(b"/" + raw) or ():
        assert name not in {"", ".", ".."}
        assert "/" not in name
        assert "\0" not in name


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("", None),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-", Span(0, 100)),
        ("bytes=0-98", Span(0, 99)),
        ("bytes=0-99", Span(0, 100)),
        ("bytes=0-100", Span(0, 100)),
        ("bytes=98-", Span(98, 100)),
        ("bytes=99-", Span(99, 100)),
        ("bytes=99-99", Span(99, 100)),
        ("bytes=100-", NONE),
        ("bytes=100-100", NONE),
        ("bytes=101-200", NONE),
        ("bytes=-0", NONE),
        ("bytes=-1", Span(99, 100)),
        ("bytes=-99", Span(1, 100)),
        ("bytes=-100", Span(0, 100)),
        ("bytes=-101", Span(0, 100)),
        ("BYTES = 5-6", Span(5, 7)),
        ("bytes=5-" + "9" * 5000, Span(5, 100)),
        ("bytes=" + "9" * 5000 + "-", NONE),
        ("bytes=6-5", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0x1-2", None),
        ("bytes=\u0661-", None),
        ("lines=0-1", None),
        ("bytes=--1", None),
    ],
)
def test_ranges_at_their_edges(value: str, span: Span | str | None) -> None:
    if span == NONE:
        with pytest.raises(UnsatisfiableRangeError):
            parse_range(value, 100)
    else:
        assert parse_range(value, 100) == span


@pytest.mark.parametrize(("value", "span"), [("bytes=0-", NONE), ("bytes=-1", None), ("", None)])
def test_ranges_of_an_empty_file(value: str, span: Span | str | None) -> None:
    if span == NONE:
        with pytest.raises(UnsatisfiableRangeError):
            parse_range(value, 0)
    else:
        assert parse_range(value, 0) == span


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(("", False), ("*", True), (" * ", True), ('"a"', True), ('W/"a"', True), ('"b"', False)),
        *(('"b", "a"', True), ('"b",W/"a"', True), ("a", False), ('"A"', False), ('"b,a"', False)),
    ],
)
def test_if_none_match(value: str, expected: bool) -> None:
    assert is_match(value, '"a"') is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(("", True), ('"a"', True), (' "a" ', True), ('W/"a"', False), ('"b"', False)),
        ("Sat, 21 Nov 2026 14:00:00 GMT", False),
    ],
)
def test_if_range(value: str, expected: bool) -> None:
    assert allows_range(value, '"a"') is expected


@pytest.mark.parametrize(
    ("values", "wait_s"),
    [
        *(([], 0), (["wait=10"], 10), (["Wait = 10"], 10), (['wait="10"'], 10), (["wait=0"], 0)),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10;foo=bar"], 10),
        (["wait=10, wait=20"], 10),
        *((["wait"], 0), (["wait=-1"], 0), (["wait=1.5"], 0), (["waiting=10"], 0), (["wait="], 0)),
        (["wait=" + "9" * 5000], 10**18),
    ],
)
def test_the_wait_that_is_preferred(values: list[str], wait_s: int) -> None:
    assert preferred_wait_s(values) == wait_s
