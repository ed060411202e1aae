"""A service with many small trees: as a subscriber to them, or as their publisher.

with Many(tmp_path, 200) as many:
    publisher = many.start("publications")
    publisher.wait_until_all_seed()
    figures = publisher.rest(30)
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli_w

from tests.support.processes import HOST, end, free_port, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

_FILES, _FILE_BYTES = 5, 20_000
_PIECE = "16 KiB"
_PATIENCE_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KINDS = ("plain", "feed", "publications")


class Figures(NamedTuple):
    """What a service takes that does nothing.

    Attributes:
        cpu: share of a core, measured over ``seconds``.
        peak_bytes, rss_bytes: the most memory that it had, and what it has.
        threads, descriptors: that it has.
        switches_per_s: how often one of its threads went to sleep.
    """

    seconds: float
    cpu: float
    peak_bytes: int
    rss_bytes: int
    threads: int
    descriptors: int
    switches_per_s: float


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class Many:
    """Folders that are published, and subscribed to, under the names p0, p1 and so on.

    Attributes:
        count: of them.
        contents: where the published folders are.
    """

    def __init__(self, folder: Path, count: int) -> None:
        """Prepare; everything is made in ``folder``."""
        self.count = count
        self.contents = folder / "contents"
        self._folder = folder
        self._www = folder / "www"
        self._peers, self._feed = free_port(udp=True), free_port()
        self._held = ExitStack()
        self._url = ""

    def __enter__(self) -> Self:
        self._www.mkdir()
        source = random.Random(7)
        for name in self.names():
            content = self.contents / name
            content.mkdir(parents=True)
            for index in range(_FILES):
                (content / f"{index}.bin").write_bytes(source.randbytes(_FILE_BYTES))
        handler = partial(_Quiet, directory=str(self._www))
        server = ThreadingHTTPServer((HOST, 0), handler)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self._url = f"http://{HOST}:{server.server_address[1]}"
        self._held.callback(server.server_close)
        self._held.callback(thread.join)
        self._held.callback(server.shutdown)
        return self

    def __exit__(self, *_error: object) -> None:
        self._held.close()

    def names(self) -> list[str]:
        """Of all trees."""
        return [f"p{number}" for number in range(self.count)]

    def trees(self, kind: str) -> Path:
        """Where a subscriber's trees are."""
        return self._folder / f"trees of {kind}"

    def start(self, kind: str) -> RunningService:
        """Start a service.

        Args:
            kind: ``publications``: publishes all folders, and has a feed; ``plain``: subscribes to
                them at a web server that only serves files; ``feed``: at the feed, each with a
                request that is held. Those two begin with all of the content.
        """
        service = RunningService(self._folder / kind, self._config(kind), self.count)
        self._held.callback(service.stop)
        return service

    def _config(self, kind: str) -> dict[str, Any]:
        session: dict[str, Any] = {"dht": False, "lsd": False}
        if kind == "publications":
            session["listen"] = [f"{HOST}:{self._peers}"]
            publications = {name: self._publication(name) for name in self.names()}
            feed = {"listen": f"{HOST}:{self._feed}"}
            return {"session": session, "publications": publications, "feed": feed}
        session["listen"] = [f"{HOST}:0"]
        url = self._url if kind == "plain" else f"http://{HOST}:{self._feed}"
        if not self.trees(kind).exists():
            shutil.copytree(self.contents, self.trees(kind), copy_function=shutil.copy2)
        subscriptions = {
            name: {"url": f"{url}/{name}.torrent", "path": str(self.trees(kind) / name)}
            for name in self.names()
        }
        return {"session": session, "subscriptions": subscriptions}

    def _publication(self, name: str) -> dict[str, Any]:
        return {
            "path": str(self.contents / name),
            "torrent": str(self._www / f"{name}.torrent"),
            "piece_size": _PIECE,
            "settle": "0.1s",
            "hints": False,
        }


class RunningService:
    """``torsync run`` in a process of its own."""

    def __init__(self, folder: Path, config: dict[str, Any], count: int) -> None:
        folder.mkdir(exist_ok=True)
        self._count = count
        file = folder / "config.toml"
        file.write_text(tomli_w.dumps(config), encoding="utf-8")
        self._log = folder / "events"
        self._began_s = time.monotonic()
        self._seeding: set[str] = set()
        self._read_to = 0
        command = [sys.executable, "-m", "torsync", "--json", "--config", str(file)]
        with self._log.open("wb") as log, (folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                [*command, "--state-dir", str(folder / "state"), "run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                env={**os.environ, "no_proxy": "*"},
            )

    def wait_until_all_seed(self, deadline_s: float = 300) -> float:
        """Wait until all trees are seeded; gives the seconds since the start."""
        wait_until(self._do_all_seed, "all are seeded", deadline_s=deadline_s)
        return time.monotonic() - self._began_s

    def _do_all_seed(self) -> bool:
        assert self._process.poll() is None, self.errors()
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            whole, newline, _rest = log.read().rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        for line in whole.splitlines():
            event = json.loads(line)
            if event.get("stage") == "seeding":
                self._seeding.add(event["name"])
        return len(self._seeding) >= self._count

    def errors(self) -> str:
        """What it complained of."""
        return self._log.with_name("errors").read_text(errors="replace")[-4000:]

    def rest(self, seconds: float) -> Figures:
        """Measure for so long what it takes while it does nothing."""
        self._calm()
        began_s, cpu, switches = time.monotonic(), self._cpu_s(), self._switches()
        time.sleep(seconds)  # what is measured is a time in which nothing happens
        took_s = time.monotonic() - began_s
        status = self._status(self._proc / "status")
        return Figures(
            took_s,
            (self._cpu_s() - cpu) / took_s,
            status["VmHWM"] * 1024,
            status["VmRSS"] * 1024,
            status["Threads"],
            len(os.listdir(self._proc / "fd")),
            (self._switches() - switches) / took_s,
        )

    def _calm(self) -> None:
        """Wait until it is less busy than half a core, should that come to pass."""
        ends_s = time.monotonic() + _PATIENCE_S
        last_s = self._cpu_s()
        while time.monotonic() < ends_s:
            time.sleep(1)
            now_s = self._cpu_s()
            if now_s - last_s < 0.1:
                return
            last_s = now_s

    def stop(self) -> None:
        """Stop it; harmless when repeated."""
        if self._process.poll() is None:
            self._process.terminate()
            end(self._process, patience_s=60)

    @property
    def _proc(self) -> Path:
        return Path(f"/proc/{self._process.pid}")

    def _cpu_s(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def _switches(self) -> int:
        return sum(
            self._status(task / "status")["voluntary_ctxt_switches"]
            for task in (self._proc / "task").iterdir()
        )

    @staticmethod
    def _status(file: Path) -> dict[str, int]:
        pairs = (line.partition(":") for line in file.read_text().splitlines())
        values = {name: value.split() for name, _, value in pairs}
        return {name: int(v[0]) for name, v in values.items() if v and v[0].isdigit()}
