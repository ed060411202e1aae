"""Writes what shells complete: commands, options, and files where files are meant."""

from __future__ import annotations

import argparse

import shtab

from torsync.cli.parser import make_parser

FILES = {"bash": "torsync.bash", "zsh": "_torsync", "fish": "torsync.fish"}
_FILE_VALUES = {"FILE", "KEY", "URL"}
_FOLDER_VALUES = {"DIR", "PATH"}


def completion(shell: str) -> str:
    """Write the completion for a shell."""
    parser = make_parser()
    _mark_files(parser)
    text: str = shtab.complete(parser, shell=shell)
    return text if text.endswith("\n") else text + "\n"


def _mark_files(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                _mark_files(command)
        elif action.metavar in _FILE_VALUES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _FOLDER_VALUES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
