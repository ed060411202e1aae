"""README lists every key of a subscription and a publication, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torsync.model.config_parse import parse_config
from torsync.model.errors import ConfigError

if TYPE_CHECKING:
    from torsync.model.config import Config

README = Path(__file__).parents[2] / "README.md"
REQUIRED = {
    "subscriptions": '[subscriptions.a]\nurl = "https://a.example/a"\npath = "/srv/a"\n',
    "publications": '[feed]\nlisten = "0.0.0.0:8080"\n[publications.a]\npath = "/srv/a"\n',
}
_SPAN = re.compile(r"`([^`]+)`")


def parse(text: str) -> Config:
    return parse_config(text, source="c.toml", home="/home/anna", environ={})


def listed(section: str) -> dict[str, str]:
    """The keys in README's table of a section, with their defaults as TOML; empty for none."""
    first = {"subscriptions": "| `url` | of the", "publications": "| `path` | the folder | |"}
    _, found, rest = README.read_text().partition(first[section])
    defaults = {}
    for row in (found + rest).partition("\n\n")[0].splitlines():
        _, keys, *_meaning, written, _ = row.split("|")
        names, values = _SPAN.findall(keys), _SPAN.findall(written)
        each = values if len(values) == len(names) else values * len(names)
        defaults.update(zip(names, each or [""] * len(names), strict=True))
    return defaults


@pytest.mark.parametrize("section", REQUIRED)
def test_every_key_is_in_the_manual(section: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{REQUIRED[section]}unknown = 1")
    (problem,) = caught.value.problems
    known = problem.partition("expected one of ")[2].partition(", found")[0]
    assert set(listed(section)) == set(known.split(", "))


@pytest.mark.parametrize("section", REQUIRED)
def test_the_defaults_are_those_of_the_manual(section: str) -> None:
    written = [f"{key} = {value}" for key, value in listed(section).items() if value]
    assert len(written) > 15
    assert parse("\n".join([REQUIRED[section], *written])) == parse(REQUIRED[section])


def test_what_the_manual_does_not_list_has_its_defaults_too() -> None:
    text = """
        [session]
        listen = ["0.0.0.0:6881", "[::]:6881"]
        dht = true
        lsd = true
        upnp = false
        download_limit = ""
        upload_limit = ""
        settings = {}
        [service]
        control = "127.0.0.1:0"
        [notify]
        urls = []
        [feed]
        listen = ""
        url = ""
        [publications.a]
        path = "/srv/a"
        torrent = "/www/a.torrent"
        comment = ""
        private = false
        """
    assert parse(text) == parse('publications.a = { path="/srv/a", torrent="/www/a.torrent" }')
