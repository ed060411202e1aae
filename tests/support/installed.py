"""torsync as people have it: the wheel in a virtual environment of its own, used as a program.

program = installed_program(folder)
with Installed(tmp_path / "host", program) as host:
    host.subscribe(url=…)
    assert host.say("check-now").exit_code == 0
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock

from tests.support.publishers import Publishing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tests.support.cli import Argument, Json, Outcome

SOURCE = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
INSTALL = ("install", "--quiet", "--disable-pip-version-check", "--no-input")


def built_wheel(folder: Path) -> Path:
    """Build the wheel, from a copy of the source: a build leaves files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "source"
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCE / "torsync", source / "torsync", ignore=left_out)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(SOURCE / name, source)
    _run([sys.executable, "-c", BUILD, str(folder)], cwd=source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def fresh_environment(folder: Path) -> Path:
    """Make a virtual environment with nothing in it; its Python."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    return folder / "bin" / "python"


def pip_install(python: Path, *wanted: Argument) -> None:
    """Install into a virtual environment with the pip of this one."""
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    _run([*pip, *INSTALL, *map(str, wanted)])


def installed_program(folder: Path) -> Path:
    """Install the wheel, once for all processes that test; dependencies are those of the tests.

    Args:
        folder: that these processes share.

    Returns:
        The program ``torsync``.
    """
    program = folder / "environment" / "bin" / "torsync"
    done = folder / "done"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not done.exists():
            python = fresh_environment(folder / "environment")
            pip_install(python, "--no-deps", "--no-index", built_wheel(folder))
            packages = sysconfig.get_path("purelib", vars={"base": str(folder / "environment")})
            # A folder of a .pth file comes behind the environment's own packages.
            outer = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
            Path(packages, "outer.pth").write_text("\n".join(outer))
            done.touch()
    return program


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=110
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}"


class Said(NamedTuple):
    """What a command printed for people, and its exit code."""

    exit_code: int
    stdout: str
    stderr: str


class Installed(Publishing):
    """The installed program with a configuration, a state directory and a home of its own.

    Attributes:
        notify: the table ``[notify]``.
    """

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__(folder)
        self.program = program
        self.notify: Json = {}

    def run(self, *arguments: Argument, timeout_s: float = 60, **options: Any) -> Outcome:
        """Run a command with ``--json`` to its end."""
        return self.start(*arguments, **options).wait(timeout_s)

    def command(self, *arguments: Argument) -> list[str]:
        """What runs a command, with ``--json``."""
        self._write_config()
        return [str(self.program), *self._arguments(arguments)]

    def plain_command(self, *arguments: Argument) -> list[str]:
        """What runs a command as people do."""
        return [word for word in self.command(*arguments) if word != "--json"]

    def environment(self) -> dict[str, str]:
        """The variables of somebody who knows nothing of the source."""
        found = super().environment()
        found.pop("PYTHONPATH", None)
        return found

    def _tables(self) -> Json:
        return {**super()._tables(), "notify": self.notify}

    def begin(self, *arguments: Argument) -> subprocess.Popen[str]:
        """Start a command as people do, with pipes; ``said`` waits for it."""
        return subprocess.Popen(
            self.plain_command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment(),
        )

    def say(self, *arguments: Argument) -> Said:
        """Run a command as people do."""
        return said(self.begin(*arguments))


def said(process: subprocess.Popen[str], *, timeout_s: float = 60) -> Said:
    """Wait for a command that ``begin`` started.

    Raises:
        AssertionError: it did not end in time, or showed a traceback.
    """
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it did not end within {timeout_s} s: {out}{err}") from None
    assert "Traceback" not in out + err, err
    return Said(process.returncode, out, err)
