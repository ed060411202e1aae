"""Those who fetch a published folder, each as a whole process."""

from __future__ import annotations

import json
import re
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import BenchmarkError, run_process
from tests.benchmarks.publisher import find_program
from tests.support.processes import HOST, free_port

if TYPE_CHECKING:
    from tests.benchmarks.measure import Run
    from tests.benchmarks.publisher import Published


class Contestant(ABC):
    """A way to bring a folder to what is published; called twice it has nothing to do.

    Attributes:
        name: in the table.
        note: what a reader of the table has to know.
        again_note: the same for the second call.
    """

    name: str
    note = ""
    again_note = ""

    def obstacle(self, published: Published) -> str:  # noqa: ARG002  overridden
        """Why it cannot take part; empty if it can."""
        return ""

    def tree(self, place: Path, published: Published) -> Path:
        """Where in ``place`` the published files end up."""
        return place / published.folder.name

    @abstractmethod
    def sync(self, published: Published, place: Path) -> Run:
        """Bring ``place``, a folder of its own, to what is published."""


class Torsync(Contestant):
    """``torsync check-now``, polling over HTTP."""

    name = "torsync"
    note = "re-read, synced to disk, ledger written"
    again_note = "polls over HTTP, stats every file"

    def tree(self, place: Path, published: Published) -> Path:  # noqa: ARG002  overrides
        """The root name is dropped."""
        return place / "tree"

    def sync(self, published: Published, place: Path) -> Run:
        """Run ``check-now`` and believe what it says only where the seeder agrees."""
        config = place / "config.toml"
        config.write_text(
            '[session]\nlisten = ["127.0.0.1:0"]\ndht = false\nlsd = false\n'
            "[subscriptions.release]\n"
            f"url = {json.dumps(self.url(published))}\n"
            f"path = {json.dumps(str(self.tree(place, published)))}\n"
            f'peers = ["{HOST}:{published.seeder.port}"]\n'
        )
        command = [sys.executable, "-m", "torsync", "--json", "--config", str(config)]
        command += ["--state-dir", str(place / "state"), "check-now", "--timeout", "60s"]
        sent = published.uploaded_bytes()
        run = run_process(command, place)
        sent = published.uploaded_bytes() - sent
        lines = (json.loads(line) for line in run.output.splitlines())
        told = next(line["bytes_fetched"] for line in lines if line["type"] == "subscription")
        if told != sent:
            raise BenchmarkError(f"torsync told of {told} bytes fetched, {sent} were sent")
        return run.fetching(told)

    def url(self, published: Published) -> str:
        """What is polled."""
        return published.torrent_url


class TorsyncFromFile(Torsync):
    """The same with a ``file:`` URL: the difference is what HTTP costs."""

    name = "torsync, file: URL"
    again_note = "the same without HTTP"

    def url(self, published: Published) -> str:
        """What is polled."""
        return published.torrent_file.as_uri()


class BareLibtorrent(Contestant):
    """A script that adds the torrent, waits and removes it."""

    name = "libtorrent"
    note = "bare script; nothing is re-read or synced"
    again_note = "hashes everything"
    _options: tuple[str, ...] = ()

    def sync(self, published: Published, place: Path) -> Run:
        """Run the script."""
        script = str(Path(__file__).with_name("bare_libtorrent.py"))
        command = [sys.executable, script, str(published.torrent_file), str(place)]
        command += [HOST, str(published.seeder.port), *self._options]
        sent = published.uploaded_bytes()
        run = run_process(command, place.parent)
        return run.fetching(published.uploaded_bytes() - sent)


class SyncedLibtorrent(BareLibtorrent):
    """The same script, which ends when all is on the disk."""

    name = "libtorrent, sync"
    note = "bare script and one sync"
    _options = ("sync",)


class Aria2(Contestant):
    """``aria2c``; peers cannot be given to it, so it asks a tracker."""

    name = "aria2c"
    note = "v1; peer from opentracker"
    again_note = "hashes everything"

    def obstacle(self, published: Published) -> str:
        """It needs a tracker, and a v1 torrent."""
        if find_program("aria2c") is None:
            return "aria2c is not installed"
        if b"6:pieces" not in published.torrent:
            return "aria2c cannot open v2"
        return "" if published.tracked else "opentracker is not installed"

    def sync(self, published: Published, place: Path) -> Run:
        """Run it until the download is complete."""
        options = {
            "no-conf": "true",
            "dir": place,
            "interface": HOST,
            "disable-ipv6": "true",
            "listen-port": free_port(),
            "enable-dht": "false",
            "enable-dht6": "false",
            "bt-enable-lpd": "false",
            "enable-peer-exchange": "false",
            "seed-time": 0,
            "file-allocation": "none",
            # Else it does not look at files that are there already.
            "check-integrity": "true",
            "console-log-level": "warn",
            "summary-interval": 0,
            "show-console-readout": "false",
        }
        command = ["aria2c", *(f"--{name}={value}" for name, value in options.items())]
        sent = published.uploaded_bytes()
        run = run_process([*command, str(published.torrent_file)], place.parent)
        return run.fetching(published.uploaded_bytes() - sent)


class Rsync(Contestant):
    """``rsync -a`` from a daemon on loopback."""

    name = "rsync"
    note = "-a, from a daemon; nothing is synced"
    again_note = "-a, from a daemon; compares sizes and times"

    def obstacle(self, published: Published) -> str:
        """It needs the daemon."""
        return "" if published.rsync_url else "rsync is not installed"

    def sync(self, published: Published, place: Path) -> Run:
        """Run it."""
        target = self.tree(place, published)
        run = run_process(["rsync", "-a", "--stats", published.rsync_url, f"{target}/"], place)
        received = re.search(r"Total bytes received: ([\d,]+)", run.output)
        assert received is not None, run.output
        return run.fetching(int(received[1].replace(",", "")))
