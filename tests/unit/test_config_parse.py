from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.config import (
    ApplyMode,
    CleanMode,
    Config,
    LockedMode,
    MaxDelete,
    NotifyConfig,
    ServiceConfig,
    SessionConfig,
    SubscriptionConfig,
    UpdateMode,
)
from torsync.model.config_parse import parse_config
from torsync.model.errors import ConfigError
from torsync.model.toml_lines import parse_toml
from torsync.model.units import SizeLimit
from torsync.model.window import DailyWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

URL = "https://mods.example/skyrim.torrent"
HOME = "/home/anna"
SETTING_TYPES = {"user_agent": str, "enable_dht": bool, "connections_limit": int}


def parse(text: str, **changes: Any) -> Config:
    given: dict[str, Any] = {"source": "c.toml", "home": HOME, "environ": {}}
    return parse_config(text, **{**given, **changes})


def problems(text: str, **changes: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, **changes)
    assert caught.value.problems
    return caught.value.problems


def problems_if_any(text: str, **changes: Any) -> tuple[str, ...]:
    try:
        parse(text, **changes)
    except ConfigError as error:
        return error.problems or ("none",)
    return ()


def only_problem(text: str, **changes: Any) -> str:
    found = problems(text, **changes)
    assert len(found) == 1, found
    return found[0]


def subscription(line: str, **changes: Any) -> SubscriptionConfig:
    return parse(with_subscription(line), **changes).subscriptions["a"]


def with_subscription(line: str) -> str:
    """A configuration whose third line is this one."""
    path = "" if line.startswith("path") else 'path = "/srv/a"\n'
    url = "" if line.startswith("url") else f'url = "{URL}"\n'
    return f"[subscriptions.a]\n\n{line}\n{url}{path}"


def with_trees(*trees: str) -> str:
    """Subscriptions t0, t1, … whose paths are on the lines 3, 6, …"""
    return "".join(
        f'[subscriptions.t{number}]\nurl = "{URL}"\npath = "{tree}"\n'
        for number, tree in enumerate(trees)
    )


def test_empty_configuration_has_the_defaults_and_no_subscriptions() -> None:
    assert parse("") == Config(session=SessionConfig(), subscriptions={})


def test_subscription_with_only_what_is_required_has_the_defaults() -> None:
    config = parse(f'[subscriptions.skyrim]\nurl = "{URL}"\npath = "/srv/skyrim"\n')
    assert config.subscriptions == {
        "skyrim": SubscriptionConfig(name="skyrim", url=URL, path=Path("/srv/skyrim"))
    }


