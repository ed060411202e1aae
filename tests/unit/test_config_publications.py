"""The tables of publications and of the feed: values, and what is wrong with them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from torsync.model.config import Config, FeedConfig, PublicationConfig, TorrentFormat
from torsync.model.config_parse import parse_config
from torsync.model.errors import ConfigError

KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
FEED = '[feed]\nlisten = "127.0.0.1:8080"\n'


def parse(text: str) -> Config:
    return parse_config(text, source="c.toml", home="/home/user", environ={})


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


def publication(lines: str = "", *, feed: str = FEED) -> PublicationConfig:
    return parse(f'[publications.maps]\npath = "/srv/maps"\n{lines}\n{feed}').publications["maps"]


def test_a_path_and_a_feed_are_enough() -> None:
    assert publication() == PublicationConfig("maps", Path("/srv/maps"))


def test_every_key_has_its_value() -> None:
    given = publication(
        """
        torrent = "~/www/maps.torrent"
        trackers = ["udp://t.example:6969/announce", "https://t.example/announce"]
        web_seeds = ["https://w.example/"]
        format = "hybrid"
        piece_size = "1 MiB"
        ignore = ["*.tmp"]
        comment = "maps of all"
        private = true
        secret_key = "~/keys/maps"
        watch = false
        settle = "500ms"
        interval = "1h"
        hints = false
        super_seeding = true
        snapshot = true
        skip_unreadable = true
        on_release = ["tell", "release"]
        on_error = ["tell", "error"]
        hook_timeout = "5m"
        """
    )
    assert given == PublicationConfig(
        "maps",
        Path("/srv/maps"),
        Path("/home/user/www/maps.torrent"),
        ("udp://t.example:6969/announce", "https://t.example/announce"),
        ("https://w.example/",),
        TorrentFormat.HYBRID,
        1024**2,
        ("*.tmp",),
        "maps of all",
        private=True,
        secret_key=Path("/home/user/keys/maps"),
        watch=False,
        settle_s=0.5,
        interval_s=3600,
        hints=False,
        super_seeding=True,
        snapshot=True,
        skip_unreadable=True,
        on_release=("tell", "release"),
        on_error=("tell", "error"),
        hook_timeout_s=300,
    )
    default = PublicationConfig("", Path())
    keys = {key.name for key in fields(given)} - {"is_one_off"}
    assert all(getattr(given, key) != getattr(default, key) for key in keys)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('piece_size = "24 KiB"', "a power of two"),
        ('piece_size = "8 KiB"', "a power of two"),
        ('piece_size = "256 MiB"', "a power of two"),
        (
            "piece_size = 65536",
            'expected "auto", or a power of two from "16 KiB" to "128 MiB", found a number',
        ),
        ('format = "v3"', 'expected "v1" or "v2" or "hybrid"'),
        ('settle = "1h 1s"', "at most 1h"),
        ("settle = 2", 'expected a duration such as "2s", found a number'),
        ("torrent = 1", "expected a file, found a number"),
        ("secret_key = 1", "expected a file, found a number"),
        ('trackers = ["ftp://t.example/"]', "http, https or udp"),
        ('web_seeds = ["udp://t.example/"]', "http or https"),
        ('torrent = "www/maps.torrent"', "an absolute file"),
        ('torrent = "/srv/maps/maps.torrent"', "outside the folder that is published"),
        ('secret_key = "/srv/maps/key"', "outside the folder that is published"),
        ("hint = true", "unknown key"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(line: str, expected: str) -> None:
    (problem,) = problems(f'[publications.maps]\npath = "/srv/maps"\n{line}\n{FEED}')
    assert problem.startswith("c.toml:3: publications.maps.")
    assert expected in problem


@pytest.mark.parametrize(
    ("text", "size"), [("auto", 0), ("16 KiB", 2**14), ("128 MiB", 2**27), ("65536", 2**16)]
)
def test_a_piece_is_at_least_a_block_and_at_most_what_programs_take(text: str, size: int) -> None:
    assert publication(f'piece_size = "{text}"').piece_size == size


def test_it_may_wait_for_an_hour_until_edits_end() -> None:
    assert publication('settle = "1h"').settle_s == 3600


def test_its_torrent_has_to_be_somewhere() -> None:
    (problem,) = problems('[publications.maps]\npath = "/srv/maps"')
    assert "a place for its .torrent" in problem
    assert publication('torrent = "/srv/www/maps.torrent"', feed="").torrent is not None


def test_a_path_is_required() -> None:
    (problem,) = problems(f"[publications.maps]\n{FEED}")
    assert "publications.maps.path: expected this key" in problem
    assert problem.endswith('add path = "/PATH/OF/A/FOLDER"')


def test_trees_may_not_meet() -> None:
    found = problems(
        f"""
        [subscriptions.a]
        url = "https://a.example/a.torrent"
        path = "/srv/both"
        [publications.b]
        path = "/srv/both/inside"
        [publications.c]
        path = "/home"
        {FEED}"""
    )
    assert len(found) == 2
    expected = "expected a folder for this publication alone"
    assert found[0].startswith(f"c.toml:6: publications.b.path: {expected}, found ")
    assert 'inside the tree "/srv/both" of subscription "a"' in found[0]
    assert "contains the home folder" in found[1]


def test_a_name_is_given_once() -> None:
    (problem,) = problems(
        f"""
        [subscriptions.a]
        url = "https://a.example/a.torrent"
        path = "/srv/a"
        [publications.a]
        path = "/srv/b"
        {FEED}"""
    )
    assert "expected a name of its own" in problem


def test_two_publications_do_not_write_one_file() -> None:
    (problem,) = problems(
        """
        [publications.a]
        path = "/srv/a"
        torrent = "/srv/www/a.torrent"
        [publications.b]
        path = "/srv/b"
        torrent = "/srv/www/a.torrent"
        """
    )
    assert 'found that of publication "a"' in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", FeedConfig()),
        ('[feed]\nlisten = ""\nurl = ""', FeedConfig()),
        ('[feed]\nlisten = "0.0.0.0:0"', FeedConfig(("0.0.0.0", 0))),
        (
            '[feed]\nlisten = "[::]:8080"\nurl = "https://f.example/feed/"',
            FeedConfig(("::", 8080), "https://f.example/feed"),
        ),
    ],
)
def test_the_feed(text: str, expected: FeedConfig) -> None:
    assert parse(text).feed == expected


def test_an_address_of_the_feed_is_shown_as_it_should_be_written() -> None:
    (problem,) = problems("[feed]\nlisten = 8080")
    expected = 'expected an address such as "0.0.0.0:8080" or "[::]:8080"'
    assert problem == f"c.toml:2: feed.listen: {expected}, found a number; put it in quotes"


@pytest.mark.parametrize(
    "line",
    [
        *('listen = "8080"', 'url = "ftp://f.example"', "port = 1"),
        *('url = "https://f.example/?a=b"', 'url = "https://f.example/#a"'),
        'url = "https://user:secret@f.example/"',
    ],
)
def test_a_wrong_feed_is_named(line: str) -> None:
    (problem,) = problems(f"[feed]\n{line}")
    assert problem.startswith("c.toml:2: feed.")
    assert "secret" not in problem


def test_public_keys_of_a_subscription() -> None:
    text = '[subscriptions.a]\nurl = "https://a.example/a"\npath = "/srv/a"\npublic_keys = '
    assert parse(f'{text}["{KEY}"]').subscriptions["a"].public_keys == (KEY,)
    (problem,) = problems(f'{text}["{KEY[:-1]}"]')
    assert "expected a minisign public key, 56 characters that begin with RW, found " in problem


def test_publications_whose_torrents_lead_to_releases_of_each_other_are_refused() -> None:
    found = problems(
        """
        [publications.a]
        path = "/srv/a"
        torrent = "/srv/b/a.torrent"
        [publications.b]
        path = "/srv/b"
        torrent = "/srv/c/b.torrent"
        [publications.c]
        path = "/srv/c"
        torrent = "/srv/a/c.torrent"
        [publications.d]
        path = "/srv/d"
        torrent = "/srv/a/d.torrent"
        """
    )
    assert len(found) == 3
    assert found[0] == (
        "c.toml:4: publications.a.torrent: expected a file outside the folders that are published, "
        'found "/srv/b/a.torrent", which is published by "b", whose own .torrent leads to a '
        'release of "a", and so on; move one elsewhere'
    )


ONE, OTHER = (f'[publications.{name}]\npath = "/srv/{name}"\ntorrent = ' for name in "ab")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[publications.a]\npath = "/srv/a"',
            (
                "1: publications.a: expected a place for its .torrent, found neither; "
                'add torrent = "/srv/www/NAME.torrent", or [feed] listen'
            ),
        ),
        (
            f'{ONE}"/srv/a/x/a.torrent"',
            (
                "3: publications.a.torrent: expected a file outside the folder that is published, "
                'found "/srv/a/x/a.torrent", which is inside "/srv/a"; move it elsewhere'
            ),
        ),
        (
            f'{ONE}"/www/a.torrent"\nsecret_key = "/srv/a/key"',
            (
                "4: publications.a.secret_key: expected a file outside the folder that is "
                'published, found "/srv/a/key", which is inside "/srv/a"; move it elsewhere'
            ),
        ),
        (
            f'{ONE}"/www/x.torrent"\n{OTHER}"/www/x.torrent"',
            (
                "6: publications.b.torrent: expected a file for this publication alone, "
                'found that of publication "a"; choose another'
            ),
        ),
        (
            (
                '[subscriptions.a]\nurl = "http://a.example/a"\npath = "/srv/x"\n'
                f'{ONE}"/www/a.torrent"'
            ),
            (
                "4: publications.a: expected a name of its own, found that of a subscription; "
                "rename it"
            ),
        ),
        (
            (
                '[subscriptions.x]\nurl = "http://a.example/a"\npath = "/srv/a/in"\n'
                f'{ONE}"/www/a.torrent"'
            ),
            (
                "3: subscriptions.x.path: expected a folder for this subscription alone, "
                'found "/srv/a/in", which is inside the tree "/srv/a" of publication "a"; '
                "choose another folder"
            ),
        ),
    ],
)
def test_what_is_wrong_with_the_whole_is_said_with_what_to_do(text: str, expected: str) -> None:
    assert problems(text) == (f"c.toml:{expected}",)
