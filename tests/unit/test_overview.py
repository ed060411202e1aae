"""What is told of subscriptions and publications: from their states, and by the service."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.torrents import make_raw
from torsync.disk.lock import hold_tree
from torsync.model.config import PublicationConfig, SubscriptionConfig, UpdateMode
from torsync.model.events import Event, Level, Notice, Progress, Stage, StageStarted
from torsync.model.history import UpdateRecord
from torsync.model.publish_reports import PublicationStatus, PublishReport
from torsync.model.reports import StatusReport
from torsync.model.seal import Seal
from torsync.publish.recording import note_success
from torsync.publish.state import PublicationState
from torsync.service.desk import Worker
from torsync.service.hub import Hub
from torsync.service.metrics import Counters, Metrics
from torsync.service.overview import Overview
from torsync.subscribe.state import PollState, TreeState
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from pathlib import Path


class World:
    """A service without threads: states in a folder, and what workers say.

    Attributes:
        pack: a subscription at release ``pack-1``, of 7 files.
        maps: a publication.
        workers_: what the desk tells of.
    """

    def __init__(self, folder: Path) -> None:
        self.hub = Hub()
        self.pack = SubscriptionConfig("pack", "https://u:pw@h.example/p.torrent", folder / "pack")
        self.maps = PublicationConfig("maps", folder / "maps")
        self.workers_ = [Worker(self.pack, next_check_s=9000.0), Worker(self.maps)]
        self.overview = Overview(folder / "state", self)  # type: ignore[arg-type]
        self.state = TreeState(self.overview.folder(self.pack))
        self.state.record_sync(
            {},
            synced="first",
            history=(5.0, "ab" * 20, "pack-1", UpdateRecord(5.0, "pack-1", added=7).as_json()),
            seal=Seal("first", "policy", "pack-1", "ab" * 20, 7, 1234, ()),
        )
        self.state.put(last_check_s="6.0")

    def workers(self) -> list[Worker]:
        return self.workers_

    def told(self) -> StatusReport:
        return self.overview.live_status(["pack"])[0][0]

    def read(self, **changes: object) -> StatusReport:
        config = dataclasses.replace(self.pack, **changes)
        return self.overview.status([config], [])[0][0]

    def say(self, *events: Event) -> None:
        for event in events:
            self.hub.sink(event)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def sharing(**figures: int) -> Progress:
    return Progress("pack", Stage.SEEDING, **figures)


def test_without_a_service_the_state_is_told(world: World) -> None:
    report = world.read()
    assert (report.stage, report.release, report.files, report.bytes_total) == (
        *("stopped", "pack-1"),
        *(7, 1234),
    )
    assert (report.last_check_s, report.last_update_s, report.next_check_s) == (6.0, 5.0, None)
    assert (report.live, report.holder_pid, report.progress) == (False, None, None)
    assert report.url == "https://u:***@h.example/p.torrent"


def test_a_tree_that_is_held_is_told_by_what_its_holder_noted(world: World) -> None:
    world.state.note_stage("downloading")
    assert world.read().stage == "stopped"
    with hold_tree(world.state.folder, name="pack", command="torsync check-now"):
        report = world.read()
    assert (report.stage, report.holder_pid) == ("downloading", os.getpid())


def test_a_pause_is_told_with_and_without_a_service(world: World) -> None:
    world.state.put(paused="1")
    assert (world.read().stage, world.read().paused) == ("paused", True)
    world.say(StageStarted("pack", Stage.WAITING))
    world.workers_[0] = Worker(world.pack, paused=True)
    assert (world.told().stage, world.told().paused) == ("paused", True)


def test_a_release_that_waits_is_named(world: World) -> None:
    torrent = make_raw({"a": b"a"}, name="pack-2")
    digest = world.state.store_body(torrent)
    world.state.store_poll(PollState(world.pack.url, digest, "", ""))
    assert (world.read().newest, world.read().stage) == ("pack-2", "stopped")
    assert world.read(update=UpdateMode.ASK).stage == "needs approval"
    assert world.read(url="https://other.example/").newest == ""
    world.state.store_poll(PollState(world.pack.url, "cd" * 32, "", ""))
    assert world.read().newest == "cdcdcdcdcdcd", "its .torrent is gone"


@pytest.mark.parametrize(
    ("events", "stage"),
    [
        ([], "starting"),
        ([StageStarted("pack", Stage.WAITING)], "waiting"),
        ([StageStarted("pack", Stage.WAITING), sharing(peers=2)], "seeding"),
        ([StageStarted("pack", Stage.POSTPONED, "game runs"), sharing()], "postponed"),
        ([StageStarted("pack", Stage.NEEDS_APPROVAL), sharing()], "needs approval"),
        ([StageStarted("pack", Stage.FAILED, "crash"), sharing()], "error"),
        ([StageStarted("pack", Stage.STAGING)], "staging"),
        ([Progress("pack", Stage.DOWNLOADING, bytes_done=3)], "downloading"),
        ([Progress("pack", Stage.DOWNLOADING), StageStarted("pack", Stage.WAITING)], "waiting"),
    ],
)
def test_the_service_tells_the_stage_that_it_is_in(
    world: World, events: list[Event], stage: str
) -> None:
    world.say(*events)
    assert world.told().stage == stage


def test_the_service_tells_progress_details_and_when_it_is_due(world: World) -> None:
    world.say(StageStarted("pack", Stage.POSTPONED, "the game runs"), sharing(peers=2))
    world.workers_[0] = Worker(world.pack, next_check_s=7000.0, restarts=3)
    report = world.told()
    assert (report.detail, report.next_check_s, report.restarts) == ("the game runs", 7000.0, 3)
    assert report.progress == sharing(peers=2)
    assert (report.live, report.release, report.holder_pid) == (True, "pack-1", os.getpid())
    assert StatusReport.from_json(report.as_json()) == report


def test_one_that_waits_after_a_failure_is_told_as_failed(world: World) -> None:
    world.state.put(last_error="nobody answers", last_error_hint="wait")
    world.say(StageStarted("pack", Stage.WAITING), sharing())
    report = world.told()
    assert (report.stage, report.last_error, report.last_error_hint) == (
        *("error", "nobody answers"),
        "wait",
    )


def test_what_is_written_is_told_at_once_and_what_is_settled_is_not_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    original = TreeState.load_seal

    def counted(state: TreeState) -> Seal | None:
        nonlocal reads
        reads += 1
        return original(state)

    monkeypatch.setattr(TreeState, "load_seal", counted)
    for number in range(3):
        world.state.put(last_error=str(number))
        assert world.told().last_error == str(number)
    for file in world.state.folder.iterdir():
        os.utime(file, (1000, 1000))
    world.told()
    reads = 0
    for _ in range(3):
        assert world.told().last_error == "2"
    assert reads == 0
    world.state.put(last_error="")
    assert world.told().last_error == ""


def test_a_state_that_cannot_be_read_is_unknown(world: World) -> None:
    world.state.close()
    (world.state.folder / "state.sqlite").write_bytes(b"no database" * 1000)
    report = world.read()
    assert report.stage == "unknown"
    assert "could not be used" in report.last_error


def test_publications_are_told_likewise(world: World) -> None:
    report = world.overview.live_status(["maps"])[1][0]
    assert (report.stage, report.number) == ("starting", 0)
    assert world.overview.status([], [world.maps])[1][0].stage == "never published"
    state = PublicationState(world.overview.folder(world.maps))
    state.note_error("a pipe is there", "remove it")
    state.put_paused(True)
    report = world.overview.status([], [world.maps])[1][0]
    assert (report.stage, report.last_error) == ("paused", "a pipe is there")
    world.say(StageStarted("maps", Stage.WAITING))
    report = world.overview.live_status(["maps"])[1][0]
    assert (report.stage, report.live, report.last_error_hint) == ("error", True, "remove it")
    assert PublicationStatus.from_json(report.as_json()) == report


def test_histories_are_told_with_and_without_a_service(world: World) -> None:
    state = PublicationState(world.overview.folder(world.maps))
    voice = Voice("maps", world.hub.sink)
    for number in (1, 2):
        note_success(state, PublishReport("maps", number=number, changed=True), 1.0, voice)
    pack, maps = world.overview.history([world.pack, world.maps], 1)
    assert ([one.added for one in pack.updates], pack.is_publication) == ([7], False)
    assert ([one.number for one in maps.updates], maps.is_publication) == ([2], True)
    assert world.overview.live_history(["maps"], 1) == [maps]
    unknown = dataclasses.replace(world.pack, path=world.pack.path / "never")
    assert world.overview.history([unknown], 5)[0].updates == []


# --- hub ------------------------------------------------------------------------------------


def test_what_names_no_release_is_about_the_one_that_was_named_last(world: World) -> None:
    heard: list[Event] = []
    world.hub.add_sink(heard.append)
    world.say(
        Notice("pack", Level.INFO, "a", "before"),
        StageStarted("pack", Stage.STAGING, "", "pack-2"),
        Notice("pack", Level.INFO, "b", "then"),
        Notice("maps", Level.INFO, "c", "another"),
        Notice("", Level.INFO, "d", "nobody's"),
        Notice("pack", Level.INFO, "e", "next", release="pack-3"),
        StageStarted("pack", Stage.WAITING),
    )
    found = [one.release for one in heard if not isinstance(one, Progress)]
    assert found == ["", "pack-2", "pack-2", "", "", "pack-3", "pack-3"]
    assert world.hub.live("pack").release == "pack-3"


def test_a_hub_tells_what_it_was_told_to_edit() -> None:
    heard: list[Event] = []
    hub = Hub(heard.append, edit=lambda _event: Notice("pack", Level.INFO, "c", "***"))
    with hub.listening() as listener:
        hub.sink(Notice("pack", Level.INFO, "c", "secret"))
        assert listener.get() == heard[0] == Notice("pack", Level.INFO, "c", "***")


# --- metrics --------------------------------------------------------------------------------


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """What was told, by name of the sample and its labels' values."""
    body, media_type = metrics.exposition()
    assert media_type.startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = dict(sample.labels)
            key = sample.name, " ".join([labels.pop("name", ""), *labels.values()])
            assert key not in found, "a series is told twice"
            found[key] = sample.value
    return found


