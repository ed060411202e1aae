"""Publications that would do harm, or could not be had by subscribers, are refused by name."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.publishers import (
    NAME,
    PIECE,
    all_errors,
    decoded,
    publication,
    released,
    subscriber,
)
from tests.support.trees import assert_same_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.publishers import Publishing
    from tests.support.trees import Content

FILES: dict[str, Content] = {"a": 3 * PIECE, "in/b": 5}


def _torrent_inside(publishing: Publishing, folder: Path) -> str:
    publishing.publish(torrent=str(folder / "pack.torrent"))
    return "publications.pack.torrent"


def _the_same_torrent(publishing: Publishing, folder: Path) -> str:
    publishing.publish("other", FILES, torrent=str(publishing.torrent()))
    return "publications.other.torrent"


def _a_folder_of_another(publishing: Publishing, folder: Path) -> str:
    publishing.publish("other", path=str(folder / "in"))
    return "publications.other.path"


def _a_folder_of_a_subscription(publishing: Publishing, folder: Path) -> str:
    publishing.subscribe("other", url="https://example.org/x.torrent", path=str(folder / "in"))
    return "subscriptions.other.path"


def _the_state_inside(publishing: Publishing, folder: Path) -> str:
    publishing.state_dir = folder / "state"
    return "publications.pack.path"


def _nowhere_to_go(publishing: Publishing, folder: Path) -> str:
    publishing.publish(torrent="")
    return "publications.pack"


@pytest.mark.parametrize(
    "harm",
    [
        _torrent_inside,
        _the_same_torrent,
        _a_folder_of_another,
        _a_folder_of_a_subscription,
        _the_state_inside,
        _nowhere_to_go,
    ],
    ids=lambda harm: harm.__name__[1:],
)
def test_a_configuration_that_would_do_harm_is_refused_by_its_key(
    publishing: Publishing, harm: Callable[[Publishing, Path], str]
) -> None:
    key = harm(publishing, publishing.publish(entries=FILES))
    outcome = publishing.run("check-now")
    assert outcome.exit_code == 2
    assert key in all_errors(outcome)
    assert not publishing.torrent().exists()


@pytest.mark.parametrize("names", [("README", "readme"), ("e\u0301", "\u00e9"), ("d/A", "D/b")])
def test_names_that_meet_on_other_systems_are_named_and_not_published(
    publishing: Publishing, names: tuple[str, str]
) -> None:
    publishing.publish(entries=dict.fromkeys(names, b"content"))
    outcome = publishing.run("check-now")
    if outcome.exit_code:
        assert outcome.exit_code == 1
        assert any(name in outcome.error["message"] for name in names)
        assert not publishing.torrent().exists()
        return
    # Folders that differ in case alone may hold different names: both arrive as they are.
    released(outcome)
    assert names[0].startswith("d/")


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_a_folder_with_one_file_of_its_own_name_arrives_as_a_folder(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    folder = publishing.publish(entries={NAME: 100_000}, format=format_)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    with subscriber(tmp_path / "s", publishing) as torsync:
        torsync.run("check-now", "--timeout", "20s").assert_ok()
        assert_same_tree(torsync.tree, folder)
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


def test_files_from_before_1970_and_after_2200_are_published(publishing: Publishing) -> None:
    folder = publishing.publish(entries={"old": 10, "new": 10})
    os.utime(folder / "old", (-86_400, -86_400))
    os.utime(folder / "new", (7_258_118_400, 7_258_118_400))
    released(publishing.run("check-now"))


def test_files_without_a_byte_are_no_release(publishing: Publishing) -> None:
    publishing.publish(entries={"empty": 0, "d/too": 0, "l": ("link", "empty")})
    outcome = publishing.run("check-now")
    assert outcome.exit_code == 1
    assert str(publishing.content()) in outcome.error["message"]
    assert outcome.error["hint"]


def test_an_unknown_name_is_told_with_those_that_there_are(publishing: Publishing) -> None:
    publishing.publish(entries=FILES)
    for command in ("plan", "check-now", "status"):
        outcome = publishing.run(command, "nosuch")
        assert outcome.exit_code == 2
        assert "nosuch" in outcome.error["message"]
        assert NAME in outcome.error["hint"]


def test_a_folder_that_is_held_by_the_service_is_busy_for_one_off_publishing(
    publishing: Publishing, tmp_path: Path
) -> None:
    folder = publishing.publish(entries=FILES)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    before = publishing.torrent().read_bytes()
    outcome = publishing.run("publish", folder, "-o", tmp_path / "o.torrent", "--format", "v2")
    assert outcome.exit_code in {0, 6}
    assert publishing.torrent().read_bytes() == before
    assert publication(publishing.run("check-now", NAME).assert_ok())["changed"] is False


def test_a_service_that_starts_after_a_release_adds_its_address_and_nothing_else(
    publishing: Publishing,
) -> None:
    publishing.publish(entries=FILES)
    first = released(publishing.run("check-now"))
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    report = publication(publishing.run("check-now", NAME).assert_ok())
    assert report["info_hash"] == first["info_hash"]
    assert report["bytes_to_fetch"] == 0
    assert b"nodes" in decoded(publishing.torrent())


def test_an_emptied_folder_is_refused(publishing: Publishing) -> None:
    folder = publishing.publish(entries={"a": PIECE})
    released(publishing.run("check-now"))
    (folder / "a").unlink()
    outcome = publishing.run("check-now", NAME)
    assert outcome.exit_code == 5
    assert "mount it" in outcome.error["hint"]
    assert publishing.run("check-now", NAME, "--allow", "empty").exit_code == 5
