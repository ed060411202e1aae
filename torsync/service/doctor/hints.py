"""Whether the hints file of a release can be had, which saves fetching what has moved."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, ok, skipped, warning
from torsync.model.errors import ConfigError, RemoteError
from torsync.model.hints.format import MAGIC
from torsync.subscribe.remote.local import explained, file_path, open_regular
from torsync.subscribe.remote.references import hints_url
from torsync.subscribe.remote.rules import Timeouts, mask_url, resolve_headers

if TYPE_CHECKING:
    from torsync.model.config import SubscriptionConfig
    from torsync.model.manifest import Manifest

_TIMEOUTS = Timeouts(connect_s=4.0, read_s=6.0, total_s=10.0, attempts=1)
_UPLOAD = (
    "updates work without it, and fetch more; the publisher has to put the hints beside the "
    ".torrent, readable for everybody who gets that"
)


def check_hints(config: SubscriptionConfig, manifest: Manifest) -> list[Finding]:
    """Fetch the first bytes of the hints file that a release names."""
    check = "hints.file"
    if not manifest.hints:
        return [skipped(check, "the release names no hints: what moves inside a file is fetched")]
    url = hints_url(config.url, manifest.hints)
    if url is None:
        return [warning(check, "the release names hints where they may not be", _UPLOAD)]
    shown = mask_url(url)
    try:
        begins = _read_file(url) if url.startswith("file:") else _fetch(config, url)
    except (RemoteError, ConfigError) as error:
        said = f"{shown}: {error.message.rpartition('found ')[2]}"
        return [warning(check, said, _UPLOAD)]
    if begins != MAGIC:
        return [warning(check, f"{shown} is no hints file", _UPLOAD)]
    return [ok(check, f"{shown} is there")]


def _read_file(url: str) -> bytes:
    shown = mask_url(url)
    with explained(shown):
        file, _ = open_regular(file_path(url), shown)
        with file:
            return file.read(len(MAGIC))


def _fetch(config: SubscriptionConfig, url: str) -> bytes:
    from torsync.subscribe.remote.exchange import Exchange, place_of  # noqa: PLC0415 - requests

    deadline = time.monotonic() + _TIMEOUTS.total_s
    headers = resolve_headers(config.headers, os.environ)
    asking = Exchange(config.url, headers=headers, timeouts=_TIMEOUTS, deadline=lambda: deadline)
    asked = {"Range": f"bytes=0-{len(MAGIC) - 1}", "Accept-Encoding": "identity"}
    with asking, asking.ask("GET", place_of(url), asked) as (answer, _place):
        if answer.status_code not in {200, 206}:
            raise RemoteError(f"found status {answer.status_code}")
        return bytes(answer.raw.read(len(MAGIC), decode_content=False))
