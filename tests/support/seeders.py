"""A seeder by libtorrent, in a process of its own on loopback; others are in foreign_seeders.

It is a context manager, listens for peers on ``.port``, and announces to the trackers that a
torrent names, from 127.0.0.1.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libtorrent as lt

from tests.support.processes import HOST, PAUSE_S, end
from tests.support.torrents import info_hash, is_single_file, root_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

_COUNTED_S = 5.0


class SeederError(AssertionError):
    """A seeder could not do what a test asked of it."""


class LibtorrentSeeder:
    """A plain libtorrent session: all formats, several torrents, and garbage on request."""

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = HOST,
        settings: dict[str, Any] | None = None,
        deadline_s: float = 20,
    ) -> None:
        """Start the process and wait until it listens.

        Args:
            port: to listen on; 0 for a free one.
            host: address to listen on.
            settings: further libtorrent settings, by name.
            deadline_s: how long any one request may take.
        """
        self._deadline_s = deadline_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._scratch = tempfile.TemporaryDirectory(prefix="seeder-")
        options = {
            "host": host,
            "port": port,
            "settings": settings or {},
            "deadline_s": deadline_s,
        }
        script = Path(__file__).with_name("seeder_process.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._pending = b""
        try:
            self.port: int = self._ask("port")["port"]
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of its peer listener."""
        return (HOST, self.port)

    @property
    def pid(self) -> int:
        """Process id, for tests that stop or kill it."""
        return self._process.pid

    def add(
        self,
        torrent: bytes,
        save_path: Path,
        *,
        check: bool = True,
        bad_pieces: Iterable[int] | str | None = None,
        upload_limit: int = 0,
        announce: bool = True,
    ) -> dict[str, str]:
        """Seed a torrent, and return when it seeds and every tracker of it has answered.

        Args:
            torrent: the ``.torrent``.
            save_path: the folder that holds the root folder (or the single file).
            check: hash the files first; else they are claimed without a look.
            bad_pieces: pieces that are sent inverted, from a tampered copy: indexes or
                ``"all"``.
            upload_limit: bytes per second, for this torrent; 0 is unlimited.
            announce: wait for the trackers' answers.

        Returns:
            Tracker URL → its error; empty where it accepted the announce.

        Raises:
            SeederError: the files are not all there, or it took too long.
        """
        pieces: list[int] | None = None
        if bad_pieces == "all":
            layout = lt.load_torrent_buffer(torrent).ti.layout()
            pieces = list(range(layout.num_pieces()))
        elif bad_pieces is not None:
            pieces = [int(piece) for piece in bad_pieces]
        answer = self._ask(
            "add",
            info_hash=info_hash(torrent),
            torrent=base64.b64encode(torrent).decode(),
            save_path=str(save_path),
            check=check,
            bad_pieces=pieces,
            upload_limit=upload_limit,
            announce=announce,
        )
        return answer["announced"]

    def add_folder(self, torrent: bytes, folder: Path, **options: Any) -> dict[str, str]:
        """``add`` for a folder that holds the files themselves, whatever its own name is."""
        return self.add(torrent, save_path_for(torrent, folder, self._scratch.name), **options)

    def uploaded(self, torrent: bytes | str, *, at_least: int = 0) -> int:
        """Payload bytes sent for a torrent (its bytes or hex info-hash) since it was added.

        What a peer got counts when it leaves, or once a second: ``at_least`` is waited for.
        """
        deadline = time.monotonic() + _COUNTED_S
        while True:
            count: int = self._ask("status", info_hash=torrent_key(torrent))["uploaded"]
            if count >= at_least or time.monotonic() > deadline:
                return count
            time.sleep(PAUSE_S)

    def status(self, torrent: bytes | str) -> dict[str, Any]:
        """``uploaded``, ``peers`` (connected now), ``is_seeding``, ``announced``."""
        return self._ask("status", info_hash=torrent_key(torrent))

    def connect(self, torrent: bytes | str, peer: tuple[str, int]) -> None:
        """Make it connect to a peer, as if it had heard of it."""
        self._ask("connect", info_hash=torrent_key(torrent), host=peer[0], port=peer[1])

    def remove(self, torrent: bytes | str) -> None:
        """Stop seeding a torrent, and return when it is gone from the session."""
        self._ask("remove", info_hash=torrent_key(torrent))

    def close(self) -> None:
        """End the process and wait for it; does nothing the second time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        end(self._process, patience_s=5)
        self._process.stdout.close()
        self._errors.close()
        self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SeederError(f"the seeder has ended: {self._complaint()}") from None
        answer = json.loads(self._read_line())
        if "error" in answer:
            raise SeederError(f"{do}: {answer['error']}\n{self._complaint()}")
        return answer

    def _read_line(self) -> bytes:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        deadline = time.monotonic() + self._deadline_s + 10
        while b"\n" not in self._pending:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or not select.select([stream], [], [], remaining_s)[0]:
                raise SeederError(f"the seeder does not answer: {self._complaint()}")
            received = os.read(stream, 65536)
            if not received:
                raise SeederError(f"the seeder has ended: {self._complaint()}")
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _complaint(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")


def save_path_for(torrent: bytes, folder: Path, scratch: str) -> Path:
    """Where a client must look to find the torrent's files in ``folder`` itself.

    For a torrent with a root folder that is a new folder in ``scratch``, with a link that
    has the root name; for a single-file torrent it is ``folder``.
    """
    if is_single_file(torrent):
        return folder
    parent = Path(tempfile.mkdtemp(dir=scratch))
    (parent / root_name(torrent)).symlink_to(folder.absolute(), target_is_directory=True)
    return parent


def torrent_key(torrent: bytes | str) -> str:
    """The hex info-hash of a torrent that is given by its bytes or by that hash."""
    return torrent if isinstance(torrent, str) else info_hash(torrent)
