"""What the service asks of the system, and tells systemd, where that is scarce or silent."""

from __future__ import annotations

import errno
import resource
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from torsync.model.config import Config, PublicationConfig, SessionConfig, SubscriptionConfig
from torsync.model.events import Stage, StageStarted
from torsync.service.hub import Hub
from torsync.service.limits import allow_open_files
from torsync.service.systemd.notify import Notifier
from torsync.service.words import summary_of, what_runs


def test_without_a_free_file_systemd_hears_nothing_and_the_service_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_arguments: Any) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    notifier = Notifier("/run/systemd/notify", watchdog_interval_s=1.0)
    notifier.ready()
    notifier.watchdog()
    assert notifier.is_heard


_MANY = 1 << 20


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, resource.RLIM_INFINITY), (_MANY, resource.RLIM_INFINITY)),
        ((1024, 8 * _MANY), (_MANY, 8 * _MANY)),
        ((4096, 4096), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_as_many_files_may_be_open_as_the_system_allows(
    limits: tuple[int, int], wanted: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def refuse(_what: int, asked_for: tuple[int, int]) -> NoReturn:
        asked.append(asked_for)
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_open_files()
    assert asked == ([] if wanted is None else [wanted])


def test_a_service_is_summed_up_by_what_it_works_on() -> None:
    def subscription(name: str) -> SubscriptionConfig:
        return SubscriptionConfig(name, "https://h.example/p.torrent", Path("/srv", name))

    config = Config(
        SessionConfig(),
        subscriptions={name: subscription(name) for name in ("a", "b")},
        publications={"c": PublicationConfig("c", Path("/srv/c"))},
    )
    assert what_runs(config).startswith("2 subscriptions, 1 publication, as process ")
    hub = Hub()
    hub.sink(StageStarted("a", Stage.SEEDING))
    hub.sink(StageStarted("c", Stage.HASHING))
    assert summary_of(["a", "b", "c"], hub) == "1 hashing, 1 seeding, 1 starting"
