"""Writes the files in this folder that are made from the program: run it after changing that.

``python packaging/generate.py [FOLDER]``, with ``.[test]`` installed. The tests fail where a
file is not as this writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import completions
import manual

from torsync.service.systemd import units

HERE = Path(__file__).resolve().parent


def systemd_files() -> dict[str, str]:
    """Texts by path."""
    return {
        "systemd/system/torsync.service": units.unit_text(units.PACKAGED_SYSTEM),
        "systemd/system/torsync.service.d/trees.conf.example": units.trees_text([]),
        "systemd/user/torsync.service": units.unit_text(units.PACKAGED_USER),
        "systemd/sysusers.d/torsync.conf": units.sysusers_text(),
        "systemd/tmpfiles.d/torsync.conf": units.tmpfiles_text(),
    }


def manual_pages() -> dict[str, str]:
    """Texts by path."""
    example = (HERE / "torsync.example.toml").read_text(encoding="utf-8")
    return {
        "man/torsync.1": manual.torsync_1(),
        "man/torsync.toml.5": manual.torsync_toml_5(example),
    }


def shell_completions() -> dict[str, str]:
    """Texts by path."""
    return {
        f"completions/{name}": completions.completion(shell)
        for shell, name in completions.FILES.items()
    }


def all_files() -> dict[str, str]:
    """Texts of all files that are made from the program, by path."""
    return {**systemd_files(), **manual_pages(), **shell_completions()}


def main(folder: Path) -> None:
    """Write them."""
    for name, text in all_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
