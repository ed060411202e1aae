"""The values of configuration keys: what TOML holds, turned into what torsync works with.

Every ``to_…`` takes the value of one key and raises ValueError with what was expected, what was
found and what to do about it.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from torsync.model.config import (
    ApplyMode,
    CleanMode,
    LockedMode,
    MaxDelete,
    SettingValue,
    TorrentFormat,
    UpdateMode,
)
from torsync.model.units import (
    SizeLimit,
    parse_duration_s,
    parse_rate,
    parse_size,
    parse_size_limit,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MIN_INTERVAL_S = 1
_MAX_INTERVAL_S = 36500 * 86400  # Python's timers overflow at 292 years
_MAX_SETTLE_S = 3600
_MAX_INT32 = 2**31 - 1  # libtorrent's numbers are C ints
_SHOWN_CHARS = 80
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (str, "text"),
    (int, "a number"),
    (float, "a number"),
    (list, "an array"),
    (dict, "a table"),
    (object, "a date or time"),
)

_ENDPOINT = re.compile(r"(?:\[([^\[\]\s,]+)\]|([\w.-]+)):([0-9]{1,5})")
_VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([^{}]*)\})")
_MAX_DELETE = re.compile(r"([0-9]{1,9})\s*(%?)")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_URL_SECRETS = re.compile(r"(?<=//)[^/?#]*@|(?<=[?#]).+", re.DOTALL)
_POLL_SCHEMES = ("http", "https", "file")
_WEB_SEED_SCHEMES = ("http", "https")
_TRACKER_SCHEMES = ("http", "https", "udp")
_PUBLIC_KEY = re.compile(r"RW[QRST][A-Za-z0-9+/]{53}")  # "Ed", a key id of 8 bytes, 32 of the key
_SECRET_KEYS = ("RWRTY0Iy", "RWQAAEIy")  # encrypted or not
_MIN_PIECE_SIZE = 16 * 1024
_MAX_PIECE_SIZE = 128 * 1024**2


def to_text(value: object, what: str = "text") -> str:
    """Take text; ``what`` it is, in words, is for the message."""
    if not isinstance(value, str):
        raise ValueError(f"expected {what}, found {kind(value)}; put it in quotes")  # noqa: TRY004
    return value


def to_boolean(value: object) -> bool:
    """Take ``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {kind(value)}; write it without quotes")  # noqa: TRY004
    return value


def to_array(value: object) -> list[Any]:
    """Take an array of anything."""
    if not isinstance(value, list):
        raise ValueError(f"expected an array, found {kind(value)}; put it in [brackets]")  # noqa: TRY004
    return value


def to_table(value: object) -> dict[str, Any]:
    """Take a table of anything."""
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {kind(value)}; write [HEADER] above its keys")  # noqa: TRY004
    return value


def to_setting(name: str, value: object, types: Mapping[str, type] | None) -> SettingValue:
    """Take a libtorrent setting; ``types`` are those that the library knows, if it was asked."""
    if types is not None and name not in types:
        advice = suggest(name, types) or "see libtorrent's reference of settings"
        raise ValueError(f"expected a libtorrent setting, found an unknown name; {advice}")
    if not isinstance(value, (bool, int, str)):
        raise ValueError(f"expected true, false, a number or text, found {kind(value)}")  # noqa: TRY004
    if types is not None and type(value) is not types[name]:
        wanted = kind(types[name]())
        raise ValueError(f"expected {wanted}, found {kind(value)}; write {wanted}")
    if isinstance(value, int) and not -_MAX_INT32 - 1 <= value <= _MAX_INT32:
        raise ValueError(f"expected a number of 32 bits, found a larger one; {_MAX_INT32} is most")
    return value


def to_poll_url(value: object) -> str:
    """Take the URL of a ``.torrent``: http, https or file."""
    return _url(value, _POLL_SCHEMES)


def to_web_seed(value: object) -> str:
    """Take the URL of a web seed: http or https (BEP 19)."""
    return _url(value, _WEB_SEED_SCHEMES)


def to_tracker(value: object) -> str:
    """Take the announce URL of a tracker: http, https or udp (BEP 3, BEP 15)."""
    return _url(value, _TRACKER_SCHEMES)


def to_feed_url(value: object) -> str:
    """Take the URL that others reach the feed at; "" leaves it to torsync to find out."""
    if value == "":
        return ""
    text = _url(value, _WEB_SEED_SCHEMES)
    url = urlsplit(text)
    if url.query or url.fragment or "@" in url.netloc:
        shown = show(_URL_SECRETS.sub("…", text))
        raise ValueError(
            f"expected a URL that goes on with paths, found {shown}; it is in every torrent, so "
            "write it without user, password, ? and #"
        )
    return text.rstrip("/")


