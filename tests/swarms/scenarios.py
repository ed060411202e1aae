"""What happens to swarms, and what it costs: each ends with everybody in the newest release."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.support.netns import network
from tests.support.trees import random_bytes
from tests.swarms.swarm import PORT, RealSwarm
from tests.swarms.watcher import Watcher
from tests.swarms.wide import wide_network
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.netns import Machine
    from tests.support.trees import Content
    from tests.swarms.swarm import Released


@dataclass(frozen=True)
class Terms:
    """How large a swarm is, and what it runs on.

    Attributes:
        subscribers: how many.
        size_bytes: of a release, roughly.
        uplink_mbit: of the publisher's line, in 10**6 bits per second.
        line_mbit: of every other line, each way.
        deadline_s: for everything that is waited for.
        settings: of libtorrent, for all.
        tracker: whether there is one; else the feed alone.
        publication: keys of the publication.
        rtt_ms: round-trip time between any two; 0: as short as the machine makes it.
        loss: the part of all packets that is lost, where there is such a time.
        congestion_control: of TCP, where there is such a time.
    """

    subscribers: int = 8
    size_bytes: int = 100_000_000
    uplink_mbit: float = 16
    line_mbit: float = 32
    deadline_s: float = 400
    settings: tuple[tuple[str, Any], ...] = ()
    tracker: bool = True
    publication: tuple[tuple[str, Any], ...] = ()
    rtt_ms: float = 0
    loss: float = 0
    congestion_control: str = ""

    def ideal_s(self, size_bytes: float, subscribers: int | None = None) -> float:
        """The least time in which all can have so much: the known bound of file distribution.

        The publisher has to send one copy, each has to receive one, and all have to send as many
        as there are subscribers.
        """
        count = self.subscribers if subscribers is None else subscribers
        together = self.uplink_mbit + count * self.line_mbit
        slowest = min(self.uplink_mbit, self.line_mbit, together / count if count else together)
        return size_bytes * 8 / (slowest * 1e6)


@dataclass(frozen=True)
class Figures:
    """What a scenario cost.

    Attributes:
        seconds: from when the newest release was public until the last subscriber had it.
        ideal_s: the least that it can take.
        sent_bytes: what left the publisher's link meanwhile, headers included.
        size_bytes: one copy.
        note: more to know.
    """

    seconds: float
    ideal_s: float
    sent_bytes: int
    size_bytes: int
    note: str = ""

    @property
    def times_ideal(self) -> float:
        """1 is the best."""
        return self.seconds / self.ideal_s

    @property
    def copies(self) -> float:
        """Sent by the publisher."""
        return self.sent_bytes / self.size_bytes


def content(size_bytes: int, generation: int = 0) -> dict[str, Content]:
    """Files of so many bytes in all: a few large ones, the rest small; all others each time."""
    name = f"release-{generation}"
    small = [3_000 + 700 * at for at in range(20)]
    large = (size_bytes - sum(small)) // 6
    files: dict[str, Content] = {f"{name}/small/{at}": size for at, size in enumerate(small)}
    files |= {f"{name}/large-{at}": large for at in range(6)}
    return files


def _network(terms: Terms) -> AbstractContextManager[list[Machine]]:
    if terms.rtt_ms:
        return wide_network(
            uplinks_mbit=[terms.uplink_mbit, *[terms.line_mbit] * terms.subscribers],
            line_mbit=terms.line_mbit,
            rtt_ms=terms.rtt_ms,
            loss=terms.loss,
            congestion_control=terms.congestion_control,
        )
    return network(
        1 + terms.subscribers,
        rate=f"{terms.line_mbit}mbit",
        uplinks={0: f"{terms.uplink_mbit}mbit"},
    )


@contextmanager
def started(folder: Path, terms: Terms, begin: int | None = None) -> Iterator[RealSwarm]:
    """A swarm that has a first, small release."""
    with ExitStack() as stack:
        machines = stack.enter_context(_network(terms))
        swarm = stack.enter_context(
            RealSwarm(
                folder,
                machines,
                settings=dict(terms.settings),
                deadline_s=terms.deadline_s,
                tracker=terms.tracker,
                **dict(terms.publication),
            )
        )
        swarm.begin(range(terms.subscribers if begin is None else begin))
        yield swarm


def _figures(
    swarm: RealSwarm, release: Released, terms: Terms, size: int, note: str = "", **more: Any
) -> Figures:
    swarm.wait_for(release)
    sent = swarm.sent_bytes(release)
    swarm.assert_all_have_what_is_published()
    given = {"ideal_s": terms.ideal_s(size), "sent_bytes": sent, "size_bytes": size, **more}
    return Figures(seconds=release.seconds(), note=note, **given)


def together(folder: Path, terms: Terms) -> Figures:
    """All subscribers hear of a release at once; the publisher's line is the slowest."""
    with started(folder, terms) as swarm:
        release = swarm.release(content(terms.size_bytes))
        return _figures(swarm, release, terms, terms.size_bytes)


