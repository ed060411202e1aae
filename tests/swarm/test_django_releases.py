"""Two releases of Django, a few thousand files each, from the first to the second."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync, trash_contents
from tests.support.foreign_seeders import TransmissionSeeder
from tests.support.nginx import nginx
from tests.support.torrents import make_mktorrent
from tests.support.trees import assert_same_tree, tree_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tracker import Tracker

pytestmark = [pytest.mark.programs, pytest.mark.registry, pytest.mark.timeout(300)]

VERSIONS = ("5.1.3", "5.1.4")


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Version → folder with what is in its wheel."""
    wheels = tmp_path_factory.mktemp("wheels")
    found = {}
    for version in VERSIONS:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        done = subprocess.run(
            [*command, "--only-binary", ":all:", "--dest", str(wheels), f"django=={version}"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        if done.returncode:
            pytest.skip(f"pip cannot download django {version}: {done.stderr.strip()[-200:]}")
        (wheel,) = wheels.glob(f"[dD]jango-{version}-*.whl")
        found[version] = tmp_path_factory.mktemp("unpacked") / f"django-{version}"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(found[version])
    return found


def test_an_empty_folder_becomes_one_release_of_django_and_then_the_next(
    tmp_path: Path, torsync: Torsync, tracker: Tracker, releases: dict[str, Path]
) -> None:
    first, second = (releases[version] for version in VERSIONS)
    old, new = tree_bytes(first), tree_bytes(second)
    assert min(len(old), len(new)) > 2000
    root = tmp_path / "www"
    root.mkdir()
    with nginx(root) as web, TransmissionSeeder() as seeder:
        torsync.subscribe("django", url=web.url_for("django.torrent"))
        reports = []
        for folder in (first, second):
            torrent = make_mktorrent(folder, piece_size=32 * 1024, trackers=[tracker.http_url])
            tracker.allow(torrent)
            seeder.add_folder(torrent, folder)
            tracker.wait_for_peer(torrent, seeder.port)
            (root / "django.torrent").write_bytes(torrent)
            outcome = torsync.run("check-now", "--timeout", "30s").assert_ok()
            assert_same_tree(torsync.tree, folder, modes=False)
            reports.append(outcome.subscription)

        whole = sum(map(len, new.values()))
        differing = {path for path in old.keys() & new.keys() if old[path] != new[path]}
        dropped, added = old.keys() - new.keys(), new.keys() - old.keys()
        assert dropped, "the two releases of the test have dropped files between them"
        assert reports[0]["fetched"] == len(old)
        assert reports[0]["bytes_fetched"] >= sum(map(len, old.values()))
        touched = {*reports[1]["fetched_paths"], *reports[1]["patched_paths"]}
        assert touched == differing | added
        assert set(reports[1]["trashed_paths"]) == differing | dropped
        assert reports[1]["kept"] == len(new) - len(touched)
        assert 0 < reports[1]["bytes_fetched"] < whole * 0.25
        assert trash_contents(torsync.tree).keys() == differing | dropped
        assert not any((torsync.tree / path).exists() for path in dropped)

        report = torsync.run("check-now").assert_ok().subscription
        assert (report["changed"], report["bytes_fetched"], report["bytes_hashed"]) == (False, 0, 0)
