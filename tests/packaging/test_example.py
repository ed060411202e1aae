"""The files in ``packaging/`` agree with the program."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torsync.model.config import (
    FeedConfig,
    PublicationConfig,
    SessionConfig,
    SubscriptionConfig,
)
from torsync.model.config_parse import parse_config
from torsync.swarm.settings import setting_types

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

EXAMPLE = Path(__file__).parents[2] / "packaging" / "torsync.example.toml"


def test_the_example_configuration_loads() -> None:
    config = parse_config(
        EXAMPLE.read_text(encoding="utf-8"),
        source=EXAMPLE.name,
        home="/home/user",
        environ={},
        setting_types=setting_types(),
    )
    assert str(config.subscriptions["skyrim"].path) == "/home/user/Games/skyrim"
    assert config.session == SessionConfig()


def test_the_example_configuration_has_every_key() -> None:
    raw = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert set(raw["session"]) == {field.name for field in dataclasses.fields(SessionConfig)}
    renamed = {
        "name": None,
        "interval_s": "interval",
        "max_torrent_bytes": "max_torrent_size",
        "trash_age_s": "trash",
        "trash_limit": "trash_size",
        "settle_s": "settle",
        "is_one_off": None,
    }
    for table, values in (
        (raw["subscriptions"]["skyrim"], SubscriptionConfig),
        (raw["publications"]["maps"], PublicationConfig),
        (raw["feed"], FeedConfig),
    ):
        keys = {renamed.get(field.name, field.name) for field in dataclasses.fields(values)}
        assert set(table) == keys - {None}
