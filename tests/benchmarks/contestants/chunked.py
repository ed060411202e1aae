"""Those who find content that has shifted, and ``cp``, who finds nothing but has it all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.benchmarks.contestants.base import Contestant
from tests.benchmarks.contestants.peers import Rsync
from tests.benchmarks.measure import BenchmarkError, run_process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Run
    from tests.benchmarks.publisher import Published


class DeltaRsync(Rsync):
    """``rsync -a --no-whole-file``: its rolling checksums, which a daemon has it use anyway."""

    update_note = "-a --delete --no-whole-file, from a daemon; nothing is synced"
    _options = ("-a", "--delete", "--no-whole-file")

    def sync(self, published: Published, place: Path) -> Run:
        """Run it, and tell of its literal data and of what it has sent."""
        run = super().sync(published, place)
        counts = {
            "literal_bytes": _number(r"Literal data: ([\d,]+)", run.output),
            "sent_bytes": _number(r"Total bytes sent: ([\d,]+)", run.output),
        }
        return run.telling(fetched=run.fetched_bytes or 0, counts=counts)


class Casync(Contestant):
    """``casync extract`` over the old tree, which is its seed; index and chunks over HTTP.

    Chunks are compressed, and what is counted are the bodies that the web server has sent.
    """

    def __init__(self, average: int = 64) -> None:
        """Have chunks of so many KiB on average; 64 is casync's own choice."""
        self._average = average
        self.name = "casync" if average == 64 else f"casync, {average} KiB"
        self.update_note = (
            f"chunks of {average} KiB, compressed with zstd, from nginx; nothing is synced"
        )

    def obstacle(self, published: Published) -> str:
        """It needs the program and the web server that counts."""
        if shutil.which("casync") is None:
            return "casync is not installed"
        return "" if published.web else "nginx is not installed"

    def sync(self, published: Published, place: Path) -> Run:
        """Extract; unlisted files are removed by it, too."""
        assert published.web is not None
        index = self._index(published)
        store = published.web.url_for(self._store(published))
        tree = self.tree(place, published)
        tree.mkdir(exist_ok=True)
        before = published.web.served_bytes()
        url = published.web.url_for(index)
        run = run_process(["casync", "extract", f"--store={store}", url, str(tree)], place)
        return run.telling(fetched=published.web.served_bytes() - before)

    def prepare(self, published: Published, place: Path) -> None:
        """Copy: without a seed it fetches chunk after chunk, for minutes."""
        tree = self.tree(place, published)
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(published.folder, tree)

    def _store(self, published: Published) -> Path:
        return published.torrent_file.parent / f"casync{self._average}.castr"

    def _index(self, published: Published) -> Path:
        """The index of a release, made when it is needed first."""
        index = published.torrent_file.with_suffix(f".{self._average}.caidx")
        if not index.exists():
            store = self._store(published)
            store.mkdir(exist_ok=True)
            size = f"--chunk-size={self._average * 1024}"
            # Times would make other chunks of all files whose folder is another.
            keep = ["--with=permissions", "--with=symlinks"]
            command = ["casync", "make", size, f"--store={store}", *keep]
            made = subprocess.run(
                [*command, str(index), str(published.folder)], capture_output=True, text=True
            )
            if made.returncode:
                raise BenchmarkError(f"casync make: {made.stderr}")
        return index


class CasyncFromDisk(Casync):
    """The same with index and chunks on this disk: over HTTP a first one takes minutes."""

    def __init__(self) -> None:
        """Have chunks of 64 KiB on average."""
        super().__init__()
        self.note = "from chunks on this disk, without a network; nothing is synced"
        self.again_note = "cuts and hashes everything"
        self.update_note = f"{self.note}; cuts and hashes the old release"

    def obstacle(self, published: Published) -> str:  # noqa: ARG002  overrides
        """It needs the program."""
        return "" if shutil.which("casync") else "casync is not installed"

    def sync(self, published: Published, place: Path) -> Run:
        """Extract."""
        index, tree = self._index(published), self.tree(place, published)
        tree.mkdir(exist_ok=True)
        store = f"--store={self._store(published)}"
        return run_process(["casync", "extract", store, str(index), str(tree)], place)


class Copy(Contestant):
    """``cp -a`` of what is published: nothing is fetched, and nothing is removed."""

    name = "cp"
    note = "cp -a, without a network; nothing is synced"
    update_note = "cp -a of the new release; nothing is synced"
    _synced = False

    def sync(self, published: Published, place: Path) -> Run:
        """Run it."""
        command = ["cp", "-a", f"{published.folder}{os.sep}.", f"{self.tree(place, published)}"]
        if self._synced:
            command = ["sh", "-c", '"$@" && sync -f "$0"', str(place), *command]
        return run_process(command, place)


class SyncedCopy(Copy):
    """The same, which ends when all is on the disk."""

    name = "cp, sync"
    note = "cp -a, and one sync of the file system"
    update_note = "cp -a of the new release, and one sync of the file system"
    _synced = True


def _number(pattern: str, output: str) -> int:
    found = re.search(pattern, output)
    assert found is not None, output
    return int(found[1].replace(",", ""))
