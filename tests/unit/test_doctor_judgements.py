"""What doctor decides from what it found: verdicts, and a next step wherever one is needed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support.torrents import RawFile, link, make_raw
from torsync import __version__
from torsync.model.checkup import (
    CONFIGURATION,
    Finding,
    Verdict,
    count,
    exit_code,
    failed,
    named,
    ok,
    skipped,
    warning,
)
from torsync.model.config import SessionConfig, SubscriptionConfig, UpdateMode
from torsync.model.errors import ExitCode
from torsync.model.metainfo import parse_metainfo
from torsync.model.window import DailyWindow
from torsync.service.doctor.abilities import Abilities, judge_abilities
from torsync.service.doctor.clock import judge_clock, judge_server_clock
from torsync.service.doctor.configuration import judge_mode
from torsync.service.doctor.dht import judge_dht
from torsync.service.doctor.listening import Bound, Listen, judge_bound, judge_reach
from torsync.service.doctor.reach import Attempt, judge_attempts, judge_certificate
from torsync.service.doctor.remembered import judge_state
from torsync.service.doctor.running import Holders, judge_holders, judge_units, judge_version
from torsync.service.doctor.sockets import Owner
from torsync.service.doctor.sources import Places, judge_sources
from torsync.service.doctor.space import Need, Room, judge_space, judge_state_space
from torsync.service.doctor.trackers import judge_answers, read_answer, scrape_url
from torsync.service.doctor.tree import Access, judge_access
from torsync.service.doctor.url import Head, judge_conditional, judge_head
from torsync.swarm.udp_tracker import Announced, TrackerError

OK, WARNING, FAILED, SKIPPED = Verdict
MIB = 1024**2


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {found.check: found.verdict for found in findings}


class TestFindings:
    @pytest.mark.parametrize("verdict", [WARNING, FAILED])
    def test_what_is_not_well_has_a_next_step(self, verdict: Verdict) -> None:
        with pytest.raises(ValueError, match="a next step"):
            Finding("url.http", verdict, "no answer")

    def test_the_exit_code_is_that_of_the_worst(self) -> None:
        well, unwell = ok("a", "yes"), warning("b", "hm", "do")
        assert exit_code([]) is ExitCode.OK
        assert exit_code([well, unwell, skipped("c", "no need")]) is ExitCode.OK
        assert exit_code([well, failed("d", "no", "do")]) is ExitCode.FAILED
        broken = failed(CONFIGURATION, "line 3: no", "do")
        assert exit_code([failed("d", "no", "do"), broken]) is ExitCode.USAGE

    def test_they_are_counted_and_named(self) -> None:
        found = named("pack", [ok("a", "yes"), ok("b", "yes"), skipped("c", "no need")])
        assert [one.name for one in found] == ["pack"] * 3
        assert count(found) == {OK: 2, WARNING: 0, FAILED: 0, SKIPPED: 1}


class TestUrl:
    @pytest.mark.parametrize(
        ("errors", "verdict", "said"),
        [
            (["", ""], OK, "over IPv4 and IPv6"),
            (["", "Network is unreachable"], WARNING, "no IPv6 from here"),
            (["Connection refused", ""], WARNING, "no IPv4 from here"),
            (["Connection refused", "timed out"], FAILED, "nobody answers"),
        ],
    )
    def test_addresses_that_do_not_answer(
        self, errors: list[str], verdict: Verdict, said: str
    ) -> None:
        import socket

        addresses = [(socket.AF_INET, "192.0.2.1", 443), (socket.AF_INET6, "2001:db8::1", 443)]
        attempts = [Attempt(one, error) for one, error in zip(addresses, errors, strict=True)]
        found = judge_attempts("mods.example", 443, attempts)
        assert found.verdict is verdict
        assert said in found.message

    @pytest.mark.parametrize(("days", "verdict"), [(15, OK), (13, WARNING)])
    def test_a_certificate_that_ends_soon(self, days: float, verdict: Verdict) -> None:
        assert judge_certificate("TLSv1.3", days).verdict is verdict

    @pytest.mark.parametrize(
        ("kind", "verdict"),
        [
            ("application/x-bittorrent", OK),
            ("application/octet-stream", OK),
            ("", OK),
            ("text/html; charset=utf-8", WARNING),
        ],
    )
    def test_a_content_type_that_proxies_change(self, kind: str, verdict: Verdict) -> None:
        head = Head(200, {"Content-Type": kind}, "", 0.0)
        assert judge_head("https://u:secret@mods.example/a.torrent", head).verdict is verdict

    def test_no_secret_of_a_url_is_shown(self) -> None:
        head = Head(200, {}, "https://b.example/c?…", 0.0)
        found = judge_head("https://u:secret@mods.example/a.torrent?token=secret", head)
        assert "secret" not in found.message
        assert "redirected to https://b.example/c" in found.message

    @pytest.mark.parametrize(
        ("size", "is_honoured", "has_validators", "verdict"),
        [
            (50 * MIB, True, True, OK),
            (50 * MIB, False, True, WARNING),
            (50 * MIB, None, False, WARNING),
            (50 * MIB, None, True, OK),  # it was replaced this second
            (1000, None, False, OK),  # costs little
        ],
    )
    def test_what_a_poll_costs(
        self, size: int, is_honoured: bool | None, has_validators: bool, verdict: Verdict
    ) -> None:
        found = judge_conditional(size, 600, is_honoured=is_honoured, has_validators=has_validators)
        assert found.verdict is verdict


class TestClock:
    @pytest.mark.parametrize(
        ("ahead_s", "verdict", "said"),
        [
            (0, OK, "agree"),
            (-299, OK, "agree"),
            (301, WARNING, "ahead of the server's"),
            (-3600, WARNING, "behind the server's"),
            (86_400, FAILED, "certificates and signatures"),
        ],
    )
    def test_clocks_that_differ(self, ahead_s: float, verdict: Verdict, said: str) -> None:
        found = judge_clock("clock.server", "the server's", ahead_s)
        assert found.verdict is verdict
        assert said in found.message

    def test_the_date_of_an_answer_is_compared(self) -> None:
        headers = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}
        assert judge_server_clock(headers, 1_700_000_000.0)[0].verdict is OK
        assert judge_server_clock(headers, 1_700_007_200.0)[0].verdict is WARNING

    @pytest.mark.parametrize("date", [None, "", "soon", "Tue, 99 Nov 2023 22:13:20 GMT"])
    def test_an_answer_without_a_date_says_nothing(self, date: str | None) -> None:
        assert judge_server_clock({} if date is None else {"Date": date}, 1.0) == []


class TestState:
    def judge(self, **changes: object) -> dict[str, Verdict]:
        config = SubscriptionConfig("pack", "https://mods.example/a", Path("/games"))
        update = changes.pop("update", UpdateMode.AUTO)
        window = changes.pop("window", None)
        from dataclasses import replace

        config = replace(config, update=update, update_window=window)  # type: ignore[arg-type]
        given = {
            "is_paused": False,
            "is_pinned": False,
            "is_pending": False,
            "is_served": True,
            "between": "",
            "postponed": "",
            "last_error": ("", ""),
            "checked_ago_s": 30.0,
            **changes,
        }
        return verdicts(judge_state(config, **given))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("changes", "check", "verdict"),
        [
            ({}, "state.last", OK),
            ({"is_paused": True}, "state.paused", WARNING),
            ({"is_pinned": True}, "state.pinned", WARNING),
            ({"is_pending": True, "update": UpdateMode.ASK}, "state.approval", WARNING),
            ({"between": "v2", "is_served": False}, "state.between", WARNING),
            ({"postponed": "the game runs"}, "state.postponed", WARNING),
            ({"last_error": ("no answer", "")}, "state.last", WARNING),
            ({"checked_ago_s": None}, "state.last", WARNING),
            ({"checked_ago_s": 4000.0}, "state.last", WARNING),
            ({"window": DailyWindow(0, 3600)}, "state.window", OK),
        ],
    )
    def test_what_keeps_a_tree_from_moving(
        self, changes: dict[str, object], check: str, verdict: Verdict
    ) -> None:
        assert self.judge(**changes)[check] is verdict

    @pytest.mark.parametrize(
        "changes",
        [
            {"is_pending": True},
            {"update": UpdateMode.ASK},
            {"between": "v2"},
            {"checked_ago_s": 4000.0, "is_served": False},
            {"checked_ago_s": 4000.0, "is_paused": True},
        ],
    )
    def test_what_is_as_it_should_be(self, changes: dict[str, object]) -> None:
        found = self.judge(**changes)
        assert found["state.last"] is OK
        assert not {"state.approval", "state.between"} & {*found}


class TestDisk:
    GOOD = Abilities(True, True, True, True, True, True, 255, 1)

    def test_a_usual_file_system_is_well(self) -> None:
        assert set(verdicts(judge_abilities(self.GOOD, None)).values()) == {OK}

    @pytest.mark.parametrize(
        ("changes", "check", "verdict"),
        [
            ({"hard_links": False}, "disk.replacing", OK),
            ({"hard_links": False, "exchange": False}, "disk.replacing", WARNING),
            ({"reflinks": False}, "disk.clones", OK),
            ({"has_case": False}, "disk.names", OK),
            ({"time_step_ns": 2 * 10**9}, "disk.times", WARNING),
            ({"links": False, "modes": False}, "disk.kinds", OK),
        ],
    )
    def test_what_a_file_system_lacks(
        self, changes: dict[str, object], check: str, verdict: Verdict
    ) -> None:
        found = self.GOOD._replace(**changes)  # type: ignore[arg-type]
        assert verdicts(judge_abilities(found, None))[check] is verdict

    @pytest.mark.parametrize(
        ("changes", "check", "file"),
        [
            ({"longest_name": 143}, "disk.names", ("n" * 200, b"x")),
            ({"links": False}, "disk.kinds", ("a", link("b"))),
            ({"modes": False}, "disk.kinds", ("a", RawFile(b"x", {"attr": b"x"}))),
        ],
    )
    def test_what_a_release_needs_of_a_file_system(
        self, changes: dict[str, object], check: str, file: tuple[str, object]
    ) -> None:
        manifest = parse_metainfo(make_raw([("b", b"y"), file]))  # type: ignore[list-item]
        found = self.GOOD._replace(**changes)  # type: ignore[arg-type]
        assert verdicts(judge_abilities(self.GOOD, manifest))[check] is OK
        assert verdicts(judge_abilities(found, manifest))[check] is WARNING

    @pytest.mark.parametrize(
        ("room", "need", "verdict"),
        [
            (Room(1000, 9000), Need(1000, 5, "the update"), OK),
            (Room(1000, 9000), Need(1001, 5, "the update"), FAILED),
            (Room(1000, 9000, in_trash=1), Need(1001, 5, "the update"), OK),
            (Room(1000, 4), Need(10, 5, "the update"), FAILED),
            (Room(1000, 900), Need(10, 5, "the update"), WARNING),
            (Room(1000, None), Need(10, 5, "the update"), OK),
        ],
    )
    def test_whether_an_update_fits(self, room: Room, need: Need, verdict: Verdict) -> None:
        found = judge_space("pack", room, need)
        assert found.verdict is verdict
        if verdict is FAILED:
            assert "df -i" in found.hint or "torsync check-now pack --allow space" in found.hint

    @pytest.mark.parametrize(
        ("room", "verdict"),
        [(Room(MIB, None), WARNING), (Room(MIB * 100, 0), WARNING), (Room(MIB * 100, 9), OK)],
    )
    def test_the_state_needs_room_too(self, room: Room, verdict: Verdict) -> None:
        assert judge_state_space(Path("/state"), room).verdict is verdict

    @pytest.mark.parametrize(
        ("access", "owner", "user", "verdict"),
        [
            (Access(looked_at=9), 1000, 1000, OK),
            (Access(closed=("/t/a",)), 1000, 1000, FAILED),
            (Access(unreadable=("/t/a",)), 1000, 1000, FAILED),
            (Access(looked_at=9, foreign=9), 1000, 0, WARNING),
            (Access(looked_at=9, foreign=9), 0, 0, OK),
            (Access(looked_at=9, foreign=2), 1000, 1000, OK),
        ],
    )
    def test_who_may_change_a_tree(
        self, access: Access, owner: int, user: int, verdict: Verdict
    ) -> None:
        assert judge_access(Path("/t"), access, owner, user).verdict is verdict

    @pytest.mark.parametrize(
        ("mode", "secrets", "verdict"),
        [
            (0o644, [], OK),
            (0o644, ["headers of pack"], WARNING),
            (0o640, ["headers of pack"], OK),
            (0o600, ["headers of pack"], OK),
        ],
    )
    def test_who_may_read_secrets(self, mode: int, secrets: list[str], verdict: Verdict) -> None:
        assert judge_mode(Path("/c.toml"), mode, secrets).verdict is verdict


class TestListening:
    ADDRESS = Listen.parse("0.0.0.0:6881")

    @pytest.mark.parametrize(
        ("address", "found", "service", "verdict"),
        [
            ("0.0.0.0:6881", Bound(0), [], OK),
            ("127.0.0.1:0", Bound(0), [], OK),
            ("0.0.0.0:6881", Bound(errno.EADDRINUSE, Owner(7, "torsync")), [7], OK),
            ("0.0.0.0:6881", Bound(errno.EADDRINUSE), [7], OK),
            ("0.0.0.0:6881", Bound(errno.EADDRINUSE, Owner(8, "qbittorrent")), [7], FAILED),
            ("0.0.0.0:6881", Bound(errno.EADDRINUSE), [], FAILED),
            ("[::]:6881", Bound(errno.EAFNOSUPPORT), [], SKIPPED),
            ("0.0.0.0:6881", Bound(errno.EADDRNOTAVAIL), [], SKIPPED),
            ("192.0.2.1:6881", Bound(errno.EADDRNOTAVAIL), [], FAILED),
            ("0.0.0.0:80", Bound(errno.EACCES), [], FAILED),
            ("eth9:6881", Bound(errno.ENODEV), [], FAILED),
        ],
    )
    def test_who_has_a_port(
        self, address: str, found: Bound, service: list[int], verdict: Verdict
    ) -> None:
        assert judge_bound(Listen.parse(address), found, service).verdict is verdict

    @pytest.mark.parametrize(
        ("listen", "outward", "upnp", "verdict"),
        [
            (["127.0.0.1:6881", "[::1]:6881"], ["192.168.1.2", ""], False, SKIPPED),
            (["0.0.0.0:6881"], ["", ""], False, WARNING),
            (["0.0.0.0:0"], ["192.168.1.2", ""], True, WARNING),
            (["0.0.0.0:6881"], ["192.168.1.2", ""], False, WARNING),
            (["0.0.0.0:6881"], ["100.64.0.9", ""], False, WARNING),
            (["0.0.0.0:6881"], ["192.168.1.2", ""], True, OK),
            (["0.0.0.0:6881"], ["8.8.8.8", ""], False, OK),
            (["[::]:6881"], ["", "2606:4700::1"], False, OK),
            (["eth0:6881"], ["", ""], False, WARNING),
        ],
    )
    def test_whether_others_reach_it(
        self, listen: list[str], outward: list[str], upnp: bool, verdict: Verdict
    ) -> None:
        assert (
            judge_reach([Listen.parse(one) for one in listen], outward, upnp=upnp).verdict
            is verdict
        )

    def test_no_dht_node_is_told(self) -> None:
        assert judge_dht(3).verdict is OK
        assert judge_dht(0).verdict is WARNING


class TestSources:
    SESSION = SessionConfig(dht=False, lsd=False)
    PLACES = Places(("http://t.example/announce",), (), (), (b"1" * 20,), private=False)
    DEAD = failed("tracker", "no answer", "do")

    def judge(
        self,
        *,
        places: Places = PLACES,
        session: SessionConfig = SESSION,
        delivers: bool = False,
        is_needed: bool = True,
        findings: tuple[Finding, ...] = (DEAD,),
    ) -> dict[str, Verdict]:
        return verdicts(
            judge_sources(findings, places, session, delivers=delivers, is_needed=is_needed)
        )

    def test_a_dead_source_is_a_failure_where_there_is_no_other(self) -> None:
        assert self.judge() == {"tracker": FAILED, "sources.all": FAILED}

    def test_a_dead_source_is_a_warning_where_another_delivers(self) -> None:
        assert self.judge(delivers=True) == {"tracker": WARNING, "sources.all": OK}

    def test_a_dead_source_is_a_warning_where_nothing_is_needed(self) -> None:
        assert self.judge(is_needed=False) == {"tracker": WARNING, "sources.all": OK}

    def test_peers_may_be_found_in_other_ways(self) -> None:
        found = self.judge(session=SessionConfig(dht=True, lsd=False))
        assert found["sources.all"] is WARNING

    def test_a_private_torrent_is_not_in_the_dht(self) -> None:
        found = self.judge(places=self.PLACES._replace(private=True), session=SessionConfig())
        assert found == {"tracker": FAILED, "sources.private": OK, "sources.all": FAILED}

    def test_a_private_torrent_without_a_tracker_goes_nowhere(self) -> None:
        places = Places((), (), (), (b"1" * 20,), private=True)
        assert self.judge(places=places, findings=())["sources.private"] is FAILED

    def test_a_torrent_that_names_nothing_is_told(self) -> None:
        places = Places((), (), (), (b"1" * 20,), private=False)
        found = self.judge(places=places, findings=())
        assert found == {"sources.named": SKIPPED, "sources.all": FAILED}

    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (Announced(3, 2, 5), OK),
            (Announced(0, 1, 1), OK),
            (Announced(-1, -1, 0), OK),
            (Announced(0, 0, 1), WARNING),
        ],
    )
    def test_a_tracker_that_knows_nobody(self, answer: Announced, verdict: Verdict) -> None:
        assert judge_answers("http://t.example", [answer]).verdict is verdict

    def test_an_answer_of_a_tracker_is_read(self) -> None:
        assert read_answer(b"d8:completei2e10:incompletei1e5:peers6:abcdefe") == (2, 0, 1)
        assert read_answer(b"d5:peersld2:ip1:14:porti1eeee") == (-1, -1, 1)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"d14:failure reason12:unregisterede", "it refuses: unregistered"),
            (b"<html>", "not bencoded"),
            (b"le", "not bencoded"),
        ],
    )
    def test_what_a_tracker_refuses_is_told(self, body: bytes, said: str) -> None:
        with pytest.raises(TrackerError, match=said):
            read_answer(body)

    @pytest.mark.parametrize(
        ("announce", "scrape"),
        [
            ("http://t.example/announce", "http://t.example/scrape"),
            ("http://t.example/x/announce.php?key=1", "http://t.example/x/scrape.php?key=1"),
            ("http://t.example/a", None),
            ("http://t.example/announce/x", None),
        ],
    )
    def test_where_a_tracker_is_scraped(self, announce: str, scrape: str | None) -> None:
        assert scrape_url(announce) == scrape


class TestService:
    @pytest.mark.parametrize(
        ("holders", "verdict"),
        [
            (Holders(frozenset(), 0, 2), WARNING),
            (Holders(frozenset([7]), 1, 2), WARNING),
            (Holders(frozenset([7]), 2, 2), OK),
        ],
    )
    def test_whether_it_works_on_all(self, holders: Holders, verdict: Verdict) -> None:
        assert judge_holders(holders).verdict is verdict

    @pytest.mark.parametrize(
        ("version", "verdict"), [(__version__, OK), ("0.0.1", WARNING), ("", WARNING)]
    )
    def test_a_service_of_another_version(self, version: str, verdict: Verdict) -> None:
        assert judge_version(version).verdict is verdict

    @pytest.mark.parametrize(
        ("changes", "lingers", "verdict", "hint"),
        [
            ({}, True, OK, ""),
            ({}, False, WARNING, "loginctl enable-linger"),
            ({"LoadState": "bad-setting"}, True, FAILED, "systemctl --user status"),
            ({"ActiveState": "failed", "Result": "exit-code"}, True, FAILED, "journalctl --user"),
            ({"ActiveState": "activating", "SubState": "auto-restart"}, True, FAILED, "journalctl"),
            ({"ActiveState": "inactive", "SubState": "dead"}, True, WARNING, "enable --now"),
            ({"UnitFileState": "disabled"}, True, WARNING, "systemctl --user enable"),
        ],
    )
    def test_what_systemd_says(
        self, changes: dict[str, str], lingers: bool, verdict: Verdict, hint: str
    ) -> None:
        unit = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "UnitFileState": "enabled",
            **changes,
        }
        (found,) = judge_units({"--user": unit}, lingers=lingers)
        assert found.verdict is verdict
        assert hint in found.hint

    def test_without_a_unit_there_is_a_way_to_one(self) -> None:
        (found,) = judge_units({}, lingers=False)
        assert found.verdict is SKIPPED
        assert "torsync service install" in found.hint
