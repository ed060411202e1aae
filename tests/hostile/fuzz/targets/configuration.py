"""A configuration file: values, or problems with their lines; and adding to it."""

from __future__ import annotations

from tests.hostile.fuzz.oracle import judged
from torsync.model.config_edit import add_subscription
from torsync.model.config_parse import parse_config
from torsync.model.errors import ConfigError
from torsync.model.toml_lines import key_lines
from torsync.swarm.settings import setting_types

MAX_BYTES = 8192
_SETTING_TYPES = setting_types()
_ENVIRON = {"HOME": "/home/someone", "EMPTY": "", "DATA": "/srv/data"}


def try_one(data: bytes) -> None:
    """Read it, and add a subscription to it."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return  # the reader of files refuses it
    lines = key_lines(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
    with judged() as outcome:
        config = parse_config(
            text,
            source="config.toml",
            home="/home/someone",
            environ=_ENVIRON,
            setting_types=_SETTING_TYPES,
            protected=("/var/lib/torsync",),
        )
        for name in (*config.subscriptions, *config.publications):
            assert name.isascii()
            assert "/" not in name
    if outcome.error is not None:
        assert isinstance(outcome.error, ConfigError)
        assert outcome.error.problems
        for problem in outcome.error.problems:
            assert problem.isprintable(), problem
            line = problem.removeprefix("config.toml:").partition(":")[0]
            assert 1 <= int(line) <= text.count("\n") + 1
    with judged():
        added = add_subscription(text, "added", "https://host.example/a.torrent", "/srv/added")
        assert added.startswith(text)