def test_every_key_is_read() -> None:
    config = parse(
        """
        [session]
        listen = ["127.0.0.1:0", "[::1]:6881", "eth0:7000"]
        dht = false
        lsd = false
        upnp = true
        download_limit = "10 MB/s"
        upload_limit = ""
        settings = { user_agent = "x", enable_dht = false, connections_limit = -1 }

        [subscriptions."Sky-rim_1.2"]
        url = "file:///srv/skyrim.torrent"
        path = "~/Games/${GAME}"
        interval = "1h 30m"
        update = "ask"
        apply = "in-place"
        on_locked = "skip"
        clean = "mirror"
        keep = ["*.ini", "saves/", "!x.ini"]
        select = ["textures/", "!textures/4k/"]
        peers = ["peer.example:65535", "[2001:db8::1]:51413", "10.0.0.1:1"]
        web_seeds = ["http://seed.example:8080/a%20b/"]
        headers = { Authorization = "env:TOKEN", "X-Empty" = "" }
        seed = false
        max_torrent_size = "1 MiB"
        max_delete = "75 %"
        trash = "0s"
        trash_size = "20 GB"
        public_keys = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]
        before_update = ["may-i"]
        on_update = ["tell", "update"]
        on_error = ["tell", "error"]
        hook_timeout = "5m"
        update_window = "02:00-05:00"

        [service]
        control = "127.0.0.1:8081"

        [notify]
        urls = ["mailto://anna@mail.example"]
        """,
        environ={"GAME": "Sky rim"},
        setting_types=SETTING_TYPES,
    )
    assert config == Config(
        session=SessionConfig(
            listen=("127.0.0.1:0", "[::1]:6881", "eth0:7000"),
            dht=False,
            lsd=False,
            upnp=True,
            download_limit=10_000_000,
            upload_limit=0,
            settings={"user_agent": "x", "enable_dht": False, "connections_limit": -1},
        ),
        subscriptions={
            "Sky-rim_1.2": SubscriptionConfig(
                name="Sky-rim_1.2",
                url="file:///srv/skyrim.torrent",
                path=Path(HOME, "Games/Sky rim"),
                interval_s=5400,
                update=UpdateMode.ASK,
                apply=ApplyMode.IN_PLACE,
                on_locked=LockedMode.SKIP,
                clean=CleanMode.MIRROR,
                keep=("*.ini", "saves/", "!x.ini"),
                select=("textures/", "!textures/4k/"),
                peers=(("peer.example", 65535), ("2001:db8::1", 51413), ("10.0.0.1", 1)),
                web_seeds=("http://seed.example:8080/a%20b/",),
                headers={"Authorization": "env:TOKEN", "X-Empty": ""},
                seed=False,
                max_torrent_bytes=2**20,
                max_delete=MaxDelete(75, is_percentage=True),
                trash_age_s=0,
                trash_limit=SizeLimit(size_bytes=20 * 10**9),
                public_keys=("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",),
                before_update=("may-i",),
                on_update=("tell", "update"),
                on_error=("tell", "error"),
                hook_timeout_s=300,
                update_window=DailyWindow(2 * 3600, 5 * 3600),
            )
        },
        service=ServiceConfig(control=("127.0.0.1", 8081)),
        notify=NotifyConfig(urls=("mailto://anna@mail.example",)),
    )
    given = config.subscriptions["Sky-rim_1.2"]
    default = SubscriptionConfig("", "", Path())
    assert all(getattr(given, key.name) != getattr(default, key.name) for key in fields(given))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"50%"', MaxDelete(50, is_percentage=True)),
        ('"100 %"', MaxDelete(100, is_percentage=True)),
        ('"25"', MaxDelete(25, is_percentage=False)),
        ("25", MaxDelete(25, is_percentage=False)),
        ("0", MaxDelete(0, is_percentage=False)),
    ],
)
def test_how_much_may_be_deleted_is_a_percentage_or_a_number(
    written: str, meant: MaxDelete
) -> None:
    table = f"[subscriptions.a]\nurl = '{URL}'\npath = '/a'\nmax_delete = {written}\n"
    assert parse(table).subscriptions["a"].max_delete == meant


@pytest.mark.parametrize("program", ["./notify.sh", "hooks/notify.sh", "~/notify.sh", "../x"])
def test_no_program_is_run_that_the_publisher_writes(program: str) -> None:
    table = f"[subscriptions.a]\nurl = '{URL}'\npath = '/a'\n"
    (found,) = problems(f"{table}on_update = ['{program}']\n")
    assert "write the full path" in found
    for fine in ("notify.sh", "/opt/notify.sh"):
        config = parse(f"{table}on_update = ['{fine}']\n")
        assert config.subscriptions["a"].on_update == (fine,)


# --- how problems are reported ---


def test_all_problems_are_reported_at_once_in_the_order_of_lines() -> None:
    found = problems(
        "[subscriptions.b]\n"
        "path = 1\n"
        "interval = '1'\n"
        "[session]\n"
        "dht = 1\n"
        "listen = [\n  'x',\n  'y',\n]\n"
        "[subscriptions.b.headers]\n"
        "  'x y' = '1'\n"
        "[sesion]\n"
    )
    assert [problem.split(": ")[:2] for problem in found] == [
        ["c.toml:1", "subscriptions.b.url"],
        ["c.toml:2", "subscriptions.b.path"],
        ["c.toml:3", "subscriptions.b.interval"],
        ["c.toml:5", "session.dht"],
        ["c.toml:6", "session.listen"],
        ["c.toml:6", "session.listen"],
        ["c.toml:11", 'subscriptions.b.headers."x y"'],
        ["c.toml:12", "sesion"],
    ]


def test_error_counts_the_problems_and_names_the_file() -> None:
    with pytest.raises(ConfigError, match=r"c\.toml has 1 problem$"):
        parse("x = 1")
    with pytest.raises(ConfigError, match=r"c\.toml has 2 problems$") as caught:
        parse("x = 1\ny = 2")
    assert caught.value.hint


