"""Fetch what a stage lacks: the torrent enters the session, is waited for, and leaves again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError, NoPeersError, TorsyncError
from torsync.model.events import Level, Progress, Stage
from torsync.model.secrets import Redactor, mask_tracker, secrets_of_tracker
from torsync.model.units import format_duration
from torsync.subscribe.arrivals import Arrivals
from torsync.subscribe.remote.rules import mask_url
from torsync.subscribe.rounds import Rounds, Situation, Why
from torsync.swarm.claims import WrongClaimError
from torsync.swarm.events import TrackerFailed, WebSeedFailed
from torsync.swarm.web_seeds import web_seeds_work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torsync.model.manifest import Manifest
    from torsync.subscribe.surroundings import Voice
    from torsync.swarm.session import SwarmPool
    from torsync.swarm.torrent import AddRequest, Torrent, TorrentProgress

_POLL_S = 0.25
_QUIET_S = 15.0
_REMIND_S = 120.0
_COUNT_S = 2.0


@dataclass
class Fetched:
    """How a fetch went, also when it ended early.

    Attributes:
        bytes_fetched: payload from peers and web seeds, failed and redundant included.
        have: one byte per piece that is at its place; empty if that is not certain.
        peers: that were connected and listen, for the next swarm.
        refused_claims: the pieces whose claimed blocks were given up.
    """

    bytes_fetched: int = 0
    have: bytes = b""
    peers: tuple[tuple[str, int], ...] = field(default=())
    refused_claims: frozenset[int] = frozenset()


@dataclass(frozen=True)
class FetchGoal:
    """What a fetch is to bring, to show how far it is.

    Attributes:
        bytes_total: of files, in the pieces that are not there yet; claimed blocks do not count.
        files: the pieces of each file that is being built.
        copied: one byte per piece, 1 where it need not be fetched.
        claimed: piece → bytes of files in its claimed blocks; see ``claimed_bytes``
    """

    bytes_total: int
    files: tuple[range, ...]
    copied: bytes
    claimed: Mapping[int, int] = field(default_factory=dict)

    def without_claims(self, have: bytes) -> FetchGoal:
        """What is to be brought if nothing is claimed in pieces that ``have`` says are missing."""
        return replace(self, bytes_total=self.bytes_total + self.in_claims(have), claimed={})

    def in_claims(self, have: bytes) -> int:
        """How many bytes are claimed in pieces that ``have`` says are missing."""
        return sum(count for piece, count in self.claimed.items() if not have[piece])

    def files_done(self, fetched: bytes) -> int:
        """How many files have all their pieces; ``fetched`` has one byte per piece."""
        have = either(fetched, self.copied)
        return sum(not have.count(0, pieces.start, pieces.stop) for pieces in self.files)


def either(one: bytes, other: bytes) -> bytes:
    """One byte per piece, 1 where one of two has it."""
    together = int.from_bytes(one, "big") | int.from_bytes(other, "big")
    return together.to_bytes(len(one), "big")


class Fetcher:
    """Fetches one torrent for one subscription."""

    def __init__(
        self,
        pool: Callable[[], SwarmPool],
        voice: Voice,
        *,
        stopping: Callable[[], bool],
        patience_s: float | None,
        look_out: Callable[[], None],
        look_out_every_s: float,
    ) -> None:
        """Prepare.

        Args:
            pool: gives the sessions; called when there is something to fetch.
            voice: says how it goes.
            stopping: whether the work shall stop.
            patience_s: give up after so long without progress, see ``Arrivals``; None: never.
            look_out: called every ``look_out_every_s`` while waiting; raises to end the fetch.
            look_out_every_s: seconds.
        """
        self._pool = pool
        self._voice = voice
        self._stopping = stopping
        self._patience_s = patience_s
        self._look_out = look_out
        self._look_out_every_s = look_out_every_s

    def fetch(
        self,
        request: AddRequest,
        goal: FetchGoal,
        outcome: Fetched,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Fetch all wanted pieces; ``outcome`` tells how far it came, whatever happens.

        While it waits, ``check`` is called several times a second; it may raise, to end that.
        At the first sign that a claimed block is wrong, all of ``request.unfinished`` is given
        up and those pieces are fetched whole, as the only peers might be blamed for it. Likewise
        the torrent is added again when pieces came out wrong and then nothing arrives any more:
        libtorrent 2.1.1 bans honest peers that had a part in such a piece, and forgets it then.

        Raises:
            TreeError: a file could not be read or written.
            SwarmError: the torrent cannot go on, or nothing arrived for ``patience_s``.
            InterruptedByUserError: ``stopping`` said so.
        """
        rounds = Rounds(Arrivals(time.monotonic()))
        may_use_web_seeds = request.use_web_seeds
        while True:
            is_done, why = self._fetch_once(request, goal, outcome, check, rounds)
            if is_done:
                return
            have = either(request.have, outcome.have)
            rounds.begin_next(why, time.monotonic(), brought_pieces=have != request.have)
            goal = goal.without_claims(have)
            request = replace(
                request,
                have=have,
                peers=tuple(dict.fromkeys((*request.peers, *outcome.peers))),
                unfinished={},
                use_web_seeds=may_use_web_seeds and rounds.use_web_seeds,
            )

    def _fetch_once(
        self,
        request: AddRequest,
        goal: FetchGoal,
        outcome: Fetched,
        check: Callable[[], None],
        rounds: Rounds,
    ) -> tuple[bool, Why | None]:
        """Have the torrent in the session once; whether all is there, and if not, perhaps why."""
        torrent = self._pool().add(request)
        torrent.news.hash_failures += rounds.hash_failures
        is_done, why = False, None
        try:
            why = self._wait(torrent, goal, check, rounds)
            is_done = why is None
        except WrongClaimError:
            pass
        finally:
            self._take_out(torrent, outcome, is_done=is_done)
        rounds.hash_failures = torrent.news.hash_failures
        torrent.raise_failure()
        if torrent.wrong_claim is not None:
            done = outcome.have
            outcome.refused_claims = frozenset(
                piece
                for piece in request.unfinished
                if piece in torrent.wrong_pieces or not (done and done[piece])
            )
            self._say_wrong(torrent.wrong_claim, 1 if is_done else len(request.unfinished))
        return is_done, why

    def _say_wrong(self, wrong: WrongClaimError, pieces: int) -> None:
        which = "a piece" if wrong.piece is None else f"piece {wrong.piece}"
        self._voice.notice(
            Level.WARNING,
            "hints_wrong",
            f"{which} did not come out right of what is here and what was fetched: the release's "
            f"hints are wrong, or a peer is; {pieces} pieces are fetched whole",
            "what is wrong is never used; if it happens again, the publisher has to put the hints "
            "there anew",
        )

    def _take_out(self, torrent: Torrent, outcome: Fetched, *, is_done: bool) -> None:
        outcome.have = b""
        outcome.peers = tuple(dict.fromkeys((*outcome.peers, *torrent.listening_peers())))
        if not is_done:  # else all seeds have left, and what they sent is counted
            torrent.halt()
        outcome.bytes_fetched += torrent.progress().payload_downloaded
        have = torrent.pieces()
        torrent.remove()
        try:
            torrent.raise_failure()
        except TorsyncError:
            return
        outcome.have = have

    def _wait(
        self, torrent: Torrent, goal: FetchGoal, check: Callable[[], None], rounds: Rounds
    ) -> Why | None:
        """Wait until all is there, or the torrent has to be added again: why."""
        looked = time.monotonic()
        reminded = looked - _REMIND_S + _QUIET_S
        arrivals = rounds.arrivals
        meter = _Meter(self._voice, torrent, goal)
        while not torrent.wait(_POLL_S):
            if self._stopping():
                raise InterruptedByUserError("stopped while downloading; what has arrived is kept")
            check()
            now = time.monotonic()
            progress = torrent.progress()
            if arrivals.look(progress.bytes_done, now):
                reminded = now - _REMIND_S + _QUIET_S
            meter.show(progress, now)
            tell_failures(self._voice, torrent)
            silent_s = arrivals.silent_s(now)
            if self._patience_s is not None and silent_s > self._patience_s:
                raise self._no_peers(torrent, silent_s)
            if why := rounds.why_again(_situation(torrent, progress), now):
                self._voice.notice(Level.WARNING, f"again_{why.name.lower()}", why.value)
                return why
            if now - reminded > _REMIND_S:
                reminded = now
                self._remind(torrent, silent_s)
            if now - looked > self._look_out_every_s:
                looked = now
                self._look_out()
        meter.show(torrent.progress(), time.monotonic(), exactly=True)
        return None

    def _remind(self, torrent: Torrent, silent_s: float) -> None:
        peers = torrent.progress().peers
        reasons = "; ".join(_reasons(torrent))
        self._voice.notice(
            Level.WARNING,
            "stalled",
            f"nothing has arrived for {format_duration(silent_s)}; {peers} peers are "
            f"connected{'; ' + reasons if reasons else ''}",
            "" if peers else _NO_PEERS_HINT,
        )

    def _no_peers(self, torrent: Torrent, silent_s: float) -> NoPeersError:
        reasons = "; ".join(_reasons(torrent))
        return NoPeersError(
            f"nothing arrived for {format_duration(silent_s)} from "
            f"{torrent.progress().peers} peers{'; ' + reasons if reasons else ''}",
            hint=_NO_PEERS_HINT + "; what has arrived is kept",
        )


