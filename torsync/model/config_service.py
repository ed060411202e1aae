"""The values of keys that are for the running service; see ``config_values``."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from torsync.model.config_values import (
    kind,
    show,
    to_array,
    to_feed_address,
    to_text,
)
from torsync.model.units import parse_duration_s
from torsync.model.window import DailyWindow

if TYPE_CHECKING:
    from torsync.model.config import Command

_MAX_HOOK_S = 86_400
_WINDOW = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")


def to_command(value: object) -> Command:
    """Take a program and its arguments; an empty array is none."""
    if isinstance(value, str):
        raise ValueError(  # noqa: TRY004
            f"expected a program and its arguments in an array, found text; "
            f'write [{show(value)}], or ["sh", "-c", {show(value)}] for a shell'
        )
    words = to_array(value)
    for word in words:
        if not isinstance(word, str):
            raise ValueError(f"expected text in the array, found {kind(word)}; put it in quotes")  # noqa: TRY004
        if "\0" in word:
            raise ValueError("expected text that a program can be given, found a zero; remove it")
    command = tuple(str(word) for word in words)
    if command and not command[0]:
        raise ValueError('expected a program first, found ""; write its path')
    if command and "/" in command[0] and not command[0].startswith("/"):
        # It runs in the folder, whose files the publisher of a subscription writes.
        raise ValueError(
            f"expected a program's name or full path, found {show(command[0])}, which would be a "
            "file of the folder; write the full path"
        )
    return command


def to_hook_timeout_s(value: object) -> float:
    """Take how long a command may run."""
    seconds = parse_duration_s(to_text(value, 'a duration such as "60s"'))
    if not 1 <= seconds <= _MAX_HOOK_S:
        raise ValueError(f"expected from 1s to 1d, found {show(str(value))}; correct it")
    return seconds


def to_update_window(value: object) -> DailyWindow | None:
    """Take ``"HH:MM-HH:MM"`` in local time; "" is none."""
    what = 'hours such as "02:00-05:00"'
    text = to_text(value, what)
    if not text:
        return None
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"expected {what}, found {show(text)}; write both ends, from 00:00 to 23:59"
        )
    begin_h, begin_min, end_h, end_min = map(int, match.groups())
    window = DailyWindow(begin_h * 3600 + begin_min * 60, end_h * 3600 + end_min * 60)
    if window.begins_s == window.ends_s:
        raise ValueError(
            f"expected {what}, found {show(text)}, which is no time at all; "
            "leave the key out for updates at any time"
        )
    return window


def to_control_address(value: object) -> tuple[str, int] | None:
    """Take ``"host:port"``, of this machine's loopback only; "" is none."""
    what = 'a loopback address such as "127.0.0.1:0"'
    address = to_feed_address(value, what)
    if address is None or address[0] == "localhost":
        return address
    try:
        is_loopback = ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(
            f"expected {what}, found {show(str(value))}; "
            "whoever reaches the service can give it orders, so it listens to this machine only"
        )
    return address


def to_notify_url(value: object) -> str:
    """Take a URL of apprise; it may hold a secret and is not shown."""
    text = to_text(value, 'a URL of apprise such as "mailto://…"')
    scheme, separator, rest = text.partition("://")
    if not separator or not rest or not scheme.replace("+", "").isalnum():
        raise ValueError('expected a URL of apprise such as "mailto://…", found other text')
    return text