def test_syntax_error_is_the_only_problem() -> None:
    assert only_problem("x = 1\n[session\n").startswith("c.toml:2: syntax: ")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("subscriptions.a.path = '/srv'\n", 1, "subscriptions.a.url"),
        ("[subscriptions]\n\na = { path = '/srv' }\n", 3, "subscriptions.a.url"),
        ("[subscriptions]\n[subscriptions.a]\npath = '/srv'\n", 2, "subscriptions.a.url"),
        ("[subscriptions.'a']\n\n\npath='/srv'\n", 1, "subscriptions.a.url"),
    ],
)
def test_missing_key_has_the_line_of_its_table(text: str, line: int, key: str) -> None:
    problem = only_problem(text)
    assert problem.startswith(f"c.toml:{line}: {key}: ")
    assert problem.endswith('found none; add url = "https://HOST/NAME.torrent"')


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("subscription = 1", "subscription", "subscriptions"),
        ("[session]\nupload_limits = 1", "session.upload_limits", "upload_limit"),
        (with_subscription("intervall = 1"), "subscriptions.a.intervall", "interval"),
        ("[session.settings]\nuser_agnt = ''", "session.settings.user_agnt", "user_agent"),
    ],
)
def test_unknown_key_is_reported_with_what_was_meant(text: str, key: str, meant: str) -> None:
    problem = only_problem(text, setting_types=SETTING_TYPES)
    assert f" {key}: expected " in problem
    assert problem.endswith(f'; did you mean "{meant}"?')


def test_subscription_without_a_path_is_told_how_to_write_one() -> None:
    problem = only_problem(f"[subscriptions.a]\nurl = '{URL}'")
    assert problem.endswith('found none; add path = "/PATH/OF/A/FOLDER"')


@pytest.mark.parametrize(
    "text",
    ["[feed]\nx = 1", "[service]\nx = 1", "notify.x = 1", "http.a.b = 1", "[[hooks]]\n[[hooks]]"],
)
def test_section_that_does_not_exist_is_one_unknown_key(text: str) -> None:
    assert only_problem(text).endswith("found an unknown key; remove it")


def test_name_with_dots_without_quotes_is_explained() -> None:
    found = problems(f"[subscriptions.pack-1.2]\nurl = '{URL}'\npath = '/srv'")
    assert found[-1].startswith("c.toml:1: subscriptions.pack-1.2: expected one of url, path, ")
    assert found[-1].endswith("; remove it, or put quotes around a name with dots")


def test_unknown_setting_that_is_like_no_other_refers_to_the_reference() -> None:
    problem = only_problem("session.settings = { zzz = 1 }", setting_types=SETTING_TYPES)
    assert problem.startswith("c.toml:1: session.settings.zzz: ")
    assert problem.endswith("see libtorrent's reference of settings")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("session = 1", "session"),
        ("[[session]]", "session"),
        ("subscriptions = 'x'", "subscriptions"),
        ("[[subscriptions]]\nurl = 'x'", "subscriptions"),
        ("[subscriptions]\nurl = 'x'", "subscriptions.url"),
        ("[session]\nsettings = []", "session.settings"),
        (with_subscription("headers = 1979-05-27"), "subscriptions.a.headers"),
    ],
)
def test_what_should_be_a_table_is_reported_once(text: str, key: str) -> None:
    assert f": {key}: expected a table, found " in only_problem(text)


def test_messages_are_single_lines_without_control_characters() -> None:
    problem = only_problem('"a\\n\\u001b\\u2028b" = 1', source="c\n.toml")
    assert problem.isprintable()
    assert problem.startswith("c\\n.toml:1: ")


def test_long_values_are_shortened_in_messages() -> None:
    assert f'found "{"x" * 80}…"' in only_problem(with_subscription(f"clean = '{'x' * 5000}'"))
    assert f'found "{"x" * 80}"' in only_problem(with_subscription(f"clean = '{'x' * 80}'"))


