"""The control API on a real socket: who is let in, what is answered, and how it ends."""

from __future__ import annotations

import json
import os
import socket
import stat
from functools import partial
from http.client import HTTPException
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.support.control import DEADLINE_S, Api, in_thread, running_api
from tests.support.processes import HOST, wait_until
from torsync.model.errors import BusyError, ConfigError, ControlError, NoPeersError, StateError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted
from torsync.model.guard import Allowance
from torsync.model.orders import MakeRelease, Terms, Verify
from torsync.model.reports import CheckReport, VerifyReport
from torsync.publish.serving import Limits
from torsync.service.control import streams
from torsync.service.control.credentials import (
    control_folder,
    load_address,
    load_token,
    make_token,
    service_pid,
)
from torsync.service.control.gate import BODY_BYTES
from torsync.service.desk import ReloadReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from pathlib import Path

ORDER = "/api/v1/orders/pack"
CHECK = {"order": {"command": "check-now"}}
REPORT = CheckReport("pack", release="r", changed=True, fetched=["a", "\udcff"], seconds=0.5)
SCHEMA = json.loads(files("torsync.cli").joinpath("schema.json").read_text(encoding="utf-8"))


def validate(found: Any) -> None:
    """See that a line is as the schema says."""
    definition = {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"], "$ref": "#/$defs/api"}
    jsonschema.Draft202012Validator(definition).validate(found)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """For requests that leave nothing behind."""
    with running_api(tmp_path_factory.mktemp("state")) as running:
        yield running


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def read_to_the_end(answer: HTTPResponse) -> None:
    while answer.readline():
        pass
    raise EOFError


def lines_of(answer: HTTPResponse) -> Iterator[Any]:
    while line := answer.readline():
        if line.strip():
            found = json.loads(line)
            validate(found)
            yield found


class TestWhoIsLetIn:
    """Programs of the user who have the token, and no web page."""

    @pytest.fixture
    def api(self, lasting_api: Api) -> Api:
        return lasting_api

    def test_a_request_with_the_token_is(self, api: Api) -> None:
        api.desk.reloads = [ReloadReport(("new",))]
        answer = api.ask("POST", "/api/v1/reload")
        assert answer.status == 200
        assert answer.json["started"] == ["new"]

    @pytest.mark.parametrize(
        "given",
        [
            *(None, "", "Bearer", "Bearer ", "Basic dDp0", "Bearer wrong", "bearer"),
            *("Bearer " + "A" * 43, "Bearer " + "A" * 5000, "Bearer \u00e9"),
        ],
    )
    def test_without_the_right_token_nobody_is(self, api: Api, given: str | None) -> None:
        answer = api.ask("POST", "/api/v1/reload", headers={"Authorization": given})
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json["code"] == "not_allowed"
        assert api.token not in str(answer)

    def test_a_part_of_the_token_is_not_enough(self, api: Api) -> None:
        for part in (api.token[:-1], api.token + "x", api.token.swapcase()):
            given = {"Authorization": f"Bearer {part}"}
            assert api.ask("GET", "/api/v1/events", headers=given).status == 401

    def test_every_path_wants_the_token(self, api: Api) -> None:
        for method, path in [("GET", "/"), ("GET", "/metrics"), ("GET", "/api/v1/nothing")]:
            assert api.ask(method, path, headers={"Authorization": None}).status == 401
            assert api.ask(method, path).status == 404

    @pytest.mark.parametrize(
        "host",
        [
            *(
                "evil.example",
                "evil.example:80",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
            ),
            *("0.0.0.0", "192.168.1.1", "[::]", "127.0.0.1:80:80", "user@127.0.0.1", ""),
        ],
    )
    def test_a_name_that_is_made_to_mean_this_machine_is_refused(self, api: Api, host: str) -> None:
        assert api.ask("GET", "/api/v1/events", headers={"Host": host}).status == 403

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:9"])
    def test_the_names_of_loopback_are_not(self, api: Api, host: str) -> None:
        assert api.ask("GET", "/nothing", headers={"Host": host}).status == 404

    def test_two_hosts_or_none_are_refused(self, api: Api) -> None:
        token = f"Authorization: Bearer {api.token}\r\nConnection: close\r\n".encode()
        for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
            said = api.raw(b"GET /nothing HTTP/1.1\r\n" + hosts + token + b"\r\n")
            assert said.split()[1] in {b"400", b"403"}, said
        assert b" 403 " in api.raw(b"GET /nothing HTTP/1.0\r\n" + token + b"\r\n")

    def test_a_web_page_is_refused_even_one_of_another_port(self, api: Api) -> None:
        host, port = api.address
        own = f"http://{host}:{port}"
        for origin in (
            "http://evil.example",
            f"http://{host}:{port + 1}",
            f"https://{host}",
            "null",
        ):
            answer = api.ask("POST", "/api/v1/reload", headers={"Origin": origin})
            assert answer.status == 403
        assert api.ask("GET", "/nothing", headers={"Origin": own}).status == 404

    def test_no_page_may_read_an_answer_or_ask_whether_it_may(self, api: Api) -> None:
        host, port = api.address
        headers = {
            "Origin": f"http://{host}:{port}",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        answer = api.ask("OPTIONS", "/api/v1/reload", headers=headers)
        assert answer.status == 405
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "TRACE", "PATCH"])
    def test_other_methods_are_refused(self, api: Api, method: str) -> None:
        assert api.ask(method, "/api/v1/reload").status == 405

    def test_a_route_takes_its_own_method(self, api: Api) -> None:
        assert api.ask("GET", "/api/v1/reload").status == 405
        assert api.ask("POST", "/api/v1/events", {}).status == 405

    def test_a_form_cannot_give_orders(self, api: Api) -> None:
        for media_type in ("text/plain", "application/x-www-form-urlencoded", None):
            answer = api.ask("POST", ORDER, CHECK, headers={"Content-Type": media_type})
            assert answer.status == 415
        assert api.desk.given == []

    def test_a_large_body_is_refused_announced_or_not(self, api: Api) -> None:
        large = {"order": {"command": "x" * BODY_BYTES}}
        assert api.ask("POST", ORDER, large).status == 413
        head = (
            f"POST {ORDER} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.token}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        ).encode()
        chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
        with socket.create_connection(api.address, timeout=DEADLINE_S) as client:
            client.sendall(head + chunk * (BODY_BYTES // 0x1000 + 1))
            assert client.recv(65536).startswith(b"HTTP/1.1 400")

    def test_every_answer_says_what_a_browser_may_do_with_it(self, api: Api) -> None:
        for headers in ({}, {"Host": "evil.example"}, {"Authorization": None}):
            found = api.ask("GET", "/nothing", headers=headers).headers
            assert found["cache-control"] == "no-store"
            assert found["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in found["content-security-policy"]
            assert "server" not in found


class TestToken:
    """A file that only the user can read."""

    def test_it_is_made_once_for_the_user_alone(self, tmp_path: Path) -> None:
        with running_api(tmp_path) as api:
            first = api.token
            folder = control_folder(tmp_path)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
            assert sorted(os.listdir(folder)) == ["address", "holder", "lock", "token"]
        with running_api(tmp_path) as api:
            assert api.token == first

    def test_it_is_for_the_user_alone_whatever_the_umask(self, tmp_path: Path) -> None:
        control_folder(tmp_path).mkdir()
        before = os.umask(0)
        try:
            make_token(tmp_path)
        finally:
            os.umask(before)
        assert stat.S_IMODE((control_folder(tmp_path) / "token").stat().st_mode) == 0o600

    def test_one_that_others_could_have_read_or_made_is_replaced(self, tmp_path: Path) -> None:
        folder = control_folder(tmp_path)
        folder.mkdir()
        first = make_token(tmp_path)
        file = folder / "token"
        for mode in (0o640, 0o604, 0o620):
            known = load_token(tmp_path)
            file.chmod(mode)
            assert make_token(tmp_path) not in {known, first}
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for text in ("", "short", "\udcff" * 43, "A" * 44):
            file.write_bytes(text.encode("utf-8", "surrogateescape"))
            assert make_token(tmp_path) != text
        known = load_token(tmp_path)
        (folder / "elsewhere").write_text(known)
        (folder / "elsewhere").chmod(0o600)
        file.unlink()
        file.symlink_to("elsewhere")
        assert make_token(tmp_path) != known
        assert not file.is_symlink()
        assert (folder / "elsewhere").read_text() == known

    def test_each_is_another(self, tmp_path: Path) -> None:
        tokens = set()
        for number in range(20):
            control_folder(tmp_path / str(number)).mkdir(parents=True)
            tokens.add(make_token(tmp_path / str(number)))
        assert len(tokens) == 20
        assert {len(token) for token in tokens} == {43}

    def test_where_it_cannot_be_made_the_service_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "control").write_text("in the way")
        with pytest.raises(StateError):
            Api(tmp_path).server.start()

    def test_it_is_in_nothing_that_is_told(self, tmp_path: Path) -> None:
        with running_api(tmp_path) as api:
            said = f"Authorization: {api.token}\r\nConnection: close\r\n\r\n"
            api.raw(f"GET /{api.token} HTTP/1.1\r\n{said}".encode())
            api.raw(f"Authorization: Bearer {api.token}\r\n\r\n".encode())
            api.ask("POST", ORDER, b"{", {"Authorization": f"Bearer {api.token}"})
            token = api.token
        assert token not in str(api.events)


class TestAddress:
    """Where it is, for as long as it is there."""

    def test_it_is_there_while_it_listens(self, tmp_path: Path) -> None:
        with running_api(tmp_path) as api:
            assert load_address(tmp_path) == api.server.url == f"http://{HOST}:{api.address[1]}"
            assert service_pid(tmp_path) == os.getpid()
        assert load_address(tmp_path) == ""
        assert service_pid(tmp_path) is None

    def test_there_is_one_for_a_state_directory(self, tmp_path: Path) -> None:
        with running_api(tmp_path) as api:
            with pytest.raises(BusyError, match="torsync run"):
                Api(tmp_path).server.start()
            assert load_address(tmp_path) == api.server.url

    def test_a_port_that_is_taken_is_told(self, tmp_path: Path) -> None:
        with socket.create_server((HOST, 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ControlError, match=f"{HOST}:{port}") as caught:
                Api(tmp_path, (HOST, port)).server.start()
        assert "control" in caught.value.hint
        with running_api(tmp_path):
            pass  # nothing was left held

    def test_ipv6_will_do(self, tmp_path: Path) -> None:
        if not has_ipv6():
            pytest.skip("there is no IPv6")
        api = Api(tmp_path, ("::1", 0))
        api.server.start()
        try:
            assert api.server.url.startswith("http://[::1]:")
            assert api.ask("GET", "/nothing").status == 404
        finally:
            api.server.close()


class TestOrders:
    """An order goes in; events, and a report or an error, come out."""

    def test_events_of_that_name_come_as_they_are_said_and_then_the_report(self, api: Api) -> None:
        with api.stream("POST", ORDER, CHECK) as answer:
            lines = lines_of(answer)
            pending = api.desk.order()
            api.desk.hub.sink(StageStarted("other", Stage.LOOKING))
            api.desk.hub.sink(StageStarted("pack", Stage.CHECKING_REMOTE, "over there"))
            assert next(lines)["stage"] == "checking remote"
            pending.begin()
            api.desk.hub.sink(Progress("pack", Stage.DOWNLOADING, bytes_done=5, eta_s=float("inf")))
            found = [next(lines), next(lines)]
            assert [one["type"] for one in found] == ["progress", "begun"]
            assert (found[0]["bytes_done"], found[0]["eta_s"]) == (5, None)
            api.desk.hub.sink(Notice("pack", Level.INFO, "code", "a \udcff path"))
            pending.fulfil(REPORT)
            last = list(lines)
        assert [one["type"] for one in last] == ["notice", "report"]
        assert last[0]["message"] == "a \udcff path"
        assert CheckReport.from_json(last[1]["report"]) == REPORT

    def test_an_order_has_its_options_and_terms(self, api: Api) -> None:
        body = {
            "order": {"command": "verify", "quick": True},
            "terms": {"patience_s": 5, "allowed": ["space"], "again": ["verify", "--quick"]},
        }
        wait = in_thread(partial(api.ask, "POST", ORDER, body))
        pending = api.desk.order()
        assert pending.order == Verify(quick=True)
        assert pending.terms == Terms(5, frozenset({Allowance.SPACE}), ("verify", "--quick"))
        pending.fulfil(VerifyReport("pack"))
        assert wait().lines[-1]["report"]["ok"] == 0

    def test_a_failure_is_told_as_it_is(self, api: Api) -> None:
        wait = in_thread(partial(api.ask, "POST", ORDER, CHECK))
        api.desk.order().fail(NoPeersError("nobody is there", hint="wait"))
        found = wait().lines[-1]
        validate(found)
        assert found == {
            "type": "error",
            "code": "no_peers",
            "exit_code": 3,
            "message": "nobody is there",
            "hint": "wait",
        }

    def test_who_waits_for_the_services_own_work_sees_how_far_that_is(self, api: Api) -> None:
        api.desk.hub.sink(StageStarted("pack", Stage.DOWNLOADING))
        api.desk.hub.sink(Progress("pack", Stage.DOWNLOADING, bytes_done=7))
        with api.stream("POST", ORDER, CHECK) as answer:
            lines = lines_of(answer)
            assert [next(lines)["type"], next(lines)["bytes_done"]] == ["stage", 7]
            api.desk.hub.sink(Progress("pack", Stage.DOWNLOADING, bytes_done=8))
            assert next(lines)["bytes_done"] == 8
            api.desk.order().fulfil(REPORT)
            assert [one["type"] for one in lines] == ["begun", "report"]

    def test_an_order_that_waits_for_a_fetch_that_stands_still_is_given_up(self, api: Api) -> None:
        api.desk.hub.sink(Progress("pack", Stage.DOWNLOADING, bytes_done=1))
        with api.stream("POST", ORDER, {**CHECK, "terms": {"patience_s": 60}}) as answer:
            lines = lines_of(answer)
            assert next(lines)["type"] == "stage"
            pending = api.desk.order()
            api.desk.now_s = 59.0
            api.desk.hub.sink(Progress("pack", Stage.DOWNLOADING, bytes_done=2))  # it moves
            api.desk.now_s = 118.0
            api.desk.hub.sink(Notice("pack", Level.INFO, "still", "here"))
            while next(lines)["type"] != "notice":
                pass
            assert not pending.is_cancelled
            api.desk.now_s = 119.0
            last = list(lines)[-1]
        assert (last["type"], last["code"], last["exit_code"]) == ("error", "no_peers", 3)
        assert pending.is_cancelled

    def test_one_that_has_begun_has_its_own_patience(self, api: Api) -> None:
        api.desk.hub.sink(Progress("pack", Stage.DOWNLOADING, bytes_done=1))
        with api.stream("POST", ORDER, {**CHECK, "terms": {"patience_s": 60}}) as answer:
            pending = api.desk.order()
            pending.begin()
            api.desk.now_s = 1000.0
            api.desk.hub.sink(Notice("pack", Level.INFO, "still", "here"))
            lines = lines_of(answer)
            while next(lines)["type"] != "notice":
                pass
            pending.fulfil(REPORT)
            assert list(lines)[-1]["type"] == "report"

    def test_a_client_that_goes_away_waits_no_more(self, api: Api) -> None:
        with api.stream("POST", ORDER, CHECK):
            pending = api.desk.order()
            assert not pending.is_cancelled
        wait_until(lambda: pending.is_cancelled, "it is known that nobody waits")

    def test_a_plan_of_a_publication_is_an_order_that_changes_nothing(self, api: Api) -> None:
        wait = in_thread(partial(api.ask, "GET", "/api/v1/plan/maps"))
        pending = api.desk.order()
        assert pending.order == MakeRelease(dry_run=True)
        pending.fail(StateError("no"))
        assert wait().lines[-1]["code"] == "state"

    def test_a_plan_of_a_subscription_needs_nobody(self, api: Api) -> None:
        found = api.ask("GET", "/api/v1/plan/pack").lines
        assert [one["type"] for one in found][-1] == "error"
        assert found[-1]["code"] == "not_polled"
        assert api.desk.given == []

    def test_many_wait_beside_one_another(self, api: Api) -> None:
        waits = [in_thread(partial(api.ask, "POST", ORDER, CHECK)) for _ in range(30)]
        for number in range(30):
            api.desk.order(number).fulfil(REPORT)
        assert [wait().lines[-1]["type"] for wait in waits] == ["report"] * 30

    def test_a_client_that_reads_nothing_holds_up_no_other(self, api: Api) -> None:
        with socket.create_connection(api.address, timeout=DEADLINE_S) as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            body = json.dumps(CHECK)
            lazy.sendall(
                f"POST {ORDER} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                f"{body}".encode()
            )
            api.desk.order()
            for number in range(3000):
                api.desk.hub.sink(Notice("pack", Level.DEBUG, "c", "x" * 3000, str(number)))
            wait = in_thread(partial(api.ask, "POST", ORDER, CHECK))
            api.desk.order(1).fulfil(REPORT)
            assert wait().lines[-1]["type"] == "report"


class TestWhatIsNoOrder:
    """Refused in words, and nothing is done."""

    @pytest.fixture
    def api(self, lasting_api: Api) -> Api:
        return lasting_api

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, {"order": []}, {"terms": 1}),
            *({}, {"order": {"command": "rm"}}, {"order": {"command": "check-now", "x": 1}}),
            *({**CHECK, "terms": {"allowed": ["all"]}}, {**CHECK, "surprise": 1}),
            {"order": {"command": "trash empty", "older_than_s": "1d"}},
        ],
    )
    def test_what_is_no_order_is_refused_in_words(self, api: Api, body: Any) -> None:
        answer = api.ask("POST", ORDER, body)
        validate(answer.json)
        assert (answer.status, answer.json["code"], answer.json["exit_code"]) == (400, "usage", 2)
        assert api.desk.given == []

    def test_what_is_not_there_is_not_found(self, api: Api) -> None:
        for method, path, body in [
            ("POST", "/api/v1/orders/none", CHECK),
            ("GET", "/api/v1/plan/none", None),
            ("POST", "/api/v1/orders/", CHECK),
            ("GET", "/api/v1/orders/../../x", None),
        ]:
            answer = api.ask(method, path, body)
            assert answer.status in {404, 405}, path
            assert answer.json["code"] == "usage"


class TestReload:
    """What a reload led to, or why it did not."""

    def test_a_broken_configuration_is_told_with_its_problems(self, api: Api) -> None:
        problems = ("line 3: a", "line 4: b")
        api.desk.reloads = [ConfigError("2 problems", problems=problems, hint="mend them")]
        answer = api.ask("POST", "/api/v1/reload")
        validate(answer.json)
        assert (answer.status, answer.json["exit_code"]) == (422, 2)
        assert answer.json["problems"] == list(problems)


class TestEvents:
    """Server-sent events, for as long as somebody listens."""

    def read(self, answer: HTTPResponse) -> Any:
        while not (line := answer.readline()).startswith(b"data: "):
            assert line, "it ended"
            assert line == b"\n" or line.startswith(b": "), line
        found = json.loads(line.removeprefix(b"data: "))
        validate(found)
        return found

    def test_all_is_told_to_who_wants_all(self, api: Api) -> None:
        with api.stream("GET", "/api/v1/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.readline() == b": listening\n"
            api.desk.hub.sink(StageStarted("pack", Stage.PAUSED, "for now"))
            api.desk.hub.sink(Notice("", Level.WARNING, "code", "of none\nat all"))
            assert self.read(answer)["stage"] == "paused"
            assert self.read(answer)["message"] == "of none\nat all"

    def test_names_may_be_chosen(self, api: Api) -> None:
        with api.stream("GET", "/api/v1/events?name=pack&name=a%26b") as answer:
            answer.readline()
            for name in ("other", "pack", "a&b"):
                api.desk.hub.sink(Progress(name, Stage.LOOKING, files_done=1))
            assert [self.read(answer)["name"] for _ in range(2)] == ["pack", "a&b"]

    def test_it_goes_on_while_nothing_is_said(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.0)
        with api.stream("GET", "/api/v1/events") as answer:
            assert answer.readline() == b": listening\n"
            assert answer.readline() == b"\n"
            assert answer.readline() == b": still here\n"

    def test_it_ends_with_the_service(self, api: Api) -> None:
        with api.stream("GET", "/api/v1/events") as answer:
            answer.readline()
            api.server.close()
            with pytest.raises((EOFError, OSError, HTTPException)):
                read_to_the_end(answer)

    def test_who_does_not_listen_any_more_is_forgotten(self, api: Api) -> None:
        with api.stream("GET", "/api/v1/events") as answer:
            answer.readline()
            assert len(api.desk.hub._listeners) == 1
        wait_until(lambda: not api.desk.hub._listeners, "it is forgotten")


class TestLimits:
    """Clients that are slow or many."""

    def test_who_sends_no_whole_request_is_cut_off(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("torsync.service.control.server._HEADERS_S", 0.2)
        with running_api(tmp_path) as api:
            assert api.raw(b"") == b""
            assert api.raw(b"GET / HT") == b""

    def test_who_sends_no_whole_body_is_told_so(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("torsync.service.control.app._BODY_S", 0.1)
        said = api.raw(
            f"POST {ORDER} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
            "{".encode()
        )
        assert said.startswith(b"HTTP/1.1 400")
        assert b"did not come" in said

    def test_for_more_connections_one_that_is_idle_is_cut(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "torsync.publish.serving.Limits", lambda _most, **more: Limits(3, **more)
        )
        with running_api(tmp_path) as api:
            opened = [api.connect() for _ in range(3)]
            for one in opened:
                one.request("GET", "/nothing", headers=api.headers())
                assert one.getresponse().read()
            assert api.ask("GET", "/nothing").status == 404, "one that is idle is cut for it"
            assert opened[0].sock.recv(1) == b""
            for one in opened:
                one.close()

    def test_it_ends_while_somebody_waits(self, tmp_path: Path) -> None:
        with running_api(tmp_path) as api:
            wait = in_thread(partial(api.ask, "POST", ORDER, CHECK))
            pending = api.desk.order()
            thread = api.server._thread
            api.server.close()
            assert thread is not None
            assert not thread.is_alive()
            wait_until(lambda: pending.is_cancelled, "nobody waits any more")
            with pytest.raises((OSError, HTTPException)):
                wait()
