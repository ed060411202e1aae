"""librqbit, through its Python binding, in a process of its own on loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bencode2
import pytest

from tests.support.processes import HOST, end, free_port, wait_until
from tests.support.seeders import SeederError
from tests.support.torrents import info_hash, root_name

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Rqbit:
    """A librqbit session: v1, and hybrids as v1; knows pad files, and takes links for empty files.

    It has no way to be told of a peer, so it finds them through trackers.

    Attributes:
        port: where it listens for peers.
    """

    def __init__(self, *, deadline_s: float = 60) -> None:
        """Start the process, and return once it answers.

        Args:
            deadline_s: how long any one request or wait may take.
        """
        if importlib.util.find_spec("pyrqbit") is None:
            pytest.skip("pyrqbit is not installed")
        self._deadline_s = deadline_s
        self._scratch = tempfile.TemporaryDirectory(prefix="rqbit-")
        self._numbers: dict[str, int] = {}
        self.port = free_port()
        script = Path(__file__).with_name("rqbit_process.py")
        folder = Path(self._scratch.name)
        with (folder / "errors.log").open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(script), str(folder / "downloads"), str(self.port)],
                bufsize=0,  # what is read is what ``select`` tells of
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "HOME": str(folder), "NO_PROXY": "*", "no_proxy": "*"},
            )
        try:
            self._ask("hello")
        except BaseException:
            self.close()
            raise

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of its peer listener."""
        return (HOST, self.port)

    def fetch(self, torrent: bytes, save_path: Path) -> None:
        """Begin to fetch a torrent, or to seed what is there.

        Args:
            torrent: the ``.torrent``.
            save_path: becomes the parent of the root folder (or of the single file).

        Raises:
            SeederError: the torrent is refused.
        """
        key = info_hash(torrent)
        file = Path(self._scratch.name) / f"{key}.torrent"
        file.write_bytes(torrent)
        # Where a folder is given it takes that for the root folder, also of a single file.
        is_folder = b"files" in _info(torrent)
        folder = save_path / root_name(torrent) if is_folder else save_path
        folder.mkdir(parents=True, exist_ok=True)
        added = self._ask("add", source=str(file), folder=str(folder))
        self._numbers[key] = added["number"]

    def add_folder(self, torrent: bytes, folder: Path) -> None:
        """Seed a folder that has the torrent's root name, or holds the single file."""
        if b"files" in _info(torrent):
            assert folder.name == root_name(torrent), folder
            folder = folder.parent
        self.fetch(torrent, folder)
        self.wait_until_complete(torrent)

    def wait_until_complete(self, torrent: bytes) -> None:
        """Return once it has everything, by its own check.

        Raises:
            SeederError: it took too long.
        """

        def is_complete() -> bool:
            found = self._stats(torrent)
            return found["state"] == "Live" and found["downloaded_bytes"] == found["total_bytes"]

        try:
            wait_until(is_complete, "it has everything", deadline_s=self._deadline_s)
        except TimeoutError as error:
            raise SeederError(f"{error}: {self._stats(torrent)}") from None

    def downloaded(self, torrent: bytes) -> int:
        """Bytes that it has, by its own check."""
        return int(self._stats(torrent)["downloaded_bytes"])

    def uploaded(self, torrent: bytes) -> int:
        """Payload bytes sent."""
        return int(self._stats(torrent)["uploaded_bytes"])

    def remove(self, torrent: bytes) -> None:
        """Forget a torrent; its files stay."""
        self._ask("remove", number=self._numbers.pop(info_hash(torrent)))

    def close(self) -> None:
        """End the process and wait for it; does nothing the second time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        end(self._process, patience_s=1)
        self._process.stdout.close()
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

    def _stats(self, torrent: bytes) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("stats", number=self._numbers[info_hash(torrent)])
        return found

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read_line())
        if "error" in answer:
            raise SeederError(f"{do}: {answer['error']}")
        return answer

    def _read_line(self) -> bytes:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], self._deadline_s)[0]:
            raise SeederError("librqbit does not answer")
        line = self._process.stdout.readline()
        if not line:
            log = Path(self._scratch.name, "errors.log").read_text(errors="replace")
            raise SeederError(f"librqbit has ended: {log}")
        return line


def _info(torrent: bytes) -> dict[bytes, Any]:
    found: dict[bytes, Any] = bencode2.bdecode(torrent)[b"info"]
    return found