class _Meter:
    """Shows how far a fetch is; counting files costs, so it is done now and then."""

    def __init__(self, voice: Voice, torrent: Torrent, goal: FetchGoal) -> None:
        self._voice = voice
        self._torrent = torrent
        self._goal = goal
        self._files_done = 0
        self._bytes_done = 0
        self._counted = 0.0

    def show(self, now: TorrentProgress, clock_s: float, *, exactly: bool = False) -> None:
        if exactly or clock_s - self._counted > _COUNT_S:
            self._counted = clock_s
            self._files_done = self._goal.files_done(self._torrent.pieces())
        left = now.bytes_wanted - now.bytes_done
        if self._goal.claimed:
            left = max(0, left - self._goal.in_claims(self._torrent.pieces()))
        # Of pieces that are completed between two questions, claims look like something to fetch.
        self._bytes_done = max(self._bytes_done, self._goal.bytes_total - left)
        self._voice.sink(
            Progress(
                self._voice.name,
                Stage.DOWNLOADING,
                files_done=self._files_done,
                files_total=len(self._goal.files),
                bytes_done=self._bytes_done,
                bytes_total=self._goal.bytes_total,
                download_rate=now.download_rate,
                upload_rate=now.upload_rate,
                peers=now.peers,
                eta_s=left / now.download_rate if now.download_rate else None,
                bytes_received=now.payload_downloaded,
                bytes_sent=now.payload_uploaded,
            )
        )


