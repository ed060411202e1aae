"""What the feed answers to which request (RFC 9110).

This module imports starlette; ``server`` imports it when a feed is started.
"""

from __future__ import annotations

import asyncio
import html
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from torsync.model.units import format_size
from torsync.publish.feed.catalogue import TORRENT, Absence, Pad, PublishedFile
from torsync.publish.feed.content import CHUNK_BYTES, EditedError, HintsContent, read_first
from torsync.publish.feed.request import (
    Span,
    UnsatisfiableRangeError,
    allows_range,
    is_match,
    parse_range,
    path_components,
    preferred_wait_s,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from torsync.publish.feed.catalogue import Catalogue, Document
    from torsync.publish.feed.content import Content

MAX_WAIT_S = 300
_CONTENT = "content"
_RETRY_AFTER_S = "5"
_FIRST_RELEASE_S = 30.0  # longer than libtorrent waits, which calls again then
_ANY = ""  # instead of the name of a .torrent
# Who takes nothing keeps about four chunks in memory for a minute: many get smaller ones.
_MOST_WITH_CHUNKS = 64
_SMALL_CHUNK_BYTES = 16 * 1024
_ZEROS = bytes(CHUNK_BYTES)
_Result = TypeVar("_Result")
_PLAIN = {"X-Content-Type-Options": "nosniff"}


class FeedApp:
    """The ASGI application; it runs in the feed's own event loop."""

    def __init__(self, catalogue: Catalogue, readers: Executor) -> None:
        """Prepare.

        Args:
            catalogue: of what is published.
            readers: whose threads read files.
        """
        self._catalogue = catalogue
        self._readers = readers
        self._changed: dict[str, asyncio.Future[None]] = {}
        self._is_closing = False
        self._busy = 0  # requests under way, without polls that are held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == "http"
        self._busy += 1
        try:
            answer = await self._answer(Request(scope, receive))
            await answer(scope, receive, send)
        finally:
            self._busy -= 1

    def _chunk_bytes(self) -> int:
        """How much to read at a time for one client."""
        return CHUNK_BYTES if self._busy <= _MOST_WITH_CHUNKS else _SMALL_CHUNK_BYTES

    def wake(self, file_name: str) -> None:
        """End the polls that wait for a change of a ``.torrent``."""
        for key in (file_name, _ANY):
            waiting = self._changed.pop(key, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def close(self) -> None:
        """Hold no more polls."""
        self._is_closing = True
        for file_name in list(self._changed):
            self.wake(file_name)

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return _plain(405, {"Allow": "GET, HEAD"})
        components = path_components(request.scope["raw_path"])
        if components == ():
            return self._front_page()
        if components is not None and len(components) == 1:
            return await self._answer_document(request, components[0])
        if components is not None and len(components) > 3 and components[0] == _CONTENT:
            found = await self._find(components[1], components[2], "/".join(components[3:]))
            if isinstance(found, PublishedFile):
                return await self._answer_file(request, found)
            if isinstance(found, Pad):
                return self._answer_pad(request, found)
            return _plain(found.value)
        return _plain(404)

    # --- .torrent and signature -----------------------------------------------------------

    async def _answer_document(self, request: Request, file_name: str) -> Response:
        may_come = self._catalogue.may_come(file_name)  # before: it may come in between
        document = self._catalogue.document(file_name)
        if document is None:
            hints = self._catalogue.hints(file_name)
            if hints is not None:
                return await self._answer_hints(request, hints)
            return _not_yet() if may_come else _plain(404)
        headers = {"Cache-Control": "no-cache", **_PLAIN}
        condition = request.headers.get("if-none-match", "")
        if file_name.endswith(TORRENT):
            headers["Vary"] = "Prefer"
            preferred_s = preferred_wait_s(request.headers.getlist("prefer"))
            if preferred_s > 0:
                wait_s = min(preferred_s, MAX_WAIT_S)
                headers["Preference-Applied"] = f"wait={wait_s}"
                if is_match(condition, document.etag):
                    document = await self._wait_for_change(request, file_name, document, wait_s)
        headers["ETag"] = document.etag
        if is_match(condition, document.etag):
            return Response(status_code=304, headers=headers)
        headers["Content-Type"] = document.media_type
        if request.method == "HEAD" or len(document.body) <= _SMALL_CHUNK_BYTES:
            return Response(document.body, headers=headers)
        headers["Content-Length"] = str(len(document.body))
        return _Parts(200, headers, self._slices(document.body))

    async def _wait_for_change(
        self, request: Request, file_name: str, known: Document, wait_s: float
    ) -> Document:
        """Wait for a version that the client does not have (RFC 7240, section 4.3)."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + wait_s
        gone = asyncio.ensure_future(_until_gone(request.receive))
        document = known
        self._busy -= 1
        try:
            while (
                document.etag == known.etag
                and not self._is_closing
                and (left_s := ends - loop.time()) > 0
            ):
                changed = self._changed.get(file_name)
                if changed is None:
                    changed = self._changed[file_name] = loop.create_future()
                await asyncio.wait({gone, changed}, timeout=left_s, return_when="FIRST_COMPLETED")
                if gone.done():
                    break
                document = self._catalogue.document(file_name) or document
        finally:
            self._busy += 1
            gone.cancel()
        return document

    def _front_page(self) -> Response:
        lines = [
            f'<li><a href="{name}{TORRENT}">{name}{TORRENT}</a> ({size}), {info_hash}</li>'
            for name, size, info_hash in self._publications()
        ]
        listed = "\n".join(["<ul>", *lines, "</ul>"]) if lines else "<p>Nothing yet.</p>"
        page = f'<!DOCTYPE html>\n<meta charset="utf-8">\n<title>Publications</title>\n{listed}\n'
        headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-cache"}
        return Response(page, headers={**headers, **_PLAIN}, media_type="text/html")

    def _publications(self) -> list[tuple[str, str, str]]:
        found = []
        for name in self._catalogue.names():
            document = self._catalogue.document(f"{name}{TORRENT}")
            size = format_size(len(document.body)) if document else ""
            found.append((html.escape(name), size, self._catalogue.info_hash(name)))
        return found

    async def _answer_hints(self, request: Request, path: Path) -> Response:
        """Answer from the file: it may be hundreds of megabytes, of which few are asked for."""
        loop = asyncio.get_running_loop()
        try:
            content = await loop.run_in_executor(self._readers, HintsContent, path)
        except EditedError:  # it is not made yet, most likely
            return _plain(404)
        except OSError:
            return _not_yet()
        wanted = _wanted(request, content.etag, content.size_bytes)
        if isinstance(wanted, Response):
            content.close()
            return wanted
        headers = {**wanted.headers, "Cache-Control": "no-cache"}
        return _Parts(wanted.status, headers, self._rest_of_hints(content, wanted.span))

    async def _rest_of_hints(
        self, content: HintsContent, span: Span
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        try:
            while span.start < span.end:
                if self._is_closing:
                    raise EditedError
                most_bytes = self._chunk_bytes()
                part = await loop.run_in_executor(self._readers, content.read, span, most_bytes)
                span = Span(span.start + len(part), span.end)
                yield part
        finally:
            content.close()

    # --- content --------------------------------------------------------------------------

    async def _find(
        self, info_hash: str, root_name: str, path: str
    ) -> PublishedFile | Pad | Absence:
        """Find a file; after a restart, wait for the releases that are not served again yet.

        Whatever else than the file it is answered, 503 too, libtorrent 2.1.1 never asks again.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + _FIRST_RELEASE_S
        while True:
            may_come = self._catalogue.may_come()  # before: it may come in between
            found = self._catalogue.file(info_hash, root_name, path)
            left_s = ends - loop.time()
            is_final = found is not Absence.UNKNOWN or not may_come
            if is_final or left_s <= 0 or self._is_closing:
                return found
            if _ANY not in self._changed:
                self._changed[_ANY] = loop.create_future()
            self._busy -= 1
            try:
                await asyncio.wait({self._changed[_ANY]}, timeout=left_s)
            finally:
                self._busy += 1

    async def _answer_file(self, request: Request, file: PublishedFile) -> Response:
        wanted = _wanted(request, file.etag, file.stamp.size)
        if isinstance(wanted, Response):
            return wanted
        try:
            first, content = await self._in_reader(
                read_first, file, wanted.span, self._chunk_bytes(), about=file
            )
        except EditedError:
            return _plain(Absence.GONE.value)
        except OSError:  # no room for another open file: it is asked for again if it is cut
            return _Parts(wanted.status, wanted.headers, _cut())
        if content is None:
            return Response(first, wanted.status, wanted.headers)
        parts = self._rest_of(file, content, first, wanted.span)
        return _Parts(wanted.status, wanted.headers, parts)

    async def _rest_of(
        self, file: PublishedFile, content: Content, first: bytes, span: Span
    ) -> AsyncGenerator[bytes, None]:
        """Read on while what is read is what was published; each chunk is checked before it goes.

        Raises:
            EditedError: it is not any more.
        """
        try:
            part = first
            while True:
                if self._is_closing or self._catalogue.is_withdrawn(file):
                    raise EditedError
                yield part
                span = Span(span.start + len(part), span.end)
                if span.start >= span.end:
                    break
                part = b""  # one less in memory
                part = await self._in_reader(content.read, span, self._chunk_bytes(), about=file)
        finally:
            content.close()

    async def _slices(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """Not at once: thousands of clients may ask for a large ``.torrent`` when it is new."""
        start = 0
        while start < len(body):
            part = body[start : start + self._chunk_bytes()]
            start += len(part)
            yield part

    def _answer_pad(self, request: Request, pad: Pad) -> Response:
        wanted = _wanted(request, f'"pad-{pad.size_bytes}"', pad.size_bytes)
        if isinstance(wanted, Response):
            return wanted
        return _Parts(wanted.status, wanted.headers, self._zeros(wanted.span))

    async def _zeros(self, span: Span) -> AsyncGenerator[bytes, None]:
        left_bytes = span.end - span.start
        while left_bytes:
            part = _ZEROS[: min(left_bytes, self._chunk_bytes())]
            left_bytes -= len(part)
            yield part

    async def _in_reader(
        self, read: Callable[..., _Result], *given: object, about: PublishedFile
    ) -> _Result:
        """Read in another thread, and tell the owner of the file if it was edited."""

        def work() -> _Result:
            try:
                return read(*given)
            except EditedError:
                self._catalogue.tell_edited(about)
                raise

        return await asyncio.get_running_loop().run_in_executor(self._readers, work)


class _Wanted(NamedTuple):
    """What is to be sent of a file; nothing of it for HEAD."""

    status: int
    headers: dict[str, str]
    span: Span


def _wanted(request: Request, etag: str, size_bytes: int) -> _Wanted | Response:
    """Decide what a request for a file gets; an answer where that is nothing of the file."""
    headers = {"Accept-Ranges": "bytes", "ETag": etag, **_PLAIN}
    if is_match(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    asked = None
    if request.method == "GET" and allows_range(request.headers.get("if-range", ""), etag):
        try:
            asked = parse_range(request.headers.get("range", ""), size_bytes)
        except UnsatisfiableRangeError:
            return _plain(416, {"Content-Range": f"bytes */{size_bytes}", **headers})
    span = asked or Span(0, size_bytes)
    if asked is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size_bytes}"
    headers["Content-Length"] = str(span.end - span.start)
    headers["Content-Type"] = "application/octet-stream"
    if request.method == "HEAD":
        span = Span(0, 0)
    return _Wanted(200 if asked is None else 206, headers, span)


class _Parts(Response):
    """An answer that is sent in parts, each when the client has taken most of the one before.

    What fails on the way ends the connection: the client sees that the body is too short.
    """

    def __init__(
        self, status_code: int, headers: Mapping[str, str], parts: AsyncGenerator[bytes, None]
    ) -> None:
        self.status_code = status_code
        self.background = None
        self.init_headers(headers)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            async with aclosing(self._parts) as parts:
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    await asyncio.sleep(0)  # sending may return at once, also when nobody is there
                    if gone.done():
                        return
        except EditedError:
            return
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cut() -> AsyncGenerator[bytes, None]:
    raise EditedError
    yield b""


async def _until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection; what it sends meanwhile is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _plain(status: int, headers: Mapping[str, str] | None = None) -> Response:
    text = f"{status} {HTTPStatus(status).phrase}\n"
    return Response(text, status, {**(headers or {})}, media_type="text/plain")


def _not_yet() -> Response:
    return _plain(503, {"Retry-After": _RETRY_AFTER_S})
