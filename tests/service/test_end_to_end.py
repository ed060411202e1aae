"""The installed program as its users have it: a service, and commands to it, nothing else."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from contextlib import closing
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import cli
from tests.support.cli import is_report, trash_contents
from tests.support.installed import (
    Installed,
    built_wheel,
    fresh_environment,
    installed_program,
    pip_install,
    said,
)
from tests.support.processes import HOST, free_port, wait_until
from tests.support.programs import require
from tests.support.publishers import wait_for_release
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, edit_in_place, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.cli import Json, Running
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content

    NewHost = Callable[[str], Installed]

KIB = 1024
FIRST: dict[str, Content] = {
    "data/large.bin": 700 * KIB,
    "data/small.bin": 20 * KIB,
    "dropped.txt": 100,
    "old name.bin": 90 * KIB,
    "settings.ini": 10,
}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    folder = tmp_path_factory.getbasetemp()
    shared = folder if worker_id == "master" else folder.parent
    return installed_program(shared / "installed")


@pytest.fixture
def new_host(tmp_path: Path, program: Path) -> Iterator[NewHost]:
    """Make machines: each has a configuration, state and home of its own."""
    made: list[Installed] = []

    def make(name: str) -> Installed:
        made.append(Installed(tmp_path / name, program))
        return made[-1]

    yield make
    for host in made:
        host.close()


class Publisher:
    """A service that publishes a folder by its feed; releases are made when they are asked for."""

    def __init__(self, host: Installed) -> None:
        self.host = host
        port = free_port()
        host.feed = {"listen": f"{HOST}:{port}"}
        self.url = f"http://{HOST}:{port}/pack.torrent"
        self.folder = host.publish("pack", FIRST, watch=False)
        self.service = host.start("run")
        self.service.wait_for_stage("pack", "seeding")

    def release(self, change: Callable[[Path], object]) -> None:
        """Change the folder, and publish it."""
        change(self.folder)
        self.host.run("check-now", "pack").assert_ok()


@pytest.fixture
def publisher(new_host: NewHost) -> Publisher:
    return Publisher(new_host("publisher"))


def subscribed(host: Installed, publisher: Publisher, **options: object) -> Installed:
    host.subscribe(
        url=publisher.url, peers=[publisher.host.peer()], **{"interval": "1h", **options}
    )
    return host


# What differs from run to run, and from machine to machine.
VOLATILE = {
    re.compile(r"\bjust now\b"): "0 s ago",
    re.compile(r"\b(\d+ [hm] )*\d+(\.\d+)? s\b"): "SECONDS",
    re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:?\d\d:?\d\d(\.\d+)?Z?"): "TIME",
    re.compile(r"\d[\d.,]* .?B free"): "ROOM free",
    re.compile(r'"(seconds|space_free|at_s|bytes_hashed)": [\d.]+'): "NUMBER",
    re.compile(r"\d[\d.,]* .?B hashed"): "SIZE hashed",
}


def same(text: str, host: Installed) -> str:
    """What was printed, without that."""
    text = text.replace(str(host.folder), "HOST")
    for pattern, word in VOLATILE.items():
        text = pattern.sub(word, text)
    return text


def shown(text: str, line: str) -> list[str]:
    """What a command printed, but for what is up to chance.

    That is how often progress is told; whether what was written a moment ago is hashed again; and
    the order in the trash of what came there in one second.
    """
    found: list[str] = []
    for printed in text.splitlines():
        one = printed
        if '"type": "progress"' in printed:
            one = f"progress: {json.loads(printed)['stage']}"
        may_be_left_out = not line.startswith("verify") and "verifying" in one
        if one not in found[-1:] and not may_be_left_out and "the service does it" not in one:
            found.append(one)
    return sorted(found) if line == "trash list" else found


def second_release(folder: Path) -> None:
    edit_in_place(folder / "data/large.bin")
    (folder / "dropped.txt").unlink()
    (folder / "old name.bin").rename(folder / "new name.bin")
    write_tree(folder, {"added.bin": 30 * KIB})


def most_is_gone(folder: Path) -> None:
    shutil.rmtree(folder / "data")


def spoil(tree: Path) -> None:
    edit_in_place(tree / "data/small.bin")
    (tree / "settings.ini").unlink()
    write_tree(tree, {"unlisted.txt": 7})


class Step(NamedTuple):
    """A command, how it ends, and what is done before."""

    line: str
    exit_code: int = 0
    publish: Callable[[Path], object] | None = None
    spoil: Callable[[Path], object] | None = None


SCENARIOS = {
    "updates": (
        Step("check-now"),
        Step("check-now -v"),
        Step("apply pack"),
        Step("rollback pack", 2),
        Step("check-now --dry-run", 4, publish=second_release),
        Step("plan", 4),
        Step("apply --json pack"),
        Step("check-now --json"),
        Step("history"),
        Step("rollback pack"),
        Step("rollback --list pack"),
        Step("check-now"),
        Step("rollback pack nothing", 2),
        Step("apply pack"),
        Step("check-now", 5, publish=most_is_gone),
        Step("apply pack --json", 5),
        Step("apply pack --allow deletes"),
    ),
    "repairs": (
        Step("plan", 1),
        Step("check-now --json"),
        Step("verify --quick", 4, spoil=spoil),
        Step("verify", 4),
        Step("verify --repair --clean --dry-run", 4),
        Step("verify --clean --json", 4),
        Step("verify --repair"),
        Step("verify -q"),
        Step("trash list"),
        Step("trash restore pack unlisted.txt"),
        Step("trash restore pack nothing", 1),
        Step("trash restore nobody nothing", 2),
        Step("trash empty --older-than 1d"),
        Step("trash empty --json"),
        Step("check-now nobody", 2),
        Step("resume --json"),
        Step("resume"),
        Step("pause"),
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_commands_print_and_do_the_same_whether_or_not_the_service_holds_the_tree(
    new_host: NewHost, publisher: Publisher, scenario: str
) -> None:
    alone, held = (
        subscribed(new_host(name), publisher, max_delete="30%") for name in ("alone", "held")
    )
    for host in (alone, held):
        host.run("pause").assert_ok()
    service = held.start("run")
    service.wait_for_stage("pack", "paused")
    for step in SCENARIOS[scenario]:
        if step.publish:
            publisher.release(step.publish)
        for host in (alone, held):
            if step.spoil:
                step.spoil(host.tree)
        first, second = [host.begin(*step.line.split()) for host in (alone, held)]
        wanted, found = said(first), said(second)
        assert found.exit_code == wanted.exit_code == step.exit_code, (step, wanted, found)
        for here, there in ((found.stdout, wanted.stdout), (found.stderr, wanted.stderr)):
            assert shown(same(here, held), step.line) == shown(same(there, alone), step.line), step
        assert tree_bytes(held.tree) == tree_bytes(alone.tree), step
        assert trash_contents(held.tree) == trash_contents(alone.tree), step
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


# --- one service with everything ------------------------------------------------------------


def is_update(name: str) -> Callable[[Json], bool]:
    return lambda one: is_report(one) and one["name"] == name and one["changed"]


@pytest.mark.timeout(300)
def test_a_service_goes_on_through_updates_reloads_pauses_and_kills(
    new_host: NewHost, tmp_path: Path
) -> None:
    host = new_host("host")
    port = free_port()
    host.feed = {"listen": f"{HOST}:{port}"}
    folder = host.publish("pack", FIRST)
    del host.publications["pack"]["torrent"]  # the feed serves it, and nothing else
    near, far, third = (tmp_path / name for name in ("near", "far", "third"))
    url = f"http://{HOST}:{port}/pack.torrent"
    for tree in (near, far):
        host.subscribe(tree.name, url=url, path=str(tree), interval="1s")
    service = host.start("run")
    wait_for_release(service)
    for tree in (near, far):
        service.wait_for(is_update(tree.name), f"{tree.name} is there", deadline_s=60)
        assert_same_tree(tree, folder)

    # An edit is released, and both follow.
    heard = len(service.objects())
    second_release(folder)
    wait_for_release(service, since=heard)
    for tree in (near, far):
        service.wait_for(is_update(tree.name), f"{tree.name} follows", since=heard, deadline_s=60)
        assert_same_tree(tree, folder)

    # What is new in the configuration is taken in, and what is wrong is not.
    host.subscribe("third", url=url, path=str(third), interval="1s")
    reloaded = host.say("reload")
    assert reloaded.exit_code == 0
    assert "third" in reloaded.stdout
    service.wait_for(is_update("third"), "the third is there", deadline_s=60)
    host.subscribe("third", interval="soon")
    refused = host.say("reload")
    assert refused.exit_code == 2
    assert "interval" in refused.stderr
    host.subscribe("third", interval="1s")

    # One is paused, which outlives a kill; the others go on.
    host.run("pause", "near").assert_ok()
    service.kill()
    assert host.run("status", "near").assert_ok().subscription["paused"]
    at_pause = tree_bytes(near)
    write_tree(folder, {"third release.bin": 10 * KIB})
    service = host.start("run")
    for tree in (far, third):
        service.wait_for(is_update(tree.name), f"{tree.name} follows", deadline_s=60)
        assert_same_tree(tree, folder)
    assert host.run("status", "near").assert_ok().subscription["stage"] == "paused"
    assert tree_bytes(near) == at_pause

    # What it is told to do it does nevertheless, and on it goes.
    assert host.run("check-now", "near").assert_ok().subscription["changed"]
    assert_same_tree(near, folder)
    host.run("resume").assert_ok()
    heard = len(service.objects())
    write_tree(folder, {"fourth release.bin": 10 * KIB})
    service.wait_for(is_update("near"), "near follows again", since=heard, deadline_s=60)
    logged = host.say("logs").stdout
    assert "near" in logged
    history = host.say("history", "-n", "99").stdout
    assert len([line for line in history.splitlines() if line.startswith("near:")]) == 4
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0
    stages = {one["stage"] for one in host.run("status").assert_ok().of_type("subscription")}
    assert stages == {"stopped"}


# --- commands and what comes between --------------------------------------------------------


class SlowSite:
    """A subscriber in a service, and a release that takes its time."""

    def __init__(self, folder: Path, host: Installed, seeder: LibtorrentSeeder) -> None:
        self.host = host
        self.publisher = cli.Publisher(folder / "published", seeder)
        self._folder = folder
        host.subscribe(url=self.publisher.url, peers=self.publisher.peers, interval="1h")

    def publish(self, number: int, **options: int) -> Path:
        folder = write_tree(self._folder / f"release-{number}", {"a.bin": (400 + number) * KIB})
        torrent = make_libtorrent(folder, format="v1", piece_size=16 * KIB)
        self.publisher.publish(torrent, folder, **options)
        return folder

    def start(self) -> Running:
        service = self.host.start("run")
        service.wait_for_stage("pack", "waiting")
        return service


@pytest.fixture
def slow_site(new_host: NewHost, tmp_path: Path, seeder: LibtorrentSeeder) -> SlowSite:
    site = SlowSite(tmp_path, new_host("host"), seeder)
    site.publish(1)
    return site


def test_commands_at_once_are_done_one_after_the_other(slow_site: SlowSite) -> None:
    service = slow_site.start()
    folder = slow_site.publish(2, upload_limit=150 * KIB)
    lines = ("check-now", "check-now", "verify", "trash empty")
    running = [slow_site.host.begin(*line.split()) for line in lines]
    for line, ended in zip(lines, map(said, running), strict=True):
        assert (ended.exit_code, ended.stderr.count("error")) == (0, 0), (line, ended)
    assert_same_tree(slow_site.host.tree, folder)
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


def test_a_mistake_in_a_command_is_no_failure_of_the_subscription(slow_site: SlowSite) -> None:
    slow_site.start()
    for line, exit_code in (("rollback pack", 2), ("trash restore pack nothing", 1)):
        ended = slow_site.host.say(*line.split())
        assert ended.exit_code == exit_code
        assert "hint:" in ended.stderr
    assert slow_site.host.run("status").assert_ok().subscription["last_error"] == ""
    assert slow_site.host.say("logs", "--level", "warning").stdout == ""


def test_a_second_service_is_refused_and_the_first_one_is_named(slow_site: SlowSite) -> None:
    service = slow_site.start()
    refused = slow_site.host.say("run")
    assert (refused.exit_code, refused.stdout) == (6, "")
    assert f"runs already: process {service.pid}" in refused.stderr
    assert "hint:" in refused.stderr
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


def test_a_pause_ends_what_others_wait_for(slow_site: SlowSite) -> None:
    service = slow_site.start()
    at_rest = tree_bytes(slow_site.host.tree)
    slow_site.publish(2, upload_limit=16 * KIB)
    heard = len(service.objects())
    check = slow_site.host.begin("check-now")
    service.wait_for_stage("pack", "downloading", since=heard)
    assert slow_site.host.say("pause").exit_code == 0
    ended = said(check)
    assert (ended.exit_code, ended.stdout) == (6, "")
    assert "`torsync resume pack`" in ended.stderr
    assert tree_bytes(slow_site.host.tree) == at_rest
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


def test_ctrl_c_ends_the_waiting_and_not_the_work(slow_site: SlowSite) -> None:
    service = slow_site.start()
    folder = slow_site.publish(2, upload_limit=150 * KIB)
    heard = len(service.objects())
    check = slow_site.host.begin("check-now")
    service.wait_for_stage("pack", "downloading", since=heard)
    check.send_signal(signal.SIGINT)
    ended = said(check)
    assert (ended.exit_code, ended.stdout) == (130, "")
    assert "the service goes on with it" in ended.stderr
    service.wait_for_stage("pack", "waiting", since=heard)
    assert_same_tree(slow_site.host.tree, folder)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_does_itself_what_a_service_that_ends_has_left(
    slow_site: SlowSite, how: signal.Signals
) -> None:
    service = slow_site.start()
    folder = slow_site.publish(2, upload_limit=150 * KIB)
    heard = len(service.objects())
    check = slow_site.host.begin("check-now")
    service.wait_for_stage("pack", "downloading", since=heard)
    service.send(how)
    ended = said(check)
    assert ended.exit_code == 0, ended
    assert ended.stdout.startswith("pack: in sync with release-2: 1 file fetched"), ended
    assert_same_tree(slow_site.host.tree, folder)


def test_a_command_without_peers_gives_up_in_time_and_the_service_goes_on(
    slow_site: SlowSite,
) -> None:
    service = slow_site.start()
    folder = write_tree(slow_site.host.folder / "nobody has it", {"a.bin": 90 * KIB})
    torrent = make_libtorrent(folder, format="v1", piece_size=16 * KIB)
    slow_site.publisher.announce(torrent)
    ended = slow_site.host.say("check-now", "--timeout", "1s")
    assert ended.exit_code == 3
    assert ended.stdout == ""
    assert "hint:" in ended.stderr
    assert service.is_running
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


def test_without_a_control_api_the_service_keeps_its_trees_to_itself(slow_site: SlowSite) -> None:
    host = slow_site.host
    host.service["control"] = ""
    service = slow_site.start()
    assert not (host.state_dir / "control" / "address").exists()
    refused = host.say("verify")
    assert refused.exit_code == 6
    assert str(service.pid) in refused.stderr
    assert 'control = ""' in refused.stderr
    status = host.say("status")
    assert (status.exit_code, status.stderr) == (0, "")
    assert "release-1" in status.stdout


# --- the control API ------------------------------------------------------------------------


class Api:
    """Asks the control API as somebody does who has read the manual."""

    def __init__(self, host: Installed) -> None:
        folder = host.state_dir / "control"
        self.token_file = folder / "token"
        self.token = self.token_file.read_text()
        address = urlsplit((folder / "address").read_text().strip())
        assert address.hostname == HOST
        assert address.port
        self.port = address.port

    def ask(
        self, target: str, method: str = "GET", body: str | None = None, **changes: str | None
    ) -> tuple[int, str]:
        """Give status and body of the answer; a header is left out where it is None."""
        given = {"Authorization": f"Bearer {self.token.strip()}", **changes}
        headers = {name: value for name, value in given.items() if value is not None}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def test_the_control_api_answers_only_who_has_the_token(slow_site: SlowSite) -> None:
    slow_site.start()
    api = Api(slow_site.host)
    assert api.token_file.stat().st_mode & 0o777 == 0o600
    assert api.token_file.parent.stat().st_mode & 0o777 == 0o700
    order = json.dumps({"order": {"command": "pause"}})
    routes = [("GET", f"/api/v1/{one}", None) for one in ("status", "events", "history", "logs")]
    routes += [
        ("GET", "/metrics", None),
        ("GET", "/api/v1/plan/pack", None),
        ("POST", "/api/v1/reload", None),
        ("POST", "/api/v1/orders/pack", order),
    ]
    wrong: list[tuple[int, dict[str, str | None]]] = [
        (401, {"Authorization": None}),
        (401, {"Authorization": "Bearer wrong"}),
        (401, {"Authorization": "Bearer"}),
        (403, {"Host": "mods.example"}),
        (403, {"Origin": "https://mods.example"}),
    ]
    for method, target, body in routes:
        for status, headers in wrong:
            found, text = api.ask(target, method, body, **headers)
            assert found == status, (target, headers, text)
            assert api.token.strip() not in text
    assert not slow_site.host.run("status").assert_ok().subscription["paused"]
    found, text = api.ask("/api/v1/orders/pack", "POST", order)
    assert (found, json.loads(text.splitlines()[-1])["type"]) == (200, "report")
    assert slow_site.host.run("status").assert_ok().subscription["paused"]


def test_metrics_tell_what_was_synced(slow_site: SlowSite) -> None:
    service = slow_site.start()
    status, text = Api(slow_site.host).ask("/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(name.startswith(("torsync_", "process_", "python_")) for name in families)
    assert all(family.documentation for family in families.values())
    samples = {
        (sample.name, sample.labels.get("name")): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["torsync_release_bytes", "pack"] == 401 * KIB
    assert samples["torsync_release_files", "pack"] == 1
    assert samples["torsync_failing", "pack"] == 0
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


def read_until_cut(answer: http.client.HTTPResponse) -> str:
    try:
        return answer.read().decode()
    except http.client.IncompleteRead as cut:
        return cut.partial.decode()


def test_events_are_sent_while_an_update_runs(slow_site: SlowSite) -> None:
    service = slow_site.start()
    api = Api(slow_site.host)
    connection = http.client.HTTPConnection(HOST, api.port, timeout=30)
    connection.request(
        "GET", "/api/v1/events?name=pack", headers={"Authorization": f"Bearer {api.token.strip()}"}
    )
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    answer.readline()  # from here on it is listened to
    slow_site.publish(2)
    slow_site.host.run("check-now").assert_ok()
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0
    lines = read_until_cut(answer).splitlines()  # it ends with the service
    connection.close()
    assert {line.partition(":")[0] for line in lines} <= {"", "data", "event", "id"}
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    stages = [one["stage"] for one in events if one["type"] == "stage"]
    order = [one for one in stages if one in {"checking remote", "downloading", "committing"}]
    assert order == ["checking remote", "downloading", "committing"]


# --- what is told, and when an update may run -----------------------------------------------


def test_an_update_waits_for_its_hook_and_is_told_afterwards(
    slow_site: SlowSite, tmp_path: Path
) -> None:
    host = slow_site.host
    agreed, told = tmp_path / "agreed", tmp_path / "told"
    ask = f"test -e {shlex.quote(str(agreed))} || {{ echo the game runs; exit 1; }}"
    host.subscribe(
        before_update=["sh", "-c", ask],
        on_update=["sh", "-c", f"cat >{shlex.quote(str(told))}.new && mv {told}.new {told}"],
    )
    service = host.start("run")
    service.wait_for_stage("pack", "postponed")
    assert "the game runs" in host.say("status").stdout
    refused = host.say("check-now")
    assert refused.exit_code == 4
    assert "the game runs" in refused.stderr
    assert tree_bytes(host.tree) == {}
    agreed.touch()
    assert host.say("check-now").exit_code == 0
    assert tree_bytes(host.tree).keys() == {"a.bin"}
    wait_until(told.exists, "the hook has run")
    found = json.loads(told.read_text())
    assert (found["event"], found["name"], found["added_paths"]) == ("on_update", "pack", ["a.bin"])
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


def closed_now() -> str:
    """Hours that are over, and far from the next ones."""
    hour = datetime.now(tz=timezone.utc).astimezone().hour
    return f"{(hour + 11) % 24:02}:00-{(hour + 12) % 24:02}:00"


def test_outside_its_hours_an_update_waits_but_for_who_asks_for_it(slow_site: SlowSite) -> None:
    host = slow_site.host
    window = closed_now()
    host.subscribe(update_window=window)
    service = host.start("run")
    service.wait_for_stage("pack", "postponed")
    status = host.say("status").stdout
    assert "postponed" in status
    assert window.partition("-")[0] in status
    assert tree_bytes(host.tree) == {}
    assert host.say("check-now").exit_code == 0
    assert tree_bytes(host.tree).keys() == {"a.bin"}
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


class Mailbox:
    """A web server that keeps the JSON objects that are posted to it."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                messages.append(json.loads(self.rfile.read(length)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_updates_and_failures_are_sent_to_who_is_to_be_told(
    slow_site: SlowSite, tmp_path: Path
) -> None:
    host = slow_site.host
    with Mailbox() as mailbox:
        host.notify = {"urls": [f"json://user:secret-word@{HOST}:{mailbox.port}/"]}
        service = host.start("run")
        service.wait_for_stage("pack", "waiting")
        wait_until(lambda: len(mailbox.messages) == 1, "the update is told", deadline_s=60)
        slow_site.publisher.file.write_bytes(b"not a torrent")
        failed = host.say("check-now")
        assert failed.exit_code == 3
        wait_until(lambda: len(mailbox.messages) == 2, "the failure is told", deadline_s=60)
        assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0
    update, failure = mailbox.messages
    assert "a.bin" in update["message"]
    assert "pack" in update["title"] + update["message"]
    assert "pack" in failure["title"] + failure["message"]
    written = [file for file in host.state_dir.rglob("*") if file.is_file()]
    assert not any(b"secret-word" in file.read_bytes() for file in written)
    assert "secret-word" not in host.say("logs").stdout + host.say("status").stdout