def test_metrics_follow_the_conventions(world: World) -> None:
    body, _ = Metrics(world, world.overview).exposition()  # type: ignore[arg-type]
    for family in text_string_to_metric_families(body.decode()):
        if not family.name.startswith("torsync_"):
            continue
        for sample in family.samples:
            is_total = sample.name.endswith("_total")
            assert is_total == (family.type == "counter"), sample.name
            assert not family.name.endswith(("_ms", "_mb", "_kb", "_count", "_total_total"))
            assert set(sample.labels) <= {
                *("name", "code", "stage", "change", "le", "version", "release"),
                *("info_hash", "number"),
            }


def test_metrics_tell_states_times_and_what_updates_came_to(world: World) -> None:
    metrics = Metrics(world, world.overview)  # type: ignore[arg-type]
    world.state.put(last_error="nobody answers", paused="")
    progress = sharing(peers=3, upload_rate=50, bytes_sent=100)
    world.say(StageStarted("pack", Stage.WAITING), progress)
    found = samples(metrics)
    assert found["torsync_failing", "pack"] == 1
    assert found["torsync_paused", "pack"] == found["torsync_releases_behind", "pack"] == 0
    assert found["torsync_stage", "pack error"] == 1
    assert found["torsync_last_check_timestamp_seconds", "pack"] == 6
    assert found["torsync_last_update_timestamp_seconds", "pack"] == 5
    assert found["torsync_next_check_timestamp_seconds", "pack"] == 9000
    assert ("torsync_next_check_timestamp_seconds", "maps") not in found
    assert found["torsync_peers", "pack"] == 3
    assert found["torsync_upload_bytes_per_second", "pack"] == 50
    assert found["torsync_sent_bytes_total", "pack"] == 100
    assert found["torsync_update_files_total", "pack added"] == 7
    assert found["torsync_update_duration_seconds_bucket", "pack 1.0"] == 1
    assert found["torsync_update_duration_seconds_bucket", "pack +Inf"] == 1
    assert found["torsync_update_duration_seconds_count", "pack"] == 1
    assert found["torsync_release_info", f"pack {'ab' * 20} pack-1"] == 1
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_totals_survive_the_service(world: World) -> None:
    for _life in range(2):
        metrics = Metrics(world, world.overview)  # type: ignore[arg-type]
        assert samples(metrics)["torsync_update_files_total", "pack added"] == 7


