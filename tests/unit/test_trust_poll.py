"""A poll with ``public_keys``, against every way of passing off what the publisher did not publish.

Each attack ends with the same error for scripts, the accepted release still the newest, and
nothing of the ``.torrent`` parsed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import torsync.subscribe.release
from tests.support.nginx import nginx
from tests.support.scripted_http import Endless, ScriptedServer, reply
from tests.support.signing import SIGNED_S, sign, sign_with_comment, signer
from torsync.model.config import SubscriptionConfig
from torsync.model.errors import (
    ExitCode,
    InterruptedByUserError,
    ManifestError,
    RemoteUnreachableError,
    UntrustedError,
)
from torsync.model.events import Event, Notice
from torsync.model.trust import key_id
from torsync.subscribe.release import Releases, open_releases
from torsync.subscribe.remote.poll import Fetched, Timeouts, Validators
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Voice
from torsync.subscribe.trust import NoFacts, Patience, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.scripted_http import Step

HOUR = 3600


def torrent(number: int) -> bytes:
    """A ``.torrent`` of one file; every number is another release."""
    name = f"pack-{number}".encode()
    info = b"d6:lengthi%de4:name%d:%b12:piece lengthi16384e6:pieces20:%be"
    return b"d4:info" + info % (number, len(name), name, bytes(20)) + b"e"


ONE, TWO, THREE = torrent(1), torrent(2), torrent(3)
SIGNED_ONE = sign(ONE, number=1)
SIGNED_TWO = sign(TWO, number=2, time_s=SIGNED_S + HOUR)
SIGNED_THREE = sign(THREE, number=3, time_s=SIGNED_S + 2 * HOUR)
GONE = reply(404)
Answer = bytes


class Subscriber:
    """Polls one URL; what it waited for, said and parsed is recorded.

    Attributes:
        waits: seconds.
        on_wait: called at each wait with its number, from 1; True: stop.
    """

    def __init__(self, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = TreeState(folder / "state")
        self.url = url
        self.keys: tuple[str, ...] = (signer().public_key,)
        self.waits: list[float] = []
        self.notices: list[str] = []
        self.parsed: list[bytes] = []
        self.on_wait: Callable[[int], bool] = lambda _number: False
        self._folder = folder
        parse = torsync.subscribe.release._parse

        def recorded(body: bytes) -> Any:
            self.parsed.append(body)
            return parse(body)

        monkeypatch.setattr(torsync.subscribe.release, "_parse", recorded)

    def open(self) -> Releases:
        config = SubscriptionConfig("pack", self.url, self._folder / "tree", public_keys=self.keys)
        return open_releases(config, self._wait, self.state, Voice("pack", self._hear))

    def poll(self, *, force: bool = False) -> bytes:
        """A check of a new process: the bytes of the newest release."""
        return self.open().poll(force=force).body

    def refuses(self, *, force: bool = False) -> UntrustedError:
        """Check, and give the error; nothing may have come of it."""
        before, parsed = self.state.load_poll(), len(self.parsed)
        vouched = self.state.get("vouched")
        bodies = sorted(os.listdir(self.state.folder / "releases"))
        with pytest.raises(UntrustedError) as caught:
            self.poll(force=force)
        assert self.state.load_poll() == before
        assert self.state.get("vouched") == vouched
        assert sorted(os.listdir(self.state.folder / "releases")) == bodies
        assert len(self.parsed) == parsed
        assert (caught.value.code, caught.value.exit_code) == ("untrusted", ExitCode.REMOTE)
        assert self.url.partition("?")[0] in caught.value.message
        assert caught.value.hint
        return caught.value

    def close(self) -> None:
        self.state.close()

    def _wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.on_wait(len(self.waits))

    def _hear(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.code)


class Site:
    """A folder that a file URL leads to: a ``.torrent`` and its signature."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.torrent = folder / "pack.torrent"
        self.signature = folder / "pack.torrent.minisig"

    def put(self, body: bytes, signature: bytes | None) -> None:
        self.torrent.write_bytes(body)
        if signature is None:
            self.signature.unlink(missing_ok=True)
        else:
            self.signature.write_bytes(signature)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def subscriber(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subscriber]:
    made = Subscriber(tmp_path, site.torrent.as_uri(), monkeypatch)
    yield made
    made.close()