# --- a terminal -----------------------------------------------------------------------------


class Terminal:
    """A program in a terminal of a size."""

    def __init__(self, folder: Path, width: int, host: Installed, *arguments: str) -> None:
        self._tmux = [require("tmux"), "-S", str(folder / f"tmux-{width}"), "-f", "/dev/null"]
        self._ended = folder / f"ended-{width}"
        command = shlex.join(host.plain_command(*arguments))
        self._run(
            *("new-session", "-d", "-x", str(width), "-y", "30"),
            f"{command}; echo $? >{shlex.quote(str(self._ended))}; cat",
            environment=host.environment(),
        )

    def _run(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        given = {**(environment or os.environ), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [*self._tmux, *arguments], env=given, capture_output=True, text=True, check=True
        ).stdout

    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def wait_for(self, *words: str) -> str:
        """Return the screen once it shows all of that."""
        found = [""]

        def is_there() -> bool:
            found[0] = self.screen()
            return all(word in found[0] for word in words)

        try:
            wait_until(is_there, f"{words} are shown", deadline_s=30)
        except TimeoutError as error:
            raise AssertionError(f"{error}:\n{found[0]}") from None
        return found[0]

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit code."""
        self._run("send-keys", "C-c")
        wait_until(lambda: bool(self._ended.exists() and self._ended.read_text()), "it ends")
        return int(self._ended.read_text())

    def close(self) -> None:
        self._run("kill-server")


@pytest.mark.programs
@pytest.mark.parametrize("width", [120, 40])
def test_the_status_on_a_terminal_goes_on_until_ctrl_c(
    slow_site: SlowSite, tmp_path: Path, width: int
) -> None:
    host = slow_site.host
    host.run("check-now").assert_ok()
    service = slow_site.start()
    with closing(Terminal(tmp_path, width, host, "status", "--watch")) as terminal:
        terminal.wait_for("pack", "release-1")
        slow_site.publish(2)
        host.run("check-now").assert_ok()
        terminal.wait_for("pack", "release-2")
        host.run("pause").assert_ok()
        screen = terminal.wait_for("paused")
        assert screen.count("release-2") == 1, "one screen, and not one below the other"
        assert terminal.interrupt() == 0
    assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0


# --- from the registry ----------------------------------------------------------------------


@pytest.mark.registry
@pytest.mark.timeout(300)
def test_the_wheel_brings_all_that_the_service_needs(tmp_path: Path, publisher: Publisher) -> None:
    """In an environment that has nothing but what pip installs with it."""
    python = fresh_environment(tmp_path / "environment")
    pip_install(python, built_wheel(tmp_path / "wheel"))
    with Installed(tmp_path / "host", python.with_name("torsync")) as host:
        subscribed(host, publisher)
        service = host.start("run")
        service.wait_for_stage("pack", "waiting")
        assert_same_tree(host.tree, publisher.folder)
        assert Api(host).ask("/metrics")[0] == 200
        for line in ("status", "verify", "history", "logs", "plan", "doctor"):
            host.run(line).assert_ok()
        assert service.stop(signal.SIGTERM, within_s=30).exit_code == 0
