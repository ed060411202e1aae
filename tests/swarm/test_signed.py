"""Signed releases from end to end: the publisher's are synced, others leave everything alone."""

from __future__ import annotations

import signal
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import snapshot, visible
from tests.support.publications import Publisher
from tests.support.signing import SIGNED_S, Minisign, sign, signer
from tests.support.torrents import info_hash
from tests.support.trees import assert_same_tree, tree_bytes
from torsync.publish.keys import generate_keys
from torsync.subscribe.state import TreeState, state_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Outcome, Torsync
    from tests.support.trees import Content
    from tests.support.updates import Updates

KIB = 1024
FIRST: dict[str, Content] = {"a": 40 * KIB, "d/b": 100, "dropped": 10}
SECOND: dict[str, Content] = {"a": 50 * KIB, "d/b": 100, "new": 10}


class Signed:
    """A subscription with a public key, and its publisher, who signs."""

    def __init__(self, updates: Updates) -> None:
        self.updates = updates
        self.torsync = updates.torsync
        torrent = updates.publisher.file
        self.signature = torrent.with_name(f"{torrent.name}.minisig")
        self.trust(signer().public_key)

    @property
    def tree(self) -> Path:
        return self.torsync.tree

    def trust(self, *keys: str) -> None:
        self.torsync.subscribe(public_keys=list(keys))

    def publish(self, number: int, entries: dict[str, Content]) -> bytes:
        """Make a release the newest, the signature first."""
        torrent = self.updates.publish(entries, "packed")
        self.signature.write_bytes(self.sign(torrent, number))
        return torrent

    def sign(self, torrent: bytes, number: int, *, by: str = "publisher") -> bytes:
        return sign(torrent, by=by, number=number, time_s=SIGNED_S + number)

    def sync(self, number: int, entries: dict[str, Content]) -> bytes:
        torrent = self.publish(number, entries)
        self.torsync.run("check-now").assert_ok()
        assert_same_tree(self.tree, self.updates.folder)
        return torrent

    def give_up(self, reason: str) -> None:
        """Note that what is at the URL now was waited for in vain."""
        digest = sha256(self.updates.publisher.file.read_bytes()).hexdigest()
        state = TreeState(state_folder(self.torsync.state_dir, self.tree))
        state.put(untrusted=f"{reason} {digest}")
        state.close()

    def refuses(self, *command: str) -> Outcome:
        """Run a command that is refused: nothing is touched, and a script can tell why."""
        before = snapshot(self.tree)
        outcome = self.torsync.run(*(command or ("check-now",)))
        assert outcome.exit_code == 3
        assert outcome.error["code"] == "untrusted"
        assert outcome.error["name"] == "pack"
        assert outcome.error["message"]
        assert outcome.error["hint"]
        assert outcome.of_type("subscription") == []
        assert snapshot(self.tree) == before
        return outcome


@pytest.fixture
def signed(updates: Updates) -> Signed:
    return Signed(updates)


def test_signed_releases_sync_one_after_the_other(signed: Signed) -> None:
    signed.sync(1, FIRST)
    signed.sync(2, SECOND)
    assert not signed.torsync.run("check-now").assert_ok().subscription["changed"]


def test_a_forged_release_leaves_the_tree_as_it_was(signed: Signed) -> None:
    first = signed.sync(1, FIRST)
    forged = signed.updates.publish(SECOND, "packed")
    signed.give_up("forged")
    outcome = signed.refuses()
    assert signed.updates.publisher.url in outcome.error["message"]
    known = signed.torsync.run("status").assert_ok().subscription
    assert known["info_hash"] == info_hash(first)
    assert known["last_error"] == outcome.error["message"]
    signed.refuses("check-now", "--force")
    signed.refuses("check-now", "--dry-run")
    assert not signed.torsync.run("plan").assert_ok().subscription["changed"]
    assert not signed.torsync.run("apply", "pack").assert_ok().subscription["changed"]

    signed.signature.write_bytes(signed.sign(forged, 2))
    signed.torsync.run("check-now").assert_ok()
    assert_same_tree(signed.tree, signed.updates.folder)


def test_nothing_of_an_unsigned_first_release_is_fetched(signed: Signed) -> None:
    signed.updates.publish(FIRST, "packed")
    signed.give_up("unsigned")
    outcome = signed.torsync.run("check-now")
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "untrusted"
    assert visible(signed.tree) == {}
    assert signed.updates.publisher.seeder.uploaded(signed.updates.torrent) == 0


