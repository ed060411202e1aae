"""What the control API tells of status, history, log and metrics, and what it does not take."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.control import Api
from tests.support.processes import HOST
from torsync import __version__
from torsync.model.events import Level, Notice
from torsync.model.history import UpdateRecord
from torsync.service.control.reading import routes_for
from torsync.service.control.server import ControlServer
from torsync.service.logbook import Logbook
from torsync.subscribe.state import TreeState, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """With a log of four lines, and a subscription that has had two updates."""
    found = Api(tmp_path)
    state = TreeState(state_folder(tmp_path, found.desk.configs["pack"].path))
    for at_s, name in ((5.0, "pack-1"), (9.0, "pack-2")):
        history = (at_s, "ab" * 20, name, UpdateRecord(at_s, name, added=7).as_json())
        state.record_sync({}, synced=name, history=history)
    state.close()
    with closing(Logbook(tmp_path)) as logbook:
        for name in ("pack", "maps"):
            logbook.sink(Notice(name, Level.INFO, "said", f"of {name}"))
            logbook.sink(Notice(name, Level.WARNING, "warned", f"of {name}"))
        found.server = ControlServer(
            found.desk,
            tmp_path,
            (HOST, 0),
            found.events.append,
            routes_for(found.desk, tmp_path, logbook),
        )
        found.server.start()
        try:
            yield found
        finally:
            found.server.close()


def test_status_is_told_of_all_or_of_those_that_are_named(api: Api) -> None:
    told = api.ask("GET", "/api/v1/status").json
    assert told["version"] == __version__
    assert [one["name"] for one in told["subscriptions"]] == ["pack"]
    assert [one["name"] for one in told["publications"]] == ["maps"]
    assert told["subscriptions"][0]["last_update_s"] == 9.0
    one = api.ask("GET", "/api/v1/status?name=maps").json
    assert (one["subscriptions"], len(one["publications"])) == ([], 1)


def test_history_is_told_newest_first_and_as_much_as_is_asked_for(api: Api) -> None:
    told = api.ask("GET", "/api/v1/history").json
    assert [one["release"] for one in told["subscriptions"][0]["updates"]] == ["pack-2", "pack-1"]
    assert told["publications"][0] == {"name": "maps", "updates": []}
    told = api.ask("GET", "/api/v1/history?name=pack&n=1").json
    assert [one["release"] for one in told["subscriptions"][0]["updates"]] == ["pack-2"]
    assert told["publications"] == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", ["pack info", "pack warning", "maps info", "maps warning"]),
        ("?name=maps", ["maps info", "maps warning"]),
        ("?name=maps&name=pack&level=warning", ["pack warning", "maps warning"]),
        ("?n=1", ["maps warning"]),
        ("?n=0", []),
    ],
)
def test_the_log_is_told_line_by_line(api: Api, query: str, said: list[str]) -> None:
    answer = api.ask("GET", f"/api/v1/logs{query}")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [f"{line['name']} {line['level']}" for line in answer.lines] == said
    assert {line["type"] for line in answer.lines} <= {"log"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("status?name=other", "the service has no subscription or publication 'other'"),
        ("history?n=-1", "n: expected a number, found '-1'"),
        ("history?n=9999999999", "n: expected a number"),
        ("logs?n=%D9%A3", "n: expected a number"),
        ("logs?level=loud", "level: expected one of debug, info, warning, error"),
    ],
)
def test_what_cannot_be_asked_is_refused(api: Api, target: str, message: str) -> None:
    answer = api.ask("GET", f"/api/v1/{target}")
    assert answer.status == 400
    assert message in answer.json["message"]


def test_a_state_that_cannot_be_read_is_the_services_failure_and_told(
    api: Api, tmp_path: Path
) -> None:
    folder = state_folder(tmp_path, api.desk.configs["pack"].path)
    for file in folder.glob("state.sqlite*"):
        file.write_bytes(b"garbage" * 1000)
    answer = api.ask("GET", "/api/v1/history")
    assert (answer.status, answer.json["code"]) == (500, "state")
    assert api.ask("GET", "/api/v1/status").json["subscriptions"][0]["stage"] == "starting"


def test_metrics_are_for_prometheus(api: Api) -> None:
    answer = api.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {one.name for one in text_string_to_metric_families(answer.body.decode())}
    assert any(name.startswith("torsync_") for name in families)
