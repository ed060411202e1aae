"""The body of an answer: decoded within a limit, and recognised as a ``.torrent`` or not."""

from __future__ import annotations

import zlib

from torsync.model.errors import RemoteInvalidError
from torsync.model.units import format_size

_GZIP = 16 + zlib.MAX_WBITS


class BodyDecoder:
    """Collects a body, decoding ``gzip`` or ``deflate``, and never holds more than the limit.

    What is decoded is limited, and so is what arrives: a stream can be endless and yet
    decode to nothing.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        """Begin a body.

        Args:
            encoding: ``"gzip"``, ``"deflate"`` or ``"identity"``.
            max_bytes: the largest decoded body that is accepted.
        """
        self._encoding = encoding
        self._max_bytes = max_bytes
        # Stored blocks, the worst case, add 5 bytes to 16 KiB; the rest is room for headers.
        self._max_encoded_bytes = max_bytes + max_bytes // 1024 + 65536
        self._encoded_bytes = 0
        self._body = bytearray()
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bool:
        """Take the next bytes as they came; False once the body is too large.

        Raises:
            zlib.error: the encoding is damaged.
        """
        self._encoded_bytes += len(data)
        while data:
            room = self._max_bytes + 1 - len(self._body)
            if room <= 0:
                break
            if self._encoding == "identity":
                self._body += data[:room]
                break
            if self._inflate is None or self._inflate.eof:
                if self._inflate is not None and not self._continues(data):
                    break
                self._inflate = zlib.decompressobj(self._window_bits(data))
            self._body += self._inflate.decompress(data, room)
            data = self._inflate.unused_data or self._inflate.unconsumed_tail
        return len(self._body) <= self._max_bytes and self._encoded_bytes <= self._max_encoded_bytes

    def finish(self) -> bytes:
        """Return the decoded body.

        Raises:
            EOFError: the encoded stream ended in the middle.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise EOFError
        return bytes(self._body)

    def _continues(self, data: bytes) -> bool:
        """Gzip members may follow one another (RFC 1952, section 2.2); the rest is padding."""
        return self._encoding == "gzip" and data.startswith(b"\x1f")

    def _window_bits(self, data: bytes) -> int:
        """``deflate`` means the zlib format (RFC 9110, section 8.4.1.2); some send it bare."""
        if self._encoding == "gzip":
            return _GZIP
        return zlib.MAX_WBITS if data[0] & 0x8F == 0x08 else -zlib.MAX_WBITS


def check_body(body: bytes, url: str) -> None:
    """Refuse a body that is not a bencoded dictionary at first sight (BEP 3).

    Args:
        body: the decoded body.
        url: as it shall be shown, masked already.

    Raises:
        RemoteInvalidError: it is empty, an HTML page, or something else.
    """
    if body.startswith(b"d"):
        return
    hint = "check the URL: it has to lead to the .torrent itself"
    if not body:
        hint = "the publisher may be writing it just now; try again later"
    elif _is_html(body):
        hint += "; check headers for credentials"
    found = describe(body)
    raise RemoteInvalidError(f"{url}: expected a .torrent, found {found}", hint=hint)


def describe(body: bytes) -> str:
    """Say what a body is that is not what was expected."""
    if not body:
        return "an empty body"
    if _is_html(body):
        return "an HTML page (a login page?)"
    return f"{len(body)} bytes that start with {body[:16]!r}"


def too_large_error(url: str, max_bytes: int) -> RemoteInvalidError:
    """The error for a body above the limit; ``url`` is masked already."""
    return RemoteInvalidError(
        f"{url}: expected a .torrent of at most {max_bytes} bytes ({format_size(max_bytes)}), "
        "found a larger one",
        hint="check the URL; if the .torrent really is that large, raise max_torrent_size",
    )


def _is_html(body: bytes) -> bool:
    start = body[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html")) or (
        start.startswith(b"<") and b"<html" in start
    )
