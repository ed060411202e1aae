from __future__ import annotations

import time
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.errors import ConfigError
from torsync.model.toml_lines import key_lines, parse_toml


def test_keys_have_the_line_they_are_on_and_tables_that_of_their_header() -> None:
    text = "top = 1\n\n[a]\nx = 1 # [b]\ny = 2\n\n[a.b]\nz = 3\n"
    assert key_lines(text) == {
        ("top",): 1,
        ("a",): 3,
        ("a", "x"): 4,
        ("a", "y"): 5,
        ("a", "b"): 7,
        ("a", "b", "z"): 8,
    }


def test_dotted_and_quoted_keys_are_taken_apart() -> None:
    text = 'a . "b.c" . \'d\\e\' = 1\n[ "f]" . g ]\n"h\\u0041=" = 2\n1.5 = 3\n'
    assert key_lines(text) == {
        ("a",): 1,
        ("a", "b.c"): 1,
        ("a", "b.c", "d\\e"): 1,
        ("f]",): 2,
        ("f]", "g"): 2,
        ("f]", "g", "hA="): 3,
        ("f]", "g", "1"): 4,
        ("f]", "g", "1", "5"): 4,
    }


def test_header_of_a_table_counts_more_than_keys_that_imply_it() -> None:
    assert key_lines("[a.b]\n[a.c]\n[a]\n")["a",] == 3
    assert key_lines("[a.b]\n[a.c]\n")["a",] == 1


def test_values_of_several_lines_hide_nothing_and_look_like_nothing() -> None:
    text = (
        "a = [ # ]\n  '[x]', \"]\",\n  [1, 2], # y = 1\n]\n"
        'b = """\n[no]\nno = 1 \\"""\n""no"" """\n'
        "c = '''\n[no]\n'no = 1\n'''''\n"
        'd = """x"""""\n'
        "e = 1979-05-27 07:32:00\n"
    )
    assert key_lines(text) == {("a",): 1, ("b",): 5, ("c",): 9, ("d",): 13, ("e",): 14}


def test_inline_tables_are_looked_into() -> None:
    text = "a = 1\nb = { c = { d = [1, { x = 2 }], e.f = 2 }, g = {}, h = 3 }\ni = 4\n"
    assert key_lines(text) == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 2,
        ("b", "c", "d"): 2,
        ("b", "c", "d", "x"): 2,
        ("b", "c", "e"): 2,
        ("b", "c", "e", "f"): 2,
        ("b", "g"): 2,
        ("b", "h"): 2,
        ("i",): 3,
    }


def test_arrays_of_arrays_are_no_headers() -> None:
    assert key_lines("a = [[1], [2], [\n[x]]]\nb = 1") == {("a",): 1, ("b",): 3}


def test_inline_tables_of_several_lines_are_looked_into_as_toml_1_1_has_them() -> None:
    assert key_lines("a = {\n  b = 1,\n  c = [\n  ],\n}\nd = 1\n") == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("d",): 6,
    }


def test_first_of_an_array_of_tables_counts() -> None:
    assert key_lines("[[a]]\nx = 1\n[[a]]\nx = 2\ny = 3\n") == {
        ("a",): 1,
        ("a", "x"): 2,
        ("a", "y"): 5,
    }


@pytest.mark.parametrize("text", ["", "\n", "# only\n", "\ufeff", "   "])
def test_text_without_keys_has_none(text: str) -> None:
    assert key_lines(text) == {}


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing() -> None:
    text = "\ufeff[a]\r\nb = '''\r\n'''\r\nc = 1"
    assert key_lines(text) == {("a",): 1, ("a", "b"): 2, ("a", "c"): 4}
    assert parse_toml(text, source="f") == {"a": {"b": "", "c": 1}}


def test_long_values_and_many_keys_cost_no_more_than_their_length() -> None:
    texts = (
        "a = [\n" + '  "x", # comment\n' * 5000 + "]\n",
        'a = """\n' + '"" \\" [x]\n' * 5000 + '"""\n',
        "".join(f"[t.n{number}]\nk = 'v'\n" for number in range(2500)),
    )
    for text in texts:
        start = time.process_time()
        assert key_lines(text)
        assert time.process_time() - start < 1