@pytest.fixture
def synced(site: Site, subscriber: Subscriber) -> Subscriber:
    """It has accepted the second release."""
    site.put(TWO, SIGNED_TWO)
    assert subscriber.poll() == TWO
    return subscriber


class TestAccepted:
    def test_a_signed_release_and_the_next_one(self, site: Site, subscriber: Subscriber) -> None:
        for body, signature in ((ONE, SIGNED_ONE), (TWO, SIGNED_TWO), (THREE, SIGNED_THREE)):
            site.put(body, signature)
            assert subscriber.poll() == body
        assert subscriber.waits == []
        assert subscriber.notices == []

    def test_what_minisign_signs_by_itself(self, site: Site, synced: Subscriber) -> None:
        site.put(
            THREE, sign_with_comment(THREE, f"timestamp:{SIGNED_S + 2 * HOUR}\tfile:p\thashed")
        )
        assert synced.poll() == THREE

    def test_two_in_the_same_second_by_their_numbers(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, sign(THREE, number=3, time_s=SIGNED_S + HOUR))
        assert synced.poll() == THREE

    def test_the_same_bytes_signed_anew(self, site: Site, synced: Subscriber) -> None:
        site.put(TWO, sign(TWO, number=1, time_s=SIGNED_S))
        assert synced.poll(force=True) == TWO
        site.put(ONE, SIGNED_ONE)  # the order did not go back with it
        assert synced.refuses().reason == "older"

    def test_what_was_accepted_needs_no_second_look(self, site: Site, synced: Subscriber) -> None:
        site.put(TWO, None)
        assert synced.poll() == TWO
        assert synced.refuses(force=True).reason == "unsigned"


