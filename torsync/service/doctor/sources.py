"""Where the content of a release can be had: trackers, web seeds, known peers, and the judgement.

One source that does not work is no reason that nothing moves while another one does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.checkup import Finding, Verdict, failed, ok, skipped, warning
from torsync.model.secrets import mask_tracker
from torsync.service.doctor.bounded import Job, side_by_side
from torsync.service.doctor.peers import check_peer
from torsync.service.doctor.trackers import check_tracker
from torsync.service.doctor.web_seeds import check_web_seed
from torsync.subscribe.remote.rules import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torsync.model.config import SessionConfig
    from torsync.model.manifest import Manifest

_MOST_TRACKERS = 20
_MOST_WEB_SEEDS = 10
_MOST_PEERS = 20
_ASK = (
    "ask the publisher to seed, or to name a tracker or web seed that works; or name one that "
    "does in peers or web_seeds of the subscription"
)


class Source(NamedTuple):
    """One place where content, or peers, may be had.

    Attributes:
        finding: about it.
        delivers: whether it has content, or knows somebody who has all of it.
    """

    finding: Finding
    delivers: bool = False


class Places(NamedTuple):
    """What a release and the configuration name.

    Attributes:
        trackers: announce URLs.
        web_seeds: BEP 19 URLs.
        peers: host and port.
        info_hashes: 20 bytes or more each.
        private: nothing but trackers and known peers may be used (BEP 27).
    """

    trackers: tuple[str, ...]
    web_seeds: tuple[str, ...]
    peers: tuple[tuple[str, int], ...]
    info_hashes: tuple[bytes, ...]
    private: bool


def places_of(
    manifest: Manifest,
    *,
    web_seeds: Sequence[str] = (),
    peers: Sequence[tuple[str, int]] = (),
) -> Places:
    """Collect what a release names, and what the configuration adds."""
    trackers = dict.fromkeys(url for tier in manifest.trackers for url in tier)
    seeds = dict.fromkeys([*manifest.web_seeds, *web_seeds])
    hashes = tuple(one for one in (manifest.info_hash_v1, manifest.info_hash_v2) if one)
    return Places(tuple(trackers), tuple(seeds), tuple(peers), hashes, manifest.private)


def check_sources(
    manifest: Manifest,
    places: Places,
    session: SessionConfig,
    stopping: Callable[[], bool],
    *,
    is_synced: bool = False,
    is_own: bool = False,
) -> list[Finding]:
    """Ask every source of a release, all at the same time.

    Args:
        manifest: of the release.
        places: where it may be had.
        session: whether peers are found in other ways.
        stopping: asked several times a second.
        is_synced: whether the tree has the release already, so that nothing has to be fetched.
        is_own: whether this machine publishes it, and is itself the first source.
    """
    found: list[Source] = []
    jobs = [
        Job(
            "tracker",
            _noting(found, check_tracker, url, places.info_hashes),
            what=mask_tracker(url),
        )
        for url in places.trackers[:_MOST_TRACKERS]
    ]
    jobs += [
        Job("web_seed", _noting(found, check_web_seed, url, manifest), what=mask_url(url))
        for url in places.web_seeds[:_MOST_WEB_SEEDS]
    ]
    jobs += [
        Job("peer", _noting(found, check_peer, peer, places.info_hashes), what=peer[0])
        for peer in places.peers[:_MOST_PEERS]
    ]
    findings = side_by_side(jobs, stopping)
    return judge_sources(
        findings,
        places,
        session,
        delivers=any(source.delivers for source in found),
        is_needed=not (is_synced or is_own),
    )


def _noting(
    found: list[Source], check: Callable[..., tuple[Finding, bool]], *given: object
) -> Callable[[], list[Finding]]:
    def act() -> list[Finding]:
        source = Source(*check(*given))
        found.append(source)
        return [source.finding]

    return act


def judge_sources(
    findings: Sequence[Finding],
    places: Places,
    session: SessionConfig,
    *,
    delivers: bool,
    is_needed: bool,
) -> list[Finding]:
    """Decide what all sources together come to.

    Args:
        findings: on each of them.
        places: what there is.
        session: whether peers are found in other ways.
        delivers: whether one of them has, or knows of, all of the content.
        is_needed: whether there is something to fetch.
    """
    ways = _other_ways(places, session)
    if places.private:
        findings = [*findings, _judge_private(places)]
    # Nobody can be asked about what is missing where another way leads to the content, too.
    if delivers or not is_needed:
        findings = [
            replace(one, verdict=Verdict.WARNING) if one.verdict is Verdict.FAILED else one
            for one in findings
        ]
    if not findings:
        said = "it names no tracker and no web seed, and the configuration no peer"
        findings = [skipped("sources.named", f"{said}; peers are found by {ways or 'nothing'}")]
    if delivers:
        return [*findings, ok("sources.all", "all of the content can be had")]
    if not is_needed:
        return [*findings, ok("sources.all", "nothing has to be fetched at the moment")]
    if ways:
        said = f"no source that was asked has all of the content; peers may be found by {ways}"
        return [*findings, warning("sources.all", said, _ASK)]
    return [*findings, failed("sources.all", "nobody who was asked has all of the content", _ASK)]


def _judge_private(places: Places) -> Finding:
    check = "sources.private"
    if places.trackers:
        return ok(check, "it is private: only its trackers make peers known (BEP 27)")
    said = "it is private, and names no tracker: nobody makes peers known"
    return failed(check, said, "the publisher has to name a tracker, or not to set private")


def _other_ways(places: Places, session: SessionConfig) -> str:
    if places.private:
        return ""
    return " and ".join(
        name for name, is_on in (("DHT", session.dht), ("LSD", session.lsd)) if is_on
    )