def _paths(value: Any, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, list):
        return set().union(*(_paths(item, prefix) for item in value))
    if not isinstance(value, dict):
        return set()
    return {(*prefix, key) for key in value}.union(
        *(_paths(item, (*prefix, key)) for key, item in value.items())
    )


_keys = st.text(max_size=6) | st.sampled_from(["a", "b.c", "[x]", "=", '"', "'", "#", "\n"])
_scalars = (
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text()
    | st.dates()
    | st.sampled_from(["'''", '"""', "]", "}", "\n[x]\ny = 1\n", "\\", '\\"'])
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_keys, _values, max_size=5), st.booleans())
def test_keys_are_those_that_the_parser_finds(
    document: dict[str, Any], multiline_strings: bool
) -> None:
    text = tomli_w.dumps(document, multiline_strings=multiline_strings)
    assert set(key_lines(text)) == _paths(parse_toml(text, source="f"))


_layouts = st.sampled_from(
    [
        "1",
        '"[a]"',
        "[\n  1, # ]\n\n  2,\n]",
        '"""\n[x]\ny = 1\n"""',
        "'''\n\"\"\"\n'''",
        '"""a\\\n   b\\""""',
        "{ inner = 1 }",
        "[ { inner = [\n] } ]",
    ]
)
_fillers = st.sampled_from(["", "\n", "# k = 1\n", "\n\n  # [t]\n"])


@given(st.lists(st.tuples(_fillers, st.booleans(), _layouts), max_size=20))
def test_every_layout_of_what_is_above_leaves_the_line_exact(
    statements: list[tuple[str, bool, str]],
) -> None:
    text, table, expected = "", "", {}
    for number, (filler, is_header, layout) in enumerate(statements):
        text += filler
        key = f"n{number}"
        path = (key,) if is_header or not table else (table, key)
        expected[path] = text.count("\n") + 1
        text += f"[{key}]\n" if is_header else f"{key} = {layout}\n"
        table = key if is_header else table
    parse_toml(text, source="f")
    lines = key_lines(text)
    assert {path: lines[path] for path in expected} == expected


@given(st.text(alphabet="ab=.,[]{}\"'#\\\n \r") | st.text())
def test_text_that_is_no_toml_gives_what_can_be_made_out(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in key_lines(text).values())


@pytest.mark.parametrize("text", ['"\\q" = 1', "a = 1 } ]\nb = ,\n", "a = [ {[b]", '"""'])
def test_text_that_is_no_toml_is_no_failure(text: str) -> None:
    key_lines(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = tru\n", 2),
        ("a = 1\n\na = 2\n[c]\n", 3),
        ("a = [\n1,\n\n", 2),
        ("a = 1\n[b\n", 2),
        ('a = 1\n\nb = "x\n', 3),
        ("a = " + "9" * 5000, 1),
        ("a = " + "[" * 5000, 1),
    ],
)
def test_syntax_error_is_one_problem_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, source="/etc/torsync.toml")
    (problem,) = caught.value.problems
    assert problem.startswith(f"/etc/torsync.toml:{line}: syntax: expected TOML, found: ")
    assert problem.endswith("; see https://toml.io")
    assert "\n" not in problem


def test_deep_nesting_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml("\na = " + "[" * 5000, source="f")
    (problem,) = caught.value.problems
    assert problem.startswith(
        "f:1: syntax: expected TOML, found: arrays or tables nested too deeply; "
    )


def test_of_text_that_is_no_toml_keys_are_given_as_they_are_written() -> None:
    assert key_lines('"\\q" = 1\n[a') == {('"\\q"',): 1, ("a",): 2}


@given(st.text(alphabet="ab=.,[]{}\"'#\\\n 1-:") | st.text())
def test_parser_refuses_with_a_config_error_only(text: str) -> None:
    try:
        count = len(parse_toml(text, source="f"))
    except ConfigError as error:
        count = len(error.problems)
    assert count >= 0