def _url(value: object, schemes: tuple[str, ...]) -> str:
    what = f"a full {', '.join(schemes[:-1])} or {schemes[-1]} URL"
    text = to_text(value, what)
    shown = show(_URL_SECRETS.sub("…", text))
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError(f"expected {what}, found spaces in {shown}; write %20 for a space")
    try:
        url = urlsplit(text)
        if url.scheme == "file":
            complete = url.netloc.lower() in ("", "localhost") and url.path.startswith("/")
        else:
            complete = bool(url.hostname) and url.port != 0
    except ValueError:  # a port out of range, brackets without an address
        complete = False
    if not complete or url.scheme not in schemes:
        example = '"https://example.org/a.torrent"'
        raise ValueError(f"expected {what}, found {shown}; write it as in {example}")
    return text


def to_tree(value: object, home: str, environ: Mapping[str, str], *, what: str = "folder") -> Path:
    """Take an absolute folder, after ``~``, ``$VAR``, ``${VAR}`` and ``$$`` are replaced."""
    text = to_text(value, f"a {what}")
    undefined: list[str] = []

    def expand(variable: re.Match[str]) -> str:
        name = variable[1] if variable[2] is None else variable[2]
        if name is None:
            return "$"
        if name not in environ:
            undefined.append(show(name))
        return environ.get(name, "")

    in_home = text == "~" or text.startswith("~/")
    expanded = home + _VARIABLE.sub(expand, text[1:]) if in_home else _VARIABLE.sub(expand, text)
    if undefined:
        raise ValueError(
            f"expected environment variables that are set, found {show(text)} with "
            f"{' and '.join(undefined)} not set; set them, or write $$ for a dollar sign"
        )
    if not os.path.isabs(expanded) or "\0" in expanded:
        raise ValueError(
            f'expected an absolute {what}, found {show(expanded)}; begin it with "/" or "~/"'
        )
    return Path(expanded)


def to_file(value: object, home: str, environ: Mapping[str, str]) -> Path | None:
    """Take an absolute file, as ``to_tree`` takes a folder; "" is none."""
    return to_tree(value, home, environ, what="file") if value != "" else None


def to_interval_s(value: object) -> float:
    """Take a duration of at least a second."""
    text = to_text(value, 'a duration such as "10m"')
    interval_s = parse_duration_s(text)
    if not _MIN_INTERVAL_S <= interval_s <= _MAX_INTERVAL_S:
        raise ValueError(f"expected at least 1s and at most 36500d, found {show(text)}; change it")
    return interval_s


def to_age_s(value: object) -> float:
    """Take a duration; "0s" is none."""
    text = to_text(value, 'a duration such as "14d"')
    age_s = parse_duration_s(text)
    if age_s > _MAX_INTERVAL_S:
        raise ValueError(f"expected at most 36500d, found {show(text)}; change it")
    return age_s


def to_settle_s(value: object) -> float:
    """Take a duration of at most an hour; "0s" is none."""
    text = to_text(value, 'a duration such as "2s"')
    settle_s = parse_duration_s(text)
    if settle_s > _MAX_SETTLE_S:
        raise ValueError(f"expected at most 1h, found {show(text)}; change it")
    return settle_s


def to_piece_size(value: object) -> int:
    """Take a power of two of at least 16 KiB; "auto" is 0."""
    what = '"auto", or a power of two from "16 KiB" to "128 MiB"'
    text = to_text(value, what)
    if text == "auto":
        return 0
    size = parse_size(text)
    if not _MIN_PIECE_SIZE <= size <= _MAX_PIECE_SIZE or size & (size - 1):
        raise ValueError(f"expected {what}, found {show(text)}; write one of these")
    return size


def to_public_key(value: object) -> str:
    """Take a minisign public key: the second line of its file."""
    what = "a minisign public key, 56 characters that begin with RW"
    text = to_text(value, what).strip()
    if text.startswith(_SECRET_KEYS) and len(text) > 56:
        raise ValueError(f"expected {what}, found a secret key; keep that to the publisher")
    if not _PUBLIC_KEY.fullmatch(text):
        advice = "write the second line of the .pub file"
        raise ValueError(f"expected {what}, found {show(text)}; {advice}")
    return text


def to_size_limit(value: object) -> SizeLimit:
    """Take a size, or a percentage of the file system."""
    return parse_size_limit(to_text(value, 'a size such as "20 GB", or "10%"'))


def to_rate(value: object) -> int:
    """Take bytes per second; 0 is no limit."""
    text = to_text(value, 'a rate such as "10 MB/s"')
    rate = parse_rate(text)
    if rate > _MAX_INT32:
        raise ValueError(f'expected less than 2 GiB/s, found {show(text)}; write "" for no limit')
    return rate


