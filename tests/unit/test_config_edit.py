from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from torsync.model.config_edit import add_subscription
from torsync.model.errors import ConfigError, UsageError
from torsync.model.toml_lines import parse_toml

URL = "https://mods.example/skyrim.torrent"


def subscriptions(text: str) -> object:
    return parse_toml(text, source="f")["subscriptions"]


def test_empty_configuration_gets_the_table_alone() -> None:
    assert add_subscription("", "skyrim", URL, "~/Games") == (
        f'[subscriptions.skyrim]\nurl = "{URL}"\npath = "~/Games"\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n[session]\ndht = false # why\n",
        "[session]\ndht = false",
        "[session]\r\ndht = false\r\n",
        "[subscriptions.old]\nurl = 'x'\n\n\n",
        "[subscriptions]\n",
        "subscriptions.old.url = 'x'\n",
        "\ufeff# a comment",
    ],
)
def test_rest_stays_as_it_was(text: str) -> None:
    extended = add_subscription(text, "new", URL, "/srv/new")
    assert extended.startswith(text)
    assert subscriptions(extended)["new"] == {"url": URL, "path": "/srv/new"}  # type: ignore[index]
    assert ("\r\n" in text) == ("\r\n" in extended)
    assert parse_toml(text, source="f").get("session") == parse_toml(extended, source="f").get(
        "session"
    )


@given(
    st.sampled_from(["", "a = 1", "a = 1\n", "[b]\nc = '''\n[x]\n'''\n# end"]),
    st.text(min_size=1),
    st.text(),
    st.text(),
)
def test_any_values_are_quoted_so_that_they_read_the_same(
    text: str, name: str, url: str, path: str
) -> None:
    extended = add_subscription(text, name, url, path)
    assert extended.startswith(text)
    assert subscriptions(extended) == {name: {"url": url, "path": path}}


def test_public_keys_are_written_where_there_are_some() -> None:
    extended = add_subscription("", "pack", URL, "/srv", ["RWQx", "RWQy"])
    assert subscriptions(extended) == {
        "pack": {"url": URL, "path": "/srv", "public_keys": ["RWQx", "RWQy"]}
    }


@given(st.lists(st.text(), unique=True, min_size=2, max_size=5))
def test_several_can_be_added_one_after_the_other(names: list[str]) -> None:
    assume(all(names))
    text = ""
    for name in names:
        text = add_subscription(text, name, URL, "/srv")
    assert list(subscriptions(text)) == names  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "text",
    [
        "[subscriptions.skyrim]\n",
        '[subscriptions."skyrim"]\n',
        "subscriptions = { skyrim = {} }\n",
        "[subscriptions]\nskyrim.url = 'x'\n",
    ],
)
def test_name_that_is_taken_is_refused_by_naming_it(text: str) -> None:
    with pytest.raises(UsageError, match='named "skyrim" already'):
        add_subscription(text, "skyrim", URL, "/srv")


@pytest.mark.parametrize(
    "text", ["subscriptions = { a = {} }\n", "[[subscriptions]]\na = 1\n", "subscriptions = 1\n"]
)
def test_subscriptions_that_are_no_tables_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match='"skyrim" cannot be added') as caught:
        add_subscription(text, "skyrim", URL, "/srv")
    assert "[subscriptions.NAME]" in caught.value.hint


def test_text_that_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        add_subscription("a = 1\nb = \n", "skyrim", URL, "/srv")
    assert ":2: " in caught.value.problems[0]


def test_path_that_is_not_unicode_is_refused_as_toml_cannot_hold_it() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        add_subscription("", "skyrim", URL, "/srv/\udcff")
