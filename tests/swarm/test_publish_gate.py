"""A release goes public in order: nobody sees one that cannot be fetched at once."""

from __future__ import annotations

import shutil
import signal
import threading
from typing import TYPE_CHECKING

import bencode2
import pytest

from tests.support.leecher import DownloadError, libtorrent_download
from tests.support.nginx import nginx
from tests.support.processes import HOST, free_port, wait_until
from tests.support.programs import require
from tests.support.publishers import (
    MIB,
    PIECE,
    all_errors,
    decoded,
    publication,
    released,
    subscriber,
    wait_for_problem,
    wait_for_release,
)
from tests.support.torrents import info_hash
from tests.support.trees import assert_same_tree, random_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.cli import Outcome
    from tests.support.nginx import Nginx
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

FORMATS = ["v1", "v2", "hybrid"]
FILES: dict[str, Content] = {"big": 20 * PIECE + 1, "d/small": 100, "d/other": 200, "empty": 0}


class Mirror:
    """A publication whose web seed is an nginx with a copy of it, for which others care.

    Attributes:
        root: of nginx; the copy is in a folder of the root name.
    """

    def __init__(self, publishing: Publishing, server: Nginx) -> None:
        self.publishing = publishing
        self.server = server
        self.root = server.root
        self.copy = self.root / "pack"
        self.url = f"{server.url}/"
        self.folder = publishing.publish(entries=FILES, web_seeds=[self.url])

    def update(self) -> None:
        """Make the copy equal to the folder."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.folder, self.copy, symlinks=True)

    def torrent(self) -> bytes | None:
        file = self.publishing.torrent()
        return file.read_bytes() if file.exists() else None

    def refuses(self) -> Outcome:
        """A check publishes nothing, and says whose fault it is."""
        before = self.torrent()
        outcome = self.publishing.run("check-now")
        assert outcome.exit_code in {1, 3}, outcome.objects
        assert self.server.url in outcome.error["message"]
        assert outcome.error["hint"]
        assert self.torrent() == before
        status = publication(self.publishing.run("status"))
        assert self.server.url in status["last_error"]
        return outcome

    def publishes(self) -> None:
        """The next check publishes."""
        before = self.torrent()
        released(self.publishing.run("check-now"))
        assert self.torrent() != before
        assert publication(self.publishing.run("status"))["last_error"] == ""


@pytest.fixture
def mirror(publishing: Publishing, tmp_path: Path) -> Iterator[Mirror]:
    root = tmp_path / "mirror"
    root.mkdir()
    with nginx(root) as server:
        yield Mirror(publishing, server)


@pytest.mark.programs
@pytest.mark.parametrize("format_", FORMATS)
def test_a_web_seed_that_has_nothing_keeps_the_release_back_until_it_is_mended(
    mirror: Mirror, format_: str
) -> None:
    mirror.publishing.publish(format=format_)
    mirror.refuses()
    mirror.update()
    mirror.publishes()
    assert decoded(mirror.publishing.torrent())[b"url-list"] in (
        mirror.url.encode(),
        [mirror.url.encode()],
    )
    assert [one.status for one in mirror.server.access_log(at_least=2)].count(206) >= 1


@pytest.mark.programs
@pytest.mark.parametrize("format_", FORMATS)
def test_a_stale_web_seed_keeps_the_next_release_back_until_it_is_mended(
    mirror: Mirror, format_: str
) -> None:
    mirror.publishing.publish(format=format_)
    mirror.update()
    mirror.publishes()
    (mirror.folder / "big").write_bytes(random_bytes(20 * PIECE + 1, "other, of the same size"))
    mirror.refuses()
    mirror.update()
    mirror.publishes()


@pytest.mark.programs
def test_a_web_seed_without_the_file_that_is_new_keeps_the_release_back(mirror: Mirror) -> None:
    mirror.update()
    mirror.publishes()
    write_tree(mirror.folder, {"new/one": 3 * PIECE})
    mirror.refuses()
    mirror.update()
    mirror.publishes()


@pytest.mark.programs
def test_a_web_seed_without_ranges_keeps_the_release_back(mirror: Mirror) -> None:
    mirror.update()
    mirror.server.reload(extra_server_config="max_ranges 0;")
    mirror.refuses()
    mirror.server.reload(extra_server_config="")
    mirror.publishes()


@pytest.mark.programs
@pytest.mark.parametrize(
    "trouble",
    [
        "location /pack/ { return 500; }",
        "location /pack/ { return 403; }",
        "location /pack/ { return 302 /pack-elsewhere/; }",
        "location /pack/ { default_type text/html; return 200 '<html>welcome</html>'; }",
    ],
)
def test_a_web_seed_in_trouble_keeps_the_release_back(mirror: Mirror, trouble: str) -> None:
    mirror.update()
    mirror.server.reload(extra_server_config=trouble)
    mirror.refuses()
    mirror.server.reload(extra_server_config="")
    mirror.publishes()


@pytest.mark.programs
def test_each_web_seed_is_asked_and_the_bad_one_is_named(mirror: Mirror, tmp_path: Path) -> None:
    mirror.update()
    gone = f"http://{HOST}:{free_port()}/"
    mirror.publishing.publish(web_seeds=[mirror.url, gone])
    outcome = mirror.publishing.run("check-now")
    assert outcome.exit_code in {1, 3}
    assert gone.rstrip("/") in all_errors(outcome)
    assert not mirror.publishing.torrent().exists()
    mirror.publishing.publish(web_seeds=[mirror.url])
    mirror.publishes()


@pytest.mark.programs
def test_the_service_keeps_the_old_release_up_while_the_web_seed_is_stale(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.update()
    service = mirror.publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    old = tmp_path / "old" / "pack"
    shutil.copytree(mirror.folder, old)
    torrent = mirror.torrent()
    assert torrent is not None
    write_tree(mirror.folder, {"new/one": 3 * PIECE})
    problem = wait_for_problem(service)
    assert mirror.server.url in problem["message"]
    assert mirror.torrent() == torrent
    peer = (HOST, mirror.publishing.port)
    libtorrent_download(torrent, tmp_path / "leecher", peers=[peer])
    assert_same_tree(tmp_path / "leecher" / "pack", old)
    heard = len(service.objects())
    mirror.update()
    outcome = mirror.publishing.run("check-now", "pack")
    assert outcome.exit_code == 0, outcome.errors
    wait_for_release(service, since=heard)
    assert mirror.torrent() != torrent


@pytest.mark.programs
def test_a_published_web_seed_is_enough_to_sync(mirror: Mirror, tmp_path: Path) -> None:
    require("nginx")
    mirror.update()
    mirror.publishes()
    with subscriber(tmp_path / "s", mirror.publishing, peers=[]) as torsync:
        torsync.run("check-now", "--timeout", "20s").assert_ok()
        assert_same_tree(torsync.tree, mirror.folder)


class Watcher:
    """Reads a ``.torrent`` again and again, and fetches each new one as soon as it is there."""

    def __init__(self, publishing: Publishing, scratch: Path) -> None:
        self.file = publishing.torrent()
        self.peer = (HOST, publishing.port)
        self.scratch = scratch
        self.fetched: list[str] = []
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        last = b""
        try:
            while not self._stop.is_set():
                torrent = self.file.read_bytes()
                if torrent == last:
                    continue
                # Half a file does not parse.
                bencode2.bdecode(torrent)
                target = self.scratch / str(len(self.fetched))
                if info_hash(torrent) not in self.fetched:
                    libtorrent_download(torrent, target, peers=[self.peer])
                    self.fetched.append(info_hash(torrent))
                last = torrent
        except (OSError, ValueError, DownloadError) as error:
            self.failures.append(error)

    def wait_for(self, expected: str) -> None:
        """Return once a release was fetched."""
        wait_until(
            lambda: expected in self.fetched or bool(self.failures),
            "the release was fetched",
            deadline_s=25,
        )
        assert not self.failures, self.failures

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("format_", FORMATS)
def test_what_the_torrent_names_can_be_fetched_at_once_whenever_it_is_read(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    folder = publishing.publish(entries=FILES, format=format_)
    service = publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    with Watcher(publishing, tmp_path / "leeches") as watcher:
        watcher.wait_for(info_hash(publishing.torrent().read_bytes()))
        for number in range(4):
            heard = len(service.objects())
            write_tree(folder, {"d/small": 100 + number, f"new {number}": 3 * PIECE}, seed=number)
            watcher.wait_for(wait_for_release(service, since=heard)["info_hash"])
    assert_same_tree(tmp_path / "leeches" / str(len(watcher.fetched) - 1) / "pack", folder)


def test_a_subscriber_gets_the_release_at_the_moment_it_is_public(
    publishing: Publishing, tmp_path: Path
) -> None:
    folder = publishing.publish(entries={**FILES, "huge": 8 * MIB})
    service = publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    with subscriber(tmp_path / "s", publishing) as torsync:
        torsync.run("check-now").assert_ok()
        for number in range(3):
            before = publishing.torrent().read_bytes()
            with (folder / "huge").open("r+b") as file:
                file.seek(3 * MIB)
                file.write(random_bytes(100, number))
            wait_until(
                lambda before=before: publishing.torrent().read_bytes() != before, "it is public"
            )
            report = torsync.run("check-now", "--timeout", "5s").assert_ok().subscription
            assert report["changed"]
            assert_same_tree(torsync.tree, folder)


def test_a_one_off_release_that_is_interrupted_leaves_the_old_torrent(
    publishing: Publishing,
) -> None:
    folder = publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    torrent = publishing.torrent().read_bytes()
    with (folder / "huge").open("wb") as file:
        file.truncate(1024 * MIB)
    running = publishing.start("check-now")
    running.wait_for_stage("pack", "hashing")
    assert running.stop(signal.SIGTERM, within_s=10).exit_code in {0, 1, 130}
    assert publishing.torrent().read_bytes() == torrent
    left = {path.name for path in publishing.torrent().parent.iterdir()}
    assert left == {"pack.torrent", "pack.torrent.hints"}


def test_killed_while_a_signed_release_is_checked_it_recovers_at_the_next_check(
    publishing: Publishing, tmp_path: Path
) -> None:
    key = tmp_path / "publisher.key"
    public = publishing.run("keygen", "-o", key).assert_ok().of_type("key")[0]["public_key"]
    folder = publishing.publish(entries={"a": MIB, "b": 10}, secret_key=str(key))
    released(publishing.run("check-now"))
    www = publishing.torrent().parent
    for number in range(4):
        write_tree(folder, {"a": MIB}, seed=1 + number)
        running = publishing.start("check-now")
        running.wait_for_stage("pack", "checking release")
        running.kill()
        bencode2.bdecode(publishing.torrent().read_bytes())
        report = publication(publishing.run("check-now").assert_ok())
        assert report["bytes_hashed"] == 0
        assert report["info_hash"] == info_hash(publishing.torrent().read_bytes())
        names = {path.name.removeprefix("pack.torrent") for path in www.iterdir()}
        assert names == {"", ".minisig", ".hints"}
    service = publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    with subscriber(tmp_path / "s", publishing, public_keys=[public]) as torsync:
        torsync.run("check-now", "--timeout", "20s").assert_ok()
        assert_same_tree(torsync.tree, folder)


def test_a_torrent_that_cannot_be_written_is_told_and_the_next_check_writes_it(
    publishing: Publishing,
) -> None:
    publishing.publish(entries=FILES)
    www = publishing.torrent().parent
    www.rmdir()
    www.write_bytes(b"a file in the way")
    outcome = publishing.run("check-now")
    assert outcome.exit_code == 1
    assert str(www) in outcome.error["message"]
    assert outcome.error["hint"]
    www.unlink()
    www.mkdir()
    released(publishing.run("check-now"))
    assert publishing.torrent().exists()


def test_a_torrent_that_was_removed_or_overwritten_is_written_again(
    publishing: Publishing,
) -> None:
    publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    torrent = publishing.torrent().read_bytes()
    for harm in (publishing.torrent().unlink, lambda: publishing.torrent().write_bytes(b"x")):
        harm()
        assert publishing.run("check-now").exit_code == 0
        assert publishing.torrent().read_bytes() == torrent