def one_alone(folder: Path, terms: Terms) -> Figures:
    """One subscriber: what the others are compared with."""
    return together(folder, replace(terms, subscribers=1))


def publisher_leaves(folder: Path, terms: Terms) -> Figures:
    """The publisher is killed as soon as the subscribers have one copy among them.

    Somebody who sees what they have is one of the machines, so there is one more of these.
    """
    count = terms.subscribers
    terms = replace(terms, subscribers=count + 1)
    with started(folder, terms, begin=count) as swarm:
        release = swarm.release(content(terms.size_bytes))
        pieces = parse_metainfo(swarm.publishing.torrent().read_bytes()).num_pieces
        peers = [(machine.address, PORT) for machine in swarm.machines[:count]]
        with Watcher(swarm.machines[count], release.info_hash, pieces, peers) as watcher:
            swarm.wait_for(release, until=watcher.has_seen_a_copy)
        swarm.publisher.kill()
        swarm.look(release)
        note = f"killed when {len(release.arrived_s)} had it all"
        return _figures(swarm, release, replace(terms, subscribers=count), terms.size_bytes, note)


def super_seeder_leaves(folder: Path, terms: Terms) -> Figures:
    """The same with super-seeding (BEP 16)."""
    publication = (*terms.publication, ("super_seeding", True))
    return publisher_leaves(folder, replace(terms, publication=publication))


def latecomers(folder: Path, terms: Terms) -> Figures:
    """Half of them are started when the publisher has sent half of it to the others.

    What its line can carry beside the others' lines goes to the late ones: it sends more.
    """
    half = terms.subscribers // 2
    with started(folder, terms, begin=half) as swarm:
        release = swarm.release(content(terms.size_bytes))
        swarm.wait_for_sent(release, terms.size_bytes // 2)
        swarm.begin(range(half, terms.subscribers), since=release)
        return _figures(swarm, release, terms, terms.size_bytes)


def two_releases(folder: Path, terms: Terms) -> Figures:
    """Half of a release is replaced while it is being fetched, and then a part of that again.

    The ideal is that of somebody who has nothing of the newest release. What is sent is compared
    with all that was ever published.
    """
    with started(folder, terms) as swarm:
        files = content(terms.size_bytes)
        first = release = swarm.release(files)
        published = terms.size_bytes
        swarm.wait_for_sent(first, published // 3)
        large = list(files)[-3:]
        for generation, paths in enumerate((large, large[:2]), 1):
            other = {path: random_bytes(_size(files[path]), generation) for path in paths}
            release = swarm.release(dict(other))
            published += sum(map(len, other.values()))
        swarm.wait_for(release)
        swarm.assert_all_have_what_is_published()
        return Figures(
            release.seconds(),
            terms.ideal_s(terms.size_bytes),
            swarm.sent_bytes(first),
            published,
            "two more while the first was being fetched",
        )


def _size(given: Content) -> int:
    assert isinstance(given, int)
    return given


def partition(folder: Path, terms: Terms) -> Figures:
    """Half of them lose sight of everybody else, until the others have everything."""
    half = terms.subscribers // 2
    with started(folder, terms) as swarm:
        release = swarm.release(content(terms.size_bytes))
        swarm.wait_for_sent(release, terms.size_bytes // 3)
        for machine in swarm.machines[half:]:
            machine.move_to_side(1)
        swarm.wait_for(release, range(half))
        near = release.seconds()
        for machine in swarm.machines[half:]:
            machine.move_to_side(0)
        figures = _figures(swarm, release, terms, terms.size_bytes)
        note = f"healed after {near:.1f} s"
        return Figures(
            figures.seconds, near + figures.ideal_s, figures.sent_bytes, figures.size_bytes, note
        )


def only_call(folder: Path, terms: Terms) -> Figures:
    """Three quarters of them can call, and cannot be called."""
    with started(folder, terms, begin=0) as swarm:
        for machine in swarm.machines[terms.subscribers // 4 :]:
            machine.refuse_calls()
        swarm.begin(range(terms.subscribers))
        release = swarm.release(content(terms.size_bytes))
        return _figures(swarm, release, terms, terms.size_bytes)


def cut_connections(folder: Path, terms: Terms) -> Figures:
    """Every connection of peers is cut five times on the way."""
    with started(folder, terms) as swarm:
        release = swarm.release(content(terms.size_bytes))
        for part in range(1, 6):
            swarm.wait_for_sent(release, part * terms.size_bytes // 6)
            for machine in swarm.machines:
                machine.cut_connections(PORT)
        return _figures(swarm, release, terms, terms.size_bytes)


SCENARIOS: dict[str, Callable[[Path, Terms], Figures]] = {
    "one-alone": one_alone,
    "together": together,
    "publisher-leaves": publisher_leaves,
    "super-seeder-leaves": super_seeder_leaves,
    "latecomers": latecomers,
    "partition": partition,
    "only-call": only_call,
    "cut-connections": cut_connections,
    "two-releases": two_releases,
}
