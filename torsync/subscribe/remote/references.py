"""Where a ``.torrent`` says that its hints are, and whether it may lead there."""

from __future__ import annotations

from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

from torsync.subscribe.remote.rules import url_problem

_MOST_CHARACTERS = 2048  # more than servers and browsers take


def hints_url(configured_url: str, reference: str) -> str | None:
    """Decide where the hints of a release are, from what its ``.torrent`` says.

    A ``.torrent`` comes from strangers: it may lead to any web server, as a redirect may, but
    never from https to http, and to a local file only from one in the same folder or above.

    Args:
        configured_url: the subscription's.
        reference: relative to it, or absolute (RFC 3986, section 4.1). A query of the configured
            URL is kept where the reference adds to the name of the ``.torrent``, as it is for the
            signature.

    Returns:
        A URL, with the user and password of the configured one if the reference names no server;
        None if it may not be followed.
    """
    is_clean = reference.isprintable() and not set(" \\") & {*reference}
    if not is_clean or not 0 < len(reference) <= _MOST_CHARACTERS:
        return None
    base = urlsplit(configured_url)
    try:
        if "@" in urlsplit(reference).netloc:
            return None
        if base.scheme == "file":
            return _local_hints_url(configured_url, reference)
        target = urlsplit(urljoin(configured_url, reference))
        if target.scheme not in {"http", "https"} or url_problem(target.geturl()):
            return None
    except ValueError:
        return None
    if (base.scheme, target.scheme) == ("https", "http"):
        return None
    if target.netloc == base.netloc and not target.query and _adds_to(target.path, base.path):
        target = target._replace(query=base.query)
    return target._replace(fragment="").geturl()


def _adds_to(path: str, base: str) -> bool:
    """Whether a path is another one with something behind its last name."""
    added = unquote(path).removeprefix(unquote(base))
    is_longer = len(added) < len(unquote(path))
    return is_longer and not base.endswith("/") and "/" not in added


def local_path(url: str) -> bytes | None:
    """Decide the path of a file URL (RFC 8089); it has no query: ``?`` and ``#`` are the name's.

    None if it names another host, or no absolute path.
    """
    rest = url.partition(":")[2]
    host = ""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        rest = slash + path
    is_here = host.lower() in ("", "localhost") and rest.startswith("/")
    path_bytes = unquote_to_bytes(rest)
    return path_bytes if is_here and b"\0" not in path_bytes else None


def _local_hints_url(configured_url: str, reference: str) -> str | None:
    parts = urlsplit(reference)
    configured = local_path(configured_url)
    is_here = parts.scheme in ("", "file") and parts.netloc.lower() in ("", "localhost")
    if configured is None or not is_here or parts.query or parts.fragment:
        return None
    folder = configured.split(b"/")[:-1]
    names = [unquote_to_bytes(name) for name in parts.path.split("/")]
    if parts.scheme or parts.netloc or not names[0]:
        if names[: len(folder)] != folder:
            return None
        names = names[len(folder) :]
    found: list[bytes] = []
    for name in names:
        if set(b"/\\\0") & {*name} or (name == b".." and not found):
            return None
        if name == b"..":
            found.pop()
        elif name not in (b"", b"."):
            found.append(name)
    if not found or names[-1] != found[-1]:
        return None  # a folder, or nothing
    return "file://" + quote(b"/".join((*folder, *found)))
