"""The examples of hooks in README work."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from torsync.model.config_parse import parse_config
from torsync.model.errors import NoPeersError
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport
from torsync.model.update_report import (
    BEFORE_UPDATE,
    ON_UPDATE,
    as_variables,
    error_details,
    release_details,
    update_details,
)
from torsync.service.hooks.process import run_command

README = Path(__file__).parents[2] / "README.md"
UPDATE = CheckReport("skyrim", release="two", changed=True)
RELEASE = PublishReport("maps", info_hash="ab" * 20, number=2, changed=True)


@pytest.fixture
def section() -> str:
    return README.read_text().partition("\n## Hooks\n")[2].partition("\n## ")[0]


def test_the_examples_do_what_they_say(section: str, tmp_path: Path) -> None:
    """With stand-ins for the programs that they run, which note what they were asked for."""
    text = section.partition("```toml\n")[2].partition("```")[0]
    config = parse_config(
        text.replace("/srv/whitelist", f"{tmp_path}/whitelist"),
        source="README.md",
        home=str(tmp_path),
        environ={},
    )
    skyrim, maps = config.subscriptions["skyrim"], config.publications["maps"]
    programs, said, running = tmp_path / "programs", tmp_path / "said", tmp_path / "running"
    programs.mkdir()
    for name in ("pgrep", "systemctl", "logger", "pkill"):
        (programs / name).write_text(
            f'#!/bin/sh\necho {name} "$@" >>{said}\n[ {name} != pgrep ] || [ -e {running} ]\n'
        )
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(command: tuple[str, ...], details: dict[str, object]) -> tuple[int | None, str]:
        outcome = run_command(
            command,
            details,
            folder=str(tmp_path),
            environment={**environment, **as_variables(details)},
            timeout_s=60,
            stopping=lambda: False,
        )
        return outcome.exit_code, outcome.last_line

    before = update_details(BEFORE_UPDATE, skyrim, UPDATE)
    assert run(skyrim.before_update, before) == (0, "")
    running.touch()
    assert run(skyrim.before_update, before) == (1, "the game runs")
    assert run(skyrim.on_update, update_details(ON_UPDATE, skyrim, UPDATE)) == (0, "")
    assert run(skyrim.on_error, error_details(skyrim, NoPeersError("no $(peers)"))) == (0, "")
    assert run(maps.on_release, release_details(maps, RELEASE)) == (0, "")
    assert (tmp_path / "whitelist").read_text() == "ab" * 20 + "\n"
    assert said.read_text().splitlines() == [
        *["pgrep -x SkyrimSE.exe"] * 2,
        "systemctl --user restart game-server",
        "logger -t torsync skyrim: no $(peers)",
        "pkill -HUP -x opentracker",
    ]


def test_the_table_has_every_key(section: str) -> None:
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    documented = {
        (key, event)
        for keys, events in rows
        for key in re.findall(r"`(\w+)`", keys)
        for event in events_of(events)
    }
    config = parse_config(
        '[subscriptions.a]\nurl = "file:///x"\npath = "/a"\n'
        '[publications.b]\npath = "/b"\ntorrent = "/c"\n',
        source="",
        home="/",
        environ={},
    )
    subscription, publication = config.subscriptions["a"], config.publications["b"]
    told = [
        update_details(BEFORE_UPDATE, subscription, UPDATE),
        update_details(ON_UPDATE, subscription, UPDATE),
        release_details(publication, RELEASE),
        error_details(subscription, NoPeersError("x")),
    ]
    found = {(key, details["event"]) for details in told for key in details}
    lists = {"added_paths", "changed_paths", "moved_paths", "removed_paths"}
    assert {pair for pair in found if pair[0] not in lists} == documented


def events_of(cell: str) -> set[str]:
    every = {"before_update", "on_update", "on_release", "on_error"}
    named = set(re.findall(r"`(\w+)`", cell))
    if "all but" in cell:
        return every - named
    if "all" in cell:
        return every
    return named or {"before_update", "on_update"}
