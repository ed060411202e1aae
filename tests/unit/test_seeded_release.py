"""A release in a session, by what it asks of it: super-seeding, withdrawn files, trackers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.support.torrents import make_raw
from torsync.model.config import PublicationConfig
from torsync.model.errors import SwarmError, TreeError
from torsync.model.events import Event, Notice
from torsync.model.metainfo import parse_metainfo
from torsync.publish import seeding as module
from torsync.publish.seeding import SeededRelease
from torsync.publish.state import PublishedRelease
from torsync.subscribe.surroundings import Surroundings, Voice
from torsync.swarm import seed_request
from torsync.swarm.torrent import TorrentProgress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.swarm.torrent import AddRequest

PIECE = 16 * 1024
PEER = ("192.0.2.7", 6881)
FILES = {"a": b"a" * 3 * PIECE, "b": b"b" * 2 * PIECE}


@dataclass
class FakeTorrent:
    """What a session gives for a release; a test says how its peers are doing."""

    request: AddRequest
    payload_uploaded: int = 0
    wanted: bool = True
    sent_once: bool = False
    failure: Exception | None = None
    peers: tuple[tuple[str, int], ...] = (PEER,)
    super_seeding: bool = False
    removed: bool = False
    trackers: list[object] = field(default_factory=list)

    def progress(self) -> TorrentProgress:
        return TorrentProgress(0, 0, 0, self.payload_uploaded, 0, 0, 1)

    def super_seed(self) -> None:
        self.super_seeding = True

    def is_wanted(self) -> bool:
        return self.wanted

    def is_sent_once(self) -> bool:
        return self.sent_once

    def listening_peers(self) -> tuple[tuple[str, int], ...]:
        return self.peers

    def replace_sources(self, trackers: object, web_seeds: object) -> None:
        self.trackers.append((trackers, web_seeds))

    def remove(self) -> None:
        self.removed = True

    def fresh_failures(self) -> list[object]:
        return []

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure


class Stage:
    """A session in which releases are seeded.

    Attributes:
        torrents: all that were ever added, the newest last.
        events: that were told.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.torrents: list[FakeTorrent] = []
        self.events: list[Event] = []

    def add(self, request: AddRequest) -> FakeTorrent:
        self.torrents.append(FakeTorrent(request))
        return self.torrents[-1]

    @property
    def newest(self) -> FakeTorrent:
        return self.torrents[-1]

    def seeded(
        self, metainfo: bytes | None = None, *, super_seeding: bool = False
    ) -> SeededRelease:
        config = PublicationConfig("pack", self.root, super_seeding=super_seeding)
        around = Surroundings(
            pool=lambda: cast("Any", self),
            sink=self.events.append,
            stopping=lambda: False,
            wait=lambda _seconds: False,
        )
        voice = Voice("pack", self.events.append)
        return SeededRelease(config, release(metainfo), self.root, around, voice)


def release(metainfo: bytes | None = None) -> PublishedRelease:
    metainfo = metainfo or make_raw(FILES, piece_size=PIECE)
    return PublishedRelease(cast("Any", None), metainfo, None, {}, {}, parse_metainfo(metainfo))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_release_without_content_needs_no_session(stage: Stage) -> None:
    seeded = stage.seeded(make_raw({"empty": b""}, piece_size=PIECE))
    seeded.enter()
    assert seeded.is_in
    assert seeded.torrent is None
    assert seeded.failed_file() is None
    seeded.leave()
    assert stage.torrents == []


def test_a_withdrawn_file_is_no_longer_claimed_and_peers_are_handed_over(stage: Stage) -> None:
    seeded = stage.seeded()
    assert not seeded.is_in
    seeded.enter()
    assert seeded.is_in
    assert stage.newest.request.have == b"\1" * 5
    assert stage.newest.request.peers == ()
    seeded.enter(["a", "no such file"])
    assert [one.removed for one in stage.torrents] == [True, False]
    assert seeded.withdrawn == {"a"}
    assert stage.newest.request.have == b"\0\0\0\1\1"
    assert stage.newest.request.peers == (PEER,)


