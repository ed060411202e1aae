"""What is secret in a configuration is in no text that a redactor gives."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.config import (
    Config,
    NotifyConfig,
    PublicationConfig,
    SessionConfig,
    SubscriptionConfig,
)
from torsync.model.errors import ConfigError, RemoteUnreachableError
from torsync.model.events import Event, Level, Notice, Progress, Stage, StageStarted
from torsync.model.secrets import (
    HIDDEN,
    Redactor,
    mask_tracker,
    secrets_of,
    secrets_of_config,
    secrets_of_tracker,
)

TREE = Path("/tree")
ENVIRON = {
    "MODS_TOKEN": "s3cret-from-env",
    "https_proxy": "http://ada:proxy-pass@proxy.example:3128",
    "ALL_PROXY": "bob:all-pass@proxy.example",
    "TORSYNC_KEY_PASSWORD": "key-pass",
    "PATH": "/usr/bin",
}
SUBSCRIPTION = SubscriptionConfig(
    "pack",
    "https://ada:url%2Fpass@mods.example/a.torrent?token=t0ken&v=1",
    TREE,
    headers={
        "X-Env": "env:MODS_TOKEN",
        "Authorization": "Bearer bearer-token",
        "Cookie": "session=abc def",
        "X-Basic": "Basic " + base64.b64encode(b"eve:basic-pass").decode(),
        "Accept": "application/json",
        "User-Agent": "torsync",
        "X-Missing": "env:NOT_THERE",
    },
    web_seeds=("https://seed-token@seeds.example/",),
)
PUBLICATION = PublicationConfig(
    "maps",
    TREE,
    trackers=("https://tracker.example/0123456789abcdef/announce", "udp://t.example:69/announce"),
    web_seeds=("https://mods.example/?sig=publication-sig",),
)
CONFIG = Config(
    SessionConfig(),
    {"pack": SUBSCRIPTION},
    {"maps": PUBLICATION},
    notify=NotifyConfig(
        ("mailto://ada:mail-pass@mail.example", "slack://TokenTokenA/TokenTokenB/TokenTokenC")
    ),
)
SECRETS = [
    *("s3cret-from-env", "Bearer bearer-token", "bearer-token", "session=abc def", "basic-pass"),
    *("eve:basic-pass", "url/pass", "url%2Fpass", "t0ken", "token=t0ken&v=1", "seed-token"),
    base64.b64encode(b"ada:url/pass").decode(),
    *("proxy-pass", "all-pass", "key-pass", "0123456789abcdef", "publication-sig"),
    *("mail-pass", "TokenTokenA", "TokenTokenB", "TokenTokenC"),
]


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(secrets_of_config(CONFIG, ENVIRON))


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_of_a_configuration_are_hidden_however_they_are_written(
    redactor: Redactor, secret: str
) -> None:
    for written in (secret, quote(secret, safe=""), repr(secret), json.dumps(secret)):
        shown = redactor.text(f"<pre>you sent {written}</pre>")
        assert secret not in shown
        assert HIDDEN in shown


@pytest.mark.parametrize(
    "harmless",
    [
        *("mods.example", "mail.example", "application/json", "torsync run", "ada", "announce"),
        *("/usr/bin", "v=1", "udp://t.example:69/announce"),
    ],
)
def test_what_is_no_secret_stays(redactor: Redactor, harmless: str) -> None:
    assert redactor.text(f"found {harmless} there") == f"found {harmless} there"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("see https://u:pw@h.example/a", "see https://u:***@h.example/a"),
        ("see https://u:***@h.example/a", "see https://u:***@h.example/a"),
        ("see https://tok@h.example/a", "see https://***@h.example/a"),
        ("see 'https://h.example/a?sig=1' now", "see 'https://h.example/a?…' now"),
        ("(https://h.example/a?sig=1) now", "(https://h.example/a?…) now"),
        ("see https://h.example/a?… now", "see https://h.example/a?… now"),
        ("https://h.example/a?…: expected", "https://h.example/a?…: expected"),
        ("https://h.example/a?sig=1:2, 3", "https://h.example/a?…, 3"),
        ("what? https://h.example/a", "what? https://h.example/a"),
        ("a@b: c?d", "a@b: c?d"),
    ],
)
def test_passwords_and_queries_of_unknown_urls_are_hidden(said: str, shown: str) -> None:
    assert Redactor().text(said) == shown


@given(st.text(min_size=4), st.text())
def test_nothing_that_was_given_is_left(secret: str, around: str) -> None:
    shown = Redactor([secret]).text(f"{around}{secret}{around}")
    assert secret not in shown or secret in around or secret in HIDDEN * 3 or HIDDEN in secret


def test_events_lose_their_secrets_and_nothing_else(redactor: Redactor) -> None:
    heard: list[Event] = []
    sink = redactor.sink(heard.append)
    progress = Progress("pack", Stage.DOWNLOADING, peers=3)
    plain = Notice("pack", Level.INFO, "code", "all is well", "go on")
    for event in (
        progress,
        plain,
        Notice("pack", Level.ERROR, "code", "it said bearer-token", "key-pass?"),
        StageStarted("pack", Stage.STAGING, "with t0ken"),
        StageStarted("pack", Stage.STAGING, "with care"),
    ):
        sink(event)
    assert heard[0] is progress
    assert heard[1] is plain
    assert heard[2] == Notice("pack", Level.ERROR, "code", "it said ***", "***?")
    assert heard[3] == StageStarted("pack", Stage.STAGING, "with ***")
    assert heard[4] == StageStarted("pack", Stage.STAGING, "with care")


def test_errors_lose_their_secrets(redactor: Redactor) -> None:
    error = RemoteUnreachableError("found bearer-token", hint="not t0ken")
    redactor.hide_in(error)
    assert (error.message, error.hint, str(error)) == ("found ***", "not ***", "found ***")
    config = ConfigError("one problem", problems=("line 3: s3cret-from-env",))
    redactor.hide_in(config)
    assert config.problems == ("line 3: ***",)


def test_a_redactor_learns() -> None:
    redactor = Redactor(["first-secret"])
    redactor.learn(["second-secret", "first-secret"])
    assert redactor.text("first-secret second-secret") == "*** ***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("udp://t.example:6969/announce", "udp://t.example:6969/announce"),
        ("https://t.example/0123456789abcdef/announce", "https://t.example/…"),
        ("https://u:p@t.example/announce?passkey=1", "https://t.example/…"),
        ("https://t.example", "https://t.example"),
        ("https://[::1/announce", "(a malformed URL)"),
    ],
)
def test_a_tracker_is_shown_by_its_host(url: str, shown: str) -> None:
    assert mask_tracker(url) == shown


def test_malformed_urls_are_secret_as_a_whole_or_have_none() -> None:
    bad = "https://[::1/0123456789"
    assert secrets_of_tracker(bad) == {bad}
    config = SubscriptionConfig("pack", bad, TREE, headers={"X": "Basic not base64"})
    assert secrets_of(config, {}) == {"Basic not base64", "not base64"}
    notify = Config(SessionConfig(), {}, notify=NotifyConfig((bad,)))
    assert secrets_of_config(notify, {}) == {bad}
