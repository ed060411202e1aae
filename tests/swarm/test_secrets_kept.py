"""No secret is in anything that torsync says, prints, logs or keeps, whoever provokes it."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import bencode2
import pytest

from tests.support.processes import HOST, free_port
from tests.support.scripted_http import Request, ScriptedServer, reply
from tests.support.torrents import with_trackers
from tests.support.updates import make
from tests.swarm.test_status_cli import asked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Publisher, Torsync
    from tests.support.publishers import Publishing

FROM_ENVIRONMENT = "sEcReT-from-the-environment"
TOKEN = "sEcReT-bearer-token"
PASSWORD = "sEcReT-url-pass"
QUERY = "sEcReT-query-token"
PROXY = "sEcReT-proxy-pass"
PASSKEY = "sEcReT0123456789abcdef"
BASIC = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
MARK = "sEcReT"
ENVIRONMENT = {"MODS_TOKEN": FROM_ENVIRONMENT}


def echo(request: Request) -> bytes:
    """Refuse with all that was sent: in the reason, in a header and in the body."""
    sent = "; ".join(f"{name}: {value}" for name, value in request.headers.items())
    told = f"{request.path} {sent}"
    body = f"<html>denied: {told}</html>".encode()
    head = f"HTTP/1.1 403 denied {told}\r\nX-Error: {told}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def nonsense(request: Request) -> bytes:
    """Answer with something that is no torrent, and repeats what was sent."""
    return reply(200, {"ETag": '"x"'}, json.dumps(dict(request.headers)).encode())


def elsewhere(request: Request) -> bytes:
    """Redirect to a place that nobody has, with what was sent in the URL."""
    sent = request.headers.get("x-token", "none")
    return reply(302, {"Location": f"ftp://{sent}:{sent}@h.example/{sent}?signature={sent}"})


def configure(torsync: Torsync, server: ScriptedServer) -> None:
    address = server.url.partition("://")[2].rstrip("/")
    torsync.subscribe(
        url=f"http://ada:{PASSWORD}@{address}/pack.torrent?token={QUERY}",
        interval="1s",
        headers={"X-Token": "env:MODS_TOKEN", "X-Other": TOKEN},
    )


def kept(torsync: Torsync) -> str:
    """All that lies in the state directory but the API's token, which is a secret of its own."""
    found = []
    for file in torsync.state_dir.rglob("*"):
        if file.is_file() and file.suffix != ".torrent":
            found.append(file.read_bytes().decode("latin-1"))
        if file.name == "state.sqlite":
            with closing(sqlite3.connect(file)) as database:
                found += map(str, database.execute("SELECT * FROM meta"))
                found += map(str, database.execute("SELECT * FROM history"))
    return "\n".join(found)


def assert_no_secret(said: str) -> None:
    assert said
    for secret in (MARK, MARK.lower(), BASIC):
        at = said.find(secret)
        assert at < 0, said[max(0, at - 200) : at + 200]


def plainly(torsync: Torsync, *arguments: str, **environment: str) -> str:
    """Everything that a command prints without ``--json``."""
    command = [word for word in torsync.command(*arguments) if word != "--json"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**torsync.environment(), **ENVIRONMENT, **environment},
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("answer", [echo, nonsense, elsewhere])
def test_a_server_that_repeats_what_it_was_sent_has_no_secret_told(
    torsync: Torsync, answer: object
) -> None:
    with ScriptedServer([answer]) as server:  # type: ignore[list-item]
        configure(torsync, server)
        outcome = torsync.run("check-now", environment=ENVIRONMENT)
        assert outcome.exit_code == 3
        assert server.requests[0].headers["x-token"] == FROM_ENVIRONMENT
        assert server.requests[0].headers["authorization"] == f"Basic {BASIC}"
        said = plainly(torsync, "check-now", "-v") + plainly(torsync, "status", "-v")
        assert "last error" in said
        status = torsync.run("status").subscription
    assert status["last_error"]
    assert_no_secret(json.dumps([outcome.objects, outcome.errors, status]) + said)
    assert_no_secret(kept(torsync))


def test_neither_is_one_in_what_the_service_tells(torsync: Torsync) -> None:
    with ScriptedServer([echo]) as server:
        configure(torsync, server)
        service = torsync.start("-v", "run", environment=ENVIRONMENT)
        service.wait_for(
            lambda one: one["type"] == "notice" and one["level"] == "error", "the refusal is told"
        )
        ordered = torsync.run("check-now", environment=ENVIRONMENT)
        assert ordered.exit_code == 3
        told = [asked(torsync, f"/api/v1/{what}")[1] for what in ("status", "history", "logs")]
        told.append(asked(torsync, "/metrics")[1])
        told.append(plainly(torsync, "logs", "--level", "debug"))
        told.append(json.dumps([ordered.objects, ordered.errors]))
        told.append(json.dumps([service.objects(), service.errors()]))
        for text in told:
            assert_no_secret(text)
        assert_no_secret(kept(torsync))


def test_a_proxy_s_password_is_not_told(torsync: Torsync) -> None:
    proxy = f"http://ada:{PROXY}@{HOST}:{free_port()}"
    with ScriptedServer([echo]) as server:
        configure(torsync, server)
        torsync.subscribe(url="http://mods.example/pack.torrent")
        with_proxy = {"http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
        said = plainly(torsync, "check-now", "-v", **with_proxy)
        repeating = f"http://ada:{PROXY}@{server.url.partition('://')[2].rstrip('/')}"
        said += plainly(torsync, "check-now", "-v", **{**with_proxy, "http_proxy": repeating})
        sent = server.requests[0].headers["proxy-authorization"]
    assert base64.b64decode(sent.partition(" ")[2]) == f"ada:{PROXY}".encode()
    assert "proxy" in said
    assert_no_secret(said)
    assert sent.partition(" ")[2] not in said
    assert_no_secret(kept(torsync))


def refuse(request: Request) -> bytes:
    """Be a tracker that repeats the passkey."""
    failure = f"{request.path.partition('?')[0]} is not registered: {PASSKEY}"
    return reply(200, {}, bencode2.bencode({b"failure reason": failure.encode()}))


def test_a_tracker_s_passkey_is_not_told_by_who_fetches(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    with ScriptedServer([refuse]) as tracker:
        url = f"{tracker.url.rstrip('/')}/announce/{PASSKEY}"  # libtorrent asks no other here
        torrent = with_trackers(make(tmp_path / "one", {"a": 100}), [url])
        publisher.announce(torrent)
        outcome = torsync.run("check-now", "--timeout", "4s", "-v")
        assert any(PASSKEY in request.path for request in tracker.requests)
    assert outcome.exit_code == 3
    warnings = [one["message"] for one in outcome.notices if one["code"] == "tracker_failed"]
    assert any("is not registered" in warning for warning in warnings), outcome.notices
    assert_no_secret(json.dumps([outcome.objects, outcome.errors]))


def test_a_tracker_s_passkey_is_not_told_by_who_publishes(publishing: Publishing) -> None:
    with ScriptedServer([refuse]) as tracker:
        url = f"{tracker.url.rstrip('/')}/announce?passkey={PASSKEY}"
        publishing.publish("pack", {"a": 100}, trackers=[url])
        service = publishing.start("-v", "run")
        service.wait_for(
            lambda one: one["type"] == "notice" and one["code"] == "tracker_failed",
            "the tracker's refusal is told",
        )
        said = json.dumps([service.objects(), service.errors()])
        said += plainly(publishing, "logs") + plainly(publishing, "status")
        said += asked(publishing, "/metrics")[1] + plainly(publishing, "plan", "pack")
    assert_no_secret(said)
