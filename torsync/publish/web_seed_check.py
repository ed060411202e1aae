"""Whether a web seed (BEP 19) has the content of a release, seen by a range or two of it.

This module imports requests, which takes a while; ``gate`` imports it when it is needed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import requests

from torsync.model.errors import RemoteError, RemoteUnreachableError
from torsync.model.samples import is_range_right
from torsync.subscribe.remote.exchange import Exchange, place_of
from torsync.subscribe.remote.rules import Timeouts, mask_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.manifest import Manifest
    from torsync.model.samples import FileRange

_TIMEOUTS = Timeouts(connect_s=5.0, read_s=5.0, total_s=20.0)
_CHUNK_BYTES = 256 * 1024
_HINT = (
    "put the files of this release there first; the release before stays public until then, and "
    "the service tries again by itself"
)


class WebSeedError(RemoteError):
    """A web seed does not have what the release says."""

    code = "web_seed"


def web_seed_url(web_seed: str, name: str, path: str) -> str:
    """Decide where a web seed has a file of a torrent with a folder (BEP 19).

    Args:
        web_seed: its URL.
        name: the torrent's root name.
        path: of the file, with slashes.
    """
    base = web_seed if web_seed.endswith("/") else f"{web_seed}/"
    return base + quote(f"{name}/{path}", safe="/")


def check_web_seed(web_seed: str, manifest: Manifest, parts: Iterable[FileRange]) -> None:
    """Fetch ranges of files from a web seed, and compare their hashes.

    Raises:
        WebSeedError: something else came, or nothing.
    """
    deadline = time.monotonic() + _TIMEOUTS.total_s
    asking = Exchange(web_seed, headers={}, timeouts=_TIMEOUTS, deadline=lambda: deadline)
    with asking as exchange:
        for part in parts:
            path = manifest.files[part.file_index].path
            url = web_seed_url(web_seed, manifest.name, path)
            last = part.offset + part.length - 1
            try:
                content = _get(exchange, url, part, manifest.files[part.file_index].size)
            except (RemoteUnreachableError, _UnfitError) as error:
                raise WebSeedError(
                    f"the web seed {mask_url(web_seed)} does not have the new release: expected "
                    f"bytes {part.offset} to {last} of {path!r} at {mask_url(url)}, found "
                    f"{_found(error)}",
                    hint=_HINT,
                ) from error
            if not is_range_right(manifest, part, content):
                raise WebSeedError(
                    f"the web seed {mask_url(web_seed)} has other content than the new release: "
                    f"bytes {part.offset} to {last} of {path!r} at {mask_url(url)} "
                    + _difference(part, content),
                    hint=_HINT,
                )


class _UnfitError(Exception):
    """What the web seed sent cannot be the range."""


def _found(error: Exception) -> str:
    """What was found, out of the words of an error of the poller."""
    return str(error).rpartition("found ")[2]


def _difference(part: FileRange, content: bytes) -> str:
    if len(content) != part.length:
        return f"should be {part.length} bytes, and {len(content)} came"
    return "do not have the hash that they should"


def _get(exchange: Exchange, url: str, part: FileRange, size: int) -> bytes:
    """Fetch a range of a file of ``size`` bytes, through redirects.

    Raises:
        RemoteUnreachableError: there was no answer.
        _UnfitError: it is no range.
    """
    asked = {
        "Range": f"bytes={part.offset}-{part.offset + part.length - 1}",
        "Accept-Encoding": "identity",
        "Cache-Control": "no-cache",
    }
    with exchange.ask("GET", place_of(url), asked) as (answer, _place):
        return _read_range(answer, part, size)


def _read_range(answer: requests.Response, part: FileRange, size: int) -> bytes:
    """Read the range out of an answer; the whole file will do only if it was asked for.

    Clients of BEP 19 ask for ranges, and give up a server that sends something else.
    """
    is_whole = part.length == size
    if answer.status_code == requests.codes.ok and not is_whole:
        raise _UnfitError("found a server that ignores the header Range (status 200)")
    if answer.status_code not in {requests.codes.ok, requests.codes.partial_content}:
        raise _UnfitError(f"found status {answer.status_code} {answer.reason or ''}".rstrip())
    content = bytearray()
    for chunk in answer.iter_content(_CHUNK_BYTES):
        content += chunk
        if len(content) > part.length:
            break
    return bytes(content[: part.length])
