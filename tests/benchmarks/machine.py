"""What figures depend on: the machine, the versions, the day."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from tests.benchmarks.measure import REPOSITORY
from tests.benchmarks.publisher import find_program

_PACKAGES = ("torsync", "libtorrent", "pyrqbit", "torf")
_PROGRAMS = {
    "rsync": "--version",
    "aria2c": "--version",
    "casync": "--version",
    "cp": "--version",
    "nginx": "-v",
    "mktorrent": "-v",
    "curl": "--version",
}
_VERSION = re.compile(r"(?<![A-Za-z\d])\d+(?:\.\d+)*")


def describe_machine(folder: Path) -> dict[str, object]:
    """Processor, cores, memory in bytes, kernel, load, and the file system of ``folder``."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "file_system": _file_system(folder),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def find_versions() -> dict[str, str]:
    """Name → version of Python, torsync and every peer that is installed."""
    found = {"Python": platform.python_version()}
    installed = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    found |= {name: installed[name] for name in _PACKAGES if name in installed}
    found["torsync commit"] = _commit()
    for name, option in _PROGRAMS.items():
        if program := find_program(name):
            said = _ask([program, option])
            version = _VERSION.search(said)
            found[name] = version[0] if version else said.partition("\n")[0]
    return {name: version for name, version in found.items() if version}


def now() -> str:
    """Date and time of the day in UTC, to the minute (RFC 3339)."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    model = re.search(r"model name\s*: (.+)", told)
    flags = re.search(r"flags\s*: (.+)", told)
    # Hashing is several times as fast with these instructions.
    sha = " with SHA instructions" if flags and "sha_ni" in flags[1].split() else ""
    return (model[1].strip() if model else platform.processor()) + sha


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder is on; empty where that is not to be had."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    above = {str(folder.resolve()), *map(str, folder.resolve().parents)}
    found = [line.split()[1:3] for line in mounts if line.split()[1] in above]
    # The one that was mounted last hides the others at the same place.
    return max(reversed(found), key=lambda one: len(one[0]))[1] if found else ""


def _commit() -> str:
    """The commit of what is measured, which figures that are written meanwhile do not change."""
    if find_program("git") is None or not (REPOSITORY / ".git").exists():
        return ""
    git = ["git", "-C", str(REPOSITORY)]
    edited = _ask([*git, "status", "--porcelain", "--", "torsync"])
    return _ask([*git, "rev-parse", "--short=10", "HEAD"]) + ("-edited" if edited else "")


def _ask(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{done.stdout}{done.stderr}".strip()