def to_size_bytes(value: object) -> int:
    """Take a size of at least a byte."""
    text = to_text(value, 'a size such as "64 MiB"')
    size_bytes = parse_size(text)
    if size_bytes == 0:
        raise ValueError(f"expected at least one byte, found {show(text)}; write a larger size")
    return size_bytes


def to_max_delete(value: object) -> MaxDelete:
    """Take a percentage of at most 100, or a number of files; a bare number is one of files."""
    what = 'a percentage such as "50%", or a number of files such as 25'
    text = str(value) if type(value) is int else to_text(value, what)
    match = _MAX_DELETE.fullmatch(text.strip())
    if match is None or (match[2] and int(match[1]) > 100):
        raise ValueError(f"expected {what}, found {show(text)}; write one of these")
    return MaxDelete(int(match[1]), is_percentage=bool(match[2]))


def to_apply_mode(value: object) -> ApplyMode:
    """Take one of the names of :class:`ApplyMode`."""
    return ApplyMode(_one_of([mode.value for mode in ApplyMode], value))


def to_clean_mode(value: object) -> CleanMode:
    """Take one of the names of :class:`CleanMode`."""
    return CleanMode(_one_of([mode.value for mode in CleanMode], value))


def to_locked_mode(value: object) -> LockedMode:
    """Take one of the names of :class:`LockedMode`."""
    return LockedMode(_one_of([mode.value for mode in LockedMode], value))


def to_torrent_format(value: object) -> TorrentFormat:
    """Take one of the names of :class:`TorrentFormat`."""
    return TorrentFormat(_one_of([form.value for form in TorrentFormat], value))


def to_update_mode(value: object) -> UpdateMode:
    """Take one of the names of :class:`UpdateMode`."""
    return UpdateMode(_one_of([mode.value for mode in UpdateMode], value))


def _one_of(names: list[str], value: object) -> str:
    what = " or ".join(map(show, names))
    text = to_text(value, what)
    if text not in names:
        raise ValueError(
            f"expected {what}, found {show(text)}; {suggest(text, names) or 'write one of these'}"
        )
    return text


def to_pattern(value: object) -> str:
    """Take a gitignore pattern."""
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - costs start-up time

    text = to_text(value, "a gitignore pattern")
    with warnings.catch_warnings():
        # The warning is about git's "[[:alpha:]]", which would match other files here.
        warnings.simplefilter("error", FutureWarning)
        try:
            GitIgnoreSpec.from_lines([text])
        except (ValueError, re.error, FutureWarning) as error:
            raise ValueError(
                f"expected a gitignore pattern, found {show(text)} ({error}); "
                "correct it, or put \\ before a character that means itself"
            ) from None
    return text


def to_listen_address(value: object) -> str:
    """Take ``"host:port"`` or ``"[v6]:port"``; port 0 leaves the choice to the system."""
    what = 'an address such as "0.0.0.0:6881" or "[::]:6881"'
    text = to_text(value, what)
    _endpoint(text, what, min_port=0)
    return text


def to_feed_address(
    value: object, what: str = 'an address such as "0.0.0.0:8080" or "[::]:8080"'
) -> tuple[str, int] | None:
    """Take ``"host:port"`` or ``"[v6]:port"``, as ``to_peer`` does; "" is none."""
    return _endpoint(to_text(value, what), what, min_port=0) if value != "" else None


def to_peer(value: object) -> tuple[str, int]:
    """Take ``"host:port"`` or ``"[v6]:port"`` as host (without brackets) and port."""
    what = 'a peer such as "host:6881" or "[2001:db8::1]:6881"'
    return _endpoint(to_text(value, what), what, min_port=1)


def _endpoint(text: str, what: str, *, min_port: int) -> tuple[str, int]:
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {what}, found {show(text)}; write both host and port")
    address, name, port = match.groups()
    if address is not None:
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ValueError(
                f"expected {what}, found {show(text)}; only IPv6 addresses are in brackets"
            ) from None
    if not min_port <= int(port) <= 65535:
        raise ValueError(
            f"expected a port from {min_port} to 65535, found {show(text)}; correct the port"
        )
    return address or name, int(port)


def to_header(name: str, value: object) -> str:
    """Take an HTTP header; its value may be a secret and is not shown."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"expected the name of an HTTP header, found {show(name)}; correct it")
    text = to_text(value)
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError("expected one line of Latin-1 text, found another character; remove it")
    if text == "env:":
        raise ValueError('expected "env:NAME", found no name; add that of a variable')
    return text


def kind(value: object) -> str:
    """Say in words what type of TOML value this is."""
    return next(words for type_, words in _KINDS if isinstance(value, type_))


def show(text: str) -> str:
    """Quote text for a message, shortened where it is long."""
    shown = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
    return json.dumps(shown, ensure_ascii=False)


def suggest(name: str, known: Iterable[str]) -> str:
    """Ask whether a known name was meant; empty where none is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {show(close[0])}?" if close else ""
