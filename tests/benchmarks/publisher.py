"""Folders offered in every way that a contestant fetches: BitTorrent, HTTP, rsync."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.benchmarks.measure import run_process
from tests.support.nginx import nginx
from tests.support.packed import make_packed
from tests.support.processes import HOST, ServerProcess, free_port, wait_until
from tests.support.seeders import LibtorrentSeeder
from tests.support.torrents import make_libtorrent, with_trackers
from tests.support.tracker import Tracker
from torsync.model.hints.format import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.nginx import Nginx

FORMATS = ("v1", "packed", "v2", "hybrid")
HINTED, UNHINTED = BY_TORSYNC = ("hinted", "unhinted")
"""What ``torsync publish`` makes, and the same where the hints file is missing."""

_TORRENT = "release.torrent"
_LEAVE_S = 60
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


def find_program(name: str) -> str | None:
    """The path of a program, servers included; None if it is not installed."""
    return shutil.which(name, path=_PLACES)


@dataclass(frozen=True)
class Published:
    """A published folder.

    Attributes:
        folder: what is published; its name is the torrent's root name.
        torrent_file: the ``.torrent``, which names the tracker if there is one.
        polled_file: what ``torrent_url`` gives: this release's ``.torrent``, or another one's.
        torrent_url: where it can be polled, with validators.
        seeder: one process that has everything.
        tracked: whether a tracker knows the seeder.
        rsync_url: of the same folder; empty where there is no rsync.
        hints: the hints file that belongs beside ``polled_file``; None where it has none.
        web: the web server behind ``torrent_url``, where that is one that logs what it sends.
    """

    folder: Path
    torrent: bytes
    torrent_file: Path
    polled_file: Path
    torrent_url: str
    seeder: LibtorrentSeeder
    tracked: bool
    rsync_url: str
    hints: bytes | None = None
    web: CountingWeb | None = None

    def make_current(self) -> None:
        """Have this release at ``torrent_url`` from now on, replaced in one step."""
        if self.hints is not None:
            _replace(self.polled_file.with_name(self.polled_file.name + SUFFIX), self.hints)
        _replace(self.polled_file, self.torrent)

    def uploaded_bytes(self) -> int:
        """What the seeder has sent so far, to peers that have left: else it is counted late."""
        wait_until(
            lambda: self.seeder.status(self.torrent)["peers"] == 0,
            "all peers have left the seeder",
            deadline_s=_LEAVE_S,
        )
        return self.seeder.uploaded(self.torrent)


class CountingWeb:
    """An nginx, and what it has sent."""

    def __init__(self, server: Nginx) -> None:
        self._server = server
        self._marks = 0

    def url_for(self, path: Path) -> str:
        """Where a file below its root is."""
        return self._server.url_for(str(path.relative_to(self._server.root)))

    def served_bytes(self, *suffixes: str) -> int:
        """Bodies that it has sent so far, of paths that end in one of these, or of all.

        One worker logs the answers in the order in which it ends them, so that all before are
        logged when an answer to this question is.
        """
        self._marks += 1
        mark = f"/mark-{self._marks}"
        connection = HTTPConnection(HOST, self._server.port)
        with closing(connection):
            connection.request("GET", mark)
            connection.getresponse().read()
        while True:
            log = self._server.access_log(at_least=self._marks)
            if log[-1].uri == mark:
                return sum(one.body_bytes for one in log[:-1] if one.uri.endswith(suffixes or ""))


class Publisher:
    """One tracker, one seeder and one web server for any number of folders."""

    def __init__(self, scratch: Path) -> None:
        """Start all; ``scratch`` is an empty folder for ``.torrent`` files."""
        self._scratch = scratch
        self._rsync_urls: dict[Path, str] = {}
        self._offers = 0
        self._counting_web: CountingWeb | None = None
        self._by_torsync: dict[Path, tuple[bytes, bytes | None]] = {}
        with ExitStack() as stack:
            self._tracker: Tracker | None = None
            if find_program("opentracker") is not None:
                self._tracker = stack.enter_context(Tracker())
            self._seeder = stack.enter_context(LibtorrentSeeder(deadline_s=60))
            self._web = stack.enter_context(_web_server(scratch))
            self._stack = stack.pop_all()

    def offer(
        self,
        folder: Path,
        *,
        piece_size: int,
        format: str,  # noqa: A002  the configuration's word
        polled_as: str = "release",
    ) -> Published:
        """Offer a folder; what was offered last under ``polled_as`` is what is polled there."""
        if format in BY_TORSYNC:
            return self._offer_by_torsync(folder, piece_size, polled_as, format)
        if format == "packed":
            torrent = make_packed(folder, piece_size=piece_size)
        else:
            torrent = make_libtorrent(folder, piece_size=piece_size, format=format)
        if self._tracker is not None:
            torrent = with_trackers(torrent, [self._tracker.http_url])
            self._tracker.allow(torrent)
        self._offers += 1
        torrent_file = self._scratch / f"offer{self._offers}.torrent"
        torrent_file.write_bytes(torrent)
        self._seeder.add(torrent, folder.parent, check=False)
        polled_file = self._scratch / f"{polled_as}.torrent"
        published = Published(
            folder,
            torrent,
            torrent_file,
            polled_file,
            f"{self._web}/{polled_file.name}",
            self._seeder,
            self._tracker is not None,
            self._rsync_url(folder),
        )
        published.make_current()
        return published

    def _offer_by_torsync(
        self, folder: Path, piece_size: int, polled_as: str, format_: str
    ) -> Published:
        """Offer what ``torsync publish`` makes of a folder, from a web server that counts."""
        is_new = folder not in self._by_torsync
        if is_new:
            self._by_torsync[folder] = self._publish(folder, piece_size)
        torrent, hints = self._by_torsync[folder]
        if is_new:
            self._seeder.add(torrent, folder.parent, check=False)
        self._offers += 1
        torrent_file = self._scratch / f"offer{self._offers}.torrent"
        torrent_file.write_bytes(torrent)
        polled_file = self._scratch / polled_as / _TORRENT
        polled_file.parent.mkdir(exist_ok=True)
        web = self._start_counting_web()
        published = Published(
            folder,
            torrent,
            torrent_file,
            polled_file,
            web.url_for(polled_file),
            self._seeder,
            tracked=False,
            rsync_url=self._rsync_url(folder),
            hints=None if format_ == UNHINTED else hints,
            web=web,
        )
        published.make_current()
        return published

    def _publish(self, folder: Path, piece_size: int) -> tuple[bytes, bytes | None]:
        place = self._scratch / f"published{len(self._by_torsync)}"
        place.mkdir()
        output = place / _TORRENT
        command = [sys.executable, "-m", "torsync", "--state-dir", str(place / "state")]
        command += ["publish", str(folder), "-o", str(output)]
        if piece_size:
            command += ["--piece-size", f"{piece_size // 1024} KiB"]
        run_process(command, place)
        hints = output.with_name(output.name + SUFFIX)
        return output.read_bytes(), hints.read_bytes() if hints.exists() else None

    def _start_counting_web(self) -> CountingWeb:
        if self._counting_web is None:
            self._counting_web = CountingWeb(self._stack.enter_context(nginx(self._scratch)))
        return self._counting_web

    def close(self) -> None:
        """Stop all that was started."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rsync_url(self, folder: Path) -> str:
        if find_program("rsync") and folder not in self._rsync_urls:
            self._rsync_urls[folder] = self._stack.enter_context(RsyncDaemon(folder)).url
        return self._rsync_urls.get(folder, "")


class RsyncDaemon(ServerProcess):
    """An rsync daemon with one module, ended by its own process id."""

    def __init__(self, folder: Path, *, host: str = HOST) -> None:
        """Start it and return once it listens."""
        program = find_program("rsync")
        assert program is not None
        super().__init__()
        try:
            port = free_port()
            self.url = f"rsync://{host}:{port}/release/"
            # Started by root it would become another user, who may not read the folder.
            user = "uid = 0\ngid = 0\n" if os.geteuid() == 0 else ""
            config = self.folder / "rsyncd.conf"
            config.write_text(
                f"use chroot = no\n{user}[release]\npath = {folder}\nread only = yes\n"
            )
            place = [f"--address={host}", f"--port={port}"]
            self._start([program, "--daemon", "--no-detach", f"--config={config}", *place])
            self._wait(partial(_listens, host, port), "it listens")
        except BaseException:
            self.close()
            raise


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".fresh")
    fresh.write_bytes(content)
    fresh.replace(path)


def _listens(host: str, port: int) -> bool:
    import socket

    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def _web_server(folder: Path) -> Iterator[str]:
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