def test_a_rollback_by_the_server_is_refused_and_one_by_the_user_is_not(signed: Signed) -> None:
    signed.sync(1, FIRST)
    first, first_signature = signed.updates.torrent, signed.signature.read_bytes()
    content = tree_bytes(signed.tree)
    second = signed.sync(2, SECOND)
    second_signature = signed.signature.read_bytes()

    signed.updates.publisher.announce(first)
    signed.signature.write_bytes(first_signature)
    assert "older" in signed.refuses().error["message"]

    signed.torsync.run("rollback", "pack").assert_ok()
    assert tree_bytes(signed.tree) == content
    signed.refuses()
    signed.updates.publisher.announce(second)
    signed.signature.write_bytes(second_signature)
    signed.torsync.run("check-now").assert_ok()
    assert tree_bytes(signed.tree) == content
    signed.torsync.run("apply", "pack").assert_ok()
    assert_same_tree(signed.tree, signed.updates.folder)


def test_what_was_polled_before_keys_were_configured_is_not_applied(signed: Signed) -> None:
    signed.trust()
    signed.torsync.subscribe(update="ask")
    signed.updates.publish(FIRST, "packed")
    assert signed.torsync.run("check-now").exit_code == 4
    signed.trust(signer().public_key)
    for command in (("plan",), ("apply", "pack")):
        outcome = signed.torsync.run(*command)
        assert outcome.exit_code == 3
        assert outcome.error["code"] == "untrusted"
        assert "check-now --dry-run pack" in outcome.error["hint"]
    assert visible(signed.tree) == {}

    signed.signature.write_bytes(signed.sign(signed.updates.torrent, 1))
    assert signed.torsync.run("check-now", "--dry-run").exit_code == 4
    signed.torsync.run("apply", "pack").assert_ok()
    assert_same_tree(signed.tree, signed.updates.folder)


def test_the_service_refuses_what_was_approved_under_other_keys(signed: Signed) -> None:
    signed.torsync.subscribe(update="ask", interval="1h")
    signed.publish(1, FIRST)
    assert signed.torsync.run("check-now").exit_code == 4
    signed.trust(signer("mallory").public_key)
    signed.give_up("other_key")
    before = visible(signed.tree)
    service = signed.torsync.start("run")
    service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "untrusted", "it is refused"
    )
    signed.trust(signer().public_key)
    approval = signed.torsync.start("apply", "pack")
    outcome = approval.wait(20)
    assert (outcome.exit_code, outcome.error["code"]) == (3, "untrusted")
    assert visible(signed.tree) == before


def test_a_signal_ends_the_wait_for_a_signature(signed: Signed) -> None:
    signed.sync(1, FIRST)
    before = snapshot(signed.tree)
    signed.updates.publish(SECOND, "packed")
    running = signed.torsync.start("check-now")
    running.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "signature_awaited",
        "a signature is awaited",
    )
    assert running.stop(signal.SIGINT, within_s=10).exit_code == 130
    assert snapshot(signed.tree) == before


@pytest.mark.programs
def test_the_minisign_program_signs_releases(tmp_path: Path, signed: Signed) -> None:
    minisign = Minisign(tmp_path / "minisign")
    signed.trust(minisign.public_key)
    signed.updates.publish(FIRST, "packed")
    minisign.sign(signed.updates.publisher.file)
    signed.torsync.run("check-now").assert_ok()
    assert_same_tree(signed.tree, signed.updates.folder)


def test_what_a_publication_signs_and_its_feed_serves_is_accepted(
    tmp_path: Path, torsync: Torsync
) -> None:
    keys = generate_keys(tmp_path / "maps.key")
    publisher = Publisher(tmp_path, feed=True, secret_key=tmp_path / "maps.key")
    try:
        publisher.open().release(dict(FIRST))
        assert publisher.feed is not None
        torsync.subscribe(
            url=f"{publisher.feed.url}/pack.torrent",
            peers=["{}:{}".format(*peer) for peer in publisher.peers],
            public_keys=[keys.public_key],
        )
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, publisher.folder)
        publisher.release(dict(SECOND))
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, publisher.folder)

    finally:
        publisher.close()
