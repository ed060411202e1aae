"""What doctor finds at the URL of a subscription, with servers of all kinds."""

from __future__ import annotations

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import self_signed
from tests.support.nginx import nginx
from tests.support.processes import HOST, free_port
from tests.support.scripted_http import Hang, ScriptedServer, reply
from tests.support.signing import SIGNED_S, sign, signer
from tests.support.torrents import make_raw
from torsync.model.checkup import Finding, Verdict
from torsync.model.config import SubscriptionConfig
from torsync.model.hints.format import MAGIC
from torsync.model.metainfo import parse_metainfo
from torsync.model.trust import Order, Vouched
from torsync.service.doctor import reach, url
from torsync.service.doctor.hints import check_hints
from torsync.service.doctor.signature import check_signature
from torsync.service.doctor.url import Remotely, check_remote
from torsync.subscribe.remote.rules import Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torsync.subscribe.remote.poll import Fetched

OK, WARNING, FAILED, SKIPPED = Verdict
MONDAY = "Mon, 13 Nov 2023 00:00:00 GMT"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def torrent(hints: bytes = b"") -> bytes:
    outer = {b"torsync": {b"hints": hints}} if hints else {}
    return make_raw({"a": b"content" * 1000}, name="pack", outer=outer)


def look(address: str, **changes: object) -> tuple[Remotely, dict[str, Finding]]:
    config = SubscriptionConfig("pack", address, Path("/games"), **changes)  # type: ignore[arg-type]
    found = check_remote(config)
    return found, {one.check: one for one in found.findings}


@pytest.mark.programs
def test_a_usual_web_server_is_well(tmp_path: Path) -> None:
    file = tmp_path / "pack.torrent"
    file.write_bytes(torrent())
    os.utime(file, (SIGNED_S, SIGNED_S))
    with nginx(tmp_path) as server:
        found, by_check = look(server.url_for("pack.torrent"))
    assert {one.verdict for one in found.findings} == {OK}
    assert "application/x-bittorrent" in by_check["url.http"].message
    assert "304" in by_check["url.conditional"].message
    assert "does not hold" in by_check["url.long_poll"].message
    assert by_check["clock.server"].verdict is OK
    assert found.manifest is not None
    assert found.fetched is not None


@pytest.mark.programs
def test_redirects_are_followed_and_told(tmp_path: Path) -> None:
    (tmp_path / "new.torrent").write_bytes(torrent())
    rule = "location = /old.torrent { return 301 /new.torrent; }"
    with nginx(tmp_path, extra_server_config=rule) as server:
        found, by_check = look(server.url_for("old.torrent"))
    assert found.manifest is not None
    assert "redirected to" in by_check["url.http"].message


@pytest.mark.parametrize(
    ("answer", "check", "hint"),
    [
        (reply(404), "url.content", "check the URL"),
        (reply(403), "url.content", "check headers"),
        (reply(503), "url.content", "try again later"),
        (reply(200, body=b"<html>sign in</html>"), "url.content", ""),
        (reply(200, body=b"d4:infod4:name1:aee"), "url.content", "publisher has to mend"),
        (reply(302, {"Location": "/again"}), "url.http", ""),
        (b"SSH-2.0-OpenSSH\r\n", "url.http", "check host and port"),
    ],
)
def test_what_is_wrong_at_the_url_is_told_with_a_next_step(
    answer: bytes, check: str, hint: str
) -> None:
    with ScriptedServer([], [answer]) as server:
        found, by_check = look(f"{server.url}/pack.torrent?token=secret")
    assert by_check[check].verdict is FAILED
    assert by_check[check].hint
    assert hint in by_check[check].hint
    assert found.manifest is None
    assert not any("secret" in one.message + one.hint for one in found.findings)


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "TIMEOUTS", Timeouts(0.3, 0.3, 0.5, attempts=1))
    with ScriptedServer([], [Hang()]) as server:
        _, by_check = look(f"{server.url}/pack.torrent")
    assert by_check["url.http"].verdict is FAILED


