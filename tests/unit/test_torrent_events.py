"""A torrent in a session: what it makes of events that a real session hardly ever gives."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from torsync.model.errors import DiskFullError, SwarmError, TreeError
from torsync.swarm import torrent as module
from torsync.swarm.claims import WrongClaimError
from torsync.swarm.events import (
    FileFailed,
    Finished,
    HashFailed,
    ListenFailed,
    PeerCalled,
    PeerNotReached,
    Removed,
    TorrentFailed,
    TrackerFailed,
    TrackerReplied,
    WebSeedFailed,
)
from torsync.swarm.torrent import NOWHERE, Torrent

if TYPE_CHECKING:
    from collections.abc import Callable


class Handle:
    """libtorrent's side of a torrent that fetches nothing."""

    def __init__(self, *, url_seeds: tuple[str, ...] = (), is_gone: bool = False) -> None:
        self.calls: list[str] = []
        self.is_finished = False
        self.total_failed_bytes = 0
        self._url_seeds = list(url_seeds)
        self._is_gone = is_gone

    def status(self, _flags: int) -> Handle:
        return self

    def url_seeds(self) -> list[str]:
        return self._url_seeds

    def clear_error(self) -> None:
        if self._is_gone:
            raise RuntimeError("invalid torrent handle used")
        self.calls.append("clear_error")

    def resume(self) -> None:
        self.calls.append("resume")


class Others:
    """Stands for who shares in the fetching, and for the web seeds that are held back."""

    urls: frozenset[str] = frozenset()

    def update(self) -> None:
        """Nobody."""


def torrent(handle: Handle, **changes: Any) -> Torrent:
    options: dict[str, Any] = {
        "discard": lambda _handle: None,
        "forget": lambda: None,
        "endpoints": lambda: (),
        "share": Others(),
        "held": Others(),
        **changes,
    }
    return Torrent(handle, **options)  # type: ignore[arg-type]


def is_finished(one: Torrent) -> bool:
    return one.wait(0.01)


def test_a_file_that_is_withheld_does_not_end_the_torrent() -> None:
    """Its path is one that can be neither read nor written, and somebody asked for it."""
    handle = Handle()
    added = torrent(handle)
    added.tell(FileFailed(f"{NOWHERE}/a", errno.EACCES, "Permission denied"))
    assert handle.calls == []
    added.tell(TorrentFailed("Permission denied", f"{NOWHERE}/a"))
    assert handle.calls == ["clear_error", "resume"], "it goes on with what is not withheld"
    assert not is_finished(added)
    torrent(Handle(is_gone=True)).tell(TorrentFailed("Permission denied", f"{NOWHERE}/a"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_or_a_quota_that_is_full_is_told_from_other_errors(number: int) -> None:
    added = torrent(Handle())
    added.tell(FileFailed("/tree/a", number, "no room"))
    with pytest.raises(DiskFullError, match="no room") as caught:
        added.wait(60)
    assert caught.value.path == "/tree/a"


@pytest.mark.parametrize(
    ("first", "kind"),
    [(TorrentFailed("odd"), SwarmError), (FileFailed("/tree/a", errno.EIO, "odd"), TreeError)],
)
def test_the_first_failure_is_the_one_that_is_told(
    first: TorrentFailed | FileFailed, kind: type[Exception]
) -> None:
    added = torrent(Handle())
    added.tell(first)
    added.tell(TorrentFailed("what follows from it"))
    added.tell(FileFailed("/tree/b", errno.EIO, "what follows from it"))
    with pytest.raises(kind, match="odd"):
        added.wait(60)
    with pytest.raises(kind, match="odd"):
        added.raise_failure()


def test_what_concerns_the_session_alone_is_no_news_of_a_torrent() -> None:
    added = torrent(Handle())
    added.tell(ListenFailed("eth0", "in use"))
    assert not is_finished(added)
    assert added.news.reasons(str) == added.fresh_failures() == []


def test_a_tracker_that_answers_after_all_is_no_longer_news() -> None:
    added = torrent(Handle())
    failed = [TrackerFailed("http://t/", "down"), WebSeedFailed("http://w/", "gone")]
    for one in failed:
        added.tell(one)
    added.tell(TrackerReplied("http://t/", 3))
    added.tell(TrackerReplied("http://other/", 3))
    assert added.news.reasons(str) == ["the web seed http://w/ failed: gone"]
    assert added.fresh_failures() == failed, "each is told once"
    assert added.fresh_failures() == []


def test_only_so_many_listening_peers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PEERS", 2)
    added = torrent(Handle())
    peers = [("127.0.0.1", port) for port in (1, 2, 3)]
    for peer in peers:
        added.tell(PeerCalled(peer))
    assert added.listening_peers() == (peers[0], peers[1])
    added.tell(PeerNotReached(peers[0]))
    added.tell(PeerNotReached(peers[0]))
    added.tell(PeerCalled(peers[2]))
    assert added.listening_peers() == (peers[1], peers[2])


def test_ports_of_web_seeds_are_not_taken_for_those_of_peers() -> None:
    seeds = ("https://a.example/x/", "http://b.example/", "http://c.example:8080/", "http://d:x/")
    added = torrent(Handle(url_seeds=seeds))
    for port in (80, 443, 8080, 6881):
        added.tell(PeerCalled(("192.0.2.1", port)))
    assert added.listening_peers() == (("192.0.2.1", 6881),)


def test_a_wrong_piece_matters_only_if_blocks_of_it_were_claimed() -> None:
    added = torrent(Handle(), claimed=frozenset({3}))
    added.tell(HashFailed(2))
    assert not is_finished(added)
    added.tell(HashFailed(3))
    added.tell(HashFailed(3))
    assert added.news.hash_failures == 3
    assert added.wrong_pieces == {3}
    with pytest.raises(WrongClaimError):
        added.wait(60)
    added.tell(Finished())
    assert added.wait(60), "it has been fetched again"


def test_files_that_are_not_let_go_of_are_told_and_who_waits_to_open_them_is_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_REMOVAL_DEADLINE_S", 0.05)
    monkeypatch.setattr(module, "_SLOW_REMOVAL_S", 0.01)
    done: list[str] = []

    def stuck(failure: FileFailed | None = None) -> None:
        one = torrent(
            Handle(),
            free_openers=lambda: done.append("freed"),
            forget=lambda: done.append("forgotten"),
        )
        if failure is not None:
            one.tell(failure)
        one.remove()

    with pytest.raises(SwarmError, match="did not close") as caught:
        stuck()
    assert "disk" in caught.value.hint
    assert "freed" in done
    assert done[-1] == "forgotten"
    with pytest.raises(TreeError, match="Input/output error"):
        stuck(FileFailed("/tree/a", errno.EIO, "Input/output error"))


def test_a_torrent_that_is_let_go_of_late_is_removed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a thread of libtorrent's waits in a FIFO that took the place of a file."""
    monkeypatch.setattr(module, "_SLOW_REMOVAL_S", 0.01)
    freed: list[Callable[[], None]] = []
    added: list[Torrent] = []

    def free() -> None:
        freed.append(free)
        added[0].tell(Removed())

    added.append(torrent(Handle(), free_openers=free))
    added[0].remove()
    assert freed == [free]