class TestAttacks:
    def test_an_unsigned_release(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, None)
        error = synced.refuses()
        assert error.reason == "unsigned"
        assert f"no signature at {site.signature.as_uri()}" in error.message
        assert "remove" not in error.hint, "who takes the signature away wants just that"

    def test_an_unsigned_first_release(self, site: Site, subscriber: Subscriber) -> None:
        site.put(ONE, None)
        error = subscriber.refuses()
        assert (error.reason, "remove public_keys" in error.hint) == ("unsigned", True)
        assert subscriber.open().polled() is None

    def test_a_forged_release_with_an_old_signature(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, SIGNED_TWO)
        assert synced.refuses().reason == "forged"

    def test_a_release_changed_by_one_byte(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE.replace(b"pack", b"hack"), SIGNED_THREE)
        assert synced.refuses().reason == "forged"

    def test_an_old_release_with_a_new_date_in_its_comment(
        self, site: Site, synced: Subscriber
    ) -> None:
        old, new = SIGNED_ONE.splitlines(), SIGNED_THREE.splitlines()
        for mixed in ([*old[:2], *new[2:]], [*old[:2], new[2], old[3]]):
            site.put(ONE, b"\n".join(mixed))
            assert synced.refuses().reason == "forged"

    def test_another_key(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, sign(THREE, by="mallory", number=3, time_s=SIGNED_S + 2 * HOUR))
        error = synced.refuses()
        assert error.reason == "other_key"
        assert f"by key {key_id(signer().public_key)} of public_keys" in error.message
        assert f"found one by key {key_id(signer('mallory').public_key)}" in error.message

    @pytest.mark.parametrize(
        "signature", [b"", b"<html>Not found</html>", SIGNED_THREE[:-20], bytes(100_000)]
    )
    def test_what_is_no_signature(self, site: Site, synced: Subscriber, signature: bytes) -> None:
        site.put(THREE, signature)
        assert synced.refuses().reason == "malformed"

    @pytest.mark.parametrize("force", [False, True])
    def test_a_rollback_to_an_older_release(
        self, site: Site, synced: Subscriber, force: bool
    ) -> None:
        site.put(ONE, SIGNED_ONE)
        error = synced.refuses(force=force)
        assert error.reason == "older"
        assert "older than the one signed 2023-11-14 23:13:20 UTC as release 2" in error.message
        assert "found one signed 2023-11-14 22:13:20 UTC as release 1" in error.message
        assert synced.waits == []

    def test_a_rollback_by_an_accepted_release_signed_by_the_older_of_two_keys(
        self, site: Site, synced: Subscriber
    ) -> None:
        synced.keys = (*synced.keys, signer("new").public_key)
        site.put(THREE, sign(THREE, by="new", number=3, time_s=SIGNED_S + 2 * HOUR))
        assert synced.poll() == THREE
        site.put(TWO, SIGNED_TWO)
        assert synced.refuses().reason == "older"

    def test_a_second_release_under_the_same_number(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, sign(THREE, number=2, time_s=SIGNED_S + HOUR))
        assert synced.refuses().reason == "ambiguous"

    def test_a_release_without_a_date(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, sign_with_comment(THREE, "the newest, believe me"))
        error = synced.refuses()
        assert error.reason == "undated"
        assert "minisign -S" in error.hint

    def test_hostile_bytes_are_not_parsed_before_they_are_accepted(
        self, site: Site, synced: Subscriber
    ) -> None:
        hostile = b"d" + b"l" * 100_000
        site.put(hostile, SIGNED_THREE)
        assert synced.refuses().reason == "forged"
        site.put(hostile, sign(hostile, number=3, time_s=SIGNED_S + 2 * HOUR))
        with pytest.raises(ManifestError):
            synced.poll()
        site.put(TWO, SIGNED_TWO)  # signed by mistake: it does not hold up the order
        assert synced.poll() == TWO

    def test_a_url_changed_to_a_mirror_that_is_behind(
        self, tmp_path: Path, synced: Subscriber
    ) -> None:
        mirror = Site(tmp_path / "mirror")
        mirror.put(ONE, SIGNED_ONE)
        synced.url = mirror.torrent.as_uri()
        assert synced.refuses().reason == "older"


