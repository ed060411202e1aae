from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.units import (
    format_duration,
    format_size,
    parse_duration_s,
    parse_rate,
    parse_size,
    parse_size_limit,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h 30m", 5400),
        ("1h30m", 5400),
        ("2.5s", 2.5),
        ("250ms", 0.25),
        ("1d", 86400),
        ("2w", 1209600),
        (" 5 M ", 300),
        ("0s", 0),
    ],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "10", "m", "10 minutes", "-1s", "1h 30", "1,5s", "٣s", "9" * 400 + "s"]
)
def test_what_is_no_duration_is_refused_by_naming_it(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as") as caught:
        parse_duration_s(text)
    assert f'found "{text}"' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4096", 4096),
        ("4096 B", 4096),
        ("10 MB", 10_000_000),
        ("64 MiB", 64 * 2**20),
        ("1.5 KiB", 1536),
        ("3.3kB", 3300),
        ("1 GiB", 2**30),
        ("3 TiB", 3 * 2**40),
        ("2tb", 2 * 10**12),
        ("0", 0),
        ("999999999999999", 999999999999999),
    ],
)
def test_size_is_read_exactly_in_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["0.1", "0.5 B", "0.0001 kB"])
def test_part_of_a_byte_counts_as_a_byte_so_that_it_is_no_zero(text: str) -> None:
    assert parse_size(text) == 1


@pytest.mark.parametrize(
    "text", ["", "MB", "10 XB", "-1", "1.2.3", "1e3", "10 MB/s", "10 Mbit", "9" * 400, "1 000"]
)
def test_what_is_no_size_is_refused_by_naming_it(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as") as caught:
        parse_size(text)
    assert f'found "{text}"' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("", 0), ("  ", 0), ("10 MB/s", 10_000_000), ("1 MiB / sec", 2**20), ("500", 500)],
)
def test_rate_is_read_in_bytes_per_second_and_nothing_is_no_limit(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["/s", "fast", "10 MB/m", "10 Mbit/s"])
def test_what_is_no_rate_is_refused_by_naming_it(text: str) -> None:
    with pytest.raises(ValueError, match="expected a rate such as") as caught:
        parse_rate(text)
    assert f'found "{text}"' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "limit_bytes"),
    [("10%", 200), ("0%", 0), (" 2.5 % ", 50), ("100%", 2000), ("3 kB", 3000), ("0", 0)],
)
def test_a_limit_is_a_size_or_a_part_of_the_file_system(text: str, limit_bytes: int) -> None:
    assert parse_size_limit(text).of(2000) == limit_bytes


@pytest.mark.parametrize("text", ["100.1%", "999%", "%", "-1%", "10 %%", "ten", ""])
def test_what_is_no_limit_is_refused_by_naming_it(text: str) -> None:
    with pytest.raises(ValueError, match=f'or a percentage up to "100%", found "{text}"'):
        parse_size_limit(text)


@pytest.mark.parametrize("parse", [parse_duration_s, parse_size, parse_rate])
@given(text=st.text() | st.text(alphabet="0123456789. kmsihdwb/"))
def test_any_text_is_a_number_of_units_or_named_in_the_error(
    parse: Callable[[str], float], text: str
) -> None:
    try:
        shown = str(parse(text))
    except ValueError as error:
        shown = str(error).partition(f'found "{text}"')[1]
    assert shown
    assert not shown.startswith("-")


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.5, "1 kB"),
        (999.6, "1 kB"),
        (1000, "1 kB"),
        (3_250_000, "3.25 MB"),
        (145_000_000, "145 MB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (1.5e9, "1.5 GB"),
        (2.5e12, "2.5 TB"),
        (123_456e12, "123456 TB"),
        (-2000, "-2 kB"),
    ],
)
def test_size_is_shown_with_three_digits_and_a_decimal_unit(size_bytes: float, shown: str) -> None:
    assert format_size(size_bytes) == shown


@given(st.integers(min_value=0, max_value=10**15))
def test_shown_size_reads_as_nearly_the_same(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == pytest.approx(size_bytes, rel=0.006)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.42, "0.42 s"),
        (9.99, "9.99 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 m"),
        (200, "3 m 20 s"),
        (3599.7, "1 h"),
        (5400, "1 h 30 m"),
        (86399, "23 h 59 m"),
        (86400, "1 d"),
        (187200, "2 d 4 h"),
    ],
)
def test_duration_is_shown_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@given(st.integers(min_value=10, max_value=10**9))
def test_shown_duration_reads_as_the_same_but_for_smaller_units(seconds: int) -> None:
    smallest_shown = 1 if seconds < 3600 else 60 if seconds < 86400 else 3600
    assert 0 <= seconds - parse_duration_s(format_duration(seconds)) < smallest_shown
