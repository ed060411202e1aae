"""What ``packaging/generate.py`` makes is up to date, and programs understand it."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import require
from torsync.cli.parser import make_parser
from torsync.model.errors import ExitCode

PACKAGING = Path(__file__).parents[2] / "packaging"
COMPLETIONS = ["completions/torsync.bash", "completions/_torsync", "completions/torsync.fish"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files as they are made now."""
    folder = tmp_path_factory.mktemp("generated")
    subprocess.run(
        [sys.executable, str(PACKAGING / "generate.py"), str(folder)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGING.parent)},
        timeout=100,
    )
    return folder


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                found[name] = command
                found.update({f"{name} {key}": one for key, one in commands(command).items()})
    return found


def options() -> set[str]:
    return {
        name
        for parser in [make_parser(), *commands(make_parser()).values()]
        for action in parser._actions
        for name in action.option_strings
    }


def test_units_and_manual_pages_are_as_the_program_makes_them(fresh: Path) -> None:
    stale = [
        path.relative_to(fresh).as_posix()
        for path in fresh.rglob("*")
        if path.is_file()
        and path.relative_to(fresh).as_posix() not in COMPLETIONS
        and path.read_bytes() != (PACKAGING / path.relative_to(fresh)).read_bytes()
    ]
    assert stale == [], "run `python packaging/generate.py`"


@pytest.mark.parametrize("name", COMPLETIONS)
def test_completions_have_the_words_of_the_program(fresh: Path, name: str) -> None:
    """Only the words: the rest depends on the version of shtab."""

    def words(folder: Path) -> set[str]:
        return set(re.findall(r"[\w-]+", (folder / name).read_text(encoding="utf-8")))

    known = options() | {word for command in commands(make_parser()) for word in command.split()}
    known = {name.lstrip("-") for name in known}
    assert words(fresh) & known == words(PACKAGING) & known, "run `python packaging/generate.py`"


def test_the_manual_page_tells_every_command_option_and_exit_code() -> None:
    page = (PACKAGING / "man/torsync.1").read_text(encoding="utf-8").replace("\\-", "-")
    leaves = [name for name, parser in commands(make_parser()).items() if not commands(parser)]
    assert [name for name in leaves if f".SS torsync {name}\n" not in page] == []
    assert [name for name in options() if f"\\fB{name}\\fR" not in page] == []
    status = page[page.index(".SH EXIT STATUS") : page.index(".SH SIGNALS")]
    codes = re.findall(r"\.TP\n\\fB(\d+)\\fR", status)
    assert [int(code) for code in codes] == [int(code) for code in ExitCode]


@pytest.mark.programs
@pytest.mark.parametrize("page", ["torsync.1", "torsync.toml.5"])
def test_man_has_nothing_to_complain_of(page: str) -> None:
    done = subprocess.run(
        [require("man"), "--warnings=w", "-E", "UTF-8", "-l", str(PACKAGING / "man" / page)],
        capture_output=True,
        text=True,
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        timeout=60,
    )
    assert done.stderr == ""
    assert "torsync" in done.stdout


def completed(line: str, folder: Path) -> set[str]:
    """What bash offers where a line ends."""
    script = f"""
source {PACKAGING / "completions/torsync.bash"}
COMP_LINE=$1 COMP_POINT=${{#1}}
read -ra COMP_WORDS <<<"$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
spec=$(complete -p torsync)
[[ $spec =~ -F\\ ([^ ]+) ]]
"${{BASH_REMATCH[1]}}" torsync "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        [require("bash"), "--norc", "-c", script, "bash", line],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").touch()
    assert completed("torsync ver", tmp_path) == {"verify"}
    assert {"check-now", "service", "trash"} <= completed("torsync ", tmp_path)
    assert completed("torsync service un", tmp_path) == {"uninstall"}
    assert completed("torsync verify --rep", tmp_path) == {"--repair"}
    assert completed("torsync --config sett", tmp_path) == {"settings.toml"}
