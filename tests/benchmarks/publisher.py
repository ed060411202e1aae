"""One folder offered in every way that a contestant fetches: BitTorrent, HTTP, rsync."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.processes import HOST, ServerProcess, free_port
from tests.support.seeders import LibtorrentSeeder
from tests.support.torrents import make_libtorrent, with_trackers
from tests.support.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
        torrent_url: where it can be polled, with validators.
        seeder: one process that has everything.
        tracked: whether a tracker knows the seeder.
        rsync_url: of the same folder; empty where there is no rsync.
    """

    folder: Path
    torrent: bytes
    torrent_file: Path
    torrent_url: str
    seeder: LibtorrentSeeder
    tracked: bool
    rsync_url: str

    def uploaded_bytes(self) -> int:
        """What the seeder has sent to anybody so far."""
        return self.seeder.uploaded(self.torrent)


@contextmanager
def publish(folder: Path, scratch: Path, *, piece_size: int, format: str) -> Iterator[Published]:  # noqa: A002
    """Offer ``folder`` until the block ends; ``scratch`` is empty and takes the ``.torrent``."""
    torrent = make_libtorrent(folder, piece_size=piece_size, format=format)
    with ExitStack() as stack:
        tracked = find_program("opentracker") is not None
        if tracked:
            tracker = stack.enter_context(Tracker([torrent]))
            torrent = with_trackers(torrent, [tracker.http_url])
        torrent_file = scratch / "release.torrent"
        torrent_file.write_bytes(torrent)
        seeder = stack.enter_context(LibtorrentSeeder(deadline_s=60))
        seeder.add(torrent, folder.parent, check=False)
        web = stack.enter_context(_web_server(scratch))
        rsync_url = ""
        if find_program("rsync"):
            rsync_url = stack.enter_context(RsyncDaemon(folder)).url
        yield Published(
            folder,
            torrent,
            torrent_file,
            f"{web}/{torrent_file.name}",
            seeder,
            tracked,
            rsync_url,
        )


class RsyncDaemon(ServerProcess):
    """An rsync daemon with one module, ended by its own process id."""

    def __init__(self, folder: Path) -> None:
        """Start it and return once it listens."""
        program = find_program("rsync")
        assert program is not None
        super().__init__()
        try:
            port = free_port()
            self.url = f"rsync://{HOST}:{port}/release/"
            # Started by root it would become another user, who may not read the folder.
            user = "uid = 0\ngid = 0\n" if os.geteuid() == 0 else ""
            config = self.folder / "rsyncd.conf"
            config.write_text(
                f"use chroot = no\n{user}[release]\npath = {folder}\nread only = yes\n"
            )
            place = [f"--address={HOST}", f"--port={port}"]
            self._start([program, "--daemon", "--no-detach", f"--config={config}", *place])
            self._wait(partial(_listens, port), "it listens")
        except BaseException:
            self.close()
            raise


def _listens(port: int) -> bool:
    import socket

    try:
        socket.create_connection((HOST, port), timeout=1).close()
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
