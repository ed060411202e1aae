"""Secrets kept out of what torsync says.

Messages are made without secrets in the first place (``mask_url``, ``mask_tracker``). A
``Redactor`` is the last defence, where events and errors leave the program: what a server, a
tracker or a library puts into a text is not torsync's to choose.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from torsync.model.config import PublicationConfig
from torsync.model.errors import ConfigError
from torsync.model.events import Notice, StageStarted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torsync.model.config import Config, SubscriptionConfig
    from torsync.model.errors import TorsyncError
    from torsync.model.events import Event, EventSink

HIDDEN = "***"
_LEAST = 4  # what is shorter is in every other word
_LEAST_UNNAMED = 8  # of what need not be a secret: "latest" is in other texts, too
_HARMLESS_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "user-agent"}
)
_HARMLESS_PATHS = frozenset({"", "/", "/announce", "/announce.php", "/scrape"})
_SECRET_NAME = re.compile(r"auth|code|key|pass|pw|secret|sid|sig|tok", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^/@:\s'\"]*):[^/@\s'\"]*@")
_USER = re.compile(r"(?<=://)[^/@:\s'\"]+@")
_QUERY = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)\?[^\s#'\"<>)]*?(?=[.,:;]*(?:[\s#'\"<>)]|$))",
    re.IGNORECASE,
)


class Redactor:
    """Hides secrets in texts: those it was given, and what is secret in any URL."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Prepare.

        Args:
            secrets: as they are; they are also found quoted, escaped and percent-encoded.
        """
        self._secrets: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these as well from now on; any thread may be hiding meanwhile."""
        known = self._secrets.union(secrets)
        if known == self._secrets:
            return
        variants = {one for secret in known for one in _variants(secret)}
        longest_first = sorted(variants, key=lambda one: (-len(one), one))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if variants else None
        self._secrets = known

    def text(self, text: str) -> str:
        """Give a text without them."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        if "://" in text:
            text = _USER_AND_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
            text = _USER.sub(f"{HIDDEN}@", text)
            text = _QUERY.sub(r"\1?…", text)
        return text

    def event(self, event: Event) -> Event:
        """Give an event without them."""
        if isinstance(event, Notice):
            message, hint = self.text(event.message), self.text(event.hint)
            if (message, hint) != (event.message, event.hint):
                return replace(event, message=message, hint=hint)
        elif isinstance(event, StageStarted):
            detail = self.text(event.detail)
            if detail != event.detail:
                return replace(event, detail=detail)
        return event

    def sink(self, sink: EventSink) -> EventSink:
        """Give a sink that tells another one what it hears without them."""
        return lambda event: sink(self.event(event))

    def hide_in(self, error: TorsyncError) -> None:
        """Change what an error says, so that whoever hears of it hears none of them."""
        error.message, error.hint = self.text(error.message), self.text(error.hint)
        error.args = (error.message,)
        if isinstance(error, ConfigError):
            error.problems = tuple(map(self.text, error.problems))


def secrets_of_config(config: Config, environ: Mapping[str, str]) -> set[str]:
    """All that a configuration and the environment tell torsync in confidence."""
    found = secrets_of_environment(environ)
    for subscription in config.subscriptions.values():
        found |= secrets_of(subscription, environ)
    for publication in config.publications.values():
        found |= secrets_of(publication, environ)
    for url in config.notify.urls:
        found.update(_secrets_of_notify_url(url))
    return found


def secrets_of(
    config: SubscriptionConfig | PublicationConfig, environ: Mapping[str, str]
) -> set[str]:
    """What one subscription or publication has that others shall not see.

    Args:
        config: of it.
        environ: where headers' ``env:NAME`` are looked up.
    """
    found: set[str] = set()
    for url in config.web_seeds:
        found.update(_secrets_of_url(url))
    if isinstance(config, PublicationConfig):
        for url in config.trackers:
            found |= secrets_of_tracker(url)
        return found
    found.update(_secrets_of_url(config.url))
    for name, configured in config.headers.items():
        if name.lower() in _HARMLESS_HEADERS:
            continue
        value = configured
        if configured.startswith("env:"):
            value = environ.get(configured[4:].strip(), "")
        found.update(_secrets_of_header(value.strip()))
    return found


def secrets_of_environment(environ: Mapping[str, str]) -> set[str]:
    """What the environment has for torsync itself: the proxies' passwords, that of a key."""
    found = {environ.get("TORSYNC_KEY_PASSWORD", "")}
    for name, value in environ.items():
        if name.lower().endswith("_proxy"):
            found.update(_secrets_of_url(value if "://" in value else f"http://{value}"))
    return found - {""}


def secrets_of_tracker(url: str) -> set[str]:
    """What is secret in an announce URL: passkeys are in its path or query."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return {url}
    parts = {unquote(part) for part in path.split("/")}
    return {*_secrets_of_url(url), *(part for part in parts if len(part) >= _LEAST_UNNAMED)} - {
        "announce",
        "announce.php",
    }


def mask_tracker(url: str) -> str:
    """Show an announce URL without what may be a passkey in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a malformed URL)"
    host = parts.netloc.rpartition("@")[2]
    is_harmless = parts.path in _HARMLESS_PATHS and not parts.query
    return f"{parts.scheme}://{host}{parts.path if is_harmless else '/…'}"


def _secrets_of_url(url: str) -> Iterator[str]:
    """The password (without one, the name is often a token), and the query with its values."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    userinfo, at, _host = parts.netloc.rpartition("@")
    if at and parts.scheme != "file":
        user, colon, password = userinfo.partition(":")
        yield password if colon else user
        sent = f"{unquote(user)}:{unquote(password)}"
        yield base64.b64encode(sent.encode()).decode()
    if parts.query:
        yield parts.query
        for name, value in parse_qsl(parts.query):
            if len(value) >= _LEAST_UNNAMED or _SECRET_NAME.search(name):
                yield value


def _secrets_of_header(value: str) -> Iterator[str]:
    """A header's value, and what follows the scheme in it (RFC 9110, section 11.4)."""
    yield value
    scheme, _, rest = value.partition(" ")
    if rest:
        yield rest.strip()
    if scheme.lower() == "basic":
        try:
            user_and_password = base64.b64decode(rest, validate=True).decode()
        except ValueError:
            return
        yield user_and_password
        yield user_and_password.partition(":")[2]


def _secrets_of_notify_url(url: str) -> Iterator[str]:
    """Everything but the names of hosts: apprise puts tokens anywhere."""
    yield url
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    userinfo, _, host = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    yield password or user
    host = host.partition(":")[0]
    if "." not in host and host != "localhost":
        yield host
    yield from (part for part in parts.path.split("/") if len(part) >= _LEAST_UNNAMED)
    yield from (value for _, value in parse_qsl(parts.query) if len(value) >= _LEAST_UNNAMED)


def _variants(secret: str) -> Iterator[str]:
    """A secret as it may stand in a text: as it is, encoded for a URL, quoted by Python or JSON."""
    for one in {secret, unquote(secret)}:
        if len(one) >= _LEAST:
            yield one
            yield quote(one, safe="")
            yield repr(one)[1:-1]
            yield json.dumps(one)[1:-1]
