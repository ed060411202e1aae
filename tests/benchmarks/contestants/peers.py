"""The others: a bare libtorrent script, aria2, librqbit and rsync."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from typing import TYPE_CHECKING

from tests.benchmarks.contestants.base import SCRIPTS, Contestant
from tests.benchmarks.measure import file_sizes, run_process
from tests.benchmarks.publisher import find_program
from tests.support.processes import HOST, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Run
    from tests.benchmarks.publisher import Published


class BareLibtorrent(Contestant):
    """A script that adds the torrent, waits and removes it."""

    name = "libtorrent"
    note = "bare script; nothing is re-read or synced"
    again_note = "hashes everything"
    _options: tuple[str, ...] = ()

    def sync(self, published: Published, place: Path) -> Run:
        """Run the script."""
        command = [sys.executable, str(SCRIPTS / "bare_libtorrent.py")]
        command += [str(published.torrent_file), str(place), HOST, str(published.seeder.port)]
        sent = published.uploaded_bytes()
        run = run_process([*command, *self._options], place.parent)
        return run.telling(fetched=published.uploaded_bytes() - sent)


class SyncedLibtorrent(BareLibtorrent):
    """The same script, which ends when all is on the disk."""

    name = "libtorrent, sync"
    note = "bare script and one sync"
    _options = ("sync",)


class MirroringLibtorrent(BareLibtorrent):
    """The same script, which removes what the torrent does not list before it adds it."""

    update_note = "bare script: removes unlisted files, adds, full check; nothing is synced"
    _options = ("mirror",)


class LibtorrentCheck(BareLibtorrent):
    """The same script where all is there: it checks everything and ends."""

    name = "libtorrent check"
    note = again_note = "bare script, hashing_threads = cores"
    folder_of = BareLibtorrent.name


class LibtorrentCheckV2(LibtorrentCheck):
    """The same for v2."""

    format = "v2"


class Hashlib(Contestant):
    """Python's hashlib over every file: the speed of the hash function."""

    folder_of = BareLibtorrent.name

    def __init__(self, algorithm: str) -> None:
        self.name = f"hashlib {algorithm}"
        self.note = f"every file, 1 MiB at a time, {os.cpu_count()} threads"
        self._algorithm = algorithm

    def sync(self, published: Published, place: Path) -> Run:
        """Hash."""
        script = str(SCRIPTS / "bare_hashlib.py")
        tree = str(self.tree(place, published))
        return run_process([sys.executable, script, self._algorithm, tree], place.parent)

    def prepare(self, published: Published, place: Path) -> None:
        """Have something to hash."""
        BareLibtorrent().sync(published, place)


class Aria2(Contestant):
    """``aria2c``; peers cannot be given to it, so it asks a tracker."""

    name = "aria2c"
    note = "v1; peer from opentracker"
    again_note = "hashes everything"
    update_note = "full check; fetches pad files, too; unlisted files are removed for it, untimed"
    leftovers = ".pad"

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
        return run.telling(fetched=published.uploaded_bytes() - sent)

    def tidy(self, published: Published, place: Path) -> None:
        """Remove what is not listed any more, and what is left behind a file's end."""
        _mirror(self.tree(place, published), published, without=self.leftovers)


class Rqbit(Contestant):
    """librqbit by its Python binding; it, too, asks a tracker for peers."""

    name = "librqbit"
    note = "bare script; v1; peer from opentracker; nothing is re-read or synced"
    again_note = "bare script; hashes everything"
    update_note = "bare script; full check; unlisted files are removed for it, untimed"

    def obstacle(self, published: Published) -> str:
        """It needs a tracker, and a v1 torrent."""
        if importlib.util.find_spec("pyrqbit") is None:
            return "pyrqbit is not installed"
        if b"6:pieces" not in published.torrent:
            return "librqbit cannot open v2"
        return "" if published.tracked else "opentracker is not installed"

    def sync(self, published: Published, place: Path) -> Run:
        """Run the script."""
        command = [sys.executable, str(SCRIPTS / "bare_rqbit.py"), str(published.torrent_file)]
        sent = published.uploaded_bytes()
        run = run_process([*command, str(self.tree(place, published))], place.parent)
        return run.telling(fetched=published.uploaded_bytes() - sent)

    def tidy(self, published: Published, place: Path) -> None:
        """Remove what is not listed any more, and what is left behind a file's end."""
        _mirror(self.tree(place, published), published)


class RqbitCheck(Rqbit):
    """The same script where all is there."""

    name = "librqbit check"
    note = again_note = "bare script"
    folder_of = Rqbit.name


class Rsync(Contestant):
    """``rsync -a --delete`` from a daemon on loopback."""

    name = "rsync"
    note = "-a --delete, from a daemon; nothing is synced"
    again_note = "-a --delete, from a daemon; compares sizes and times"
    update_note = note
    _options: tuple[str, ...] = ("-a", "--delete")
    _synced = False

    def obstacle(self, published: Published) -> str:
        """It needs the daemon."""
        return "" if published.rsync_url else "rsync is not installed"

    def sync(self, published: Published, place: Path) -> Run:
        """Run it."""
        target = f"{self.tree(place, published)}/"
        command = ["rsync", *self._options, "--stats", published.rsync_url, target]
        if self._synced:
            command = ["sh", "-c", '"$@" && sync -f "$0"', target, *command]
        run = run_process(command, place)
        received = re.search(r"Total bytes received: ([\d,]+)", run.output)
        assert received is not None, run.output
        return run.telling(fetched=int(received[1].replace(",", "")))


class SyncedRsync(Rsync):
    """The same, which ends when all is on the disk."""

    name = "rsync, sync"
    update_note = "-a --delete, from a daemon, and one sync of the file system"
    _synced = True


class FuzzyRsync(Rsync):
    """The one that finds renamed files in the same folder, and trusts no times."""

    name = "rsync -c --fuzzy"
    # Files that are deleted at once are no base for renamed ones.
    _options = ("-a", "-c", "--fuzzy", "--delete-after")
    update_note = f"{' '.join(_options)}: both sides hash everything"


def _mirror(tree: Path, published: Published, *, without: str = "") -> None:
    """Remove files that are not published, and what is behind the end of the others."""
    listed = file_sizes(published.folder)
    for path, size in file_sizes(tree, without=without).items():
        if path not in listed:
            os.unlink(tree / path)
        elif size > listed[path]:
            os.truncate(tree / path, listed[path])
