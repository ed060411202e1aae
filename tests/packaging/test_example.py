"""The example configuration has every key, and tells the defaults as they are."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import tomli_w

from torsync.model import config
from torsync.model.config_parse import parse_config
from torsync.swarm.settings import setting_types

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

EXAMPLE = Path(__file__).parents[2] / "packaging" / "torsync.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
RAW = tomllib.loads(TEXT)
KEYS_OF_FIELDS = {
    "interval_s": "interval",
    "max_torrent_bytes": "max_torrent_size",
    "trash_age_s": "trash",
    "trash_limit": "trash_size",
    "settle_s": "settle",
    "hook_timeout_s": "hook_timeout",
}
NOT_KEYS = {"name", "is_one_off"}
NEEDED = {"subscriptions": {"url", "path"}, "publications": {"path"}}
TABLES = {
    "session": config.SessionConfig,
    "subscriptions.skyrim": config.SubscriptionConfig,
    "publications.maps": config.PublicationConfig,
    "feed": config.FeedConfig,
    "service": config.ServiceConfig,
    "notify": config.NotifyConfig,
}


def table(name: str) -> dict[str, object]:
    found = RAW
    for part in name.split("."):
        found = found[part]
    return found


def parsed(text: str) -> config.Config:
    return parse_config(
        text,
        source=EXAMPLE.name,
        home="/home/user",
        environ={},
        setting_types=setting_types(),
    )


def documented_defaults() -> list[tuple[str, str, object]]:
    """Table, key and what the example says is its default."""
    found = []
    for section in re.split(r"(?m)^(?=\[)", TEXT)[1:]:
        name = section[1 : section.index("]")]
        for line in section.splitlines()[1:]:
            match = re.match(r"(\w+) = ", line)
            if match is None or name not in TABLES:
                continue
            key = match.group(1)
            said = re.search(r"# default (.+?)[:;]( |$)", line)
            value = tomllib.loads(f"x = {said.group(1)}")["x"] if said else table(name)[key]
            if key not in NEEDED.get(name.partition(".")[0], set()):
                found.append((name, key, value))
    return found


def test_the_example_loads() -> None:
    example = parsed(TEXT)
    assert str(example.subscriptions["skyrim"].path) == "/home/user/Games/skyrim"
    assert example.publications["maps"].torrent == Path("/srv/www/maps.torrent")


@pytest.mark.parametrize("name", TABLES)
def test_the_example_has_every_key(name: str) -> None:
    fields = {field.name for field in dataclasses.fields(TABLES[name])} - NOT_KEYS
    assert set(table(name)) == {KEYS_OF_FIELDS.get(field, field) for field in fields}


def test_the_example_has_every_table() -> None:
    fields = {field.name for field in dataclasses.fields(config.Config)}
    assert set(RAW) == fields == {name.partition(".")[0] for name in TABLES}


@pytest.mark.parametrize(("name", "key", "value"), documented_defaults())
def test_a_default_is_the_real_one(name: str, key: str, value: object) -> None:
    kind, _, one = name.partition(".")
    needed = {"subscriptions": {}, "publications": {}}
    for other, keys in NEEDED.items():
        raw = next(iter(RAW[other].items()))
        needed[other][raw[0]] = {name: raw[1][name] for name in sorted(keys)}
    without = {**needed, "feed": {"listen": "127.0.0.1:8080"}}
    if name == "feed":
        del without["feed"]
        without["publications"] = {}
    said = {**without, kind: {**without.get(kind, {})}}
    if one:
        said[kind][one] = {**said[kind][one], key: value}
    else:
        said[kind][key] = value
    assert parsed(tomli_w.dumps(said)) == parsed(tomli_w.dumps(without))


def test_a_default_that_is_said_otherwise_would_be_noticed() -> None:
    said = {(name, key): value for name, key, value in documented_defaults()}
    assert said["subscriptions.skyrim", "keep"] == []
    assert said["subscriptions.skyrim", "interval"] == "10m"
    assert said["publications.maps", "torrent"] == ""
