"""The URL of a subscription: what a poll gets there, and what it costs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.checkup import Finding, Verdict, failure, ok, warning
from torsync.model.errors import ConfigError, ManifestError, RemoteError
from torsync.model.metainfo import parse_metainfo
from torsync.model.units import format_duration, format_size
from torsync.service.doctor.clock import judge_server_clock
from torsync.service.doctor.reach import check_reach
from torsync.subscribe.remote.poll import Fetched, NotModified, Remote, Validators
from torsync.subscribe.remote.rules import Timeouts, check_url, mask_url, resolve_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.config import SubscriptionConfig
    from torsync.model.manifest import Manifest

TIMEOUTS = Timeouts(connect_s=4.0, read_s=6.0, total_s=10.0, attempts=1)
_HOLD_S = 1
_LARGE_BYTES = 1024**2
_ASK = "check the url in the configuration"


@dataclass(frozen=True)
class Remotely:
    """What is at a URL.

    Attributes:
        findings: about it.
        fetched: the bytes; None if they could not be had.
        manifest: what they say; None if they are no ``.torrent`` that can be used.
    """

    findings: list[Finding] = field(default_factory=list)
    fetched: Fetched | None = None
    manifest: Manifest | None = None


class Head(NamedTuple):
    """What an answer declares.

    Attributes:
        status: three digits.
        headers: names without regard to case.
        led: where redirects led, as it may be shown; empty without one.
        now_s: when it came, in Unix seconds.
    """

    status: int
    headers: Mapping[str, str]
    led: str
    now_s: float


def check_remote(config: SubscriptionConfig) -> Remotely:
    """Fetch the ``.torrent`` of a subscription as a poll does, and look at how it comes."""
    try:
        scheme = check_url(config.url).scheme
        headers = resolve_headers(config.headers, os.environ)
    except ConfigError as error:
        return Remotely([failure("url.headers", error, _ASK)])
    if scheme == "file":
        return _fetch(config, [])
    findings = check_reach(config.url)
    if any(found.verdict is Verdict.FAILED for found in findings):
        return Remotely(findings)
    try:
        head = _ask(config.url, headers)
    except RemoteError as error:
        return Remotely([*findings, failure("url.http", error, _ASK)])
    if head.status == 200:
        findings += [judge_head(config.url, head), *judge_server_clock(head.headers, head.now_s)]
    found = _fetch(config, findings)
    if found.fetched is not None:
        found.findings.append(_check_conditional(config, found.fetched, head))
        found.findings.append(_check_long_poll(config, headers, found.fetched))
    return found


def _ask(url: str, headers: Mapping[str, str]) -> Head:
    from torsync.subscribe.remote.exchange import Exchange, place_of  # noqa: PLC0415 - requests

    deadline = time.monotonic() + TIMEOUTS.total_s
    asking = Exchange(url, headers=headers, timeouts=TIMEOUTS, deadline=lambda: deadline)
    with asking, asking.ask("GET", place_of(url), {}) as (response, place):
        return Head(response.status_code, response.headers, place.led, time.time())


def judge_head(url: str, head: Head) -> Finding:
    """Decide what status, redirects and content type of a good answer say."""
    kind = head.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    shown = f"{mask_url(url)} answers {head.status}"
    shown += f", redirected to {head.led}" if head.led else ""
    shown += f", as {kind}" if kind.isprintable() and kind else ", without a content type"
    if kind.startswith("text/"):
        return warning(
            "url.http",
            shown,
            "proxies may change text on the way: have the server send application/x-bittorrent "
            "(nginx: `types { application/x-bittorrent torrent; }`)",
        )
    return ok("url.http", shown)


def _fetch(config: SubscriptionConfig, findings: list[Finding]) -> Remotely:
    try:
        remote = Remote(
            config.url,
            headers=config.headers,
            max_bytes=config.max_torrent_bytes,
            timeouts=TIMEOUTS,
        )
        fetched = remote.poll()
    except (RemoteError, ConfigError) as error:
        return Remotely([*findings, failure("url.content", error, _ASK)])
    assert isinstance(fetched, Fetched)
    try:
        manifest = parse_metainfo(fetched.body, windows=os.name == "nt")
    except ManifestError as error:
        found = failure("url.content", error, "the publisher has to mend the .torrent")
        return Remotely([*findings, found], fetched)
    judged = judge_content(len(fetched.body), config.max_torrent_bytes, manifest)
    return Remotely([*findings, judged], fetched, manifest)


def judge_content(size_bytes: int, most_bytes: int, manifest: Manifest) -> Finding:
    """Decide what the ``.torrent`` itself says."""
    files = f"{len(manifest.files):,} files, {format_size(manifest.total_size)}"
    said = f"release {manifest.name!r}: {files}; the .torrent has {format_size(size_bytes)}"
    if size_bytes * 5 > most_bytes * 4:
        return warning(
            "url.content",
            f"{said}, and more than {format_size(most_bytes)} is refused",
            "raise max_torrent_size of the subscription before it grows further",
        )
    return ok("url.content", said)


def _check_conditional(config: SubscriptionConfig, fetched: Fetched, head: Head) -> Finding:
    again = None
    if fetched.validators != Validators():
        remote = Remote(
            config.url,
            headers=config.headers,
            max_bytes=config.max_torrent_bytes,
            timeouts=TIMEOUTS,
        )
        try:
            again = remote.poll(fetched.validators)
        except RemoteError as error:
            return failure("url.conditional", error, "tell the publisher: the server is at fault")
    has_any = bool({"ETag", "Last-Modified"} & {*head.headers})
    return judge_conditional(
        len(fetched.body),
        config.interval_s,
        is_honoured=None if again is None else isinstance(again, NotModified),
        has_validators=has_any,
    )


def judge_conditional(
    size_bytes: int, interval_s: float, *, is_honoured: bool | None, has_validators: bool
) -> Finding:
    """Decide what a poll costs where nothing has changed.

    Args:
        size_bytes: of the ``.torrent``.
        interval_s: between polls.
        is_honoured: whether the server said "not modified"; None if it could not be asked.
        has_validators: whether it sent an ``ETag`` or a ``Last-Modified``.
    """
    cost = f"each poll fetches {format_size(size_bytes)} every {format_duration(interval_s)}"
    if is_honoured:
        return ok("url.conditional", "a poll without news costs one short answer (304)")
    if is_honoured is None and has_validators:
        return ok("url.conditional", "it was changed this moment; a later poll can be conditional")
    said = (
        "the server sends the .torrent again though it has not changed"
        if has_validators
        else "the server sends neither ETag nor Last-Modified"
    )
    if size_bytes < _LARGE_BYTES:
        return ok("url.conditional", f"{said}: {cost}")
    return warning(
        "url.conditional",
        f"{said}: {cost}",
        "have the server honour If-None-Match (nginx and torsync's feed do), or raise interval",
    )


def _check_long_poll(
    config: SubscriptionConfig, headers: Mapping[str, str], fetched: Fetched
) -> Finding:
    polled = f"new releases are seen by the poll every {format_duration(config.interval_s)}"
    if not fetched.validators.etag:
        return ok("url.long_poll", f"no ETag to wait with; {polled}")
    from torsync.subscribe.remote.http import hold  # noqa: PLC0415 - requests imports slowly

    try:
        held = hold(
            config.url,
            headers=headers,
            conditions={"If-None-Match": fetched.validators.etag},
            wait_s=_HOLD_S,
            timeouts=TIMEOUTS,
            deadline=time.monotonic() + TIMEOUTS.connect_s + TIMEOUTS.read_s,
            on_socket=lambda _socket: None,
        )
    except RemoteError:
        return ok("url.long_poll", f"the server does not hold requests; {polled}")
    if held.is_applied and held.status in {200, 304}:
        return ok("url.long_poll", "the server tells of a new release at once")
    return ok("url.long_poll", f"the server does not hold requests; {polled}")
