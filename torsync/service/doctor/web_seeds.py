"""Whether a web seed (BEP 19) has a release: the right sizes, ranges, and the right version."""

from __future__ import annotations

import re
import time
from random import randrange
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from torsync.model.checkup import Finding, failed, ok, skipped, warning
from torsync.model.errors import RemoteError
from torsync.model.samples import FileRange, choose_ranges, is_range_right
from torsync.model.units import format_size
from torsync.subscribe.remote.rules import Timeouts, mask_url

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest
    from torsync.subscribe.remote.exchange import Exchange

_TIMEOUTS = Timeouts(connect_s=4.0, read_s=6.0, total_s=15.0, attempts=1)
_CHUNK_BYTES = 256 * 1024
_SAMPLES = 3
_MOST_BYTES = 4 * 1024**2
_TELL = "tell the publisher; if web_seeds of the subscription names it, remove it there"
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class Part(NamedTuple):
    """What came for a range.

    Attributes:
        status: of the answer.
        content: at most as many bytes as were asked for.
        total: the size of the file, as the server has it; -1 if it did not say.
    """

    status: int
    content: bytes
    total: int


def check_web_seed(url: str, manifest: Manifest) -> tuple[Finding, bool]:
    """Fetch a range or two of a release from a web seed.

    Returns:
        What was found, and whether it has the release.
    """
    shown = mask_url(url)
    if urlsplit(url).scheme not in {"http", "https"}:
        return skipped("web_seed", f"{shown}: only http and https can be tried"), False
    parts = _choose(manifest)
    if not parts:
        return skipped("web_seed", f"{shown}: the release has no content"), False
    from torsync.subscribe.remote.exchange import Exchange  # noqa: PLC0415 - requests is slow

    deadline = time.monotonic() + _TIMEOUTS.total_s
    with Exchange(url, headers={}, timeouts=_TIMEOUTS, deadline=lambda: deadline) as exchange:
        for part in parts:
            try:
                found = _get(exchange, file_url(url, manifest, part.file_index), part)
            except RemoteError as error:
                said = f"{shown}: {error.message.rpartition('found ')[2]}"
                return failed("web_seed", said, f"check the network; else {_TELL}"), False
            finding = judge_part(shown, manifest, part, found)
            if finding is not None:
                return finding, False
    checked = any(is_checkable(part) for part in parts)
    if not checked:
        said = f"{shown} answers ranges of the right sizes; no piece of one file alone to compare"
        return ok("web_seed", said), True
    return ok("web_seed", f"{shown} has this release: sizes, ranges and hashes are right"), True


def file_url(url: str, manifest: Manifest, index: int) -> str:
    """Decide where a web seed has a file (BEP 19): under the root name, if there is a folder."""
    path = manifest.files[index].path
    if len(manifest.files) == 1 and path == manifest.name:  # a torrent of a single file
        return f"{url}{quote(path)}" if url.endswith("/") else url
    base = url if url.endswith("/") else f"{url}/"
    return base + quote(f"{manifest.name}/{path}", safe="/")


def is_checkable(part: FileRange) -> bool:
    """Whether a range has a hash of its own; the others only show the size of a file."""
    return part.length > 1


def _choose(manifest: Manifest) -> list[FileRange]:
    drawn = [part for _ in range(_SAMPLES) for part in choose_ranges(manifest, (), randrange)]
    chosen = [part for part in dict.fromkeys(drawn) if part.length <= _MOST_BYTES]
    largest = max(manifest.files, key=lambda file: file.size)
    if not largest.size:
        return []
    probe = FileRange(manifest.files.index(largest), largest.size - 1, 1, -1)
    return [probe, *(part for part in chosen if is_checkable(part))]


def _get(exchange: Exchange, url: str, part: FileRange) -> Part:
    from torsync.subscribe.remote.exchange import content_length, place_of  # noqa: PLC0415

    last = part.offset + part.length - 1
    asked = {"Range": f"bytes={part.offset}-{last}", "Accept-Encoding": "identity"}
    with exchange.ask("GET", place_of(url), asked) as (answer, _place):
        total = -1
        if match := _RANGE.fullmatch(answer.headers.get("Content-Range", "")):
            total = int(match[3]) if match[3] != "*" else -1
        elif answer.status_code == 200:
            length = content_length(answer)
            total = -1 if length is None else length
        content = bytearray()
        if answer.status_code == 206:
            for chunk in answer.iter_content(_CHUNK_BYTES):
                content += chunk
                if len(content) >= part.length:
                    break
        return Part(answer.status_code, bytes(content[: part.length]), total)


def judge_part(shown: str, manifest: Manifest, part: FileRange, found: Part) -> Finding | None:
    """Decide what is wrong with what a web seed sent for a range; None if nothing is."""
    file = manifest.files[part.file_index]
    if found.status in {404, 410}:
        said = f"{shown} does not have {file.path!r} (status {found.status})"
        return failed("web_seed", said, f"it has another release, or none: {_TELL}")
    if found.status not in {200, 206}:
        said = f"{shown} answers {found.status} for {file.path!r}"
        return failed("web_seed", said, _TELL)
    if found.total not in {-1, file.size}:
        said = (
            f"{shown} has {file.path!r} with {format_size(found.total)}, and the release with "
            f"{format_size(file.size)}"
        )
        return failed("web_seed", said, f"it has another release: {_TELL}")
    if found.status == 200:
        said = f"{shown} ignores ranges, which BEP 19 is made of"
        return failed("web_seed", said, f"the server has to honour Range (nginx does): {_TELL}")
    if len(found.content) != part.length:
        said = f"{shown} sends {len(found.content)} of {part.length} bytes of {file.path!r}"
        return warning("web_seed", said, _TELL)
    if is_checkable(part) and not is_range_right(manifest, part, found.content):
        said = f"{shown} has other content in {file.path!r} than the release"
        return failed("web_seed", said, f"it has another release: {_TELL}")
    return None
