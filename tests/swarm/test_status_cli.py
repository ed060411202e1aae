"""``status``, ``history``, ``logs`` and the API's reading side, beside a running service."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import wait_until
from tests.support.updates import make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Json, Publisher, Running, Torsync
    from tests.support.trees import Content

PIECE = 16 * 1024
FIRST: dict[str, Content] = {"a/one.bin": 4 * PIECE, "b": 5, "dropped": 5}
SECOND: dict[str, Content] = {"a/one.bin": 5 * PIECE, "b": 5, "new": 500}


def asked(torsync: Torsync, target: str) -> tuple[int, str]:
    """Ask the control API as its own client would."""
    folder = torsync.state_dir / "control"
    address = urlsplit((folder / "address").read_text().strip())
    token = (folder / "token").read_text().strip()
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def service(tmp_path: Path, torsync: Torsync, publisher: Publisher) -> Running:
    """Seeds its first release, and polls every second."""
    torsync.subscribe(interval="1s")
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    running = torsync.start("run")
    running.wait_for_stage("pack", "seeding")
    return running


def status(torsync: Torsync) -> Json:
    return torsync.run("status").assert_ok().subscription


def test_status_is_live_beside_a_service_and_from_its_files_after_it(
    torsync: Torsync, service: Running
) -> None:
    wait_until(lambda: status(torsync)["stage"] == "seeding", "it is told that it seeds")
    report = status(torsync)
    assert (report["live"], report["release"], report["paused"]) == (True, "one", False)
    assert report["progress"]["stage"] == "seeding"
    assert report["holder_pid"] == service.pid
    service.kill()
    report = status(torsync)
    assert (report["live"], report["release"], report["stage"]) == (False, "one", "stopped")
    assert report["progress"] is report["next_check_s"] is report["holder_pid"] is None


def test_a_service_that_does_not_answer_is_told_and_its_files_are_read(
    torsync: Torsync, service: Running
) -> None:
    service.send(signal.SIGSTOP)
    outcome = torsync.run("status").assert_ok()
    service.send(signal.SIGCONT)
    (notice,) = outcome.notices
    assert notice["level"] == "warning"
    assert "from its files" in notice["message"]
    assert (outcome.subscription["live"], outcome.subscription["release"]) == (False, "one")
    assert outcome.subscription["holder_pid"] == service.pid


def test_what_the_service_does_not_know_of_is_read_from_the_files(
    tmp_path: Path, torsync: Torsync, service: Running
) -> None:
    torsync.subscribe("other", url="http://127.0.0.1:1/", path=str(tmp_path / "other"))
    outcome = torsync.run("status").assert_ok()
    found = {one["name"]: (one["live"], one["stage"]) for one in outcome.of_type("subscription")}
    assert found["pack"][0] is True
    assert found["other"] == (False, "never checked")
    assert service.is_running


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_watching_ends_well_when_it_is_told_to(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    service: Running,
    signal_number: signal.Signals,
) -> None:
    watching = torsync.start("status", "--watch")

    def at(release: str) -> Any:
        return lambda one: one["type"] == "subscription" and one["release"] == release

    watching.wait_for(at("one"), "the first release is shown")
    publisher.publish(make(tmp_path / "two", SECOND), tmp_path / "two")
    watching.wait_for(at("two"), "the second release is shown")
    outcome = watching.stop(signal_number, within_s=20)
    assert (outcome.exit_code, outcome.errors) == (0, [])
    assert service.is_running


def test_history_tells_what_each_update_changed(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    first = torsync.run("check-now").assert_ok().subscription
    publisher.publish(make(tmp_path / "two", SECOND), tmp_path / "two")
    torsync.run("check-now").assert_ok()
    torsync.run("check-now").assert_ok()
    torsync.tree.joinpath("b").write_bytes(b"edited")
    torsync.run("verify", "--repair").assert_ok()
    mended, second, initial = torsync.run("history").assert_ok().subscription["updates"]
    assert (initial["release"], initial["from_release"], initial["added"]) == ("one", "", 3)
    assert initial["bytes_fetched"] == first["bytes_fetched"]
    assert (second["from_release"], second["release"]) == ("one", "two")
    assert second["from_info_hash"] == initial["info_hash"]
    assert [second[f"{kind}_paths"] for kind in ("added", "changed", "moved", "removed")] == [
        *(["new"], ["a/one.bin"], []),
        ["dropped"],
    ]
    assert 0 < second["seconds"] < 60
    assert (mended["release"], mended["from_release"]) == ("two", "two")
    assert mended["changed_paths"] == ["b"]
    (newest,) = torsync.run("history", "-n", "1", "pack").assert_ok().subscription["updates"]
    assert newest == mended


def test_logs_are_there_while_the_service_runs_and_after_it_was_killed(
    torsync: Torsync, service: Running
) -> None:
    following = torsync.start("logs", "--follow", "--level", "debug", "pack")
    first = following.wait_for(lambda one: one["type"] == "log", "a line is shown")
    assert (first["name"], first["level"]) == ("pack", "debug")
    updated = following.wait_for(lambda one: one.get("code") == "updated", "the update is shown")
    assert updated["release"] == "one"
    assert updated["message"].startswith("files: 3 added")
    assert following.stop(signal.SIGINT, within_s=20).exit_code == 0
    lines = torsync.run("logs").assert_ok().of_type("log")
    service.kill()
    assert torsync.run("logs").assert_ok().of_type("log")[: len(lines)] == lines
    assert updated in lines
    assert all(one["level"] != "debug" for one in lines)
    assert torsync.run("logs", "--level", "error").assert_ok().of_type("log") == []


def test_logs_of_an_unknown_name_are_refused(torsync: Torsync, publisher: Publisher) -> None:
    assert publisher.url
    assert torsync.run("logs", "nobody").exit_code == 2


def test_logs_say_that_there_are_none_where_no_service_has_worked(torsync: Torsync) -> None:
    (notice,) = torsync.run("logs").assert_ok().notices
    assert notice["code"] == "no_log"
    assert str(torsync.state_dir) in notice["message"]


def test_the_api_tells_status_history_log_and_metrics(torsync: Torsync, service: Running) -> None:
    wait_until(
        lambda: (
            json.loads(asked(torsync, "/api/v1/status")[1])["subscriptions"][0]["release"] == "one"
        ),
        "the release is in place",
    )
    code, body = asked(torsync, "/api/v1/status?name=pack")
    (report,) = json.loads(body)["subscriptions"]
    assert (code, report["name"], report["live"]) == (200, "pack", True)
    (history,) = json.loads(asked(torsync, "/api/v1/history?n=5")[1])["subscriptions"]
    assert [one["release"] for one in history["updates"]] == ["one"]
    wait_until(lambda: "updated" in asked(torsync, "/api/v1/logs?level=info")[1], "it is logged")
    code, metrics = asked(torsync, "/metrics")
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.labels.get("name") == "pack"
    }
    assert code == 200
    assert found["torsync_release_files"] == 3
    assert found["torsync_received_bytes_total"] >= 4 * PIECE
    assert found["torsync_update_fetched_bytes_total"] >= 4 * PIECE
    for target in ("status?name=x", "history?name=x", "history?n=-1", "logs?level=loud"):
        code, body = asked(torsync, f"/api/v1/{target}")
        assert (code, json.loads(body)["code"]) == (400, "usage"), target
    assert service.is_running


def test_metrics_are_told_to_many_at_once(torsync: Torsync, service: Running) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(asked(torsync, "/metrics")[0]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert codes == [200] * 8
    assert service.is_running