# --- values ---


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "9", "a" * 64])
def test_names_may_hold_letters_digits_dots_dashes_and_underscores(name: str) -> None:
    assert name in parse(f'[subscriptions."{name}"]\nurl = "{URL}"\npath = "/srv"').subscriptions


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "é", "a\\n", "a" * 65])
def test_other_names_are_refused(name: str) -> None:
    problem = only_problem(f'[subscriptions."{name}"]\nurl = "{URL}"\npath = "/srv"')
    assert problem.startswith("c.toml:1: subscriptions.")
    assert (
        "expected a name of at most 64 letters, digits, dots, dashes and underscores that begins "
        "with a letter or digit, found "
    ) in problem
    assert problem.endswith('"; rename it')


@pytest.mark.parametrize(
    "url",
    ["http://h/x", "HTTPS://h:8080/x?y=1", "http://[::1]:1/x", "file:///x", "file://LocalHost/x"],
)
def test_full_urls_are_accepted(url: str) -> None:
    assert subscription(f'url = "{url}"').url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.torrent",
        "/srv/x.torrent",
        "//h/x",
        "http://",
        "http:///x",
        "http://:80/x",
        "http://h:0/x",
        "http://h:99999/x",
        "http://[::1/x",
        "ftp://h/x",
        "magnet:?xt=urn",
        "file:x",
        "file://server/x",
        "http://h/a b",
        "http://h/\\u0000",
        " http://h/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    problem = only_problem(with_subscription(f'url = "{url}"'))
    expected = "expected a full http, https or file URL, found "
    assert problem.startswith(f"c.toml:3: subscriptions.a.url: {expected}")
    advice = 'as in "https://example.org/a.torrent"', "write %20 for a space"
    assert problem.endswith(advice)


def test_passwords_and_tokens_in_urls_are_not_shown() -> None:
    problem = only_problem(with_subscription("url = 'htp://anna:secret@h/x?key=secret#secret'"))
    assert "secret" not in problem
    assert '"htp://…h/x?…"' in problem


def test_web_seed_is_no_file() -> None:
    problem = only_problem(with_subscription("web_seeds = ['file:///x', 'http://h/']"))
    assert "web_seeds: expected a full http or https URL" in problem


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("~", HOME),
        ("~/x", f"{HOME}/x"),
        ("/srv/~/x", "/srv/~/x"),
        ("$DATA/x", "/data/x"),
        ("${DATA}x", "/datax"),
        ("~/${ODD NAME}", f"{HOME}/odd"),
        ("/srv/$$DATA/$/$1", "/srv/$DATA/$/$1"),
        ("/srv/$TILDE", "/srv/~/$DATA"),
        ("/srv/x/", "/srv/x"),
        ("/srv/ä b", "/srv/ä b"),
    ],
)
def test_home_and_variables_in_paths_are_expanded_once(written: str, path: str) -> None:
    environ = {"DATA": "/data", "ODD NAME": "odd", "TILDE": "~/$DATA"}
    protected_home = "/home/other" if path == HOME else HOME
    text = with_subscription(f"path = '{written}'")
    expected = path.replace(HOME, protected_home)
    if written == "~":
        assert f'found "{expected}", which is or contains the home' in only_problem(
            text, environ=environ, home=protected_home
        )
    else:
        found = parse(text, environ=environ, home=protected_home).subscriptions["a"].path
        assert found == Path(expected)


def test_undefined_variables_are_named() -> None:
    problem = only_problem(
        with_subscription("path = '/srv/$DATA/${MORE}/${}/$SET'"), environ={"SET": ""}
    )
    assert problem.startswith("c.toml:3: subscriptions.a.path: ")
    assert '"DATA" and "MORE" and "" not set' in problem


@pytest.mark.parametrize("path", ["", "x", "./x", "~anna/x", "$REL/x", "C:", "/srv/\\u0000"])
def test_paths_that_are_not_absolute_are_refused(path: str) -> None:
    problem = only_problem(with_subscription(f'path = "{path}"'), environ={"REL": "rel"})
    assert "subscriptions.a.path: expected an absolute folder" in problem


def test_home_that_is_unknown_is_no_absolute_folder() -> None:
    assert "absolute" in only_problem(with_subscription("path = '~/x'"), home="~")
    assert subscription("path = '/x'", home="").path == Path("/x")


def test_the_trash_may_take_a_part_of_the_file_system() -> None:
    assert subscription("trash_size = '12.5%'").trash_limit.of(1000) == 125