def _reasons(torrent: Torrent) -> list[str]:
    """Why nothing may be arriving; with the web seeds of which libtorrent says nothing."""
    silent = [url for url in torrent.web_seeds() if url not in torrent.news.web_seeds]
    told = [f"the web seed {mask_url(url)} sends nothing that can be used" for url in silent[:3]]
    return [*torrent.news.reasons(mask_url), *told]


def _situation(torrent: Torrent, progress: TorrentProgress) -> Situation:
    return Situation(
        hash_failures=torrent.news.hash_failures,
        peers=progress.peers,
        web_seeds=bool(torrent.web_seeds()),
        payload_bytes=progress.payload_downloaded,
        overhead_bytes=progress.overhead_downloaded,
    )


def use_web_seeds_of(manifest: Manifest, configured: Sequence[str], voice: Voice) -> bool:
    """Decide whether a torrent's web seeds, and the configured ones, can be used; say if not."""
    usable = web_seeds_work(manifest)
    if not usable and (manifest.web_seeds or configured):
        voice.notice(
            Level.WARNING,
            "web_seeds_unusable",
            "web seeds are not used: libtorrent gets pieces of v2-only torrents wrong from "
            f"them if they are as small as {manifest.piece_length // 1024} KiB",
            "the publisher should use pieces of 1 MiB or more, or v1 or hybrid",
        )
    return usable


def tell_failures(voice: Voice, torrent: Torrent) -> None:
    """Say what trackers and web seeds failed with since the last call."""
    for event in torrent.fresh_failures():
        if isinstance(event, TrackerFailed):
            message = Redactor(secrets_of_tracker(event.url)).text(event.message)
            said = f"the tracker {mask_tracker(event.url)} said: {message}"
            voice.notice(Level.WARNING, "tracker_failed", said)
        elif isinstance(event, WebSeedFailed):
            said = f"the web seed {mask_url(event.url)} failed: {event.message}"
            voice.notice(Level.WARNING, "web_seed_failed", said)


_NO_PEERS_HINT = (
    "make sure that someone seeds this release; check the firewall, trackers and `peers`"
)
