"""When a publisher's web seed is left alone, and when it is used."""

from __future__ import annotations

import pytest

from tests.unit.test_manifest import manifest_of
from torsync.swarm.held_web_seeds import PATIENCE_S, PeerSeen, Turns, hosts_to_match, sending

URL = "http://192.0.2.1:8080/content/"
ADDRESS = "192.0.2.1"
TRACKERS = (("http://tracker.example/announce",),)
SEED = PeerSeen((ADDRESS, 6881), unchoked=True, idle=False, received_bytes=100)
OTHER = PeerSeen(("192.0.2.2", 6881), unchoked=True, idle=False, received_bytes=100)


def nobody(host: str) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def test_without_trackers_those_on_the_machines_named_in_the_torrent_are_matched() -> None:
    manifest = manifest_of(
        web_seeds=("http://Feed.example/a/", "http://cdn.example/", URL, "http://[::1/"),
        nodes=(("feed.EXAMPLE", 6881),),
    )

    def addresses_of(host: str) -> list[str]:
        assert host == "feed.example"
        return ["192.0.2.7", "::ffff:192.0.2.8", "2001:DB8:0::1"]

    assert hosts_to_match(manifest, addresses_of) == {
        "feed.example": {"192.0.2.7", "192.0.2.8", "2001:db8::1"}
    }


def test_with_trackers_those_given_by_address_are_matched_and_no_name_is_looked_up() -> None:
    seeds = ("http://cdn.example/", URL, "https://[2001:DB8::1]:1/", "not a URL")
    manifest = manifest_of(web_seeds=seeds, trackers=TRACKERS, nodes=(("cdn.example", 1),))
    assert hosts_to_match(manifest, nobody) == {
        ADDRESS: {ADDRESS},
        "2001:db8::1": {"2001:db8::1"},
    }


def test_a_host_that_cannot_be_found_is_not_waited_for() -> None:
    manifest = manifest_of(web_seeds=("http://a/",), nodes=(("a", 1),))
    assert hosts_to_match(manifest, lambda _: []) == {}


def test_who_sent_since_the_last_look_sends() -> None:
    before = {SEED.endpoint: 99, OTHER.endpoint: 100}
    assert sending([SEED, OTHER], before) == {ADDRESS}
    assert sending([SEED._replace(unchoked=False)], before) == set()
    assert sending([SEED._replace(endpoint=(f"::ffff:{ADDRESS}", 1))], {}) == {ADDRESS}


def test_a_seed_that_nothing_is_asked_of_counts_while_others_send() -> None:
    idle = SEED._replace(idle=True)
    before = {SEED.endpoint: 100, OTHER.endpoint: 99}
    assert sending([idle, OTHER], before) == {ADDRESS, "192.0.2.2"}
    assert sending([idle._replace(unchoked=False), OTHER], before) == {ADDRESS, "192.0.2.2"}
    assert sending([SEED._replace(unchoked=False), OTHER], before) == {ADDRESS, "192.0.2.2"}
    assert sending([SEED, OTHER], before) == {"192.0.2.2"}, "it was asked, and is silent"
    before[OTHER.endpoint] = 100
    assert sending([idle, OTHER], before) == set(), "nothing arrives: somebody has to be asked"


def turns() -> Turns:
    return Turns({URL: frozenset({ADDRESS})}, 0.0)


BEGIN, END, NOTHING = ([URL], []), ([], [URL]), ([], [])


@pytest.mark.parametrize("senders", [set(), {"192.0.2.2"}])
def test_a_web_seed_is_used_when_nobody_on_its_machine_has_sent_for_a_while(
    senders: set[str],
) -> None:
    its = turns()
    assert its.look(senders, PATIENCE_S - 0.1) == NOTHING
    assert its.look(senders, PATIENCE_S) == BEGIN
    assert its.look(senders, 100.0) == NOTHING, "it is used already"


def test_patience_begins_anew_with_every_byte() -> None:
    its = turns()
    for now_s in (1.0, 2.5, 4.0):
        assert its.look({ADDRESS}, now_s) == NOTHING
    assert its.look(set(), 3.9 + PATIENCE_S) == NOTHING
    assert its.look(set(), 4.0 + PATIENCE_S) == BEGIN


def test_a_web_seed_is_left_alone_again_once_when_its_machine_sends_steadily() -> None:
    its = turns()
    assert its.look(set(), 10.0) == BEGIN
    assert its.look({ADDRESS}, 11.0) == NOTHING
    assert its.look({ADDRESS}, 11.0 + PATIENCE_S) == NOTHING, "with a pause between"
    for now_s in (13.5, 14.0, 14.4):
        assert its.look({ADDRESS}, now_s) == NOTHING
    assert its.look(set(), 14.7) == NOTHING
    assert its.look({ADDRESS}, 15.0) == END
    assert its.open
    assert its.look(set(), 14.9 + PATIENCE_S) == NOTHING
    assert its.look(set(), 15.0 + PATIENCE_S) == BEGIN
    assert not its.open
    for now_s in range(20, 30):
        assert its.look({ADDRESS}, now_s) == NOTHING