class TestKeysChange:
    def test_keys_that_are_configured_later_count_for_what_was_polled_before(
        self, site: Site, subscriber: Subscriber
    ) -> None:
        keys, subscriber.keys = subscriber.keys, ()
        site.put(ONE, None)
        assert subscriber.poll() == ONE
        subscriber.keys = keys
        releases = subscriber.open()
        polled = releases.polled()
        assert polled is not None
        with pytest.raises(UntrustedError, match="was not checked") as caught:
            releases.trusted(polled, "pack")
        assert "torsync check-now --dry-run pack" in caught.value.hint
        assert subscriber.refuses().reason == "unsigned"

        site.put(ONE, SIGNED_ONE)
        assert subscriber.poll() == ONE
        assert subscriber.open().trusted(polled, "pack") is polled

    def test_what_only_a_removed_key_vouched_for_is_checked_again(
        self, site: Site, synced: Subscriber
    ) -> None:
        synced.keys = (signer("new").public_key,)
        polled = synced.open().polled()
        assert polled is not None
        with pytest.raises(UntrustedError):
            synced.open().trusted(polled, "pack")
        assert synced.refuses().reason == "other_key"
        site.put(TWO, sign(TWO, by="new", number=2, time_s=SIGNED_S))
        assert synced.poll() == TWO
        assert synced.open().trusted(polled, "pack") is polled

    def test_a_rotation_with_both_keys_listed_for_a_while(
        self, site: Site, synced: Subscriber
    ) -> None:
        old, new = signer().public_key, signer("new").public_key
        synced.keys = (new, old)
        assert synced.poll() == TWO
        site.put(THREE, sign(THREE, by="new", number=3, time_s=SIGNED_S + 2 * HOUR))
        assert synced.poll() == THREE
        synced.keys = (new,)
        assert synced.poll() == THREE

    def test_after_a_rotation_an_older_release_is_a_rollback(
        self, site: Site, synced: Subscriber
    ) -> None:
        synced.keys = (signer("new").public_key,)
        site.put(ONE, sign(ONE, by="new", number=1, time_s=SIGNED_S))
        assert synced.refuses().reason == "older"

    def test_another_publication_may_be_older(self, tmp_path: Path, synced: Subscriber) -> None:
        other = Site(tmp_path / "other")
        other.put(ONE, sign(ONE, by="other", number=1, time_s=SIGNED_S - HOUR))
        synced.url, synced.keys = other.torrent.as_uri(), (signer("other").public_key,)
        assert synced.poll() == ONE

    def test_a_rotation_some_time_after_a_change_of_the_url_is_no_other_publication(
        self, tmp_path: Path, synced: Subscriber
    ) -> None:
        mirror = Site(tmp_path / "mirror")
        mirror.put(TWO, SIGNED_TWO)
        synced.url = mirror.torrent.as_uri()
        assert synced.poll() == TWO
        synced.keys = (signer("new").public_key,)
        mirror.put(ONE, sign(ONE, by="new", number=1, time_s=SIGNED_S))
        assert synced.refuses().reason == "older"

    def test_without_keys_nothing_is_asked(self, site: Site, synced: Subscriber) -> None:
        synced.keys = ()
        site.put(ONE, None)
        assert synced.poll() == ONE


class TestReplacedOneAfterTheOther:
    def test_a_new_torrent_waits_for_its_signature(self, site: Site, synced: Subscriber) -> None:
        def replaced(number: int) -> bool:
            if number == 4:
                site.put(THREE, SIGNED_THREE)
            return False

        site.put(THREE, SIGNED_TWO)
        synced.on_wait = replaced
        assert synced.poll() == THREE
        assert synced.waits == [1, 2, 4, 8]
        assert synced.notices == ["signature_awaited"]

    def test_a_new_signature_waits_for_its_torrent(
        self, site: Site, subscriber: Subscriber
    ) -> None:
        def replaced(_number: int) -> bool:
            site.put(TWO, SIGNED_TWO)
            return False

        site.put(ONE, SIGNED_TWO)
        subscriber.on_wait = replaced
        assert subscriber.poll() == TWO
        assert subscriber.waits == [1]

    def test_a_signature_that_comes_a_moment_later(self, site: Site, synced: Subscriber) -> None:
        def comes(number: int) -> bool:
            if number == 2:
                site.put(THREE, SIGNED_THREE)
            return False

        site.put(THREE, None)
        synced.on_wait = comes
        assert synced.poll() == THREE

    def test_a_new_torrent_that_is_taken_back(self, site: Site, synced: Subscriber) -> None:
        def taken_back(_number: int) -> bool:
            site.put(TWO, SIGNED_TWO)
            return False

        site.put(THREE, SIGNED_TWO)
        synced.on_wait = taken_back
        assert synced.poll() == TWO

    def test_a_minute_is_enough(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, SIGNED_TWO)
        assert synced.refuses().reason == "forged"
        assert sum(synced.waits) == 60
        assert synced.notices == ["signature_awaited"]

    def test_nobody_waits_long_for_a_publisher_who_does_not_sign(
        self, site: Site, subscriber: Subscriber
    ) -> None:
        site.put(ONE, None)
        subscriber.refuses()
        assert sum(subscriber.waits) == 7

    def test_what_was_refused_is_refused_at_once_until_it_changes(
        self, site: Site, synced: Subscriber
    ) -> None:
        for signature in (SIGNED_TWO, None, b"nonsense"):
            site.put(THREE, signature)
            first = synced.refuses()
            synced.waits.clear()
            assert synced.refuses().reason == first.reason
            assert synced.waits == []
        site.put(THREE, SIGNED_THREE)
        assert synced.poll() == THREE

    def test_a_page_that_says_not_found_in_ever_other_words_is_waited_for_once(
        self, site: Site, synced: Subscriber
    ) -> None:
        for number in range(3):
            site.put(THREE, f"<html>Not found, request {number}</html>".encode())
            assert synced.refuses().reason == "malformed"
        assert sum(synced.waits) == 7

    def test_a_stop_ends_the_wait(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, SIGNED_TWO)
        synced.on_wait = lambda number: number == 2
        with pytest.raises(InterruptedByUserError, match="a signature was waited for"):
            synced.poll()
        assert synced.waits == [1, 2]
        synced.on_wait = lambda _number: False  # it was not given up
        synced.refuses()
        assert sum(synced.waits) == 3 + 60

    def test_a_glance_during_a_fetch_does_not_wait(self, site: Site, synced: Subscriber) -> None:
        site.put(THREE, SIGNED_TWO)
        with pytest.raises(UntrustedError):
            synced.open().glance()
        assert synced.waits == []
        site.put(THREE, SIGNED_THREE)
        assert synced.open().glance().body == THREE