def test_peers_of_a_private_torrent_come_from_its_tracker_alone(stage: Stage) -> None:
    seeded = stage.seeded(make_raw(FILES, piece_size=PIECE, info={b"private": 1}))
    seeded.enter()
    seeded.enter()
    assert stage.newest.request.peers == ()


def test_where_peers_could_write_into_changed_files_nothing_is_seeded(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_request, "has_nowhere", lambda: False)
    seeded = stage.seeded()
    seeded.enter()
    seeded.enter(["a"])
    assert not seeded.is_in
    assert stage.newest.removed
    (notice,) = (event for event in stage.events if isinstance(event, Notice))
    assert notice.code == "not_seeded"
    seeded.enter()
    assert seeded.is_in, "the file is as it was again"


class TestSuperSeeding:
    def test_it_begins_when_the_release_is_public(self, stage: Stage) -> None:
        seeded = stage.seeded(super_seeding=True)
        seeded.enter()
        assert not stage.newest.super_seeding
        seeded.go_public()
        assert stage.newest.super_seeding
        seeded.enter(["a"])
        assert stage.newest.super_seeding, "also in what takes its place"

    def test_a_release_that_is_public_already_enters_so(self, stage: Stage) -> None:
        seeded = stage.seeded(super_seeding=True)
        seeded.go_public()
        seeded.share_out()
        seeded.enter()
        assert stage.newest.super_seeding

    def test_it_is_not_done_unless_it_is_asked_for(self, stage: Stage) -> None:
        seeded = stage.seeded()
        seeded.enter()
        seeded.go_public()
        seeded.share_out()
        assert [one.super_seeding for one in stage.torrents] == [False]

    def test_it_ends_for_good_once_everything_was_sent(self, stage: Stage) -> None:
        seeded = stage.seeded(super_seeding=True)
        seeded.enter(["a"])
        seeded.go_public()
        seeded.share_out()
        assert len(stage.torrents) == 1
        stage.newest.sent_once = True
        seeded.share_out()
        assert [one.super_seeding for one in stage.torrents] == [True, False]
        assert seeded.withdrawn == {"a"}
        seeded.go_public()
        seeded.share_out()
        assert [one.super_seeding for one in stage.torrents] == [True, False]

    def test_it_ends_if_somebody_wants_something_and_nothing_is_sent(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_MOST_IDLE_CALLS", 2)
        seeded = stage.seeded(super_seeding=True)
        seeded.enter()
        seeded.go_public()
        stage.newest.wanted = False
        for _call in range(5):
            seeded.share_out()
        stage.newest.wanted = True
        for _call in range(5):
            stage.newest.payload_uploaded += 1
            seeded.share_out()
        assert len(stage.torrents) == 1, "nobody wants anything, or gets it"
        for _call in range(2):
            seeded.share_out()
        assert [one.super_seeding for one in stage.torrents] == [True, False]


def test_a_release_with_the_same_content_changes_only_where_it_is_announced(stage: Stage) -> None:
    seeded = stage.seeded()
    moved = release(make_raw(FILES, piece_size=PIECE, trackers=["http://t.example/"]))
    seeded.follow(moved)
    assert seeded.release is moved, "it is not in a session yet"
    seeded.enter()
    seeded.follow(moved)
    assert stage.newest.trackers == []
    seeded.follow(release())
    assert stage.newest.trackers == [((), ())]
    assert len(stage.torrents) == 1


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(lambda root: (f"{root}/a", "a"), id="of the release"),
        pytest.param(lambda root: (f"{root}/c", None), id="not of the release"),
        pytest.param(lambda root: (f"{root}/../a", None), id="outside"),
    ],
)
def test_the_file_that_could_not_be_read_is_found(
    stage: Stage, outcome: Callable[[Path], tuple[str, str | None]]
) -> None:
    seeded = stage.seeded()
    assert seeded.failed_file() is None, "nothing is seeded"
    seeded.enter()
    assert seeded.failed_file() is None
    at, path = outcome(stage.root)
    error = TreeError("could not read it", path=at, hint="look")
    stage.newest.failure = error
    if path is None:
        with pytest.raises(SwarmError, match="could not read it") as caught:
            seeded.failed_file()
        assert caught.value.hint == "look"
    else:
        assert seeded.failed_file() == (path, error)
