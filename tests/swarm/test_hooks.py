"""Commands of the configuration: asked before a tree is changed, told of updates and errors."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Publisher, Torsync, is_report, snapshot
from tests.support.processes import wait_until
from tests.support.torrents import info_hash
from tests.support.trees import assert_same_tree, tree_bytes
from tests.support.updates import make, publish

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Json, Outcome
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

MOVED = bytes(range(250)) * 300
FIRST: dict[str, Content] = {"a/one.bin": 40_000, "same": 500, "dropped": 5, "old name": MOVED}
SECOND: dict[str, Content] = {"a/one.bin": 41_000, "same": 500, "new": 50, "new name": MOVED}


class Hook:
    """A command that notes how it was run, says a line, and ends as it is told to."""

    def __init__(self, folder: Path) -> None:
        self._runs = folder / "hook-runs"
        self._runs.mkdir()
        self._answer = folder / "hook-answer"
        self._script = folder / "hook.py"
        self._script.write_text(
            "import json, os, pathlib, sys, time\n"
            f"runs = pathlib.Path({str(self._runs)!r})\n"
            "found = {'stdin': json.load(sys.stdin), 'cwd': os.getcwd(), 'env': dict(os.environ)}\n"
            "name = f'{time.time_ns()}-{os.getpid()}'\n"
            "(runs / (name + '.new')).write_text(json.dumps(found))\n"
            "(runs / (name + '.new')).rename(runs / (name + '.json'))\n"
            f"code, line = pathlib.Path({str(self._answer)!r}).read_text().split(' ', 1)\n"
            "print(line)\n"
            "sys.exit(int(code))\n"
        )
        self.will_end(0)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-IS", str(self._script)]

    def will_end(self, code: int, line: str = "") -> None:
        self._answer.write_text(f"{code} {line}")

    def runs(self, event: str = "") -> list[dict[str, Any]]:
        found = [json.loads(file.read_text()) for file in sorted(self._runs.glob("*.json"))]
        return [one for one in found if not event or one["stdin"]["event"] == event]


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


@pytest.fixture
def guarded(torsync: Torsync, publisher: Publisher, tmp_path: Path, hook: Hook) -> Torsync:
    """In sync with the first release, with the second one published, and a hook that is asked."""
    publish(publisher, tmp_path / "one", FIRST)
    torsync.run("check-now").assert_ok()
    publish(publisher, tmp_path / "two", SECOND)
    torsync.subscribe(before_update=hook.command)
    return torsync


def status(torsync: Torsync) -> Json:
    return torsync.run("status").assert_ok().subscription


def assert_postponed(outcome: Outcome, reason: str) -> None:
    assert outcome.exit_code == 4
    assert outcome.error["code"] == "postponed"
    assert reason in outcome.error["message"]


# --- before_update ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check-now", "apply"])
def test_an_update_that_the_command_refuses_changes_nothing_until_it_agrees(
    guarded: Torsync, hook: Hook, tmp_path: Path, command: str
) -> None:
    if command == "apply":
        for tells in (("check-now", "--dry-run"), ("plan",)):
            assert guarded.run(*tells).exit_code == 4
        assert not hook.runs(), "what only tells asks nobody"
    before = snapshot(guarded.tree)
    hook.will_end(1, "the game runs")
    assert_postponed(guarded.run(command, "pack"), "the game runs")
    assert snapshot(guarded.tree) == before
    found = status(guarded)
    assert (found["stage"], found["detail"]) == ("postponed", "the game runs")
    assert found["last_error"] == ""
    assert found["last_check_s"] is not None

    hook.will_end(0)
    guarded.run(command, "pack").assert_ok()
    assert_same_tree(guarded.tree, tmp_path / "two")
    assert status(guarded)["stage"] == "stopped"
    asked = hook.runs()
    assert [one["stdin"]["event"] for one in asked] == ["before_update"] * 2
    assert asked[0]["stdin"] == asked[1]["stdin"]

    guarded.run("check-now").assert_ok()
    assert len(hook.runs()) == 2, "nothing would change"


def test_the_first_sync_is_asked_for_before_anything_is_in_the_folder(
    torsync: Torsync, publisher: Publisher, tmp_path: Path, hook: Hook
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    hook.will_end(3, "not yet")
    torsync.subscribe(before_update=hook.command)
    assert_postponed(torsync.run("check-now"), "not yet")
    assert tree_bytes(torsync.tree) == {}
    assert not (torsync.tree / ".torsync" / "marker").exists()


def test_a_rollback_and_a_repair_are_asked_for(
    guarded: Torsync, publisher: Publisher, hook: Hook, tmp_path: Path
) -> None:
    guarded.run("check-now").assert_ok()
    hook.will_end(1, "the game runs")
    (guarded.tree / "new").write_bytes(b"damaged")
    for command in (("verify", "--repair"), ("rollback", "pack"), ("check-now", "--force")):
        assert_postponed(guarded.run(*command), "the game runs")
    assert (guarded.tree / "new").read_bytes() == b"damaged"
    hook.will_end(0)
    guarded.run("verify", "--repair").assert_ok()
    assert_same_tree(guarded.tree, tmp_path / "two")
    guarded.run("rollback", "pack").assert_ok()
    assert_same_tree(guarded.tree, tmp_path / "one")


def test_a_postponed_rollback_is_not_taken_up_again(guarded: Torsync, hook: Hook) -> None:
    guarded.run("check-now").assert_ok()
    hook.will_end(1, "the game runs")
    assert_postponed(guarded.run("rollback", "pack"), "the game runs")
    hook.will_end(0)
    assert not guarded.run("check-now").assert_ok().subscription["changed"]


def test_a_command_that_cannot_be_asked_postpones_and_is_an_error(
    guarded: Torsync, hook: Hook, tmp_path: Path
) -> None:
    missing = str(tmp_path / "no such program")
    guarded.subscribe(before_update=[missing], on_error=hook.command)
    before = snapshot(guarded.tree)
    outcome = guarded.run("check-now")
    assert_postponed(outcome, "No such file")
    told = [notice for notice in outcome.notices if notice["code"] == "hook_failed"]
    assert [notice["level"] for notice in told] == ["error"]
    assert missing in told[0]["message"]
    assert [one["stdin"]["code"] for one in hook.runs("on_error")] == ["hook_failed"]
    assert snapshot(guarded.tree) == before


def test_a_refused_update_is_not_asked_for(guarded: Torsync, hook: Hook) -> None:
    guarded.subscribe(max_delete=0)
    assert guarded.run("check-now").exit_code == 5
    assert not hook.runs()


# --- on_update, on_error ------------------------------------------------------------------------


def test_what_an_update_did_is_told(
    torsync: Torsync, publisher: Publisher, tmp_path: Path, hook: Hook
) -> None:
    publisher.publish(make(tmp_path / "one", FIRST, format_="v2"), tmp_path / "one")
    torsync.run("check-now").assert_ok()
    torrent = make(tmp_path / "two", SECOND, format_="v2")
    publisher.publish(torrent, tmp_path / "two")
    torsync.subscribe(on_update=hook.command, headers={"X-Key": "env:MY_SECRET_KEY"})
    secrets = {"MY_SECRET_KEY": "secret value", "TORSYNC_KEY_PASSWORD": "secret password"}
    outcome = torsync.run("check-now", environment=secrets).assert_ok()
    (run,) = hook.runs()
    told, report = run["stdin"], outcome.subscription
    assert told == {
        "event": "on_update",
        "name": "pack",
        "path": str(torsync.tree),
        "release": "two",
        "info_hash": info_hash(torrent),
        "from_release": "one",
        "added": 1,
        "added_paths": ["new"],
        "changed": 1,
        "changed_paths": ["a/one.bin"],
        "moved": 1,
        "moved_paths": ["new name"],
        "removed": 1,
        "removed_paths": ["dropped"],
        "bytes_total": report["bytes_total"],
        "bytes_fetched": report["bytes_fetched"],
        "seconds": told["seconds"],
    }
    assert report["from_release"] == "one"
    assert run["cwd"] == str(torsync.tree)
    variables = {key: value for key, value in run["env"].items() if key.startswith("TORSYNC_")}
    assert variables == {
        f"TORSYNC_{key.upper()}": str(value)
        for key, value in told.items()
        if not isinstance(value, list)
    }
    assert "PATH" in run["env"]
    assert not [value for value in run["env"].values() if "secret" in value]

    torsync.run("check-now").assert_ok()
    assert len(hook.runs()) == 1, "nothing has changed since"


def test_a_command_that_fails_leaves_the_update_in_place(
    torsync: Torsync, publisher: Publisher, tmp_path: Path, hook: Hook
) -> None:
    hook.will_end(7, "no such unit")
    torsync.subscribe(on_update=hook.command)
    publish(publisher, tmp_path / "one", FIRST)
    outcome = torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "one")
    (told,) = [notice for notice in outcome.notices if notice["code"] == "hook_failed"]
    assert told["level"] == "warning"
    assert "exit code 7: no such unit" in told["message"]


def test_the_same_error_is_told_once_in_a_row(
    torsync: Torsync, publisher: Publisher, tmp_path: Path, hook: Hook
) -> None:
    torsync.subscribe(on_error=hook.command)
    for _ in range(2):
        assert torsync.run("check-now").exit_code == 3
    (run,) = hook.runs()
    error = torsync.run("check-now").error
    assert run["stdin"] == {
        "event": "on_error",
        "name": "pack",
        "path": str(torsync.tree),
        **{key: error[key] for key in ("code", "message", "hint")},
    }
    publish(publisher, tmp_path / "one", FIRST)
    torsync.run("check-now").assert_ok()
    publisher.file.unlink()
    assert torsync.run("check-now").exit_code == 3
    assert len(hook.runs()) == 2, "it was gone in between"


def test_a_repair_is_told_as_an_update(guarded: Torsync, hook: Hook) -> None:
    guarded.run("check-now").assert_ok()
    guarded.subscribe(before_update=[], on_update=hook.command)
    (guarded.tree / "new").unlink()
    guarded.run("verify", "--repair").assert_ok()
    (run,) = hook.runs("on_update")
    assert (run["stdin"]["added_paths"], run["stdin"]["from_release"]) == (["new"], "two")


# --- the service ------------------------------------------------------------------------------


def test_the_service_asks_again_until_it_may_and_tells_it_once(
    guarded: Torsync, hook: Hook, tmp_path: Path
) -> None:
    guarded.subscribe(interval="1s", on_error=hook.command, on_update=hook.command)
    hook.will_end(1, "the game runs")
    service = guarded.start("run")
    wait_until(lambda: len(hook.runs()) >= 3, "it has asked three times")
    wait_until(lambda: status(guarded)["detail"] == "the game runs", "status tells why it waits")
    assert status(guarded)["last_error"] == ""
    told = [one["code"] for one in service.objects() if one["type"] == "notice"]
    assert told.count("postponed") == 1
    outcome = guarded.run("check-now", "pack")
    assert_postponed(outcome, "the game runs")
    hook.will_end(0)
    service.wait_for(is_report, "the update is reported")
    assert_same_tree(guarded.tree, tmp_path / "two")
    wait_until(lambda: bool(hook.runs("on_update")), "it is told of the update")
    assert not hook.runs("on_error"), "to wait is no failure"
    assert service.stop(signal.SIGTERM, within_s=3).exit_code == 0


def test_an_order_does_not_wait_for_a_command_that_hangs(guarded: Torsync, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    guarded.subscribe(before_update=["sh", "-c", f"touch {begun}; sleep 600"], hook_timeout="1h")
    service = guarded.start("run")
    wait_until(begun.exists, "it is asked")
    guarded.run("pause", "pack").assert_ok()
    assert service.stop(signal.SIGTERM, within_s=3).exit_code == 0


def test_a_publication_tells_of_its_releases_and_failures(
    publishing: Publishing, hook: Hook
) -> None:
    folder = publishing.publish("pack", {"a": 100}, on_release=hook.command, on_error=hook.command)
    report = publishing.run("check-now").assert_ok().of_type("publication")[0]
    (run,) = hook.runs()
    told = run["stdin"]
    assert (told["event"], told["info_hash"]) == ("on_release", report["info_hash"])
    assert (told["added_paths"], told["number"]) == (["a"], 1)
    publishing.run("check-now").assert_ok()
    publishing.run("check-now", "--dry-run").assert_ok()
    assert len(hook.runs()) == 1, "nothing has changed"

    (folder / "a").unlink()
    for _ in range(2):
        assert publishing.run("check-now").exit_code == 5
    (error,) = hook.runs("on_error")
    assert error["stdin"]["code"] == "refused"

    (folder / "a").write_bytes(b"again")
    service = publishing.start("run")
    wait_until(lambda: len(hook.runs("on_release")) == 2, "the service tells, too")
    assert service.stop(signal.SIGTERM, within_s=3).exit_code == 0
