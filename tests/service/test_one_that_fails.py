"""One subscription fails in every way there is, and backs off; the other goes on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import HOST, wait_until
from tests.support.publishers import PIECE
from tests.support.running import codes, end, wait_for_notice
from tests.support.scripted_http import ScriptedServer, reply
from tests.support.trees import assert_same_tree, tree_bytes
from tests.support.updates import make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Publisher, Running
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "b": 300}
SECOND: dict[str, Content] = {"a/one.bin": 41 * PIECE, "c": 500}
# What a test's torsync does besides: see sitecustomize in Python's documentation.
CRASH = """\
import sys
def crash(self, *args, **options):
    if self.config.name == "bad":
        raise ZeroDivisionError("planted")
    return check(self, *args, **options)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "torsync.service.subscription_runner":
            return None
        sys.meta_path.remove(self)
        global check
        from torsync.subscribe.subscription import Subscription
        check = Subscription.check_now
        Subscription.check_now = crash
        return None
sys.meta_path.insert(0, Finder())
"""


def goes_on(torsync: Publishing, publisher: Publisher, service: Running, scratch: Path) -> None:
    """The good one gets its next release while the other fails."""
    heard = len(service.objects())
    publisher.publish(make(scratch / "two", SECOND), scratch / "two")
    service.wait_for(
        lambda one: one["type"] == "subscription" and one["name"] == "pack",
        "the good one is updated",
        since=heard,
    )
    assert_same_tree(torsync.tree, scratch / "two")


def test_what_goes_wrong_with_one_is_told_and_the_other_goes_on(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    """In one service: two servers that do not answer, garbage, a file where a folder should be."""
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    garbage = tmp_path / "garbage.torrent"
    garbage.write_bytes(os.urandom(5000))
    read_only = tmp_path / "read-only"
    read_only.write_bytes(b"a file where the folder should be")
    with ScriptedServer([reply(503)]) as server:
        bad = {
            "away": {"url": "http://127.0.0.1:1/x.torrent"},
            "busy": {"url": f"{server.url}/x.torrent"},
            "garbage": {"url": garbage.as_uri()},
            "no-folder": {"url": publisher.url, "path": str(read_only)},
        }
        for name, options in bad.items():
            torsync.subscribe(name, **{"path": str(tmp_path / f"tree {name}"), **options})
            torsync.subscribe(name, interval="1h", peers=[f"{HOST}:1"])
        service = torsync.start("run")
        expected = {
            "away": "remote_unreachable",
            "busy": "remote_unreachable",
            "garbage": "remote_invalid",
            "no-folder": "tree",
        }
        for name, code in expected.items():
            wait_for_notice(service, code, name)
        service.wait_for_stage("pack", "waiting")
        goes_on(torsync, publisher, service, tmp_path)
        end(service)


def test_one_that_crashes_is_told_and_begun_again_later_and_the_other_goes_on(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    torsync.subscribe("bad", url=publisher.url, path=str(tmp_path / "bad"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(CRASH)
    paths = [str(tmp_path / "site"), *(path for path in sys.path if path)]
    service = torsync.start("run", environment={"PYTHONPATH": os.pathsep.join(paths)})
    told = wait_for_notice(service, "crashed", "bad")
    assert "ZeroDivisionError: planted" in told["message"]
    service.wait_for_stage("pack", "waiting")
    goes_on(torsync, publisher, service, tmp_path)
    assert codes(service, "bad").count("crashed") <= 2, "it backs off"
    end(service)


def take_away_the_state(folder: Path) -> None:
    """Whatever its permissions say, root may write there; so a file takes its place."""
    folder.rename(folder.with_name("aside"))
    folder.write_bytes(b"")


def give_back_the_state(folder: Path) -> None:
    folder.unlink()
    folder.with_name("aside").rename(folder)


def damage_the_state(folder: Path) -> None:
    for file in folder.glob("state.sqlite*"):
        file.write_bytes(os.urandom(8192))


def drop(found: dict[str, Content], paths: set[str]) -> dict[str, Content]:
    return {path: content for path, content in found.items() if path not in paths}


def leave(_folder: Path) -> None:
    """It mends itself."""


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [(take_away_the_state, give_back_the_state), (damage_the_state, leave)],
    ids=["taken away", "damaged"],
)
def test_a_state_that_is_spoilt_while_the_service_runs_stops_no_other(
    tmp_path: Path,
    torsync: Publishing,
    publisher: Publisher,
    spoil: Callable[[Path], None],
    mend: Callable[[Path], None],
) -> None:
    torrent = make(tmp_path / "one", FIRST)
    publisher.publish(torrent, tmp_path / "one")
    other = tmp_path / "other.torrent"
    other.write_bytes(torrent)
    torsync.subscribe(
        "bad", url=other.as_uri(), path=str(tmp_path / "bad"), interval="1s", peers=publisher.peers
    )
    service = torsync.start("run")
    for name in ("pack", "bad"):
        service.wait_for_stage(name, "waiting")
    folder = next((torsync.state_dir / "trees").glob("bad-*"))
    spoil(folder)
    goes_on(torsync, publisher, service, tmp_path)
    other.write_bytes(publisher.file.read_bytes())
    mend(folder)
    # If the damage is found only now, nobody knows any more that "b" is an old release's: it stays.
    old = {"b"} if mend is leave else set()
    wanted = tree_bytes(tmp_path / "two")
    wait_until(
        lambda: drop(tree_bytes(tmp_path / "bad"), old) == wanted, "it goes on", deadline_s=60
    )
    assert "crashed" not in codes(service, "bad")
    end(service)
