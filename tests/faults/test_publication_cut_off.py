"""A release that is killed, or fails, before its n-th file-system call, for every n."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from minisign import PublicKey, Signature

from tests.faults.test_fail_everywhere import Strike, fast_folder, nth_call
from tests.support.hints import read_hints
from tests.support.trees import write_tree
from torsync.model.config import PublicationConfig
from torsync.model.errors import TorsyncError
from torsync.model.events import discard
from torsync.model.hints.chunks import SMALLEST_FILE
from torsync.model.metainfo import parse_metainfo
from torsync.publish.keys import generate_keys
from torsync.publish.publication import Publication
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from torsync.swarm.session import SwarmPool

_ROOT = Path(__file__).parents[2]
_SERVE = "from tests.faults.test_publication_cut_off import serve; serve()"
OLD = {"a/one": 40_000, "two": 500, "gone": 7}


def no_session() -> SwarmPool:
    raise AssertionError("nothing is seeded here")


class Scene:
    """A signed release that is public, and a changed folder."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "pack"
        self.torrent = base / "www" / "pack.torrent"
        self.signature = base / "www" / "pack.torrent.minisig"
        self.hints = base / "www" / "pack.torrent.hints"

    def prepare(self) -> None:
        self.torrent.parent.mkdir()
        write_tree(self.folder, OLD)
        generate_keys(self.base / "key")
        assert self.release() == 1
        self.old = self.torrent.read_bytes()
        (self.folder / "gone").unlink()
        write_tree(self.folder, {"a/new": 60_000})

    def release(self) -> int:
        """Make a release with a process's own objects; its number."""
        publication = self.open()
        try:
            publication.resume()
            return publication.release_now().number
        finally:
            publication.close()

    def open(self) -> Publication:
        around = Surroundings(
            pool=no_session,
            sink=discard,
            stopping=lambda: False,
            wait=lambda _seconds: False,
        )
        config = PublicationConfig(
            "pack",
            self.folder,
            torrent=self.torrent,
            secret_key=self.base / "key",
        )
        return Publication(config, self.base / "state", around)

    def check_public(self) -> None:
        """What subscribers find is whole, and they refuse no more than a first one's fetch."""
        assert parse_metainfo(self.torrent.read_bytes()).name == "pack"
        if self.torrent.read_bytes() != self.old:
            self.check_signed()

    def check_signed(self) -> None:
        key = PublicKey.from_base64((self.base / "key.pub").read_text().splitlines()[1])
        key.verify(self.torrent.read_bytes(), Signature.from_bytes(self.signature.read_bytes()))

    def check_finished(self) -> None:
        """The next start brings the new release, signed; there is nothing left over."""
        assert self.release() in {2, 3}, "it may have been public with its number already"
        paths = set(parse_metainfo(self.torrent.read_bytes()).by_path)
        assert paths == {"a/one", "two", "a/new"}
        self.check_signed()
        left = {path.name for path in self.torrent.parent.iterdir()}
        assert left == {self.torrent.name, self.signature.name, self.hints.name}
        listed = parse_metainfo(self.torrent.read_bytes()).files
        sizes = {file.pieces_root: file.size for file in listed if file.pieces_root is not None}
        large = {root for root, size in sizes.items() if size >= SMALLEST_FILE}
        assert read_hints(self.hints.read_bytes(), sizes).keys() == large
        assert len({path.stem for path in (self.base / "state" / "releases").iterdir()}) == 1


def serve() -> None:
    """For each line "number folder": fork a child that makes a release, tell how it ended."""
    for line in sys.stdin:
        number, folder = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            try:
                with nth_call(int(number), _kill_me):
                    Scene(Path(folder)).release()
                os._exit(0)
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _kill_me(_strike: Strike) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.long)])
def test_wherever_it_is_killed_the_next_start_ends_in_the_new_release(step: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        number = shown = 0
        status = -signal.SIGKILL
        while status == -signal.SIGKILL:
            with fast_folder() as folder:
                scene = Scene(folder)
                scene.prepare()
                server.stdin.write(f"{number} {folder}\n")
                server.stdin.flush()
                status = int(server.stdout.readline())
                scene.check_public()
                shown += scene.torrent.read_bytes() != scene.old
                scene.check_finished()
            number += step
        server.stdin.close()
    assert status == 0
    assert number > 60
    assert shown > 5 // step


def _fail(_strike: Strike) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.long)])
def test_whatever_fails_the_release_before_stays_or_the_new_one_is_whole(step: int) -> None:
    number = failures = 0
    struck = True
    while struck:
        with fast_folder() as folder:
            scene = Scene(folder)
            scene.prepare()
            publication = scene.open()
            publication.resume()
            with nth_call(number, _fail) as calls:
                try:
                    publication.release_now()
                except TorsyncError:
                    failures += 1
            struck = bool(calls)
            publication.close()
            scene.check_public()
            scene.check_finished()
        number += step
    assert number > 60
    assert failures > 30 // step