class TestOverHttp:
    """Every connection gets the next answer; what was asked is compared."""

    @pytest.fixture(autouse=True)
    def _no_proxies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)

    def asked(self, server: ScriptedServer) -> list[str]:
        """The paths that were asked for; "!" for past caches, "?" for a condition."""
        return [
            request.path.rpartition("/")[2]
            + ("!" if request.headers.get("cache-control") == "no-cache" else "")
            + ("?" if "if-none-match" in request.headers else "")
            for request in server.requests
        ]

    def serve(self, *answers: Answer) -> ScriptedServer:
        scripts: list[list[Step]] = [[answer] for answer in answers]
        return ScriptedServer(*scripts)

    def test_a_mismatch_is_fetched_again_past_caches_and_without_conditions(
        self, subscriber: Subscriber
    ) -> None:
        tagged = reply(headers={"ETag": '"1"'}, body=ONE)
        with self.serve(
            *(tagged, reply(body=SIGNED_ONE)),
            *(reply(body=TWO), reply(body=SIGNED_ONE)),
            *(reply(body=TWO), reply(body=SIGNED_ONE)),
            *(reply(headers={"ETag": '"2"'}, body=TWO), reply(body=SIGNED_TWO)),
            reply(304),
        ) as server:
            subscriber.url = f"{server.url}/a.torrent"
            assert subscriber.poll() == ONE
            assert subscriber.poll() == TWO
            assert subscriber.poll() == TWO
        assert subscriber.waits == [1]
        assert self.asked(server) == [
            *("a.torrent", "a.torrent.minisig"),
            *("a.torrent?", "a.torrent.minisig"),
            *("a.torrent!", "a.torrent.minisig!"),
            *("a.torrent!", "a.torrent.minisig!"),
            "a.torrent?",  # not modified: nothing is checked again
        ]

    def test_a_key_that_was_removed_leads_to_an_unconditional_poll(
        self, subscriber: Subscriber
    ) -> None:
        with self.serve(
            *(reply(headers={"ETag": '"1"'}, body=ONE), reply(body=SIGNED_ONE)),
            *(reply(headers={"ETag": '"1"'}, body=ONE), reply(body=sign(ONE, by="new"))),
        ) as server:
            subscriber.url = f"{server.url}/a.torrent"
            assert subscriber.poll() == ONE
            subscriber.keys = (signer("new").public_key,)
            assert subscriber.poll() == ONE
        assert self.asked(server)[2:] == ["a.torrent", "a.torrent.minisig"]

    def test_a_stale_cache_is_no_rollback_attack(self, synced: Subscriber) -> None:
        with self.serve(
            *(reply(body=ONE), reply(body=SIGNED_ONE)),
            *(reply(body=THREE), reply(body=SIGNED_THREE)),
        ) as server:
            synced.url = f"{server.url}/a.torrent"
            assert synced.poll() == THREE
        assert synced.waits == []
        assert self.asked(server)[2:] == ["a.torrent!", "a.torrent.minisig!"]

    def test_the_query_stays_behind_the_path_and_out_of_messages(
        self, subscriber: Subscriber
    ) -> None:
        with self.serve(reply(body=ONE), GONE) as server:
            server.scripts = [[reply(body=ONE)], [GONE]] * 9
            subscriber.url = f"{server.url}/a.torrent?token=hush"
            error = subscriber.refuses()
        assert server.requests[1].path == "/a.torrent.minisig?token=hush"
        assert error.reason == "unsigned"
        assert "hush" not in error.message

    def test_headers_go_to_the_signature_too(
        self, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOKEN", "Bearer secret")
        with self.serve(reply(body=SIGNED_ONE)) as server:
            trust = Trust(
                f"{server.url}/a.torrent",
                subscriber.keys,
                NoFacts(),
                Patience(lambda _: True),
                headers={"Authorization": "env:TOKEN"},
            )
            found = Fetched(ONE, "0", Validators())
            trust.accept(found, timeouts=Timeouts(), again=None)
        assert server.requests[0].headers["authorization"] == "Bearer secret"

    def test_an_endless_signature_is_not_read_to_its_end(self, synced: Subscriber) -> None:
        with ScriptedServer([reply(body=THREE)], [reply(length=None), Endless(b"x" * 65536)]) as s:
            s.scripts *= 8
            synced.url = f"{s.url}/a.torrent"
            assert synced.refuses().reason == "malformed"
            assert s.connections == 10

    def test_a_server_that_cannot_give_the_signature_is_unreachable_not_forged(
        self, subscriber: Subscriber
    ) -> None:
        with self.serve(reply(body=ONE), reply(403)) as server:
            subscriber.url = f"{server.url}/a.torrent"
            with pytest.raises(RemoteUnreachableError, match=r"expected a signature.*403"):
                subscriber.poll()

    @pytest.mark.programs
    def test_nginx_serves_both_files(self, tmp_path: Path, subscriber: Subscriber) -> None:
        folder = tmp_path / "www"
        folder.mkdir()
        site = folder / "a.torrent", folder / "a.torrent.minisig"

        def put(body: bytes, signature: bytes) -> bool:
            site[0].write_bytes(body)
            site[1].write_bytes(signature)
            return False

        with nginx(folder) as server:
            subscriber.url = server.url_for("a.torrent")
            put(ONE, SIGNED_ONE)
            assert subscriber.poll() == ONE
            put(TWO, SIGNED_ONE)
            subscriber.on_wait = lambda _: put(TWO, SIGNED_TWO)
            assert subscriber.poll() == TWO
            assert subscriber.waits == [1]
            site[0].write_bytes(THREE)
            site[1].unlink()
            subscriber.on_wait = lambda _: False
            assert subscriber.refuses().reason == "unsigned"


def test_a_poll_that_finds_nothing_new_does_not_import_minisign(
    tmp_path: Path, site: Site, synced: Subscriber
) -> None:
    program = """
import sys
from pathlib import Path
from torsync.model.config import SubscriptionConfig
from torsync.subscribe.release import open_releases
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Voice
url, key, state = sys.argv[1:]
config = SubscriptionConfig("pack", url, Path("/nowhere"), public_keys=(key,))
open_releases(config, lambda _: True, TreeState(Path(state)), Voice("pack", print)).poll()
sys.exit(bool({"minisign", "cryptography", "requests"} & {*sys.modules}))
"""
    arguments = [synced.url, *synced.keys, str(synced.state.folder)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=60)
