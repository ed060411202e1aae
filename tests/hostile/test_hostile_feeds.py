"""Remotes that lead elsewhere, drip, alternate and flood."""

from __future__ import annotations

import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.false_web_seed import Asked, FalseWebSeed, is_honest
from tests.support.netns import NoNetworkError, network
from tests.support.packed import make_packed
from tests.support.processes import HOST
from tests.support.scripted_http import Request, ScriptedServer, reply
from tests.support.signing import signer
from tests.support.trees import tree_bytes, write_tree
from torsync.model.hints.format import Range
from torsync.subscribe.remote.addresses import has_public_address, is_public_address
from torsync.subscribe.remote.ranges import open_hints
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Publisher, Torsync
    from tests.support.netns import Machine
    from tests.support.seeders import LibtorrentSeeder

PUBLIC = "9.9.9.9"  # of the loopback interface of a network that leads nowhere
PIECE = 64 * 1024


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("9.9.9.9", True),
        ("2620:fe::fe", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::1", False),
    ],
)
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    assert is_public_address(address) == expected
    assert has_public_address(address) == expected


def test_a_host_that_nobody_knows_is_taken_for_a_public_one() -> None:
    assert has_public_address("does-not-exist.invalid")
    assert has_public_address("a" * 70 + ".invalid")


@pytest.fixture
def internet() -> Iterator[Machine]:
    """A machine that has an address on the internet, as far as it knows."""
    try:
        with network(1, rate="100mbit") as [machine]:
            command = f"ip -n {machine.namespace} addr add {PUBLIC}/32 dev lo"
            subprocess.run(command.split(), check=True)
            yield machine
    except NoNetworkError as error:
        pytest.skip(str(error))


def led_to(url: str) -> bytes:
    return reply(302, {"Location": url})


def test_no_public_server_leads_a_poll_to_this_machine_or_network(
    internet: Machine, torsync: Torsync, tmp_path: Path
) -> None:
    torrent = make_packed(write_tree(tmp_path / "pack", {"a": 10}))
    for host in (HOST, internet.address):
        with (
            internet.entered(),
            ScriptedServer([reply(body=torrent)], host=host) as secret,
            ScriptedServer([led_to(f"{secret.url}/admin?do=it")], host=PUBLIC) as server,
        ):
            torsync.subscribe(url=f"{server.url}/newest.torrent")
            outcome = torsync.start("check-now").wait(60)
            assert outcome.exit_code == 3
            assert outcome.error["code"] == "remote_unreachable"
            assert host in outcome.error["message"]
            assert "on the internet" in outcome.error["message"]
            assert secret.requests == []
            assert len(server.requests) == 1, "that is not tried again"
            assert tree_bytes(torsync.tree) == {}


def test_no_public_server_leads_to_this_machine_by_the_signature_s_url(
    internet: Machine, torsync: Torsync, tmp_path: Path
) -> None:
    torrent = make_packed(write_tree(tmp_path / "pack", {"a": 10}))
    with (
        internet.entered(),
        ScriptedServer([reply(body=b"x")]) as secret,
        ScriptedServer([reply(body=torrent)], [led_to(f"{secret.url}/x")], host=PUBLIC) as server,
    ):
        torsync.subscribe(url=f"{server.url}/newest.torrent", public_keys=[signer().public_key])
        outcome = torsync.start("check-now").wait(60)
        assert outcome.exit_code == 3
        assert outcome.error["code"] == "remote_unreachable"
        assert "newest.torrent.minisig" in outcome.error["message"]
        assert "on the internet" in outcome.error["message"]
        assert [request.path for request in server.requests] == [
            "/newest.torrent",
            "/newest.torrent.minisig",
        ]
        assert secret.requests == []


def test_no_public_server_leads_to_this_machine_by_the_hints(internet: Machine) -> None:
    with (
        internet.entered(),
        ScriptedServer([reply(body=b"x")]) as secret,
        ScriptedServer([led_to(f"{secret.url}/admin")], host=PUBLIC) as server,
        closing(open_hints(f"{server.url}/newest.hints", origin=server.url)) as hints,
    ):
        with pytest.raises(HintsUnavailableError, match="on the internet"):
            hints.read([Range(0, 5)])
        assert len(server.requests) == 1
        assert secret.requests == []


def test_a_server_of_this_network_may_lead_to_another_one(
    internet: Machine, torsync: Torsync, tmp_path: Path
) -> None:
    torrent = make_packed(write_tree(tmp_path / "pack", {"a": b""}))
    with (
        internet.entered(),
        ScriptedServer([reply(body=torrent)], host=internet.address) as other,
        ScriptedServer([led_to(f"{other.url}/newest.torrent")]) as server,
    ):
        torsync.subscribe(url=f"{server.url}/newest.torrent")
        torsync.start("check-now").wait(60).assert_ok()


def test_no_public_web_seed_leads_to_this_machine(
    internet: Machine, torsync: Torsync, publisher: Publisher, tmp_path: Path
) -> None:
    folder = write_tree(tmp_path / "pack", {"a": 100_000})
    publisher.announce(make_packed(folder, piece_size=PIECE))
    torsync.session["listen"] = ["0.0.0.0:0"]
    with internet.entered(), FalseWebSeed(folder, is_honest) as secret:

        def leads_away(asked: Asked) -> None:
            asked.answer(302, b"", {"Location": secret.url + asked.path.lstrip("/")})

        with FalseWebSeed(folder, leads_away, host=PUBLIC) as seed:
            torsync.subscribe(web_seeds=[seed.url], peers=[])
            outcome = torsync.start("check-now", "--timeout", "4s").wait(60)
            assert outcome.exit_code == 3
            assert seed.requests
            assert secret.requests == 0
        with FalseWebSeed(folder, leads_away) as seed:
            torsync.subscribe(web_seeds=[seed.url], peers=[])
            torsync.start("check-now", "--timeout", "20s").wait(60).assert_ok()
            assert secret.requests


def test_a_feed_that_alternates_is_followed_at_the_pace_of_the_polls_and_costs_nothing_new(
    torsync: Torsync, seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    """Without keys each poll decides; what is replaced comes back out of the trash."""
    contents = [{"same": 300_000, "x": b"1" * 50_000}, {"same": 300_000, "y": b"2" * 50_000}]
    folders = [write_tree(tmp_path / f"{at}", each) for at, each in enumerate(contents)]
    torrents = [make_packed(folder, piece_size=PIECE) for folder in folders]
    for torrent, folder in zip(torrents, folders, strict=True):
        seeder.add_folder(torrent, folder)
    asked = 0

    def alternate(_request: Request) -> bytes:
        nonlocal asked
        asked += 1
        return reply(body=torrents[asked % 2])

    with ScriptedServer([alternate]) as server:
        torsync.subscribe(
            url=f"{server.url}/newest.torrent", peers=[f"{HOST}:{seeder.port}"], interval="1h"
        )
        fetched = []
        for at in range(6):
            report = torsync.run("check-now", "--timeout", "20s").assert_ok().subscription
            assert tree_bytes(torsync.tree) == tree_bytes(folders[(at + 1) % 2])
            fetched.append(report["bytes_fetched"])
        assert asked == 6, "once for each check"
    assert max(fetched[1:]) <= 3 * PIECE
