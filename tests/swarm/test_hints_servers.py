"""Where hints come from: every way to publish, servers that fail, and what people are told."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import hints_server as faults
from tests.support.cli import Torsync
from tests.support.hints import (
    BLOCK,
    HINTS,
    KIB,
    MIB,
    Hinted,
    Release,
    hint_notices,
    in_blocks,
    inserted,
    read_hints,
    with_hints_at,
)
from tests.support.hints_server import HintsServer
from tests.support.nginx import nginx
from tests.support.processes import HOST, free_port, wait_until
from tests.support.programs import require
from tests.support.publishers import Publishing, subscriber, wait_for_release
from tests.support.trees import random_bytes, tree_bytes
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Outcome
    from tests.support.seeders import LibtorrentSeeder

OLD = random_bytes(MIB, "old")
NEW = inserted(OLD, 0, b"!")
FEW_BLOCKS = 2 * BLOCK


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, lasting_seeder: LibtorrentSeeder) -> Hinted:
    """Two releases; nobody has any yet."""
    scratch = tmp_path_factory.mktemp("published")
    nobody = scratch / "nobody"
    nobody.mkdir()
    hinted = Hinted(scratch, Torsync(nobody), lasting_seeder)
    hinted.publish({"large": OLD, "a/small": 3000})
    hinted.publish({"large": NEW, "a/small": 3000})
    return hinted


@pytest.fixture
def hinted(published: Hinted, tmp_path: Path, torsync: Torsync) -> Hinted:
    """A subscriber who has the old release, from a file."""
    hinted = published.for_another(tmp_path, torsync)
    hinted.sync_first(hinted.releases[0])
    return hinted


@pytest.fixture
def server(hinted: Hinted) -> Iterator[HintsServer]:
    """A web server of the releases; the subscriber knows it."""
    with HintsServer(hinted.www) as running:
        hinted.torsync.subscribe(url=running.url())
        yield running


def new(hinted: Hinted) -> Release:
    """The release in which the file has shifted."""
    return hinted.releases[1]


def everything_said(outcome: Outcome) -> str:
    """Both outputs."""
    return f"{outcome.objects} {outcome.errors} {outcome.stderr}"


# --- good servers -----------------------------------------------------------------------------


@pytest.mark.programs
def test_nginx_is_asked_for_the_ranges_that_are_needed(hinted: Hinted) -> None:
    with nginx(hinted.www) as server:
        hinted.torsync.subscribe(url=server.url_for("pack.torrent"))
        hinted.show(new(hinted))
        report = hinted.check().subscription
        assert report["bytes_fetched"] <= FEW_BLOCKS
        asked = [one for one in server.access_log(at_least=2) if one.uri.endswith(".hints")]
        assert asked
        assert all(one.status == 206 and one.range.startswith("bytes=") for one in asked)
        assert sum(one.body_bytes for one in asked) <= hinted.hints_file.stat().st_size + 100
        assert len(asked) <= 5


def test_the_feed_serves_the_hints_of_its_releases(publishing: Publishing, tmp_path: Path) -> None:
    port = free_port()
    publishing.feed.update(listen=f"{HOST}:{port}")
    folder = publishing.publish(entries={"large": OLD}, piece_size="64 KiB")
    del publishing.publications["pack"]["torrent"]
    service = publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    url = f"http://{HOST}:{port}/pack.torrent"
    with subscriber(tmp_path / "subscriber", publishing, url=url) as torsync:
        torsync.run("check-now").assert_ok()
        assert tree_bytes(torsync.tree) == {"large": OLD}
        heard = len(service.objects())
        (folder / "large").write_bytes(NEW)
        wait_for_release(service, since=heard)
        report = torsync.run("check-now").assert_ok().subscription
        assert tree_bytes(torsync.tree) == {"large": NEW}
        assert report["bytes_fetched"] <= FEW_BLOCKS
        torsync.run("verify").assert_ok()
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


def test_a_publication_without_hints_says_nothing_of_them(
    publishing: Publishing, tmp_path: Path
) -> None:
    publishing.publish(entries={"large": OLD}, piece_size="64 KiB", hints=False)
    publishing.run("check-now").assert_ok()
    assert not publishing.torrent().with_name(HINTS).exists()
    assert b"hints" not in publishing.torrent().read_bytes()


def test_a_publication_of_the_configuration_has_its_hints_beside_the_torrent(
    publishing: Publishing,
) -> None:
    folder = publishing.publish(entries={"large": OLD}, piece_size="64 KiB")
    publishing.run("check-now").assert_ok()
    hints = publishing.torrent().with_name(HINTS)
    assert hints.exists()
    before = hints.read_bytes()
    (folder / "large").write_bytes(NEW)
    publishing.run("check-now").assert_ok()
    assert hints.read_bytes() != before
    assert sorted(path.name for path in hints.parent.iterdir()) == ["pack.torrent", HINTS]


def described(torrent: Path) -> bool:
    """Whether there are hints beside a ``.torrent``, which have all its files, and rightly."""
    files = parse_metainfo(torrent.read_bytes()).files
    sizes = {file.pieces_root: file.size for file in files if file.pieces_root}
    hints = torrent.with_name(f"{torrent.name}.hints")
    return hints.exists() and read_hints(hints.read_bytes(), sizes).keys() == sizes.keys()


def test_hints_are_public_before_the_release_that_they_are_of(publishing: Publishing) -> None:
    folder = publishing.publish(entries={"large": OLD}, piece_size="64 KiB")
    service = publishing.start("run")
    torrent = publishing.torrent()
    # Nobody has anything yet that could have shifted: the first one need not wait for its hints.
    wait_until(lambda: torrent.exists() and described(torrent), "the first one has hints")
    first = torrent.read_bytes()
    (folder / "large").write_bytes(NEW)
    wait_until(lambda: torrent.read_bytes() != first, "the second release is public")
    assert described(torrent)
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


def test_a_publisher_that_was_killed_before_it_made_hints_makes_them_when_it_runs_again(
    publishing: Publishing,
) -> None:
    publishing.publish(entries={"large": 8 * MIB, "b": OLD}, piece_size="64 KiB")
    torrent = publishing.torrent()
    service = publishing.start("run")
    wait_until(torrent.exists, "the release is public")
    service.kill()
    torrent.with_name(HINTS).unlink(missing_ok=True)
    service = publishing.start("run")
    wait_until(lambda: described(torrent), "there are hints")
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For 127.0.0.1, signed by itself; and its key."""
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(require("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
            *("-keyout", key, "-out", pem),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return pem, key


def test_hints_come_over_https_from_whom_the_environment_trusts(
    hinted: Hinted, certificate: tuple[Path, Path]
) -> None:
    with HintsServer(hinted.www, certificate=certificate) as server:
        hinted.torsync.subscribe(url=server.url())
        hinted.show(new(hinted))
        trust = {"REQUESTS_CA_BUNDLE": str(certificate[0])}
        outcome = hinted.torsync.run("check-now", environment=trust)
        hinted.assert_synced(outcome)
        assert outcome.subscription["bytes_fetched"] <= FEW_BLOCKS
        assert server.hints_asked()


def test_hints_are_asked_for_as_the_torrent_is(hinted: Hinted, server: HintsServer) -> None:
    server.authorization = "Basic dXNlcjpwYXNzd29yZA=="  # user:password
    hinted.torsync.subscribe(
        url=server.url(user="user:password@"), headers={"X-Token": "opensesame"}
    )
    hinted.show(new(hinted))
    outcome = hinted.check()
    assert outcome.subscription["bytes_fetched"] <= FEW_BLOCKS
    asked = server.hints_asked()
    assert asked
    assert all(one.headers["x-token"] == "opensesame" for one in asked)


def test_hints_of_a_large_release_are_not_fetched_for_a_small_change(
    tmp_path: Path, torsync: Torsync, lasting_seeder: LibtorrentSeeder
) -> None:
    hinted = Hinted(tmp_path, torsync, lasting_seeder)
    many = {f"{number:03}": random_bytes(40 * KIB, number) for number in range(150)}
    hinted.sync_first({**many, "large": OLD})
    with nginx(hinted.www) as server:
        torsync.subscribe(url=server.url_for("pack.torrent"))
        hinted.publish({**many, "large": NEW})
        report = hinted.check().subscription
        assert report["bytes_fetched"] <= FEW_BLOCKS
        size = hinted.hints_file.stat().st_size
        asked = [one for one in server.access_log(at_least=2) if one.uri.endswith(".hints")]
        assert 0 < sum(one.body_bytes for one in asked) < size // 5
        # One small file that is new altogether: nothing could have shifted into it.
        hinted.publish({**many, "large": NEW, "007": random_bytes(3 * KIB, "tiny")})
        hinted.check()
        assert [one for one in server.access_log() if one.uri.endswith(".hints")] == asked


# --- servers that fail ------------------------------------------------------------------------

QUICK = [
    faults.not_found,
    faults.forbidden,
    faults.broken,
    faults.page_instead,
    faults.dropped,
    faults.cut_off,
    faults.another_range,
    faults.more_than_asked,
    faults.endless,
    faults.endless_range,
    faults.bomb,
    faults.redirected_in_a_circle,
]
SLOW = [pytest.param(faults.silent, marks=pytest.mark.long), faults.silent_in_the_middle]


SECRETS = ("opensesame", "hunter2", "swordfish")


def with_secrets(hinted: Hinted, server: HintsServer) -> None:
    """Poll with a URL and headers of which nothing may be shown."""
    hinted.torsync.subscribe(
        url=server.url("pack.torrent?token=opensesame", user="me:hunter2@"),
        headers={"X-Token": "swordfish"},
    )


def assert_told_once(outcome: Outcome, server: HintsServer, told: object = "") -> None:
    """One notice says which hints could not be had, and shows no secret."""
    notices = hint_notices(outcome)
    assert len(notices) == 1, (told, notices)
    assert notices[0]["level"] in {"info", "warning"}
    assert notices[0]["name"] == "pack"
    assert f":{server.port}/{HINTS}" in notices[0]["message"], told
    assert notices[0]["hint"], told
    said = everything_said(outcome)
    assert not [secret for secret in SECRETS if secret in said], told


def test_whatever_a_server_does_to_the_hints_is_told_once_and_shows_no_secret(
    hinted: Hinted, server: HintsServer
) -> None:
    with_secrets(hinted, server)
    hinted.show(new(hinted))
    for fault in QUICK:
        server.fault, server.sent = fault, 0
        asked = len(server.hints_asked())
        outcome = hinted.torsync.run("check-now", "--dry-run")
        assert outcome.exit_code == 4, (fault, outcome.stderr)
        assert len(server.hints_asked()) > asked, fault
        assert outcome.subscription["bytes_to_fetch"] == in_blocks(NEW), fault
        assert outcome.subscription["bytes_reused"]["shifted"] == 0, fault
        assert server.sent <= 32 * MIB, f"{fault}: most of it lay in buffers"
        assert_told_once(outcome, server, fault)


@pytest.mark.parametrize(
    "fault", [faults.not_found, faults.endless_range], ids=lambda given: given.__name__
)
def test_an_update_goes_on_without_hints(
    hinted: Hinted, server: HintsServer, fault: faults.Fault
) -> None:
    server.fault = fault
    with_secrets(hinted, server)
    hinted.show(new(hinted))
    outcome = hinted.check()
    assert outcome.subscription["bytes_fetched"] == in_blocks(NEW)
    assert_told_once(outcome, server)


def test_a_server_that_failed_is_asked_again(hinted: Hinted, server: HintsServer) -> None:
    server.fault = faults.broken
    hinted.show(new(hinted))
    hinted.torsync.run("check-now").assert_ok()
    server.fault = None
    hinted.show(hinted.releases[0], hints=b"")
    hinted.torsync.run("check-now").assert_ok()
    shutil.rmtree(hinted.tree / ".torsync/trash")
    asked = len(server.hints_asked())
    hinted.show(new(hinted))
    assert hinted.check().subscription["bytes_fetched"] <= FEW_BLOCKS
    assert len(server.hints_asked()) > asked


@pytest.mark.parametrize("fault", SLOW, ids=lambda given: given.__name__)
def test_a_server_that_falls_silent_is_not_waited_for_long(
    hinted: Hinted, server: HintsServer, fault: faults.Fault
) -> None:
    server.fault = fault
    with_secrets(hinted, server)
    hinted.show(new(hinted))
    outcome = hinted.check()
    assert outcome.subscription["bytes_fetched"] == in_blocks(NEW)
    assert_told_once(outcome, server)


def test_credentials_do_not_follow_a_redirect_to_another_server(
    hinted: Hinted, server: HintsServer
) -> None:
    with HintsServer(hinted.www) as other:
        server.fault = faults.redirected_to(other.url(HINTS))
        hinted.torsync.subscribe(
            url=server.url(user="me:hunter2@"), headers={"X-Token": "swordfish"}
        )
        hinted.show(new(hinted))
        hinted.check()
        for asked in other.asked:
            assert not {"x-token", "authorization"} & asked.headers.keys()


def test_no_redirect_leads_to_a_file_of_the_subscriber(hinted: Hinted, server: HintsServer) -> None:
    server.fault = faults.redirected_to(hinted.hints_file.as_uri())
    hinted.show(new(hinted))
    outcome = hinted.check()
    assert outcome.subscription["bytes_fetched"] == in_blocks(NEW)
    assert len(hint_notices(outcome)) == 1


@pytest.mark.parametrize("request_number", [2, 3])
def test_hints_that_are_replaced_while_they_are_read_are_not_mixed(
    hinted: Hinted, server: HintsServer, request_number: int
) -> None:
    def replace(_handler: faults.Handler) -> None:
        if len(server.hints_asked()) == request_number:
            hinted.hints_file.write_bytes(hinted.releases[0].hints + b"more")

    server.on_hints = replace
    hinted.show(new(hinted))
    outcome = hinted.check(lied_to=True)
    assert outcome.subscription["bytes_fetched"] <= 2 * in_blocks(NEW)
    assert len(hint_notices(outcome)) <= 1


def test_a_server_that_ignores_ranges_is_no_hindrance(hinted: Hinted, server: HintsServer) -> None:
    server.fault = faults.ranges_ignored
    hinted.show(new(hinted))
    outcome = hinted.check()
    # It may take what comes: the whole file is small beside what it saves.
    assert outcome.subscription["bytes_fetched"] <= in_blocks(NEW)
    assert len(hint_notices(outcome)) <= 1


def test_a_server_that_goes_away_after_the_poll_leaves_an_update_without_hints(
    hinted: Hinted,
) -> None:
    hinted.torsync.subscribe(update="ask")
    with HintsServer(hinted.www) as server:
        hinted.torsync.subscribe(url=server.url())
        server.fault = faults.not_found
        hinted.show(new(hinted))
        assert hinted.torsync.run("check-now").exit_code == 4
    outcome = hinted.check("apply", "pack")
    assert outcome.subscription["bytes_fetched"] == in_blocks(NEW)
    assert len(hint_notices(outcome)) <= 1


def test_the_service_can_be_stopped_while_a_server_is_silent(
    hinted: Hinted, server: HintsServer
) -> None:
    server.fault = faults.silent
    hinted.show(new(hinted))
    service = hinted.torsync.start("run")
    wait_until(lambda: bool(server.hints_asked()), "the hints are asked for")
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0
    server.fault = None
    report = hinted.check().subscription
    assert report["bytes_fetched"] <= FEW_BLOCKS


# --- where a torrent may send its subscribers -------------------------------------------------


def _elsewhere(hinted: Hinted, server: HintsServer) -> str:
    return f"http://127.0.0.2:{server.port}/{HINTS}"


def _a_local_file(hinted: Hinted, server: HintsServer) -> str:
    return hinted.hints_file.as_uri()


def _a_local_path(hinted: Hinted, server: HintsServer) -> str:
    return str(hinted.hints_file)


def _climbing(hinted: Hinted, server: HintsServer) -> str:
    return "../" * 30 + HINTS + "/x"


def _no_url(hinted: Hinted, server: HintsServer) -> str:
    return "http://[::1/\n\x00 %zz"


def _another_scheme(hinted: Hinted, server: HintsServer) -> str:
    return f"ftp://{HOST}:{server.port}/{HINTS}"


def _very_long(hinted: Hinted, server: HintsServer) -> str:
    return "a" * 100_000


ASTRAY = (_elsewhere, _a_local_file, _a_local_path, _climbing, _no_url, _another_scheme, _very_long)


def test_a_torrent_that_sends_its_subscribers_astray_gets_nowhere(
    hinted: Hinted, server: HintsServer
) -> None:
    with_secrets(hinted, server)
    for reference in ASTRAY:
        told = reference(hinted, server)
        hinted.show(new(hinted)._replace(torrent=with_hints_at(new(hinted).torrent, told)))
        outcome = hinted.torsync.run("check-now", "--dry-run")
        assert outcome.exit_code == 4, (reference, outcome.stderr)
        assert outcome.subscription["bytes_to_fetch"] == in_blocks(NEW), reference
        notices = hint_notices(outcome)
        assert len(notices) <= 1, reference
        assert all(len(one["message"]) < 1000 and one["hint"] for one in notices), reference
        said = everything_said(outcome)
        assert not [secret for secret in SECRETS if secret in said], reference
    assert hinted.check().subscription["bytes_fetched"] == in_blocks(NEW)


def test_a_reference_counts_from_the_subscriptions_url(hinted: Hinted, server: HintsServer) -> None:
    for reference in (HINTS, f"./{HINTS}", f"/{HINTS}", f"{HINTS}?x=1"):
        release = new(hinted)._replace(torrent=with_hints_at(new(hinted).torrent, reference))
        hinted.show(release)
        assert hinted.planned()["bytes_to_fetch"] <= FEW_BLOCKS, reference


def test_what_a_torrent_says_of_its_hints_is_not_trusted_to_be_text(hinted: Hinted) -> None:
    torrent = with_hints_at(new(hinted).torrent, HINTS)
    found = f"5:hints{len(HINTS)}:{HINTS}".encode()
    assert torrent.count(found) == 1
    for value in (b"i1e", b"le", b"de", b"0:", b"2:\xff\xfe"):
        hinted.show(new(hinted)._replace(torrent=torrent.replace(found, b"5:hints" + value)))
        assert hinted.planned()["bytes_to_fetch"] == in_blocks(NEW), value
    hinted.check()
