"""Ways to bring one folder from one machine to several, each with a server and its clients."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.contestants.base import SCRIPTS
from tests.benchmarks.measure import file_sizes, run_process
from tests.benchmarks.publisher import RsyncDaemon, find_program
from tests.support.nginx import nginx
from tests.support.processes import ServerProcess
from tests.support.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from tests.support.netns import Machine

_TRACKER_PORT = 6969
_WEB_PORT = 8080


@dataclass(frozen=True)
class Home:
    """Where the folder comes from.

    Attributes:
        machine: whose network the servers are started in.
        release: the folder.
        scratch: an empty folder.
        stack: ends the servers.
    """

    machine: Machine
    release: Path
    scratch: Path
    stack: ExitStack


class Distributor(ABC):
    """One way.

    Attributes:
        name: in the table.
        note: what a reader of the table has to know.
        programs: that have to be installed.
        beside: who has the row for one subscriber; empty where it has one of its own.
    """

    name: str
    note: str
    programs: tuple[str, ...] = ()
    beside = ""

    def obstacle(self) -> str:
        """Why it cannot take part; empty if it can."""
        missing = [program for program in self.programs if find_program(program) is None]
        return f"{missing[0]} is not installed" if missing else ""

    @abstractmethod
    def serve(self, home: Home) -> None:
        """Start what serves; returns when clients can begin."""

    @abstractmethod
    def command(self, machine: Machine, place: Path) -> list[str]:
        """What fetches everything into ``place``, and ends."""

    def tree(self, place: Path) -> Path:
        """Where in ``place`` the files end up."""
        return place / "release"


class TorsyncSwarm(Distributor):
    """``torsync run`` with a publication, and ``torsync check-now``."""

    name = "torsync"
    note = "run publishes, check-now fetches and leaves; opentracker"
    programs = ("opentracker",)
    _feed = False
    _torrent: Path

    def serve(self, home: Home) -> None:
        """Publish, once to know the info-hash, which the tracker has to allow."""
        release, self._torrent = home.release, home.scratch / "release.torrent"
        url = f"http://{home.machine.address}:{_TRACKER_PORT}/announce"
        first = home.scratch / "first.torrent"
        command = ["--state-dir", str(home.scratch / "first"), "publish", str(release)]
        run_process([*_torsync(home.scratch), *command, "-o", str(first)], home.scratch)
        torrent = first.read_bytes()
        tracker = home.stack.enter_context(
            Tracker([torrent], host=home.machine.address, port=_TRACKER_PORT)
        )
        feed = f'[feed]\nlisten = "{home.machine.address}:{_WEB_PORT}"\n' if self._feed else ""
        _write_config(
            home.scratch,
            home.machine,
            f"{feed}[publications.release]\npath = {json.dumps(str(release))}\n"
            f"torrent = {json.dumps(str(self._torrent))}\ntrackers = [{json.dumps(url)}]\n",
        )
        state = ["--state-dir", str(home.scratch / "state")]
        service = home.stack.enter_context(_Service([*_torsync(home.scratch), *state, "run"]))
        service.wait_for(self._torrent)
        tracker.wait_for_seeds(torrent, 1)

    def command(self, machine: Machine, place: Path) -> list[str]:
        """Poll the file."""
        _write_config(
            place,
            machine,
            f"[subscriptions.release]\npath = {json.dumps(str(self.tree(place)))}\n"
            f"url = {json.dumps(self._torrent.as_uri())}\n",
        )
        state = ["--state-dir", str(place / "state")]
        return [*_torsync(place), *state, "check-now", "--timeout", "60s"]


class TorsyncWithFeed(TorsyncSwarm):
    """The same where the publisher is a web seed, too."""

    name = "torsync, feed"
    note = "the same with a feed, which is a web seed"
    _feed = True


class BareSwarm(TorsyncSwarm):
    """The same torrent in libtorrent's hands."""

    name = "libtorrent"
    note = "bare script, default settings; opentracker"
    _options: tuple[str, ...] = ()

    def serve(self, home: Home) -> None:
        """Seed."""
        self._torrent = home.scratch / "release.torrent"
        url = f"http://{home.machine.address}:{_TRACKER_PORT}/announce"
        command = ["publish", str(home.release), "-o", str(self._torrent), "--tracker", url]
        state = ["--state-dir", str(home.scratch / "state")]
        run_process([*_torsync(home.scratch), *state, *command], home.scratch)
        torrent = self._torrent.read_bytes()
        tracker = home.stack.enter_context(
            Tracker([torrent], host=home.machine.address, port=_TRACKER_PORT)
        )
        options = ["seed", *self._options]
        home.stack.enter_context(
            _Service([*self.command(home.machine, home.release.parent), *options])
        )
        tracker.wait_for_seeds(torrent, 1)

    def command(self, machine: Machine, place: Path) -> list[str]:
        """Run the script."""
        script = str(SCRIPTS / "bare_swarm.py")
        return [sys.executable, script, str(self._torrent), str(place), machine.address]


class SuperSeeding(BareSwarm):
    """The same with a seed that shows each piece to one peer."""

    name = "libtorrent, super"
    note = "the same with super-seeding; one subscriber alone takes more than a minute"
    beside = BareSwarm.name
    _options = ("super",)


class Nginx(Distributor):
    """A web server, and ``curl`` with all files at once."""

    name = "nginx"
    note = "curl --parallel"
    programs = ("nginx", "curl")
    _files: Sequence[str] = ()
    _url = ""

    def serve(self, home: Home) -> None:
        """Start it."""
        address = f"{home.machine.address}:{_WEB_PORT}"
        home.stack.enter_context(nginx(home.release, extra_server_config=f"listen {address};"))
        self._files, self._url = list(file_sizes(home.release)), f"http://{address}"

    def command(self, machine: Machine, place: Path) -> list[str]:  # noqa: ARG002  overrides
        """One process for all files."""
        command = ["curl", "--silent", "--show-error", "--fail", "--parallel", "--create-dirs"]
        for path in self._files:
            command += ["--output", str(self.tree(place) / path), f"{self._url}/{path}"]
        return command


class RsyncToMany(Distributor):
    """An rsync daemon."""

    name = "rsync"
    note = "-a, from a daemon"
    programs = ("rsync",)
    _url = ""

    def serve(self, home: Home) -> None:
        """Start it."""
        daemon = RsyncDaemon(home.release, host=home.machine.address)
        self._url = home.stack.enter_context(daemon).url

    def command(self, machine: Machine, place: Path) -> list[str]:  # noqa: ARG002  overrides
        """Fetch everything."""
        return ["rsync", "-a", self._url, f"{self.tree(place)}/"]


class _Service(ServerProcess):
    """A command that runs until it is closed."""

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__()
        self._start(command)

    def wait_for(self, path: Path) -> None:
        """Return when a file is there."""
        self._wait(path.exists, f"{path.name} is there", deadline_s=60)


def _torsync(place: Path) -> list[str]:
    return [sys.executable, "-m", "torsync", "--json", "--config", str(place / "config.toml")]


def _write_config(place: Path, machine: Machine, tables: str) -> None:
    session = f'[session]\nlisten = ["{machine.address}:6881"]\ndht = false\nlsd = false\n'
    (place / "config.toml").write_text(session + tables)