@pytest.mark.parametrize(("written", "seconds"), [("1s", 1), ("1000ms", 1), ("36500d", 3153600000)])
def test_intervals_from_a_second_on_are_accepted(written: str, seconds: float) -> None:
    assert subscription(f"interval = '{written}'").interval_s == seconds


@pytest.mark.parametrize(("written", "seconds"), [("0s", 0), ("36500d", 3153600000)])
def test_the_trash_may_keep_nothing_or_everything(written: str, seconds: float) -> None:
    assert subscription(f"trash = '{written}'").trash_age_s == seconds


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("interval = '999ms'", "expected at least 1s"),
        ("interval = '36500d 1s'", "expected at least 1s and at most 36500d"),
        ("interval = 'often'", "expected a duration such as"),
        (f"interval = 0x{'f' * 5000}", "found a number"),
        ("interval = 600", 'expected a duration such as "10m", found a number'),
        ("path = 1", "expected a folder, found a number; put it in quotes"),
        ("clean = 'Mirror'", 'did you mean "mirror"?'),
        ("clean = 'x'", 'expected "managed" or "mirror" or "off", found "x"; write one of these'),
        ("update = 'Ask'", 'did you mean "ask"?'),
        ("update = 'x'", 'expected "auto" or "ask", found "x"; write one of these'),
        ("update = true", 'expected "auto" or "ask", found true or false'),
        ("clean = true", 'expected "managed" or "mirror" or "off", found true or false'),
        ("seed = 'yes'", "expected true or false, found text"),
        ("seed = 1", "expected true or false, found a number"),
        ("seed = 1.5", "expected true or false, found a number"),
        ("max_torrent_size = '0'", "expected at least one byte"),
        ("max_torrent_size = 5", 'expected a size such as "64 MiB", found a number'),
        ("max_torrent_size = 'big'", "expected a size such as"),
        (
            "max_delete = '101%'",
            'expected a percentage such as "50%", or a number of files such as',
        ),
        ("max_delete = 'many'", 'found "many"; write one of these'),
        ("max_delete = -1", 'found "-1"; write one of these'),
        ("max_delete = true", "or a number of files such as 25, found true or false; put it in"),
        ("max_delete = 0.5", "found a number"),
        ("trash = 'off'", "expected a duration such as"),
        ("trash = 14", 'expected a duration such as "14d", found a number'),
        ("trash = '36500d 1s'", "expected at most 36500d"),
        ("trash_size = '101%'", 'a percentage up to "100%", found "101%"'),
        ("trash_size = 10", 'expected a size such as "20 GB", or "10%", found a number'),
        ("keep = '*.ini'", "expected an array, found text; put it in [brackets]"),
        ("select = '*.ini'", "expected an array, found text; put it in [brackets]"),
        ("select = ['!']", "Invalid git pattern"),
        ("keep = [1]", "expected a gitignore pattern, found a number"),
        ("keep = ['!']", "Invalid git pattern"),
        ("keep = ['[z-a]']", "bad character range"),
        ("keep = ['[[:alpha:]]']", "expected a gitignore pattern"),
        ("peers = ['h']", "write both host and port"),
        ("peers = ['h:']", "write both host and port"),
        ("peers = ['::1:6881']", "write both host and port"),
        ("peers = ['http://h:1']", "write both host and port"),
        ("peers = ['h:0']", "expected a port from 1 to 65535"),
        ("peers = ['h:65536']", "expected a port from 1 to 65535"),
        ("peers = ['[h]:1']", "only IPv6 addresses are in brackets"),
        (
            "peers = [6881]",
            'expected a peer such as "host:6881" or "[2001:db8::1]:6881", found a number; put',
        ),
        ("headers.A = 1", "expected text, found a number"),
        ("headers.A = 'x\u20ac'", "expected one line of Latin-1 text"),
        ('headers.A = "x\\r\\nB: y"', "expected one line of Latin-1 text"),
        ("headers.A = 'env:'", 'expected "env:NAME"'),
        ("headers.'' = 'x'", "expected the name of an HTTP header"),
        ("headers.'A:' = 'x'", "expected the name of an HTTP header"),
    ],
)
def test_wrong_value_is_one_problem_that_says_what_was_expected(line: str, expected: str) -> None:
    problem = only_problem(with_subscription(line))
    key = line.partition(" = ")[0].replace("''", '""').replace("'", '"')
    assert problem.startswith(f"c.toml:3: subscriptions.a.{key}: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("true", "true or false"),
        ("1", "a number"),
        ("1.5", "a number"),
        ("['mirror']", "an array"),
        ("{ mirror = 1 }", "a table"),
        ("1979-05-27", "a date or time"),
    ],
)
def test_what_is_found_is_named_by_its_kind(written: str, kind: str) -> None:
    problem = only_problem(with_subscription(f"clean = {written}"))
    assert problem.endswith(f", found {kind}; put it in quotes")


