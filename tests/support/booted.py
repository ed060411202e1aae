"""A Debian system that systemd has booted, in namespaces of its own, with a package installed.

It has what Debian's packages have put on this machine, and nothing else of it: no /usr/local, no
virtual environments. Its network is a loopback, its files are gone with it, and the kernel's
settings are read-only to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until
from tests.support.programs import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

_BOOT = Path(__file__).parents[1] / "packaging" / "boot.sh"
_NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")


class Booted:
    """The running system.

    Attributes:
        share: a folder that is its /share, too.
    """

    def __init__(self, folder: Path, package: Path) -> None:
        """Boot.

        Args:
            folder: to work in.
            package: to install first.
        """
        if os.geteuid() != 0:
            pytest.skip("only root can boot a system in namespaces")
        for program in ("unshare", "nsenter", "ip", "dpkg", "systemctl"):
            require(program)
        self.share = folder / "share"
        self.share.mkdir()
        (folder / "root").mkdir()
        shutil.copy(package, self.share / package.name)
        self._cgroup = _new_cgroup()
        self._log = folder / "boot.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", *_NAMESPACES, "--fork", "--kill-child=KILL"),
                    *("bash", str(_BOOT), str(folder), f"/share/{package.name}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._enter_cgroup,  # noqa: PLW1509 - no threads matter here
            )
        try:
            wait_until(self._is_up, "the system is up", deadline_s=100)
        except BaseException:
            self.close()
            raise

    def run(
        self, *words: str, check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the system, as root."""
        entering = [f"{option}" for option in ("-m", "-p", "-C", "-u", "-i", "-n", "-r", "-w")]
        done = subprocess.run(
            ["nsenter", "-t", str(self._init()), *entering, "--", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"},
            timeout=timeout_s,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}: {done.stdout}"
        return done

    def write(self, path: str, text: str) -> None:
        """Write a file in the system; its mode and owner stay."""
        (self.share / "fresh").write_text(text, encoding="utf-8")
        self.run("sh", "-c", f'mkdir -p "$(dirname {path})" && cat /share/fresh >{path}')

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        shown = self.run("systemctl", "show", unit, "-p", ",".join(names)).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, unit: str) -> str:
        """What a unit has logged."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def close(self) -> None:
        """Switch it off."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        (self._cgroup / "cgroup.kill").write_text("1")
        wait_until(
            lambda: "populated 0" in (self._cgroup / "cgroup.events").read_text(), "all has ended"
        )
        for path, _folders, _files in os.walk(self._cgroup, topdown=False):
            os.rmdir(path)

    def _enter_cgroup(self) -> None:
        (self._cgroup / "cgroup.procs").write_text("0")

    def _init(self) -> int:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children, f"it has ended: {self._log.read_text()}"
        return int(children[0])

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        pid = self._process.pid
        if not Path(f"/proc/{pid}/task/{pid}/children").read_text():
            return False
        if Path(f"/proc/{self._init()}/comm").read_text().strip() != "systemd":
            return False
        done = self.run("systemctl", "is-system-running", check=False)
        return done.stdout.strip() in ("running", "degraded")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _new_cgroup() -> Path:
    """Make a control group for the system, or skip the test where that cannot be."""
    mount = next(_cgroup2_mounts(), None)
    own = next(
        line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"
    )
    if mount is None:
        pytest.skip("there is no cgroup2 file system")
    folder = mount / own.lstrip("/") / f"torsync-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    if not (folder / "cgroup.kill").exists():
        folder.rmdir()
        pytest.skip("the kernel is older than 5.14: no cgroup.kill")
    return folder


def _cgroup2_mounts() -> Iterator[Path]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[words.index("-") + 1] == "cgroup2":
            yield Path(words[4])
