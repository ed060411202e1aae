"""What doctor sees of this machine: configuration, folders, ports, programs."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import tempfile
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import snapshot
from tests.support.control import ScriptedDesk
from tests.support.disks import disk
from tests.support.processes import HOST, free_port
from tests.support.scripted_http import Hang, ScriptedServer
from tests.support.trees import write_tree
from tests.unit.test_tree import mounted, tmpfs
from torsync import __version__
from torsync.disk.lock import hold_tree
from torsync.disk.tree import Tree
from torsync.model.checkup import Finding, Verdict, ok
from torsync.model.config import (
    Config,
    FeedConfig,
    NotifyConfig,
    PublicationConfig,
    ServiceConfig,
    SessionConfig,
    SubscriptionConfig,
)
from torsync.model.errors import ConfigError, InterruptedByUserError, StateError
from torsync.model.events import discard
from torsync.service.control.credentials import held_control, make_token, write_address
from torsync.service.control.reading import routes_for
from torsync.service.control.server import ControlServer
from torsync.service.doctor import running
from torsync.service.doctor.abilities import check_abilities, try_all
from torsync.service.doctor.bounded import Job, side_by_side
from torsync.service.doctor.clock import check_disk_clock
from torsync.service.doctor.configuration import (
    check_configuration,
    check_state_dir,
    secrets_in,
    tell_problems,
)
from torsync.service.doctor.configuration import judge_access as judge_state_access
from torsync.service.doctor.dht import check_dht
from torsync.service.doctor.listening import check_listening
from torsync.service.doctor.programs import check_hooks, check_notify
from torsync.service.doctor.publications import (
    check_feed,
    check_folder,
    check_key,
    check_torrent,
    recall_publication,
)
from torsync.service.doctor.remembered import Remembered, recall
from torsync.service.doctor.running import Holders, check_service, check_unit, find_holders
from torsync.service.doctor.sockets import owner_of
from torsync.service.doctor.tree import check_access, check_tree, look_around
from torsync.service.logbook import Logbook
from torsync.subscribe.marker import write_marker
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.routing import BaseRoute

OK, WARNING, FAILED, SKIPPED = Verdict
GO_ON: Callable[[], bool] = lambda: False  # noqa: E731


@contextmanager
def serving(
    state_dir: Path, desk: ScriptedDesk, routes_of_it: Sequence[BaseRoute] = ()
) -> Iterator[None]:
    """Have a control API, as the service opens it."""
    server = ControlServer(desk, state_dir, (HOST, 0), discard, routes_of_it)
    server.start()
    try:
        yield
    finally:
        server.close()


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {found.check: found.verdict for found in findings}


def only(findings: list[Finding]) -> Finding:
    (found,) = findings
    return found


class TestSideBySide:
    def test_what_does_not_end_is_left_and_the_rest_is_told_in_order(self) -> None:
        never = threading.Event()

        def hang() -> list[Finding]:
            never.wait(60)
            return []

        jobs = [
            Job("a", lambda: [ok("a", "well")]),
            Job("b", hang, limit_s=0.05, next_step="look there", what="the thing"),
            Job("c", lambda: [ok("c", "well")]),
        ]
        found = side_by_side(jobs, GO_ON)
        never.set()
        assert [(one.check, one.verdict) for one in found] == [("a", OK), ("b", FAILED), ("c", OK)]
        assert found[1].message.startswith("the thing")
        assert found[1].hint == "look there"

    def test_what_fails_is_a_finding(self) -> None:
        def torsync() -> list[Finding]:
            raise StateError("the state is gone")

        def system() -> list[Finding]:
            raise PermissionError(errno.EACCES, "Permission denied")

        found = side_by_side([Job("a", torsync), Job("b", system)], GO_ON)
        assert [(one.check, one.verdict) for one in found] == [("a", FAILED), ("b", FAILED)]
        assert "the state is gone" in found[0].message
        assert "Permission denied" in found[1].message

    def test_what_nobody_foresaw_is_not_hidden(self) -> None:
        def broken() -> list[Finding]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            side_by_side([Job("a", broken)], GO_ON)

    def test_it_stops_when_it_shall(self) -> None:
        never = threading.Event()

        def hang() -> list[Finding]:
            never.wait(60)
            return []

        with pytest.raises(InterruptedByUserError):
            side_by_side([Job("a", hang)], lambda: True)
        never.set()


class TestConfiguration:
    def test_every_problem_is_told_with_its_line(self) -> None:
        error = ConfigError("2 problems", problems=("c.toml:3: a", "c.toml:9: b"))
        found = tell_problems(error, Path("c.toml"))
        assert [one.message for one in found] == ["c.toml:3: a", "c.toml:9: b"]
        assert all(one.verdict is FAILED for one in found)

    def test_a_missing_file_is_told_with_the_way_to_one(self) -> None:
        error = ConfigError("there is none", hint="run `torsync init URL PATH`")
        assert "torsync init" in only(tell_problems(error, Path("c.toml"))).hint

    def test_secrets_are_found_wherever_they_are(self, tmp_path: Path) -> None:
        config = Config(
            SessionConfig(),
            {
                "a": SubscriptionConfig("a", "https://u:pw@x.example/a", tmp_path),
                "b": SubscriptionConfig("b", "https://x.example/a", tmp_path, headers={"X": "1"}),
                "c": SubscriptionConfig(
                    "c", "https://x.example/a", tmp_path, headers={"X": "env:Y"}
                ),
            },
            notify=NotifyConfig(("mailto://u:pw@x.example",)),
        )
        assert list(secrets_in(config)) == ["url of a", "headers of b", "urls of [notify]"]
        file = tmp_path / "c.toml"
        file.touch(0o644)
        found = check_configuration(config, file)
        assert verdicts(found)["configuration.private"] is WARNING
        assert f"chmod 600 {file}" in found[1].hint

    def test_a_state_directory_that_is_not_there_yet(self, tmp_path: Path) -> None:
        assert only(check_state_dir(tmp_path / "state")).verdict is SKIPPED
        assert not (tmp_path / "state").exists()

    def test_a_state_directory_that_is_none(self, tmp_path: Path) -> None:
        file = tmp_path / "state"
        file.touch()
        assert only(check_state_dir(file)).verdict is FAILED

    def test_a_state_directory_that_can_be_used(self, tmp_path: Path) -> None:
        assert verdicts(check_state_dir(tmp_path)) == {
            "state_dir.access": OK,
            "state_dir.space": OK,
        }


class TestTree:
    def test_a_folder_that_is_made_at_the_first_update(self, tmp_path: Path) -> None:
        found = only(check_tree("pack", tmp_path / "a" / "b", Remembered()))
        assert found.verdict is OK
        assert not (tmp_path / "a").exists()

    def test_a_folder_that_was_synced_and_is_gone(self, tmp_path: Path) -> None:
        found = only(check_tree("pack", tmp_path / "a", Remembered(synced="ab")))
        assert found.verdict is FAILED
        assert "mount" in found.hint

    @pytest.mark.parametrize("kind", ["file", "link"])
    def test_something_that_is_no_folder(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "a"
        if kind == "file":
            path.touch()
        else:
            path.symlink_to(tmp_path / "nowhere")
        assert only(check_tree("pack", path, Remembered())).verdict is FAILED

    def test_an_unmounted_disk_is_recognised_by_its_marker(self, tmp_path: Path) -> None:
        known = Remembered(synced="ab", marker="0" * 32)
        found = only(check_tree("pack", tmp_path, known))
        assert found.verdict is FAILED
        assert "torsync check-now pack --allow marker" in found.hint

    def test_a_tree_that_is_right(self, tmp_path: Path) -> None:
        write_tree(tmp_path / "t", {"a": 10, "b/c": 20})
        tree = Tree(tmp_path / "t")
        known = Remembered(synced="ab", marker=write_marker(tree))
        tree.close()
        assert set(verdicts(check_tree("pack", tmp_path / "t", known)).values()) == {OK}

    def test_a_file_system_that_is_mounted_read_only(self, tmp_path: Path) -> None:
        with disk("ext4", tmp_path / "image", tmp_path / "disk", size=16 * 1024**2) as mounted:
            tree = mounted / "tree"
            write_tree(tree, {"a": 10, ".torsync/x": 1})
            subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
            found = check_tree("pack", tree, Remembered())
            assert verdicts(found)["tree.access"] is FAILED
            assert "remount,rw" in found[1].hint
            assert only(check_abilities(tree, tmp_path, None)).verdict is WARNING

    def test_a_tree_of_another_user_where_root_runs(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        write_tree(tmp_path / "t", {"a": 10})
        os.chown(tmp_path / "t", 1000, 1000)
        found = {one.check: one for one in check_tree("pack", tmp_path / "t", Remembered())}
        assert found["tree.access"].verdict is WARNING
        assert "1000" in found["tree.access"].hint

    def test_torsyncs_own_folder_of_another_user(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        write_tree(tmp_path / "t", {"a": 10, ".torsync/x": 1})
        os.chown(tmp_path / "t" / ".torsync", 1000, 1000)
        found = {one.check: one for one in check_tree("pack", tmp_path / "t", Remembered())}
        assert found["tree.owner"].verdict is WARNING
        assert "chown -R 0" in found["tree.owner"].hint


class TestAbilities:
    def test_they_are_tried_without_a_trace(self, tmp_path: Path) -> None:
        tree = write_tree(tmp_path / "t", {"a": 10, ".torsync/marker": b"x"})
        before = snapshot(tree / ".torsync")
        before.pop(".")  # its times change while there is a probe in it
        found = verdicts(check_abilities(tree, tmp_path / "state", None))
        after = snapshot(tree / ".torsync")
        after.pop(".")
        assert after == before
        assert set(found) == {
            *("disk.replacing", "disk.clones", "disk.names", "disk.kinds", "disk.times"),
            "clock.disk",
        }

    def test_nothing_is_tried_in_a_tree_that_was_never_synced(self, tmp_path: Path) -> None:
        tree = write_tree(tmp_path / "t", {"a": 10})
        before = snapshot(tree)
        assert only(check_abilities(tree, tmp_path / "state", None)).verdict is SKIPPED
        assert snapshot(tree) == before

    def test_the_state_directory_stands_for_a_tree_beside_it(self, tmp_path: Path) -> None:
        state = tmp_path / "state"
        state.mkdir()
        assert "disk.replacing" in verdicts(check_abilities(tmp_path / "t", state, None))
        assert not list(state.iterdir())

    @pytest.mark.programs
    def test_a_file_system_without_links_modes_and_fine_times(self, tmp_path: Path) -> None:
        with disk("exfat", tmp_path / "image", tmp_path / "disk") as mounted:
            place = mounted / "probe"
            place.mkdir()
            found = try_all(str(place))
        assert not found.hard_links
        assert not found.links
        assert not found.modes
        assert not found.has_case
        assert found.time_step_ns >= 10_000_000

    def test_a_file_system_with_reflinks(self, tmp_path: Path) -> None:
        with disk("btrfs", tmp_path / "image", tmp_path / "disk") as mounted:
            place = mounted / "probe"
            place.mkdir()
            found = try_all(str(place))
        assert found == (True, True, True, True, True, True, 255, 1)

    def test_a_folder_that_takes_no_file_has_no_clock(self, tmp_path: Path) -> None:
        assert check_disk_clock(tmp_path / "nowhere") == []


class TestRecall:
    CONFIG = SubscriptionConfig("pack", "https://mods.example/a", Path("/games"))

    def test_nothing_is_known_before_the_first_check(self, tmp_path: Path) -> None:
        known = recall(self.CONFIG, tmp_path / "state", 0.0)
        assert only(list(known.findings)).verdict is SKIPPED
        assert not known.is_pending
        assert not (tmp_path / "state").exists()

    def test_a_state_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "state.sqlite").write_bytes(b"nonsense" * 1000)
        assert only(list(recall(self.CONFIG, tmp_path, 0.0).findings)).verdict is FAILED

    def test_the_last_error_and_a_pause_are_told_while_somebody_holds_it(
        self, tmp_path: Path
    ) -> None:
        with hold_tree(tmp_path, name="pack", command="torsync run"):
            state = TreeState(tmp_path)
            state.put(last_error="no answer", last_error_hint="wait", paused="1", marker="m")
            known = recall(self.CONFIG, tmp_path, 0.0)
            state.close()
        found = {one.check: one for one in known.findings}
        assert "torsync resume pack" in found["state.paused"].hint
        assert found["state.last"].hint == "wait"
        assert (known.is_held, known.holder, known.marker) == (True, "torsync run", "m")


class TestListening:
    def test_a_free_port_can_be_used(self) -> None:
        session = SessionConfig(listen=(f"{HOST}:{free_port(udp=True)}",))
        found = verdicts(check_listening(session, []))
        assert found == {"listen.port": OK, "listen.reach": SKIPPED}

    def test_a_port_that_another_program_has_is_told_with_its_name(self) -> None:
        with socket.create_server((HOST, 0)) as other:
            port = other.getsockname()[1]
            found = check_listening(SessionConfig(listen=(f"{HOST}:{port}",)), [])
            ours = check_listening(SessionConfig(listen=(f"{HOST}:{port}",)), [os.getpid()])
        assert found[0].verdict is FAILED
        assert str(os.getpid()) in found[0].message
        assert "[session]" in found[0].hint
        assert ours[0].verdict is OK

    def test_ipv6_is_tried_as_well(self) -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
        assert check_listening(SessionConfig(listen=("[::1]:0",)), [])[0].verdict is OK

    def test_an_address_of_another_machine_is_told(self) -> None:
        found = check_listening(SessionConfig(listen=("192.0.2.1:6881",)), [])
        assert found[0].verdict is FAILED

    def test_an_interface_that_is_not_there_is_told(self) -> None:
        found = check_listening(SessionConfig(listen=("nosuch0:6881",)), [])
        assert found[0].verdict is FAILED

    def test_a_session_that_does_not_listen_is_told(self) -> None:
        assert only(check_listening(SessionConfig(listen=()), [])).verdict is WARNING

    def test_nobody_listens_on_a_free_port(self) -> None:
        assert owner_of(free_port()) is None

    def test_the_dht_is_not_asked_where_it_is_off_or_out_of_reach(self) -> None:
        off = check_dht(SessionConfig(dht=False), GO_ON)
        loopback = check_dht(SessionConfig(listen=(f"{HOST}:0",)), GO_ON)
        assert (only(off).verdict, only(loopback).verdict) == (SKIPPED, SKIPPED)


class TestPrograms:
    def test_programs_are_looked_for_as_they_are_run(self, tmp_path: Path) -> None:
        (tmp_path / "own.sh").touch(0o755)
        (tmp_path / "plain.txt").touch(0o644)
        hooks = {
            "before_update": ("sh", "-c", "true"),
            "on_update": ("./own.sh",),
            "on_error": (),
        }
        assert verdicts(check_hooks(hooks, tmp_path)) == {
            "hooks.before_update": OK,
            "hooks.on_update": OK,
        }

    @pytest.mark.parametrize(
        ("program", "hint"),
        [
            ("no-such-program-here", "full path"),
            ("./missing.sh", "correct on_update"),
            ("./plain.txt", "chmod +x"),
        ],
    )
    def test_a_program_that_cannot_be_run_is_told(
        self, tmp_path: Path, program: str, hint: str
    ) -> None:
        (tmp_path / "plain.txt").touch(0o644)
        found = only(check_hooks({"on_update": (program,)}, tmp_path))
        assert found.verdict is FAILED
        assert hint in found.hint

    def test_without_hooks_and_notifications_there_is_nothing(self, tmp_path: Path) -> None:
        assert only(check_hooks({"on_update": ()}, tmp_path)).verdict is SKIPPED
        assert only(check_notify(NotifyConfig())).verdict is SKIPPED

    def test_without_apprise_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torsync.service.hooks.notify.find_spec", lambda _name: None)
        found = only(check_notify(NotifyConfig(("mailto://u:pw@x.example",))))
        assert found.verdict is FAILED
        assert "torsync[notify]" in found.hint

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # apprise's own
    def test_urls_that_apprise_does_not_know_are_told_without_their_secrets(self) -> None:
        pytest.importorskip("apprise")
        urls = ("json://localhost:1/x", "nosuchservice://secret@x.example")
        found = only(check_notify(NotifyConfig(urls)))
        assert found.verdict is FAILED
        assert "secret" not in found.message
        assert "notify.urls[1]" in found.message
        assert only(check_notify(NotifyConfig(urls[:1]))).verdict is OK


class TestPublications:
    def config(self, tmp_path: Path, **changes: object) -> PublicationConfig:
        return PublicationConfig("pack", tmp_path / "content", **changes)  # type: ignore[arg-type]

    def test_a_folder_that_can_be_read(self, tmp_path: Path) -> None:
        write_tree(tmp_path / "content", {"a": 10})
        assert only(check_folder(self.config(tmp_path))).verdict is OK

    def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        assert only(check_folder(self.config(tmp_path))).verdict is FAILED

    def test_a_key_that_others_can_read(self, tmp_path: Path) -> None:
        from torsync.publish.keys import generate_keys

        key = tmp_path / "minisign.key"
        generate_keys(key)
        config = self.config(tmp_path, secret_key=key)
        assert only(check_key(config)).verdict is OK
        key.chmod(0o644)
        found = only(check_key(config))
        assert found.verdict is FAILED
        assert "chmod 600" in found.hint
        assert only(check_key(self.config(tmp_path))).verdict is SKIPPED

    def test_a_torrent_without_a_folder(self, tmp_path: Path) -> None:
        found = only(check_torrent(self.config(tmp_path, torrent=tmp_path / "www" / "a.torrent")))
        assert found.verdict is FAILED
        assert "mkdir -p" in found.hint
        fine = only(check_torrent(self.config(tmp_path, torrent=tmp_path / "a.torrent")))
        assert fine.verdict is OK
        assert not (tmp_path / "a.torrent").exists()
        assert only(check_torrent(self.config(tmp_path))).verdict is SKIPPED

    def test_it_was_never_released(self, tmp_path: Path) -> None:
        findings, manifest = recall_publication(self.config(tmp_path), tmp_path / "state")
        assert (only(findings).verdict, manifest) == (SKIPPED, None)

    def test_a_feed_whose_port_is_taken(self) -> None:
        with socket.create_server((HOST, 0)) as other:
            feed = FeedConfig((HOST, other.getsockname()[1]))
            found = only(check_feed(feed, ["pack"], []))
        assert found.verdict is FAILED
        assert "[feed]" in found.hint

    def test_a_feed_whose_url_changes_at_each_start(self) -> None:
        found = verdicts(check_feed(FeedConfig((HOST, 0)), ["pack"], []))
        assert found == {"feed.listen": OK, "feed.url": WARNING}

    def test_a_feed_whose_public_url_leads_nowhere(self) -> None:
        feed = FeedConfig((HOST, free_port()), f"http://{HOST}:{free_port()}")
        found = {one.check: one for one in check_feed(feed, ["pack"], [os.getpid()])}
        assert found["feed.url"].verdict is FAILED
        assert "url in [feed]" in found["feed.url"].hint

    def test_without_a_service_the_public_url_is_not_asked(self) -> None:
        feed = FeedConfig((HOST, free_port()))
        assert verdicts(check_feed(feed, ["pack"], []))["feed.url"] is SKIPPED
        assert only(check_feed(FeedConfig(), ["pack"], [])).verdict is SKIPPED


class TestService:
    def test_who_holds_a_tree_is_seen_without_holding_it(self, tmp_path: Path) -> None:
        with hold_tree(tmp_path / "a", name="a", command="torsync run"):
            found = find_holders(tmp_path, [tmp_path / "a", tmp_path / "b"])
        assert found == (frozenset([os.getpid()]), 1, 2)
        assert not (tmp_path / "b").exists()

    HOLDERS = Holders(frozenset([7]), 1, 1)

    def check(self, state_dir: Path, config: ServiceConfig = ServiceConfig()) -> Finding:  # noqa: B008
        found = check_service(config, state_dir, self.HOLDERS, GO_ON)
        return {one.check: one for one in found}["service.control"]

    def test_a_service_without_a_control_api(self, tmp_path: Path) -> None:
        assert self.check(tmp_path).verdict is WARNING
        assert self.check(tmp_path, ServiceConfig(None)).verdict is SKIPPED

    def test_a_service_that_answers_tells_its_version(self, tmp_path: Path) -> None:
        desk = ScriptedDesk(tmp_path)
        with (
            closing(Logbook(tmp_path)) as logbook,
            serving(tmp_path, desk, routes_for(desk, tmp_path, logbook)),
        ):
            found = self.check(tmp_path)
        assert found.verdict is OK, found
        assert __version__ in found.message

    def test_a_service_that_knows_no_status_is_of_another_version(self, tmp_path: Path) -> None:
        with serving(tmp_path, ScriptedDesk(tmp_path)):
            found = self.check(tmp_path)
        assert found.verdict is WARNING
        assert "start it again" in found.hint

    def test_a_service_that_does_not_answer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(running, "_ANSWER_S", 0.3)
        with held_control(tmp_path), ScriptedServer([Hang()]) as silent:
            token = make_token(tmp_path)
            for address in (f"http://{HOST}:{free_port()}", silent.url):
                write_address(tmp_path, address)
                found = self.check(tmp_path)
                assert found.verdict is FAILED
                assert "torsync logs" in found.hint or "torsync run" in found.hint
                assert token not in found.message

    def test_systemd_is_asked_only_where_it_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda _name: None)
        assert only(check_unit(lambda _arguments: "")).verdict is SKIPPED

    def test_systemd_is_asked_for_both_units(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("shutil.which", lambda _name: "/bin/systemctl")
        monkeypatch.setattr("torsync.service.doctor.running._SYSTEMD", str(tmp_path))

        def run(arguments: list[str]) -> str:
            if "--user" in arguments:
                return "LoadState=not-found\nActiveState=inactive\n"
            return "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n"

        found = only(check_unit(run))
        assert found.verdict is FAILED
        assert "journalctl -u torsync.service" in found.hint


@pytest.fixture
def everybodys(tmp_path: Path) -> Iterator[Path]:
    """A folder that other users can reach, unlike those of this test's user."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Do something as a user that may little; only root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestWhatAnotherUserMay:
    def test_folders_and_files_that_are_closed_are_named(self, everybodys: Path) -> None:
        tree = write_tree(everybodys / "t", {"closed/a": 1, "secret": 1, "open": 1})
        (tree / "closed").chmod(0o700)
        (tree / "secret").chmod(0o600)
        with as_nobody():
            found = look_around(tree)
        assert set(found.closed) == {str(tree), str(tree / "closed")}, "it may write to neither"
        assert found.unreadable == (str(tree / "secret"),)
        assert found.foreign == found.looked_at == 3

    def test_a_large_tree_is_looked_at_in_part(
        self, everybodys: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree = write_tree(everybodys / "t", {f"{number}": 1 for number in range(9)})
        monkeypatch.setattr("torsync.service.doctor.tree._MOST_ENTRIES", 4)
        found = look_around(tree)
        assert (found.looked_at, found.is_all) == (4, False)

    def test_a_folder_that_cannot_be_made(self, everybodys: Path) -> None:
        with as_nobody():
            found = only(check_tree("pack", everybodys / "a/t", Remembered()))
            state = only(check_state_dir(everybodys / "a/state"))
        assert found.verdict is state.verdict is FAILED
        assert "cannot be made" in found.message
        assert "cannot be made" in state.message

    def test_torsyncs_own_folder_that_is_closed(self, everybodys: Path) -> None:
        tree = write_tree(everybodys / "t", {".torsync/x": 1})
        tree.chmod(0o777)
        (tree / ".torsync").chmod(0o700)
        with as_nobody():
            found = {one.check: one for one in check_access(tree)}
        assert found["tree.owner"].verdict is FAILED
        assert "user 65534 may not use" in found["tree.owner"].message

    def test_a_state_directory_of_another_user(self, everybodys: Path) -> None:
        state = everybodys / "state"
        (state / "trees").mkdir(parents=True)
        for folder in (state, state / "trees"):
            folder.chmod(0o777)
        with as_nobody():
            usable = judge_state_access(state)
            (state / "publications").mkdir(mode=0o500)
            closed = judge_state_access(state)
        assert usable.verdict is WARNING
        assert "is user 0's, and this is user 65534" in usable.message
        assert closed.verdict is FAILED
        assert "publications" in closed.message

    def test_a_state_directory_on_a_disk_that_is_read_only(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "disk", *tmpfs("ro,size=1m")) as folder:
            found = judge_state_access(folder)
        assert found.verdict is FAILED
        assert "findmnt" in found.hint
