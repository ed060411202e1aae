"""A publisher and its subscribers, each a ``torsync run`` on a machine of its own.

with network(9, rate="80mbit", uplinks={0: "40mbit"}) as machines:
    with RealSwarm(folder, machines) as swarm:
        swarm.begin(range(8))
        release = swarm.release({"a": 100_000_000})
        swarm.wait_for(release)
        print(swarm.seconds(release), swarm.copies(release))
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.cli import Torsync
from tests.support.processes import wait_until
from tests.support.publishers import NAME, Publishing, is_release
from tests.support.trees import assert_same_tree, write_tree
from tests.swarms.any_tracker import AnyTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.cli import Running
    from tests.support.netns import Machine
    from tests.support.trees import Content

PORT, FEED_PORT = 6881, 8080
_FIRST = {"readme": 20_000}


@dataclass
class Released:
    """A release, and who has it by now.

    Attributes:
        info_hash: of its torrent.
        began_s: when it was public; seconds of the monotonic clock.
        sent_before: bytes that had left the publisher's link then.
        arrived_s: subscriber → when it said that it has it.
    """

    info_hash: str
    began_s: float
    sent_before: int
    arrived_s: dict[int, float] = field(default_factory=dict)

    def seconds(self) -> float:
        """Until the last of those who have it had it."""
        return max(self.arrived_s.values()) - self.began_s


class RealSwarm:
    """The publisher is on the first machine, with a tracker; a subscriber is on each other one.

    Attributes:
        machines: of the subscribers.
        publisher: ``torsync run`` with a feed.
        subscribers: ``torsync run`` of those that have begun, by number.
    """

    def __init__(
        self,
        folder: Path,
        machines: Sequence[Machine],
        *,
        settings: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        deadline_s: float = 300,
        tracker: bool = True,
        **publication: Any,
    ) -> None:
        """Start the publisher with a small release.

        Args:
            folder: for everything.
            machines: the publisher's first.
            settings: of libtorrent, for all.
            session: ``[session]``, for all.
            deadline_s: for whatever is waited for.
            tracker: whether there is one.
            publication: keys of the publication.
        """
        self._folder = folder
        self.home, *self.machines = machines
        self._session = {"settings": dict(settings or {}), **(session or {})}
        self._deadline_s = deadline_s
        self.subscribers: dict[int, Running] = {}
        self._torsyncs: dict[int, Torsync] = {}
        self._read: dict[int, int] = {}
        self._stack = ExitStack()
        try:
            with self.home.entered():
                if tracker:
                    url = self._stack.enter_context(AnyTracker(self.home.address)).url
                    publication = {"trackers": [url], **publication}
                self.publishing = self._stack.enter_context(Publishing(folder / "publisher"))
                address = self.home.address
                self.publishing.session.update(self._session, listen=[f"{address}:{PORT}"])
                self.publishing.feed = {
                    "listen": f"{address}:{FEED_PORT}",
                    "url": f"http://{address}:{FEED_PORT}",
                }
                self.publishing.publish(NAME, _FIRST, **publication)
                self.publisher = self.publishing.start("run")
            self._seen = 0
            self.first = self._next_release()
        except BaseException:
            self.close()
            raise

    def begin(self, numbers: Iterable[int], *, since: Released | None = None) -> None:
        """Start subscribers.

        Args:
            numbers: which, from 0.
            since: return once they have this release, the first one by default.
        """
        for number in numbers:
            machine, folder = self.machines[number], self._folder / f"subscriber-{number}"
            if number not in self._torsyncs:
                folder.mkdir()
                torsync = self._torsyncs[number] = self._stack.enter_context(Torsync(folder))
                listen = [f"{machine.address}:{PORT}"]
                torsync.session.update(self._session, listen=listen)
                url = f"http://{self.home.address}:{FEED_PORT}/{NAME}.torrent"
                torsync.subscribe(NAME, url=url, interval="5s")
            with machine.entered():
                self.subscribers[number] = self._torsyncs[number].start("run")
        if since is None:
            self.wait_for(self.first, numbers)

    def release(self, entries: Mapping[str, Content]) -> Released:
        """Put files in place by renames, and return once they are in a release that is public."""
        fresh, content = self._folder / "fresh", self.publishing.content()
        write_tree(fresh, entries)
        for path in entries:
            (content / path).parent.mkdir(parents=True, exist_ok=True)
        for path in entries:
            os.replace(fresh / path, content / path)
        return self._next_release()

    def _next_release(self) -> Released:
        found = self.publisher.wait_for(
            is_release, "a release", since=self._seen, deadline_s=self._deadline_s
        )
        self._seen = self.publisher.objects().index(found, self._seen) + 1
        return Released(found["info_hash"], time.monotonic(), self.home.sent_bytes())

    def look(self, release: Released) -> None:
        """Note who has a release by now."""
        for number, subscriber in self.subscribers.items():
            assert subscriber.is_running, subscriber.errors()
            if number not in release.arrived_s and any(
                one["type"] == "subscription" and one.get("info_hash") == release.info_hash
                for one in subscriber.objects()
            ):
                release.arrived_s[number] = time.monotonic()

    def wait_for(
        self,
        release: Released,
        numbers: Iterable[int] | None = None,
        *,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Return once subscribers have a release: some, or all that have begun.

        Args:
            release: that they are to have.
            numbers: the subscribers; None for all.
            until: return as soon as this is so, too.
        """
        wanted = set(self.subscribers if numbers is None else numbers)

        def have_it() -> bool:
            self.look(release)
            return wanted <= release.arrived_s.keys() or until()

        try:
            wait_until(have_it, "all have the release", deadline_s=self._deadline_s)
        except TimeoutError:
            said = {
                number: self.subscribers[number].objects()[-1:]
                for number in sorted(wanted - release.arrived_s.keys())
            }
            raise AssertionError(f"{len(said)} do not have the release: {said}") from None

    def wait_for_sent(self, release: Released, count: int) -> None:
        """Return once so many bytes have left the publisher since a release, or all have it."""
        self.wait_for(release, until=lambda: self.sent_bytes(release) >= count)

    def sent_bytes(self, release: Released) -> int:
        """What has left the publisher's link since a release, headers included."""
        return self.home.sent_bytes() - release.sent_before

    def assert_all_have_what_is_published(self) -> None:
        """Compare the trees of all that have begun, byte by byte."""
        assert self.subscribers
        for number in self.subscribers:
            assert_same_tree(self._torsyncs[number].tree, self.publishing.content())

    def close(self) -> None:
        """End all."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
