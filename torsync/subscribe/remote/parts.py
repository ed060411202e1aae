"""A hints file of which parts are read: what all kinds have in common, and a local one."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import ConfigError, InterruptedByUserError, RemoteError
from torsync.model.hints.format import MAGIC, Range
from torsync.subscribe.remote.body import describe
from torsync.subscribe.remote.local import explained, file_path, is_unchanged, open_regular
from torsync.subscribe.remote.rules import RemoteMissingError, mask_url, said_of
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

UPLOAD = "the publisher has to put the hints there, readable for everybody who gets the .torrent"
AT_FAULT = "the server or a proxy is at fault: tell the publisher"

_GAP_BYTES = 4096  # cost less than a request
_FEW_REQUESTS = 64
_MOST_REQUESTS = 256  # some ten seconds to a distant server
_SPARE_BYTES = 256 * 1024


class Part(NamedTuple):
    """A span of the file, and what is there."""

    span: Range
    data: bytes


def merge_ranges(
    ranges: Sequence[Range],
    *,
    gap: int = _GAP_BYTES,
    few: int = _FEW_REQUESTS,
    most: int = _MOST_REQUESTS,
    spare: int = _SPARE_BYTES,
) -> list[Range]:
    """Decide what to ask for, so that all ranges are in it.

    Args:
        ranges: in any order; empty ones don't count.
        gap: bytes between two ranges that are rather fetched than asked around.
        few: how many ranges may come out in any case. Of more, the narrowest gaps are closed as
            long as that fetches no more than ``spare`` bytes and as many as are asked for.
        most: how many may come out at all.
        spare: bytes that may be fetched in vain to save requests.

    Returns:
        Ascending, without overlaps.
    """
    spans: list[Range] = []
    for one in sorted(one for one in ranges if one.length):
        if spans and one.offset - spans[-1].end <= gap:
            spans[-1] = _joined(spans[-1], one)
        else:
            spans.append(one)
    spare += sum(span.length for span in spans)
    widths = [after.offset - before.end for before, after in pairwise(spans)]
    closed: set[int] = set()
    for at in sorted(range(len(widths)), key=widths.__getitem__):
        left = len(spans) - len(closed)
        if left <= few or (left <= most and widths[at] > spare):
            break
        spare -= widths[at]
        closed.add(at)
    found = spans[:1]
    for at, span in enumerate(spans[1:]):
        if at in closed:
            found[-1] = _joined(found[-1], span)
        else:
            found.append(span)
    return found


def _joined(before: Range, after: Range) -> Range:
    """The range from the first byte of one to the last one of both."""
    return Range(before.offset, max(before.end, after.end) - before.offset)


class PartsReader(ABC):
    """Reads parts of one version of a file, up to a limit; a failure is final.

    Attributes:
        bytes_received: so far, without headers.
        shown: the URL as it may be shown.
    """

    def __init__(self, url: str, *, stopping: Callable[[], bool], max_bytes: int) -> None:
        """Prepare; nothing is opened or sent yet.

        Args:
            url: of the file.
            stopping: whether the work shall stop.
            max_bytes: the most that is ever received.
        """
        self.bytes_received = 0
        self._url = url
        self.shown = mask_url(url)
        self._stopping = stopping
        self._max_bytes = max_bytes
        self._failure: HintsUnavailableError | None = None

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """Read parts of the file; see ``HintsSource``."""
        if self._failure is not None:
            raise HintsUnavailableError(self._failure.message, hint=self._failure.hint)
        self._heed_stop()
        try:
            parts = self._fetch(merge_ranges(ranges))
            self._check_kind(parts)
        except HintsUnavailableError as error:
            self._give_up(error)
            raise
        except (RemoteError, ConfigError) as error:
            hint = UPLOAD if isinstance(error, RemoteMissingError) else error.hint
            failure = HintsUnavailableError(said_of("hints", error), hint=hint)
            self._give_up(failure)
            raise failure from None
        return list(_taken(ranges, parts))

    def close(self) -> None:
        """Let go of what is open; nothing can be read any more."""
        if self._failure is None:
            self._failure = self._unavailable(", found that they are not read any more")

    @abstractmethod
    def _fetch(self, spans: Sequence[Range]) -> list[Part]:
        """Fetch spans, ascending and without overlaps, or all that there is.

        Raises:
            HintsUnavailableError: why they cannot be had.
            RemoteError: likewise.
            InterruptedByUserError: the work shall stop.
        """

    def _give_up(self, failure: HintsUnavailableError) -> None:
        self._failure = failure
        self.close()

    def _check_kind(self, parts: Sequence[Part]) -> None:
        """Many servers have a page for what they do not have, and status 200 with it."""
        start = parts[0].data if parts and not parts[0].span.offset else MAGIC
        if not start.startswith(MAGIC[: len(start)]):
            raise self._unavailable(f", found {describe(start)}", hint=UPLOAD)

    def _check_limit(self, count: int) -> None:
        if self.bytes_received + count > self._max_bytes:
            raise self._unavailable(
                f" of which at most {self._max_bytes} bytes are needed, "
                f"found {self.bytes_received + count}",
                hint="nothing has to be done: they would cost more than they are worth",
            )

    def _check_end(self, span: Range, size: int, shown: str = "") -> None:
        if span.end > size:
            raise self._ends_early(span, f"{size} bytes in all", shown)

    def _ends_early(self, span: Range, found: str, shown: str = "") -> HintsUnavailableError:
        return self._unavailable(
            f" with bytes {span.offset} to {span.end - 1}, found {found}",
            shown,
            hint="the publisher has to put the whole hints file there",
        )

    def _changed(self, shown: str = "") -> HintsUnavailableError:
        return self._unavailable(
            " of one version, found that the file changed while it was read",
            shown,
            hint="the publisher may be putting a new release there: the next update will tell",
        )

    def _unavailable(
        self, text: str, shown: str = "", *, hint: str = AT_FAULT
    ) -> HintsUnavailableError:
        return HintsUnavailableError(f"{shown or self.shown}: expected hints{text}", hint=hint)

    def _heed_stop(self) -> None:
        if self._stopping():
            raise self._stopped()

    def _stopped(self) -> InterruptedByUserError:
        return InterruptedByUserError(f"{self.shown}: stopped while hints were read")


class LocalHints(PartsReader):
    """Hints in a file of this machine: a ``file:`` URL."""

    _file: BinaryIO | None = None

    def close(self) -> None:
        """Close the file."""
        super().close()
        if self._file is not None:
            self._file.close()

    def _fetch(self, spans: Sequence[Range]) -> list[Part]:
        with explained(self.shown):
            if self._file is None:
                self._file, self._status = open_regular(file_path(self._url), self.shown)
            parts = []
            for span in spans:
                self._heed_stop()
                self._check_end(span, self._status.st_size)
                self._check_limit(span.length)
                self._file.seek(span.offset)
                data = self._file.read(span.length)
                self.bytes_received += len(data)
                parts.append(Part(span, data))
            if not is_unchanged(self._status, os.fstat(self._file.fileno())):
                raise self._changed()
        return parts


def _taken(ranges: Sequence[Range], parts: Sequence[Part]) -> Iterator[bytes]:
    """Take the ranges out of the parts that they lie in."""
    offsets = [part.span.offset for part in parts]
    for offset, length in ranges:
        if not length:
            yield b""
            continue
        span, data = parts[bisect_right(offsets, offset) - 1]
        yield data[offset - span.offset : offset - span.offset + length]