def test_errors_are_counted_by_code_and_warnings_are_not(world: World) -> None:
    metrics = Metrics(world, world.overview)  # type: ignore[arg-type]
    for code, level in (("swarm", Level.ERROR), ("swarm", Level.ERROR), ("x", Level.WARNING)):
        world.say(Notice("pack", level, code, "said"))
    world.say(Notice("", Level.ERROR, "config", "said"))
    found = samples(metrics)
    errors = {labels: count for (name, labels), count in found.items() if "errors" in name}
    assert errors == {"pack swarm": 2, " config": 1}


def test_bytes_are_counted_over_torrents_that_come_and_go() -> None:
    counters = Counters()
    for stage, received, sent in (
        (Stage.DOWNLOADING, 10, 0),
        (Stage.DOWNLOADING, 50, 5),
        (Stage.HASHING, 0, 0),
        (Stage.DOWNLOADING, 60, 5),
        (Stage.SEEDING, 0, 0),  # another torrent
        (Stage.SEEDING, 0, 30),
        (Stage.SEEDING, 0, 30),
        (Stage.SEEDING, 0, 12),  # and another
    ):
        counters.sink(Progress("pack", stage, bytes_received=received, bytes_sent=sent))
    assert (counters.received["pack"], counters.sent["pack"]) == (60, 5 + 30 + 12)


def test_a_state_that_cannot_be_read_hides_no_other_metrics(world: World) -> None:
    world.state.close()
    (world.state.folder / "state.sqlite").write_bytes(b"no database" * 1000)
    found = samples(Metrics(world, world.overview))  # type: ignore[arg-type]
    assert found["torsync_failing", "pack"] == 1
    assert found["torsync_failing", "maps"] == 0


def test_a_release_that_cannot_be_parsed_any_more_is_told_by_its_digest(world: World) -> None:
    digest = world.state.store_body(b"d4:infod4:name2:..ee")
    world.state.put(synced=digest)
    world.state.store_poll(PollState(world.pack.url, digest, "", ""))
    report = world.read()
    assert (report.stage, report.release, report.files) == ("stopped", digest[:12], 0)
    assert report.newest == ""
    world.state.put(synced="")
    assert world.read().newest == digest[:12]
