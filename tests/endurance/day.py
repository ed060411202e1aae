"""A day of a service, told fast: a process that prints what it takes after each hour.

``python -m tests.endurance.day SCRATCH REMOTE_URL REMOTE_FOLDER --hours 24``; the service's clocks
are the day's, and go from one thing that is due to the next.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import threading
import time
import tracemalloc
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.endurance.gauges import take_sample, thread_names
from tests.endurance.leaks import LEAKS
from tests.endurance.remote import GOOD, MOODS, set_mood
from tests.support.processes import HOST, free_port
from tests.support.trees import tree_bytes
from torsync.disk import history
from torsync.model.config import (
    Config,
    FeedConfig,
    PublicationConfig,
    SessionConfig,
    SubscriptionConfig,
)
from torsync.model.errors import ConfigError, TorsyncError
from torsync.model.events import Notice, StageStarted
from torsync.model.orders import Apply, Check, MakeRelease, Pause, Resume, Rollback, Terms, Verify
from torsync.model.publish_reports import PublishReport
from torsync.service.control.client import ControlClient
from torsync.service.control.credentials import load_address, load_token
from torsync.service.control.server import open_control
from torsync.service.hooks import CommandHooks
from torsync.service.hub import Hub
from torsync.service.logbook import Logbook
from torsync.service.repeats import Repeats
from torsync.service.supervisor import Supervisor, Ties
from torsync.subscribe import room, syncing
from torsync.subscribe.remote import poll
from torsync.subscribe.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from typing_extensions import Self

    from torsync.model.events import Event
    from torsync.model.orders import Order, Report
    from torsync.service.worker_thread import WorkerThread

_MINUTE_S, _HOUR_S = 60.0, 3600.0
_DEADLINE_S = 40.0
_PAUSE_S = 0.001
_PIECE = 16 * 1024
_FILE_BYTES = 20_000
_KEPT_UPDATES, _KEPT_PATHS_OF = 8, 3
_SUBSCRIPTIONS = ("fed", "asked", "local")
_PUBLICATIONS = ("pack", "side")


class Clock:
    """Both clocks of the service."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._begun_s = time.time()

    def monotonic_s(self) -> float:
        """Seconds that only grow."""
        return self.passed_s

    def now_s(self) -> float:
        """The time in Unix seconds."""
        return self._begun_s + self.passed_s