def test_header_values_are_not_shown_as_they_may_be_secret() -> None:
    assert "hunter2" not in only_problem(with_subscription('headers.A = "hunter2\\n"'))


def test_every_wrong_item_of_an_array_is_a_problem() -> None:
    found = problems(with_subscription("keep = ['!', 'ok', '[z-a]']"))
    assert ['found "!"' in found[0], 'found "[z-a]"' in found[1]] == [True, True]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("download_limit = 10", 'expected a rate such as "10 MB/s", found a number'),
        ("upload_limit = 'slow'", "expected a rate such as"),
        ("upload_limit = '2 GiB/s'", 'expected less than 2 GiB/s, found "2 GiB/s"; write ""'),
        (
            "listen = ['0.0.0.0']",
            (
                'expected an address such as "0.0.0.0:6881" or "[::]:6881", found "0.0.0.0"; '
                "write both host and port"
            ),
        ),
        ("listen = ['[::]:65536']", "expected a port from 0 to 65535"),
        ("listen = ['0.0.0.0:6881,[::]:6881']", "expected an address such as"),
        ("listen = '0.0.0.0:6881'", "expected an array"),
        ("settings.user_agent = 1", "expected text, found a number; write text"),
        ("settings.enable_dht = 1", "expected true or false, found a number"),
        ("settings.connections_limit = true", "expected a number, found true or false"),
        ("settings.connections_limit = 2147483648", "expected a number of 32 bits"),
        ("settings.connections_limit = -2147483649", "expected a number of 32 bits"),
        (f"settings.connections_limit = 0x{'f' * 5000}", "expected a number of 32 bits"),
        ("settings.connections_limit = 1.0", "expected true, false, a number or text"),
        ("settings.connections_limit = []", "expected true, false, a number or text"),
    ],
)
def test_wrong_session_value_is_one_problem(line: str, expected: str) -> None:
    problem = only_problem(f"[session]\n{line}", setting_types=SETTING_TYPES)
    assert problem.startswith(f"c.toml:2: session.{line.partition(' = ')[0]}: ")
    assert expected in problem


def test_limits_are_what_libtorrent_takes() -> None:
    assert parse("session.upload_limit = '2147483647'").session.upload_limit == 2**31 - 1


@pytest.mark.parametrize("number", [-(2**31), 0, 2**31 - 1])
def test_settings_are_numbers_of_32_bits(number: int) -> None:
    config = parse(f"session.settings.connections_limit = {number}", setting_types=SETTING_TYPES)
    assert config.session.settings == {"connections_limit": number}


def test_settings_are_not_checked_by_name_where_the_library_was_not_asked() -> None:
    config = parse("session.settings = { anything = 1, more = true, text = '' }")
    assert config.session.settings == {"anything": 1, "more": True, "text": ""}


# --- trees ---


@pytest.mark.parametrize("tree", ["/", "//", "/./", "/srv/.."])
def test_tree_that_is_the_root_of_the_file_system_is_refused(tree: str) -> None:
    problem = only_problem(with_trees(tree), resolve=os.path.normpath, protected=("/etc/x",))
    assert problem.startswith("c.toml:3: subscriptions.t0.path: expected a folder for ")
    assert problem.endswith(", the root of the file system; choose a folder in it")


@pytest.mark.parametrize("tree", ["~", HOME, "/home", "/home/anna/", "//home"])
def test_tree_that_is_or_contains_the_home_folder_is_refused(tree: str) -> None:
    expected = f', which is or contains the home folder "{HOME}"; choose one inside'
    assert only_problem(with_trees(tree)).endswith(expected)


