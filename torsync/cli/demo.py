"""``torsync demo``: a publisher and a subscriber on this machine, with an update in between."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from torsync.model.config import SessionConfig, SubscriptionConfig
from torsync.model.errors import ExitCode, TorsyncError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from torsync.cli.context import Context
    from torsync.subscribe.surroundings import Surroundings
    from torsync.swarm.torrent import Torrent

_LOOPBACK = SessionConfig(listen=("127.0.0.1:0",), dht=False, lsd=False)
_PIECE_SIZE = 64 * 1024
_PATIENCE_S = 60.0


def run_demo(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Publish a small game, subscribe to it, publish an update, and compare the folders.

    Raises:
        UsageError: the folder given with ``--keep`` is not empty.
        TorsyncError: something that the demonstration shows does not work here.
    """
    with ExitStack() as stack:
        if arguments.keep is None:
            base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torsync-demo-")))
        else:
            base = arguments.keep.absolute()
            if base.exists() and not (base.is_dir() and not any(base.iterdir())):
                raise UsageError(
                    f"{str(base)!r} is not an empty folder", hint="name one that is not there yet"
                )
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"  # all of it is here
        story = _Story(sys.stderr if context.json else sys.stdout)
        publisher = stack.enter_context(_publisher(base / "publisher", story))
        around = stack.enter_context(context.surroundings(_LOOPBACK, patience_s=_PATIENCE_S))
        _subscribe(context, publisher, base / "subscriber", around, story)
        if arguments.keep is not None:
            story.tell(f"everything is in {base}")
    return ExitCode.OK


class _Story:
    """Tells a person what happens; not for scripts."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._number = 0

    def step(self, text: str) -> None:
        self._number += 1
        self._stream.write(f"\n{self._number}. {text}\n")
        self._stream.flush()

    def tell(self, text: str) -> None:
        self._stream.write(f"   {text}\n")
        self._stream.flush()


class _Publisher:
    """Seeds one folder and serves its ``.torrent``."""

    def __init__(self, base: Path, url: str) -> None:
        from torsync.swarm.session import Swarm

        self.folder = base / "game"
        self.url = f"{url}/game.torrent"
        self._torrent_file = base / "www" / "game.torrent"
        self._swarm = Swarm(_LOOPBACK)
        self._torrent: Torrent | None = None

    @property
    def port(self) -> int:
        return self._swarm.listen_port()

    def release(self, name: str) -> None:
        """Publish the folder as it is now: seed first, then replace the ``.torrent``."""
        from contextlib import closing

        from torsync.disk.tree import Tree
        from torsync.publish.author import AuthorOptions, Sources, author
        from torsync.publish.hash_cache import HashCache
        from torsync.swarm.torrent import AddRequest

        file = self.folder.with_name("hashes.sqlite")
        with (
            closing(Tree(self.folder)) as tree,
            closing(HashCache(file, on_new=lambda _message, _hint: None)) as cache,
        ):
            authored = author(
                tree,
                AuthorOptions(name, piece_size=_PIECE_SIZE),
                cache,
                previous=None,
                sources=lambda _info_hash: Sources(),
                progress=lambda _progress: None,
                stopping=lambda: False,
                now_s=time.time,
            )
        metainfo, manifest = authored.metainfo, authored.manifest
        if self._torrent is not None:
            self._torrent.remove()
        everything = b"\1" * manifest.num_pieces
        self._torrent = self._swarm.add(
            AddRequest(
                metainfo=lambda: metainfo,
                save_path=str(self.folder),
                paths=tuple(file.path for file in manifest.files),
                sizes=tuple(file.size for file in manifest.files),
                have=everything,
                wanted=everything,
            )
        )
        beside = self._torrent_file.with_suffix(".new")
        beside.write_bytes(metainfo)
        beside.replace(self._torrent_file)

    def close(self) -> None:
        self._swarm.close()


@contextmanager
def _publisher(base: Path, story: _Story) -> Iterator[_Publisher]:
    (base / "www").mkdir(parents=True)
    _write_first_release(base / "game")
    handler = partial(_QuietHandler, directory=str(base / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        publisher = _Publisher(base, f"http://127.0.0.1:{server.server_address[1]}")
        try:
            publisher.release("game-1.0")
            story.step("A publisher seeds game-1.0 and serves its .torrent:")
            story.tell(f"{publisher.url}")
            yield publisher
        finally:
            publisher.close()
            server.shutdown()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the demonstration tells what matters."""


def _subscribe(
    context: Context, publisher: _Publisher, base: Path, around: Surroundings, story: _Story
) -> None:
    from torsync.disk.lock import hold_tree
    from torsync.subscribe.subscription import Subscription

    state = base / "state"
    config = SubscriptionConfig(
        "game",
        publisher.url,
        base / "game",
        peers=(("127.0.0.1", publisher.port),),
    )
    with hold_tree(state, name="game", command="torsync demo"):
        subscription = Subscription(config, state, around)
        try:
            story.step("A subscriber syncs an empty folder with that URL:")
            context.renderer.check(subscription.check_now())
            story.step("The subscriber writes a save game, which is no part of any release.")
            (config.path / "saves").mkdir()
            (config.path / "saves" / "slot1.sav").write_text("level 3\n")
            _write_second_release(publisher.folder)
            publisher.release("game-1.1")
            story.step(
                "The publisher changes 20 kB of a 20 MB file, adds one, removes one: game-1.1"
            )
            story.step("The subscriber checks again, and fetches only the pieces that changed:")
            context.renderer.check(subscription.check_now())
        finally:
            subscription.close()
    _compare(publisher.folder, config.path, story)


def _write_first_release(folder: Path) -> None:
    for path, size, seed in (
        ("data/textures.pak", 20_000_000, 1),
        ("data/sounds.pak", 8_000_000, 2),
        ("data/old-intro.mp4", 2_000_000, 3),
        ("bin/game", 3_000_000, 4),
    ):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_content(size, seed))
    (folder / "bin" / "game").chmod(0o755)
    (folder / "README.txt").write_text("version 1.0\n")


def _write_second_release(folder: Path) -> None:
    with (folder / "data" / "textures.pak").open("r+b") as file:
        file.seek(7_000_000)
        file.write(_content(20_000, 5))
    (folder / "data" / "new-level.pak").write_bytes(_content(1_000_000, 6))
    (folder / "data" / "old-intro.mp4").unlink()
    (folder / "README.txt").write_text("version 1.1\n")


def _content(size: int, seed: int) -> bytes:
    import random

    return random.Random(seed).randbytes(size)  # noqa: S311 - content for a demonstration


def _is_same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _compare(published: Path, synced: Path, story: _Story) -> None:
    files = [file.relative_to(published) for file in published.rglob("*") if file.is_file()]
    different = [str(file) for file in files if not _is_same(published / file, synced / file)]
    if different or (synced / "data" / "old-intro.mp4").exists():
        raise TorsyncError(f"the folders differ: {different}")
    story.step("Every byte equals, the removed file is in the trash, and the save game is there:")
    for file in sorted(synced.rglob("*")):
        if file.is_file():
            story.tell(str(file.relative_to(synced)))