def test_a_port_where_nobody_listens_is_told() -> None:
    found, by_check = look(f"http://{HOST}:{free_port()}/pack.torrent")
    assert by_check["url.connect"].verdict is FAILED
    assert "firewall" in by_check["url.connect"].hint
    assert "url.http" not in by_check
    assert found.fetched is None


def test_a_host_without_an_address_is_told() -> None:
    _, by_check = look("http://no-such-host.invalid/pack.torrent")
    assert by_check["url.resolve"].verdict is FAILED
    assert "resolv.conf" in by_check["url.resolve"].hint


def test_a_name_server_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = threading.Event()

    def hang(*_arguments: object, **_options: object) -> list[object]:
        never.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(reach, "RESOLVE_S", 0.05)
    _, by_check = look("http://mods.example/pack.torrent")
    never.set()
    assert "did not answer" in by_check["url.resolve"].message


def test_a_missing_variable_of_a_header_is_told() -> None:
    _, by_check = look("http://mods.example/a", headers={"X-Key": "env:NOT_SET_ANYWHERE"})
    assert by_check["url.headers"].verdict is FAILED
    assert "NOT_SET_ANYWHERE" in by_check["url.headers"].hint


@pytest.mark.programs
class TestTls:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[tuple[ScriptedServer, Path]]:
        certificate, key = self_signed(tmp_path)
        answer = reply(200, {"ETag": '"a"', "Last-Modified": MONDAY}, torrent())
        with ScriptedServer([answer], certificate=certificate, key=key) as server:
            yield server, certificate

    def test_a_certificate_that_nobody_vouches_for(
        self, server: tuple[ScriptedServer, Path]
    ) -> None:
        _, by_check = look(f"{server[0].url}/pack.torrent")
        assert by_check["url.tls"].verdict is FAILED
        assert "REQUESTS_CA_BUNDLE" in by_check["url.tls"].hint

    def test_a_certificate_that_ends_soon_is_told(
        self, server: tuple[ScriptedServer, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server[1]))
        found, by_check = look(f"{server[0].url}/pack.torrent")
        assert by_check["url.tls"].verdict is WARNING  # it is good for two days
        assert found.manifest is not None

    def test_a_server_without_tls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reach, "CONNECT_S", 0.5)  # this one waits for the rest of a request
        with ScriptedServer([reply(200)]) as server:
            _, by_check = look(f"https://{HOST}:{server.port}/pack.torrent")
        assert by_check["url.tls"].verdict is FAILED


def test_a_proxy_is_told_instead_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([reply(200, {"Last-Modified": MONDAY}, torrent())]) as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:secret@{HOST}:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        _, by_check = look("http://mods.example/pack.torrent")
    assert by_check["url.connect"].verdict is SKIPPED
    assert str(proxy.port) in by_check["url.connect"].message
    assert "secret" not in by_check["url.connect"].message
    assert by_check["url.content"].verdict is OK


@pytest.mark.parametrize(
    ("headers", "size", "verdict"),
    [({}, 2_000_000, WARNING), ({"ETag": '"a"', "Last-Modified": MONDAY}, 2_000_000, WARNING)],
)
def test_a_server_that_sends_a_large_torrent_at_every_poll_is_told(
    headers: dict[str, str], size: int, verdict: Verdict
) -> None:
    body = torrent()[:-1] + b"7:padding" + b"%d:" % size + b"x" * size + b"e"
    with ScriptedServer([], [reply(200, headers, body)]) as server:
        _, by_check = look(f"{server.url}/pack.torrent")
    assert by_check["url.conditional"].verdict is verdict
    assert "interval" in by_check["url.conditional"].hint


def test_a_torrent_near_the_limit_is_told() -> None:
    with ScriptedServer([], [reply(200, {}, torrent())]) as server:
        limit = len(torrent()) + 10
        _, by_check = look(f"{server.url}/pack.torrent", max_torrent_bytes=limit)
    assert by_check["url.content"].verdict is WARNING
    assert "max_torrent_size" in by_check["url.content"].hint


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "pack.torrent"
    _, by_check = look(file.as_uri())
    assert by_check["url.content"].verdict is FAILED
    file.write_bytes(torrent())
    found, by_check = look(file.as_uri())
    assert [*by_check] == ["url.content"]
    assert by_check["url.content"].verdict is OK
    assert found.manifest is not None