class Day:
    """A service with two publications and three subscriptions, and what happens to it.

    Attributes:
        polls, releases: so far.
        heard: how often each thing was said: stages, and codes of notices and failed orders.
    """

    def __init__(self, scratch: Path, remote_url: str, remote_folder: Path) -> None:
        self._scratch = scratch
        self._remote = remote_folder
        self._clock = Clock()
        self._random = random.Random(1)  # the same day each time
        self._refuse = scratch / "the game runs"
        self._is_full = False
        self._crashes: set[str] = set()
        self.polls = self.releases = 0
        self.heard: Counter[str] = Counter()
        self._port, feed_port = free_port(udp=True), free_port()
        self._contents = {name: scratch / name for name in _PUBLICATIONS}
        self._config = self._make_config(remote_url, f"http://{HOST}:{feed_port}", feed_port)
        self._stop = threading.Event()
        self._patch()
        self._held = ExitStack()
        logbook = self._held.enter_context(
            closing(Logbook(scratch / "state", file_bytes=8_000, now_s=self._clock.now_s))
        )
        told = Repeats(logbook.sink, self._clock.monotonic_s)
        hub = Hub(self._hear, told.sink, clock=self._clock.monotonic_s)
        ties = Ties(
            on_report=partial(self._on_report, logbook),
            on_order_failed=logbook.failed,
            hooks=CommandHooks(hub.sink, self._stop.is_set),
            load=self._load,
            open_control=partial(open_control, scratch / "state"),
            jitter=lambda: 0.5,
            clock=self._clock.monotonic_s,
            now_s=self._clock.now_s,
        )
        self._desk = Supervisor(self._config, scratch / "state", hub, ties)
        self._is_broken = False

    def _make_config(self, remote_url: str, feed_url: str, feed_port: int) -> Config:
        peer = (HOST, self._port)
        pack, side = (
            PublicationConfig(
                name,
                self._contents[name],
                torrent=self._remote / f"{name}.torrent",
                piece_size=_PIECE,
                settle_s=1.0,
            )
            for name in _PUBLICATIONS
        )
        common: dict[str, Any] = {
            "interval_s": _MINUTE_S,
            "peers": (peer,),
            "trash_age_s": 2 * _HOUR_S,
            "before_update": ("sh", "-c", f"! test -e '{self._refuse}'"),
        }
        urls = (f"{feed_url}/pack.torrent", f"{remote_url}/pack.torrent")
        fed, asked = (
            SubscriptionConfig(name, url, self._scratch / f"tree of {name}", **common)
            for name, url in zip(_SUBSCRIPTIONS, urls, strict=False)
        )
        local = SubscriptionConfig(
            "local",
            (self._remote / "side.torrent").as_uri(),
            self._scratch / "tree of local",
            **{**common, "on_update": ("true",), "on_error": ("true",)},
        )
        session = SessionConfig(listen=(f"{HOST}:{self._port}",), dht=False, lsd=False)
        return Config(
            session,
            {one.name: one for one in (fed, asked, local)},
            {one.name: one for one in (pack, side)},
            FeedConfig((HOST, feed_port)),
        )

    def _patch(self) -> None:
        """Have what would take weeks, or a disk of its own, here and now."""
        history.KEPT_UPDATES, history.KEPT_PATHS_OF = _KEPT_UPDATES, _KEPT_PATHS_OF
        syncing._DAY_S = 0.0
        poll.retry_delay_s = lambda *_given: 0.01
        free, check_now = room._free_bytes, Subscription.check_now
        room._free_bytes = lambda found: 0 if self._is_full else free(found)

        def check(subscription: Subscription, *, force: bool = False) -> Any:
            name = subscription.config.name
            if name in self._crashes:
                self._crashes.discard(name)
                raise ZeroDivisionError("as planned")
            self.polls += 1
            for leak in self.leaks:
                leak.poll()
            return check_now(subscription, force=force)

        self.leaks = []
        Subscription.check_now = check

    # --- what is heard ----------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.heard[event.code] += 1
        elif isinstance(event, StageStarted):
            self.heard[event.stage.value] += 1

    def _on_report(self, logbook: Logbook, report: Report, command: str) -> None:
        logbook.report(report, command)
        if isinstance(report, PublishReport) and report.changed:
            self.releases += 1
            for leak in self.leaks:
                leak.release()

    def _load(self) -> Config:
        if self._is_broken:
            raise ConfigError("broken, as planned")
        return self._config

    # --- time -------------------------------------------------------------------------------

    def _threads(self) -> list[WorkerThread]:
        return list(self._desk._threads.values())

    def _ring(self) -> None:
        for thread in self._threads():
            thread.inbox.ring()

    def _is_idle(self) -> bool:
        now_s = self._clock.passed_s
        for thread in self._threads():
            runner = thread._runner
            if runner is None or thread.inbox.is_waiting or runner._is_working:
                return False
            if not runner.is_paused and runner._due_s <= now_s:
                return False
        return True

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Wait, in real time, until something is so."""

        deadline_s = time.monotonic() + _DEADLINE_S
        while not done():
            assert not self._failure, self._failure
            assert time.monotonic() < deadline_s, f"waited until {what}; {self._describe()}"
            time.sleep(_PAUSE_S)

    def _describe(self) -> str:
        return "; ".join(
            f"{thread.config.name}: {self._desk.hub.live(thread.config.name)}"
            for thread in self._threads()
        )

    def pass_time(self, seconds: float) -> None:
        """Let time pass; what becomes due meanwhile is done, each in its own time."""
        ends_s = self._clock.passed_s + seconds
        while True:
            self.wait(self._is_idle, "all rest")
            dues_s = [
                thread._runner._due_s
                for thread in self._threads()
                if thread._runner is not None and not thread._runner.is_paused
            ]
            next_s = min(dues_s, default=ends_s)
            self._clock.passed_s = max(min(next_s, ends_s), self._clock.passed_s)
            self._ring()
            if self._clock.passed_s >= ends_s:
                self.wait(self._is_idle, "all rest")
                return

    # --- a day ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        for number, content in enumerate(self._contents.values()):
            content.mkdir()
            for index in range(5):
                (content / f"{number}{index}.bin").write_bytes(self._bytes())
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.wait(lambda: len(self._threads()) == 5, "the service has begun")
        self.wait(lambda: self.releases == 2, "there are releases")
        self.wait(self._is_idle, "all rest")
        self._settle()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._held.close()
        assert not self._thread.is_alive(), "it did not stop"

    def _run(self) -> None:
        try:
            self._desk.run(self._stop)
        except BaseException as error:  # noqa: BLE001 - told by who waits
            self._failure.append(error)

    def _bytes(self) -> bytes:
        return self._random.randbytes(_FILE_BYTES)

    def _is_converged(self) -> bool:
        pack, side = (tree_bytes(content) for content in self._contents.values())
        return all(
            tree_bytes(config.path) == (side if name == "local" else pack)
            for name, config in self._config.subscriptions.items()
        )

    def _settle(self) -> None:
        """Let time pass until all trees are what is published."""
        for _ in range(30):
            if self._is_converged():
                return
            self.pass_time(_MINUTE_S)
        raise AssertionError(f"the trees do not become equal: {self._describe()}")

    def hour(self) -> None:
        """Let an hour pass in which all kinds of things happen."""
        for step in (
            *(partial(self._publish, "pack"), self._back),
            *(partial(self._in_mood, mood) for mood in MOODS),
            *(self._hook_refuses, self._disk_is_full, self._tree_is_gone, self._folder_is_gone),
            *(self._orders, self._paused, self._reloads, self._crash, self._edited),
            *(partial(self._publish, "side"), self._watched),
        ):
            step()
            self.pass_time(_MINUTE_S)
        self.pass_time(30 * _MINUTE_S)
        self._settle()

    def _publish(self, name: str) -> None:
        """Change a file, rename one, put one in place of another; and release that."""
        content = self._contents[name]
        files = sorted(content.iterdir())
        files[0].write_bytes(self._bytes())
        files[1].rename(content / f"{self._random.randrange(10**9)}.bin")
        files[2].unlink()
        (content / f"{self._random.randrange(10**9)}.bin").write_bytes(self._bytes())
        self._order(name, MakeRelease())

    def _order(self, name: str, order: Order) -> Report | None:
        pending = self._desk.give(name, order, Terms())
        self.wait(lambda: pending.is_ended, f"{order} of {name} is carried out")
        try:
            return pending.outcome()
        except TorsyncError as error:
            self.heard[f"order: {error.code}"] += 1
            return None

    def _in_mood(self, mood: str) -> None:
        set_mood(self._remote, mood)
        self.pass_time(_MINUTE_S)
        set_mood(self._remote, GOOD)

    def _hook_refuses(self) -> None:
        self._refuse.touch()
        self._publish("pack")
        self.pass_time(2 * _MINUTE_S)
        self._refuse.unlink()

    def _disk_is_full(self) -> None:
        self._is_full = True
        self._publish("side")
        self.pass_time(2 * _MINUTE_S)
        self._is_full = False

    def _tree_is_gone(self) -> None:
        tree = self._config.subscriptions["asked"].path
        tree.rename(self._scratch / "elsewhere")
        self.pass_time(2 * _MINUTE_S)
        (self._scratch / "elsewhere").rename(tree)

    def _folder_is_gone(self) -> None:
        content = self._contents["side"]
        content.rename(self._scratch / "elsewhere")
        self._order("side", MakeRelease())
        self.pass_time(_MINUTE_S)
        (self._scratch / "elsewhere").rename(content)

    def _orders(self) -> None:
        self._settle()
        for order in (
            Check(),
            Check(dry_run=True),
            Check(force=True),
            Verify(),
            Verify(quick=True),
        ):
            for name in _SUBSCRIPTIONS:
                self._order(name, order)
        self._order("pack", MakeRelease(dry_run=True))
        client = self._client()
        for name in _SUBSCRIPTIONS:
            client.carry_out(name, Check(), Terms(), lambda _event: None)
        for target in ("/api/v1/events", "/api/v1/plan/fed"):
            self._begin_to_read(target)

    def _client(self) -> ControlClient:
        state_dir = self._scratch / "state"
        url, token = load_address(state_dir), load_token(state_dir)
        assert url is not None
        assert token is not None
        return ControlClient(url, token, self._stop.wait)

    def _begin_to_read(self, target: str) -> None:
        """Ask the control API for something that goes on, and go away in the middle of it."""
        client = self._client()
        with closing(socket.create_connection((client._host, client._port))) as connection:
            connection.settimeout(_DEADLINE_S)
            head = f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n"
            connection.sendall(f"{head}Authorization: Bearer {client._token}\r\n\r\n".encode())
            assert b" 200 " in connection.recv(100)

    def _paused(self) -> None:
        self._order("asked", Pause())
        self._order("side", Pause())
        self._publish("pack")
        self.pass_time(2 * _MINUTE_S)
        self._order("asked", Resume())
        self._order("side", Resume())

    def _reloads(self) -> None:
        local = self._config.subscriptions["local"]
        other = replace(local, interval_s=130.0 - local.interval_s)
        subscriptions = {**self._config.subscriptions, "local": other}
        self._config = replace(self._config, subscriptions=subscriptions)
        report = self._client().reload()
        assert report.restarted == ("local",), report
        self._is_broken = True
        try:
            self._desk.reload()
        except ConfigError:
            self.heard["reload refused"] += 1
        self._is_broken = False

    def _crash(self) -> None:
        crashes = self.heard["crashed"]
        self._crashes.add("asked")
        thread = self._desk._threads["asked"]
        thread._runner._due_s = self._clock.passed_s
        self._ring()
        self.wait(lambda: self.heard["crashed"] > crashes, "it has crashed")

        def is_back() -> bool:
            self._clock.passed_s += 1.0
            self._ring()
            return thread._runner is not None

        self.wait(is_back, "it is begun again")

    def _edited(self) -> None:
        tree = self._config.subscriptions["fed"].path
        min(tree.glob("*.bin")).write_bytes(b"edited by somebody")

    def _back(self) -> None:
        self._settle()
        self._order("asked", Rollback())
        self.pass_time(_MINUTE_S)
        self._order("asked", Apply())

    def _watched(self) -> None:
        """Edit, and leave it to the service to see that."""
        before = self.releases
        min(self._contents["side"].iterdir()).write_bytes(self._bytes())

        def is_released() -> bool:
            self._clock.passed_s += 0.1
            self._ring()
            return self.releases > before

        self.wait(is_released, "the edit is released")

    def folders(self) -> list[Path]:
        """Where the state is, and what else is kept."""
        trees = [config.path for config in self._config.subscriptions.values()]
        return [self._scratch / "state", *(tree / ".torsync" for tree in trees)]


def _calm(day: Day) -> None:
    """Wait until what an hour left behind is over: clients that were gone, threads that end."""
    seen: list[int] = []

    def is_calm() -> bool:
        seen.append(threading.active_count())
        time.sleep(0.05)
        return len(seen) > 8 and len(set(seen[-8:])) == 1

    day.wait(is_calm, "threads come and go no more")


def _where(before: tracemalloc.Snapshot, after: tracemalloc.Snapshot) -> Iterator[str]:
    for found in after.compare_to(before, "lineno")[:25]:
        yield str(found)


def main(argv: Collection[str] | None = None) -> None:
    """Live through the hours."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scratch", type=Path)
    parser.add_argument("remote_url")
    parser.add_argument("remote_folder", type=Path)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--warm-up", type=int, default=8)
    parser.add_argument("--trace", action="store_true", help="tell where memory was taken")
    parser.add_argument("--leak", action="append", choices=LEAKS, default=[])
    arguments = parser.parse_args(argv)
    if arguments.trace:
        tracemalloc.start(1)
    began = time.monotonic()
    with Day(arguments.scratch, arguments.remote_url, arguments.remote_folder) as day:
        day.leaks.extend(LEAKS[name](arguments.scratch) for name in arguments.leak)
        first = None
        for hour in range(arguments.hours):
            day.hour()
            _calm(day)
            if hour == arguments.warm_up and arguments.trace:
                first = tracemalloc.take_snapshot()
            sample = take_sample(day.polls, day.releases, day.folders())
            took_s = round(time.monotonic() - began, 1)
            print(json.dumps({"type": "sample", **sample._asdict(), "took_s": took_s}), flush=True)
        where = list(_where(first, tracemalloc.take_snapshot())) if first else []
        told = {"heard": day.heard, "where": where, "threads": thread_names()}
    print(json.dumps({"type": "end", **told}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
