"""``torsync demo``: a publisher, its feed, and two subscribers on this machine."""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

from torsync.model.config import (
    Config,
    FeedConfig,
    PublicationConfig,
    SessionConfig,
    SubscriptionConfig,
)
from torsync.model.errors import ExitCode, TorsyncError, UsageError
from torsync.model.events import Event, Level, Notice
from torsync.model.units import format_duration, format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from torsync.cli.context import Context
    from torsync.model.publish_reports import PublishReport
    from torsync.model.reports import CheckReport

_Report = TypeVar("_Report")
_LOOPBACK = SessionConfig(listen=("127.0.0.1:0",), dht=False, lsd=False)
_PATIENCE_S = 60.0
_SETTLE_S = 0.5
_SUBSCRIBERS = ("alice", "bob")


def run_demo(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Publish a small game, subscribe to it twice, edit it, and compare the folders.

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
        _Demo(context, base, story).play(stack)
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


@dataclass(frozen=True)
class _Told(Generic[_Report]):
    """A report, and when it came on ``time.monotonic``'s clock."""

    report: _Report
    at_s: float


class _Service(Generic[_Report]):
    """One running ``torsync run``, and what it reports."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: queue.Queue[_Told[_Report] | BaseException] = queue.Queue()

    def put(self, report: _Report) -> None:
        """Be told of a report."""
        self._told.put(_Told(report, time.monotonic()))

    def fail(self, error: BaseException) -> None:
        """Be told that the service ended in a failure."""
        self._told.put(error)

    def on_event(self, event: Event) -> None:
        """Show bars, and what went wrong."""
        if isinstance(event, Notice) and event.level in {Level.DEBUG, Level.INFO}:
            return
        self._context.renderer.event(event)

    def report(self) -> _Told[_Report]:
        """Wait for the next report.

        Raises:
            TorsyncError: none comes.
        """
        ends_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends_s and not self._context.stop.is_set():
            try:
                told = self._told.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(told, BaseException):
                raise told
            return told
        raise TorsyncError(
            f"nothing happened within {format_duration(_PATIENCE_S)}",
            hint="run `torsync -v demo` to see how far it came",
        )


class _Demo:
    def __init__(self, context: Context, base: Path, story: _Story) -> None:
        self._context = context
        self._base = base
        self._story = story
        self._folder = base / "publisher" / "game"

    def play(self, stack: ExitStack) -> None:
        story, render = self._story, self._context.renderer
        from torsync.publish.keys import generate_keys

        _write_first_release(self._folder)
        key = self._base / "publisher" / "minisign.key"
        public_key = generate_keys(key).public_key
        story.step("A publisher has a folder, and signs with a key. Its feed serves the rest:")
        publisher = stack.enter_context(self._publisher(key))
        first = publisher.report().report
        render.publication(first, "run")
        story.step(f"Two subscribers know that URL and the public key {public_key}:")
        subscribers = [
            stack.enter_context(self._subscriber(name, first.url, public_key))
            for name in _SUBSCRIBERS
        ]
        for subscriber in subscribers:
            render.check(subscriber.report().report)
        story.step("One of them saves a game, which is no part of any release.")
        save = self._base / "alice" / "game" / "saves" / "slot1.sav"
        save.parent.mkdir()
        save.write_text("level 3\n")
        story.step(
            "The publisher overwrites 20 kB of a 20 MB file, adds one, renames one, removes one:"
        )
        _write_second_release(self._folder)
        saved_s = time.monotonic()
        release = publisher.report()
        render.publication(release.report, "run")
        story.step("The feed tells the subscribers that wait there; they fetch what changed:")
        updates = [subscriber.report() for subscriber in subscribers]
        for update in updates:
            render.check(update.report)
        self._compare()
        fetched = format_size(sum(told.report.bytes_fetched for told in updates))
        took = format_duration(max(told.at_s for told in updates) - saved_s)
        story.step("All three folders are equal, and the saved game is there.")
        story.tell(
            f"both were in sync {took} after the last edit, "
            f"{format_duration(_SETTLE_S)} of which the publisher waited for further ones"
        )
        total = format_size(release.report.bytes_total * len(updates))
        story.tell(f"fetched by both together: {fetched} of {total}")

    @contextmanager
    def _publisher(self, key: Path) -> Iterator[_Service[PublishReport]]:
        config = PublicationConfig(
            "game", self._folder, secret_key=key, settle_s=_SETTLE_S, comment="torsync demo"
        )
        service: _Service[PublishReport] = _Service(self._context)
        with self._running(
            Config(_LOOPBACK, {}, {"game": config}, FeedConfig(("127.0.0.1", 0))),
            self._base / "publisher" / "state",
            service,
        ):
            yield service

    @contextmanager
    def _subscriber(self, name: str, url: str, public_key: str) -> Iterator[_Service[CheckReport]]:
        path = self._base / name / "game"
        config = SubscriptionConfig(name, url, path, public_keys=(public_key,))
        service: _Service[CheckReport] = _Service(self._context)
        with self._running(Config(_LOOPBACK, {name: config}), self._base / name / "state", service):
            yield service

    @contextmanager
    def _running(self, config: Config, state_dir: Path, service: _Service[Any]) -> Iterator[None]:
        """Run a service in threads of this process."""
        from torsync.service.hub import Hub
        from torsync.service.supervisor import Supervisor, Ties

        stop = threading.Event()
        ties = Ties(on_report=lambda report, _command: service.put(report))
        supervisor = Supervisor(config, state_dir, Hub(service.on_event), ties)

        def work() -> None:
            try:
                supervisor.run(stop)
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                service.fail(error)

        thread = threading.Thread(target=work, name="demo", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _compare(self) -> None:
        published = _files(self._folder)
        for name in _SUBSCRIBERS:
            synced = _files(self._base / name / "game")
            saves = {path for path in synced if path.startswith("saves/")}
            different = [
                path
                for path in published.keys() | (synced.keys() - saves)
                if published.get(path) != synced.get(path)
            ]
            if different:
                raise TorsyncError(f"the folder of {name} differs: {sorted(different)}")


def _files(folder: Path) -> dict[str, bytes]:
    """The content of a folder, but for what torsync keeps there."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".torsync" not in file.parts
    }


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
    (folder / "data" / "sounds.pak").rename(folder / "data" / "audio.pak")
    (folder / "data" / "old-intro.mp4").unlink()
    (folder / "README.txt").write_text("version 1.1\n")


def _content(size: int, seed: int) -> bytes:
    import random

    return random.Random(seed).randbytes(size)  # noqa: S311 - content for a demonstration