@pytest.mark.parametrize("tree", ["~/x", "/home/ann", "/home/anna2", "/home2"])
def test_tree_beside_or_inside_the_home_folder_is_accepted(tree: str) -> None:
    parse(with_trees(tree))


def test_tree_that_contains_torsyncs_own_files_is_refused_for_each() -> None:
    own = ("/data/state", "/data/conf/c.toml", "/data2/x")
    found = problems(with_trees("/data", "/data2/y"), protected=own)
    assert [problem.partition('found "/data", ')[2] for problem in found] == [
        'which contains torsync\'s own "/data/state"; choose another folder',
        'which contains torsync\'s own "/data/conf/c.toml"; choose another folder',
    ]
    parse(with_trees("/data/stat", "/data/state/x"), protected=own)


def test_same_tree_for_two_subscriptions_is_refused_on_the_later() -> None:
    problem = only_problem(with_trees("/srv/a", "/srv/a/"))
    assert problem.startswith("c.toml:6: subscriptions.t1.path: ")
    assert 'which is the same as the tree "/srv/a" of subscription "t0"' in problem


@pytest.mark.parametrize(("trees", "line"), [(("/s/a", "/s/a/b/c"), 6), (("/s/a/b/c", "/s/a"), 3)])
def test_tree_inside_another_is_refused_by_naming_both(trees: tuple[str, str], line: int) -> None:
    problem = only_problem(with_trees(*trees))
    assert problem.startswith(f"c.toml:{line}: ")
    assert 'found "/s/a/b/c", which is inside the tree "/s/a" of subscription "t' in problem


def test_trees_side_by_side_are_accepted_though_their_names_begin_alike() -> None:
    assert len(parse(with_trees("/srv/a", "/srv/ab", "/srv/a b", "/srv/b/a")).subscriptions) == 4


def test_trees_are_compared_after_links_are_resolved() -> None:
    links = {"/srv/link": "/srv/a/b", HOME: "/mnt/anna"}
    found = problems(
        with_trees("/srv/a", "/srv/link", "/mnt"), resolve=lambda path: links.get(path, path)
    )
    assert 'found "/srv/link", which is inside the tree "/srv/a"' in found[0]
    assert "home folder" in found[1]
    assert len(found) == 2


# --- anything else ---


@given(st.text() | st.text(alphabet="ab=.,[]{}\"'#\n sesion"))
def test_arbitrary_text_is_read_or_refused_with_a_config_error(text: str) -> None:
    assert all(problem.startswith("c.toml:") for problem in problems_if_any(text))


_words = st.sampled_from(["10m", "1 MB", URL, "/srv/x", "~/$A", "${B}", "[::1]:1", "h:1", "mirror"])
_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.datetimes() | st.text() | _words,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | _words, inner, max_size=3)
    ),
    max_leaves=4,
)


def _tables(keys: str) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(keys.split()) | st.text(), _values) | _values


_documents = st.fixed_dictionaries(
    {},
    optional={
        "session": _tables("listen dht lsd upnp download_limit upload_limit settings"),
        "subscriptions": st.dictionaries(
            st.sampled_from("abc") | st.text(),
            _tables(
                "url path interval update apply on_locked clean keep select peers web_seeds headers"
                " seed max_torrent_size max_delete trash trash_size other"
            ),
        )
        | _values,
        "other": _values,
    },
)


@given(_documents, st.none() | st.just(SETTING_TYPES))
def test_any_values_are_read_or_refused_with_a_config_error(
    document: Mapping[str, Any], setting_types: Mapping[str, type] | None
) -> None:
    text = tomli_w.dumps(document)
    parse_toml(text, source="c.toml")
    found = problems_if_any(
        text, setting_types=setting_types, environ={"A": "a"}, protected=("/srv/x/y",)
    )
    assert all(problem.startswith("c.toml:") for problem in found)
    assert all(problem.isprintable() for problem in found)


@given(st.text(alphabet="[]!\\*?-^:az&~|/# \t") | st.text())
def test_any_keep_pattern_is_kept_or_refused(pattern: str) -> None:
    text = with_subscription(tomli_w.dumps({"keep": [pattern]}).replace("\n", ""))
    found = problems_if_any(text)
    if found:
        assert "expected a gitignore pattern" in found[0]
    else:
        assert parse(text).subscriptions["a"].keep == (pattern,)
