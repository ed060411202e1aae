"""What is written wrong on a command line, or names what is not there: said so, with a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tomli_w

from tests.support.cli import Torsync
from tests.support.torrents import make_raw
from torsync.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def torsync(tmp_path: Path) -> Iterator[Torsync]:
    with Torsync(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logs", "-n", "few"], "expected a number such as 20, found 'few'"),
        (["logs", "-n", "-1"], "expected a number such as 20, found '-1'"),
        (["check-now", "--timeout", "soon"], "expected a duration such as"),
        (["check-now", "--allow", "anything"], "invalid choice: 'anything'"),
        (["fetch"], "invalid choice: 'fetch'"),
        ([], "required: COMMAND"),
    ],
)
def test_what_no_command_understands_is_a_mistake_of_usage(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["verify", "maps"], "'maps' is a publication", "there are: pack"),
        (["verify", "other"], "no subscription or publication 'other'", "pack, maps"),
        (["status", "other"], "no subscription or publication 'other'", "pack, maps"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(
    torsync: Torsync, arguments: list[str], message: str, hint: str
) -> None:
    torsync.subscribe(url="https://h.example/p.torrent")
    maps = {"path": str(torsync.folder / "maps"), "torrent": str(torsync.folder / "maps.torrent")}
    tables = {**torsync._tables(), "publications": {"maps": maps}}
    torsync._tables = lambda: tables  # type: ignore[method-assign]
    outcome = torsync.run(*arguments)
    assert outcome.exit_code == 2
    assert message in outcome.error["message"]
    assert hint in outcome.error["hint"]


@pytest.mark.parametrize("command", ["check-now", "status"])
def test_without_anything_to_do_it_says_what_to_add(torsync: Torsync, command: str) -> None:
    outcome = torsync.run(command)
    assert outcome.exit_code == 2
    assert str(torsync.config_file) in outcome.error["message"]
    assert "torsync init URL PATH" in outcome.error["hint"]


def test_a_torrent_whose_name_gives_none_wants_one_from_a_person(torsync: Torsync) -> None:
    torrent = torsync.folder / "x.torrent"
    torrent.write_bytes(make_raw({"a": b"1"}, name="…!"))
    outcome = torsync.run("init", torrent.as_uri(), torsync.tree)
    assert outcome.exit_code == 2
    assert "'…!' gives no name" in outcome.error["message"]
    assert "--name" in outcome.error["hint"]
    outcome = torsync.run("init", torrent.as_uri(), torsync.tree, "--name", "pack").assert_ok()
    assert f"[subscriptions.pack]\nurl = {tomli_w.dumps({'u': torrent.as_uri()})[4:]}" in (
        torsync.config_file.read_text()
    )


@pytest.mark.parametrize("is_file", [True, False])
def test_a_public_key_that_is_none_is_refused_before_anything_is_fetched(
    torsync: Torsync, *, is_file: bool
) -> None:
    key = torsync.folder / "some.pub"
    key.write_text("untrusted comment: a key\nRWQbut not one\n")
    given = key if is_file else "RWQbut not one"
    outcome = torsync.run("init", "http://127.0.0.1:9/", torsync.tree, "--public-key", given)
    assert (outcome.exit_code, outcome.error["code"]) == (2, "usage")
    assert outcome.error["message"].startswith("--public-key: ")


def test_a_home_folder_stays_one_in_the_configuration(torsync: Torsync) -> None:
    arguments = ("--name", "pack", "--adopt")
    (torsync.folder / "home/games").mkdir()
    torsync.run("init", "http://127.0.0.1:9/p.torrent", "~/games", *arguments).assert_ok()
    assert 'path = "~/games"' in torsync.config_file.read_text()
    torsync.run("init", "http://127.0.0.1:9/q", "/srv/a$b", "--name", "q").assert_ok()
    assert 'path = "/srv/a$$b"' in torsync.config_file.read_text()
