"""``torsync doctor`` as its users run it: a healthy set-up, and all that may be odd about one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot
from tests.support.netns import NoNetworkError, network
from tests.support.privileges import unprivileged_environment
from tests.support.processes import HOST, free_port
from tests.support.publishers import Publishing, subscriber
from tests.support.scripted_http import ScriptedServer, reply
from tests.support.torrents import make_libtorrent
from tests.support.trees import write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Json, Outcome
    from tests.support.scripted_http import Request
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.tracker import Tracker


def checks(outcome: Outcome) -> dict[str, Json]:
    """The findings by what they are about; of several of a kind, the worst."""
    found: dict[str, Json] = {}
    order = ["skipped", "ok", "warning", "failed"]
    for one in outcome.of_type("check"):
        known = found.setdefault(one["check"], one)
        if order.index(one["verdict"]) > order.index(known["verdict"]):
            found[one["check"]] = one
    return found


def verdicts(outcome: Outcome, *wanted: str) -> dict[str, str]:
    return {
        check: one["verdict"] for check, one in checks(outcome).items() if one["verdict"] in wanted
    }


@pytest.mark.programs
def test_a_healthy_set_up_is_well_on_both_sides(tmp_path: Path, tracker: Tracker) -> None:
    with Publishing(tmp_path / "publisher") as publishing:
        port = free_port()
        publishing.feed = {"listen": f"{HOST}:{port}"}
        publishing.publish(
            entries={"a": 100_000, "b/c": 5000}, trackers=[tracker.http_url, tracker.udp_url]
        )
        publishing.run("check-now").assert_ok()
        tracker.allow(publishing.torrent().read_bytes())
        service = publishing.start("run")
        service.wait_for_stage("pack", "seeding")
        tracker.wait_for_seeds(publishing.torrent().read_bytes(), 1)
        url = f"http://{HOST}:{port}/pack.torrent"
        with subscriber(tmp_path / "subscriber", publishing, url=url) as torsync:
            torsync.session["listen"] = [f"{HOST}:{free_port(udp=True)}"]
            torsync.run("check-now").assert_ok()
            torsync.start("run").wait_for_stage("pack", "seeding")
            before = snapshot(torsync.tree)

            theirs = publishing.run("doctor")
            ours = torsync.run("doctor", "pack")

            after = snapshot(torsync.tree)
            for found in (before, after):
                found.pop(".torsync")  # its times change while something is tried in it
            assert after == before
    for outcome in (ours, theirs):
        outcome.assert_ok()
        unwell = [
            one for one in checks(outcome).values() if one["verdict"] in {"warning", "failed"}
        ]
        assert not unwell
    assert {
        *("configuration.file", "state_dir.access", "service.running", "listen.port", "state.last"),
        *(
            "service.control",
            "url.connect",
            "url.http",
            "url.content",
            "url.conditional",
            "url.long_poll",
        ),
        *("clock.server", "clock.disk", "tree.folder", "tree.access", "disk.space", "tracker"),
        *("disk.replacing", "disk.names", "web_seed", "peer", "sources.all"),
    } <= {*verdicts(ours, "ok")}
    assert {
        *("feed.listen", "feed.url", "publication.torrent", "tree.access", "tracker", "web_seed"),
        *("service.running", "listen.port", "state.last", "sources.all"),
    } <= {*verdicts(theirs, "ok")}


def test_before_the_first_check_nothing_is_made(tmp_path: Path, seeder: LibtorrentSeeder) -> None:
    content = write_tree(tmp_path / "content", {"a": 50_000})
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.publish(make_libtorrent(content), content)
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url=publisher.url, peers=publisher.peers)
        outcome = torsync.run("doctor").assert_ok()
        assert not torsync.tree.exists()
        assert not torsync.state_dir.exists()
    found = checks(outcome)
    assert found["service.running"]["verdict"] == "warning"
    assert "torsync run" in found["service.running"]["hint"]
    assert found["state.last"]["verdict"] == "skipped"
    assert found["url.content"]["verdict"] == "ok"
    assert found["peer"]["verdict"] == "ok"
    assert found["disk.space"]["message"].startswith("the first sync: 50 kB")


def test_a_pending_update_is_planned_for_its_space(
    tmp_path: Path, seeder: LibtorrentSeeder
) -> None:
    content = write_tree(tmp_path / "content", {"a": 50_000})
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.publish(make_libtorrent(content), content)
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url=publisher.url, peers=publisher.peers, update="ask")
        torsync.run("check-now")
        torsync.run("apply", "pack").assert_ok()
        newer = write_tree(tmp_path / "newer" / "content", {"a": 50_000, "b": 70_000})
        publisher.publish(make_libtorrent(newer), newer)
        unpolled = checks(torsync.run("doctor").assert_ok())
        torsync.run("check-now")
        outcome = torsync.run("doctor").assert_ok()
    assert "torsync check-now --dry-run pack" in unpolled["disk.space"]["hint"]
    found = checks(outcome)
    assert found["disk.space"]["verdict"] == "ok"
    assert found["disk.space"]["message"].startswith("the update to 'content': ")
    assert found["state.approval"]["verdict"] == "warning"
    assert "torsync apply pack" in found["state.approval"]["hint"]


def test_a_configuration_that_is_wrong_is_told_line_by_line(tmp_path: Path) -> None:
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url="gopher://mods.example/a", interval="soon")
        outcome = torsync.run("doctor")
    assert outcome.exit_code == 2
    problems = [one for one in outcome.of_type("check") if one["check"] == "configuration.file"]
    assert len(problems) == 2
    assert all(one["verdict"] == "failed" and "config.toml:" in one["message"] for one in problems)


def test_without_a_configuration_there_is_the_way_to_one(tmp_path: Path) -> None:
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url="file:///a")
        torsync.command()
        outcome = torsync.run("doctor", "--config", tmp_path / "none.toml")
    assert outcome.exit_code == 2
    assert "torsync init" in checks(outcome)["configuration.file"]["hint"]


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url="file:///a")
        outcome = torsync.run("doctor", "other")
    assert outcome.exit_code == 2
    assert outcome.error["code"] == "usage"


def test_what_fails_has_a_next_step_and_holds_up_nothing_else(tmp_path: Path) -> None:
    dead = f"http://{HOST}:{free_port()}/a.torrent"
    with Torsync(tmp_path) as torsync:
        file = tmp_path / "file"
        file.touch()
        torsync.subscribe("one", url=dead, path=str(file))
        torsync.subscribe("two", url=dead, path=str(tmp_path / "two"), on_update=["no-such-thing"])
        outcome = torsync.run("doctor")
    assert outcome.exit_code == 1
    failed = {
        (one["name"], one["check"]): one["hint"]
        for one in outcome.of_type("check")
        if one["verdict"] == "failed"
    }
    assert {*failed} == {
        ("one", "url.connect"),
        ("one", "tree.folder"),
        ("two", "url.connect"),
        ("two", "hooks.on_update"),
    }
    assert all(failed.values())


def test_a_tree_that_another_user_closed(tmp_path: Path, seeder: LibtorrentSeeder) -> None:
    content = write_tree(tmp_path / "content", {"a/b": 50_000})
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.publish(make_libtorrent(content), content)
    environment = unprivileged_environment(tmp_path / "site")
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url=publisher.url, peers=publisher.peers)
        torsync.run("check-now").assert_ok()
        (torsync.tree / "a").chmod(0o500)
        outcome = torsync.run("doctor", environment=environment)
        (torsync.tree / "a").chmod(0o700)
    found = checks(outcome)
    assert outcome.exit_code == 1
    assert found["tree.access"]["verdict"] == "failed"
    assert "chmod -R u+rwX" in found["tree.access"]["hint"]


def test_a_state_directory_that_another_user_closed(tmp_path: Path) -> None:
    environment = unprivileged_environment(tmp_path / "site")
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url="file:///nowhere/a.torrent")
        torsync.state_dir.mkdir()
        torsync.state_dir.chmod(0)
        outcome = torsync.run("doctor", environment=environment)
        torsync.state_dir.chmod(0o700)
    found = checks(outcome)
    assert outcome.exit_code == 1
    assert found["state_dir.access"]["verdict"] == "failed"
    assert found["state_dir.access"]["hint"]
    assert found["tree.folder"]["verdict"] == "ok"


def test_without_a_network(tmp_path: Path) -> None:
    try:
        with network(1, rate="80mbit") as machines, Torsync(tmp_path) as torsync:
            subprocess.run(
                ["ip", "-n", machines[0].namespace, "link", "set", "eth0", "down"], check=True
            )
            torsync.session = {"listen": ["0.0.0.0:6881", "[::]:6881"], "dht": False, "lsd": False}
            torsync.subscribe(url="https://mods.example/a.torrent", peers=["192.0.2.1:6881"])
            with machines[0].entered():
                running = torsync.start("doctor")
            outcome = running.wait()
    except NoNetworkError as error:
        pytest.skip(str(error))
    found = checks(outcome)
    assert outcome.exit_code == 1
    assert found["url.resolve"]["verdict"] == "failed"
    assert found["listen.port"]["verdict"] == "ok"
    assert found["listen.reach"]["verdict"] == "warning"
    assert found["sources.all"]["verdict"] == "skipped"


def test_for_people_it_is_a_line_for_each(tmp_path: Path) -> None:
    with Torsync(tmp_path) as torsync:
        torsync.subscribe(url="file:///nowhere/a.torrent")
        command = torsync.command("doctor")
        command.remove("--json")
        done = subprocess.run(
            command, capture_output=True, text=True, env=torsync.environment(), timeout=60
        )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("pack: url.content: failed: file:///nowhere") for line in lines)
    assert any(line.startswith("pack: url.content: hint: check the URL") for line in lines)
    assert ", 1 failed, " in lines[-1] or ", 2 failed, " in lines[-1]


def test_a_publication_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    environment = unprivileged_environment(tmp_path / "site")
    with Publishing(tmp_path / "publisher") as publishing:
        publishing.publish(entries={"a": 1000, "b/c": 1000}, secret_key=str(tmp_path / "none.key"))
        closed = publishing.content() / "b"
        closed.chmod(0)
        publishing.torrent().parent.chmod(0o500)
        outcome = publishing.run("doctor", environment=environment)
        closed.chmod(0o700)
        publishing.torrent().parent.chmod(0o700)
    found = checks(outcome)
    assert outcome.exit_code == 1
    for check, hint in (
        ("tree.access", "ignore"),
        ("publication.torrent", "folder"),
        ("publication.key", "torsync keygen"),
    ):
        assert found[check]["verdict"] == "failed", found[check]
        assert hint in found[check]["hint"]


def test_a_publication_whose_last_look_failed(tmp_path: Path) -> None:
    with Publishing(tmp_path / "publisher") as publishing:
        publishing.publish(entries={"a": 1000}, web_seeds=[f"http://{HOST}:{free_port()}/"])
        publishing.run("check-now")
        publishing.run("pause", "pack").assert_ok()
        outcome = publishing.run("doctor")
    found = checks(outcome)
    assert found["state.paused"]["verdict"] == "warning"
    assert "torsync resume pack" in found["state.paused"]["hint"]
    assert found["state.last"]["verdict"] in {"warning", "skipped"}


def test_no_secret_is_shown_whoever_says_it_again(tmp_path: Path) -> None:
    def echo(request: Request) -> bytes:
        said = f"d14:failure reason{len(request.path)}:{request.path}e"
        return reply(403, body=said.encode())

    with ScriptedServer([echo]) as tracker, Torsync(tmp_path) as torsync:
        file = tmp_path / "pack.torrent"
        passkey = "5ecretpasskey0123456789"
        address = f"{tracker.url}/{passkey}/announce"
        file.write_bytes(make_libtorrent(write_tree(tmp_path / "c", {"a": 9}), trackers=[address]))
        torsync.subscribe(url=file.as_uri(), headers={"X-Key": "5ecretheader0123"})
        outcome = torsync.run("doctor")
    found = checks(outcome)
    assert found["tracker"]["verdict"] == "failed"
    assert "refuses" in found["tracker"]["message"]
    assert "5ecret" not in str(outcome.objects)
    assert found["configuration.private"]["verdict"] == "warning"
