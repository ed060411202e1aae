"""Those who make a ``.torrent`` of a folder."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tests.benchmarks.contestants.base import SCRIPTS
from tests.benchmarks.measure import BenchmarkError, run_process
from tests.benchmarks.publisher import find_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Run


class AuthorContestant(ABC):
    """A way to make a ``.torrent``.

    Attributes:
        name: in the table.
        note: what a reader of the table has to know.
        makes_torrent: whether there is one in the end, and not another kind of index.
    """

    name: str
    note = ""
    makes_torrent = True

    def obstacle(self) -> str:
        """Why it cannot take part; empty if it can."""
        return ""

    @abstractmethod
    def publish(self, folder: Path, place: Path, piece_size: int) -> Run:
        """Write ``release.torrent`` to ``place``, a folder of its own, where none is yet.

        Whatever else is in ``place`` is what it has left there.
        """


class TorsyncAuthor(AuthorContestant):
    """``torsync publish``."""

    name = "torsync"
    note = "v1 packed: SHA-1 of pieces and SHA-256 of files, then hints"
    _options: tuple[str, ...] = ()

    def publish(self, folder: Path, place: Path, piece_size: int) -> Run:
        """Run it, with a state directory that stays in ``place``."""
        command = [sys.executable, "-m", "torsync", "--json", "--state-dir", str(place / "state")]
        command += ["publish", str(folder), "-o", str(place / "release.torrent"), *self._options]
        run = run_process([*command, "--piece-size", f"{piece_size // 1024} KiB"], place)
        lines = (json.loads(line) for line in run.output.splitlines())
        told = next(line for line in lines if line["type"] == "publication")
        if not told["changed"]:
            raise BenchmarkError("torsync found no change")
        counts = {name: told[name] for name in ("added", "modified", "unchanged")}
        return run.telling(
            fetched=0, hashed=told["bytes_hashed"], hints=told["hints_bytes"], counts=counts
        )


class TorsyncUnhintedAuthor(TorsyncAuthor):
    """The same without hints."""

    name = "torsync, no hints"
    note = "--no-hints: SHA-1 of pieces and SHA-256 of files"
    _options = ("--no-hints",)


class BareAuthor(AuthorContestant):
    """libtorrent's Python interface."""

    name = "libtorrent"
    note = "bare script; v1: SHA-1 of pieces, one thread"

    def publish(self, folder: Path, place: Path, piece_size: int) -> Run:
        """Run the script."""
        arguments = [str(folder), str(place / "release.torrent"), str(piece_size)]
        run = run_process([sys.executable, str(SCRIPTS / "bare_author.py"), *arguments], place)
        return run.telling(fetched=0)


class CasyncAuthor(AuthorContestant):
    """``casync make``."""

    name = "casync"
    note = "cuts, hashes and stores all chunks, compressed with zstd"
    makes_torrent = False

    def obstacle(self) -> str:
        """It is a program."""
        return "" if find_program("casync") else "casync is not installed"

    def publish(self, folder: Path, place: Path, piece_size: int) -> Run:  # noqa: ARG002
        """Run it, with a store of its own."""
        store = f"--store={place / 'chunks.castr'}"
        command = ["casync", "make", store, str(place / "release.caidx"), str(folder)]
        return run_process(command, place).telling(fetched=0)


class Torf(AuthorContestant):
    """torf's Python interface."""

    name = "torf"
    note = f"v1: SHA-1 of pieces, {os.cpu_count()} threads"

    def obstacle(self) -> str:
        """It is a package."""
        return "" if importlib.util.find_spec("torf") else "torf is not installed"

    def publish(self, folder: Path, place: Path, piece_size: int) -> Run:
        """Run the script."""
        arguments = [str(folder), str(place / "release.torrent"), str(piece_size)]
        run = run_process([sys.executable, str(SCRIPTS / "bare_torf.py"), *arguments], place)
        return run.telling(fetched=0)


class Mktorrent(AuthorContestant):
    """``mktorrent``."""

    name = "mktorrent"
    note = f"v1: SHA-1 of pieces, {os.cpu_count()} threads"

    def obstacle(self) -> str:
        """It is a program."""
        return "" if find_program("mktorrent") else "mktorrent is not installed"

    def publish(self, folder: Path, place: Path, piece_size: int) -> Run:
        """Run it."""
        options = ["-t", str(os.cpu_count()), "-l", str(piece_size.bit_length() - 1)]
        output = ["-o", str(place / "release.torrent")]
        return run_process(["mktorrent", *options, *output, str(folder)], place).telling(fetched=0)
