"""Whether a publication can be released: its folder, key, public file, and feed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, failed, failure, ok, skipped, warning
from torsync.model.errors import ConfigError, FeedError, RemoteError, StateError
from torsync.publish.feed.address import is_url_known, listen, public_url
from torsync.publish.state import PublicationState
from torsync.service.doctor.sockets import owner_of
from torsync.service.doctor.tree import look_around
from torsync.subscribe.remote.rules import Timeouts, mask_url

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from torsync.model.config import FeedConfig, PublicationConfig
    from torsync.model.manifest import Manifest

_TIMEOUTS = Timeouts(connect_s=4.0, read_s=6.0, total_s=10.0, attempts=1)
_NAMED = 3


def recall_publication(
    config: PublicationConfig, folder: Path
) -> tuple[list[Finding], Manifest | None]:
    """Read the state of a publication; give what it says, and the manifest of its release."""
    name = config.name
    first = f"make its first release: `torsync check-now {name}`, or `torsync run`"
    if not folder.is_dir():
        return [skipped("state.last", "it was never released yet", first)], None
    try:
        state = PublicationState(folder, read_only=True)
        released = state.published()
        message, hint = state.noted_error()
        is_paused = state.is_paused
    except StateError as error:
        where = "check the permissions of the state directory, and its disk"
        return [failure("state.database", error, where)], None
    findings = []
    if is_paused:
        findings.append(warning("state.paused", "it is paused", f"run `torsync resume {name}`"))
    if message:
        again = hint or f"run `torsync check-now {name}` to see it again"
        findings.append(warning("state.last", f"the last look failed: {message}", again))
    elif released is None:
        findings.append(skipped("state.last", "it was never released yet", first))
    else:
        facts = released.facts
        findings.append(ok("state.last", f"release {facts.number}, info-hash {facts.info_hash}"))
    return findings, released.manifest if released is not None else None


def check_folder(config: PublicationConfig) -> list[Finding]:
    """See that the folder of a publication can be read."""
    path = config.path
    if not path.is_dir():
        said = f"the folder {str(path)!r} is not there"
        return [failed("tree.folder", said, "mount its disk, or correct path in the configuration")]
    found = look_around(path)
    closed = tuple(
        one for one in found.closed if not os.access(one, os.R_OK | os.X_OK, effective_ids=True)
    )
    if wrong := (*closed, *found.unreadable):
        more = f" and {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
        said = f"{', '.join(map(repr, wrong[:_NAMED]))}{more} cannot be read: nothing is published"
        mend = f"`chmod -R u+rX {path}` as their owner, or leave them out with ignore"
        return [failed("tree.access", said, mend)]
    looked = f"{found.looked_at:,} files and folders" + ("" if found.is_all else ", not all")
    return [ok("tree.access", f"{str(path)!r} can be read: {looked} were looked at")]


def check_key(config: PublicationConfig) -> list[Finding]:
    """See that releases can be signed."""
    if config.secret_key is None:
        hint = "make a key with `torsync keygen`, and name it in secret_key"
        return [skipped("publication.key", "secret_key is not set: releases are not signed", hint)]
    from torsync.publish.keys import load_secret_key  # noqa: PLC0415 - costs start-up time

    try:
        load_secret_key(config.secret_key, os.environ)
    except ConfigError as error:
        return [failure("publication.key", error, "name another file in secret_key")]
    return [ok("publication.key", f"{str(config.secret_key)!r} can sign")]


def check_torrent(config: PublicationConfig) -> list[Finding]:
    """See that the public ``.torrent`` can be written; nothing is."""
    check = "publication.torrent"
    if config.torrent is None:
        return [skipped(check, "torrent is not set: only the feed serves it")]
    place = os.path.realpath(config.torrent)
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        said = f"there is no folder {folder!r} for the .torrent"
        return [failed(check, said, f"run `mkdir -p {folder}`, or correct torrent")]
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        said = f"user {os.geteuid()} may not write {place!r}"
        return [failed(check, said, f"give that user the folder {folder!r}, or correct torrent")]
    there = "is there, and" if os.path.exists(place) else "is not there yet, and"
    return [ok(check, f"{place!r} {there} can be replaced")]


def check_feed(feed: FeedConfig, names: Collection[str], service: Collection[int]) -> list[Finding]:
    """See that the feed can listen, and that its URL leads to it.

    Args:
        feed: its configuration.
        names: of publications.
        service: process ids of torsync's own service.
    """
    if feed.listen is None:
        return [skipped("feed.listen", "listen in [feed] is empty: there is no feed")]
    host, port = feed.listen
    try:
        listen(host, port).close()
    except FeedError as error:
        owner = owner_of(port)
        is_ours = owner is not None and owner.pid in service
        if not is_ours:
            who = f" ({owner.program!r}, process {owner.pid})" if owner is not None else ""
            hint = error.hint or "correct listen in [feed]"
            return [failed("feed.listen", f"{error.message}{who}", hint)]
        assert owner is not None
        said = f"torsync's service serves it on port {port} (process {owner.pid})"
        return [ok("feed.listen", said), *_check_url(feed, names, is_served=True)]
    served = " (the service serves it on another one)" if service and not port else ""
    findings = [ok("feed.listen", f"port {port or 'any'} is free{served}")]
    return [*findings, *_check_url(feed, names, is_served=bool(service))]


def _check_url(feed: FeedConfig, names: Collection[str], *, is_served: bool) -> list[Finding]:
    assert feed.listen is not None
    check = "feed.url"
    if not is_url_known(feed):
        said = "others' URL of the feed is not known: this machine has no way to the internet"
        return [warning(check, said, "set url in [feed] to what others reach it at")]
    if not feed.url and not feed.listen[1]:
        said = "the port is another one at each start, and so are the URLs that subscribers have"
        return [warning(check, said, "set a port in listen of [feed], such as 8080")]
    base = public_url(feed, feed.listen[1])
    if not is_served or not names:
        return [skipped(check, f"{mask_url(base)} is asked when the service runs: `torsync run`")]
    return [_ask(f"{base}/{name}.torrent") for name in names]


def _ask(url: str) -> Finding:
    from torsync.subscribe.remote.exchange import Exchange, place_of  # noqa: PLC0415 - requests

    check, shown = "feed.url", mask_url(url)
    hint = (
        "see that url in [feed] leads to this machine's feed: the name, the port that a router or "
        "web server in front forwards, and its firewall"
    )
    deadline = time.monotonic() + _TIMEOUTS.total_s
    asking = Exchange(url, headers={}, timeouts=_TIMEOUTS, deadline=lambda: deadline)
    try:
        with asking, asking.ask("HEAD", place_of(url), {}) as (answer, _place):
            status = answer.status_code
    except RemoteError as error:
        return failed(check, f"{shown}: {error.message.rpartition('found ')[2]}", hint)
    if status != 200:
        return failed(check, f"{shown} answers {status}", hint)
    return ok(check, f"{shown} answers, from this machine")