class TestSignature:
    def check(
        self, tmp_path: Path, *, by: str = "", vouched: str = "", keys: tuple[str, ...] = ()
    ) -> Finding:
        file = tmp_path / "pack.torrent"
        file.write_bytes(torrent())
        if by:
            (tmp_path / "pack.torrent.minisig").write_bytes(sign(torrent(), by=by, number=3))
        config = SubscriptionConfig("pack", file.as_uri(), tmp_path / "t", public_keys=keys)
        fetched = check_remote(config).fetched
        (found,) = check_signature(config, fetched, vouched)
        return found

    def key(self, name: str = "publisher") -> str:
        return signer(name).public_key

    def test_the_right_signature(self, tmp_path: Path) -> None:
        found = self.check(tmp_path, by="publisher", keys=(self.key(),))
        assert found.verdict is OK
        assert "release 3" in found.message

    @pytest.mark.parametrize("by", ["", "somebody else"])
    def test_no_signature_or_another_key_s(self, tmp_path: Path, by: str) -> None:
        found = self.check(tmp_path, by=by, keys=(self.key(),))
        assert found.verdict is FAILED
        assert found.hint

    def test_a_release_that_is_older_than_the_newest(self, tmp_path: Path) -> None:
        url_of_it = (tmp_path / "pack.torrent").as_uri()
        newest = Vouched("0" * 64, self.key(), Order(SIGNED_S + 9, 4), url_of_it).dump()
        found = self.check(tmp_path, by="publisher", keys=(self.key(),), vouched=newest)
        assert found.verdict is FAILED
        assert "older" in found.message

    def test_without_keys_it_is_skipped_with_the_way_to_them(self, tmp_path: Path) -> None:
        found = self.check(tmp_path)
        assert found.verdict is SKIPPED
        assert "public_keys" in found.hint

    def test_without_a_torrent_there_is_nothing_to_check(self, tmp_path: Path) -> None:
        config = SubscriptionConfig("pack", "file:///x", tmp_path, public_keys=(self.key(),))
        nothing: Fetched | None = None
        assert check_signature(config, nothing, "")[0].verdict is SKIPPED


class TestHints:
    def check(self, address: str, reference: bytes) -> Finding:
        config = SubscriptionConfig("pack", address, Path("/games"))
        (found,) = check_hints(config, parse_metainfo(torrent(reference)))
        return found

    def test_a_release_without_hints(self) -> None:
        assert self.check("file:///pack.torrent", b"").verdict is SKIPPED

    def test_hints_beside_a_local_torrent(self, tmp_path: Path) -> None:
        address = (tmp_path / "pack.torrent").as_uri()
        found = self.check(address, b"pack.torrent.hints")
        assert found.verdict is WARNING
        assert "publisher" in found.hint
        (tmp_path / "pack.torrent.hints").write_bytes(MAGIC + b"rest")
        assert self.check(address, b"pack.torrent.hints").verdict is OK

    def test_hints_that_lead_elsewhere(self) -> None:
        assert self.check("file:///srv/pack.torrent", b"/etc/passwd").verdict is WARNING

    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (reply(206, body=MAGIC), OK),
            (reply(200, body=MAGIC + b"rest"), OK),
            (reply(404), WARNING),
            (reply(200, body=b"<html>"), WARNING),
        ],
    )
    def test_hints_on_a_server(self, answer: bytes, verdict: Verdict) -> None:
        with ScriptedServer([answer]) as server:
            found = self.check(f"{server.url}/pack.torrent", b"pack.torrent.hints")
        assert found.verdict is verdict


def test_a_server_that_has_ipv6_only() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(torrent())))
            self.end_headers()
            self.wfile.write(torrent())

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6
        daemon_threads = True

    try:
        server = Server(("::1", 0), Handler)
    except OSError:
        pytest.skip("this machine has no IPv6")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found, by_check = look(f"http://[::1]:{server.server_port}/pack.torrent")
    finally:
        server.shutdown()
        server.server_close()
    assert by_check["url.connect"].message.endswith("IPv6")
    assert {one.verdict for one in found.findings} == {OK}
