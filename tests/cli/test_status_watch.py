"""``torsync status`` beside a service that falls silent, speaks again, or is left by the user."""

from __future__ import annotations

import json
from argparse import Namespace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from torsync.cli import status as module
from torsync.cli.context import Context
from torsync.cli.render import make_renderer
from torsync.cli.status import run_status
from torsync.model.errors import BusyError, ExitCode, InterruptedByUserError
from torsync.service.control import client
from torsync.service.control.client import ServiceGoneError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
[subscriptions.pack]
url = "http://localhost/pack.torrent"
path = "{0}/pack"
[publications.maps]
path = "{0}/maps"
torrent = "{0}/maps.torrent"
"""


class FakeService:
    """Answers each question with the next of ``answers``; after the last, the user goes."""

    def __init__(self, context: Context, answers: Iterator[Any]) -> None:
        self._context = context
        self._answers = answers

    def ask(self, method: str, target: str, **_options: object) -> Any:
        assert (method, target) == ("GET", "/api/v1/status")
        answer = next(self._answers, None)
        if answer is None:
            self._context.stop.set()
            return {"subscriptions": [], "publications": []}
        if isinstance(answer, Exception):
            raise answer
        return answer


class Site:
    """A command's surroundings, and what it says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "config.toml").write_text(CONFIG.format(folder))
        self.said, self.errors = StringIO(), StringIO()
        renderer = make_renderer(
            json=True, quiet=False, verbose=False, stdout=self.said, stderr=self.errors
        )
        self.context = Context(folder / "config.toml", folder / "state", renderer)
        self.folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(module, "_EVERY_S", 0.0)

    def status(self, *answers: Any, watch: bool = True) -> ExitCode:
        service = FakeService(self.context, iter(answers))
        self._monkeypatch.setattr(client, "find_service", lambda *_: service if answers else None)
        return run_status(self.context, Namespace(names=[], watch=watch))

    def told(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.said.getvalue() + self.errors.getvalue()).splitlines()
        return [one for one in map(json.loads, lines) if one["type"] == kind]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def gone() -> ServiceGoneError:
    return ServiceGoneError("nothing came for too long")


def test_without_a_service_the_files_tell(site: Site) -> None:
    assert site.status(watch=False) is ExitCode.OK
    (subscription,) = site.told("subscription")
    (publication,) = site.told("publication")
    assert (subscription["name"], subscription["live"]) == ("pack", False)
    assert (publication["name"], publication["live"]) == ("maps", False)
    assert site.told("notice") == []


def test_a_silence_is_told_once_and_the_next_one_again(site: Site) -> None:
    speaks = {"subscriptions": [], "publications": []}
    assert site.status(gone(), gone(), speaks, gone()) is ExitCode.OK
    notices = site.told("notice")
    assert len(notices) == 2
    assert all("from its files" in one["message"] for one in notices)
    assert {one["name"] for one in site.told("subscription")} == {"pack"}


def test_a_service_of_another_user_is_told_of_and_its_files_are_read(site: Site) -> None:
    refused = BusyError("the service takes orders from its own user only", hint="be that user")
    assert site.status(refused, watch=False) is ExitCode.OK
    (notice,) = site.told("notice")
    assert (notice["code"], notice["hint"]) == ("busy", "be that user")
    assert len(site.told("subscription")) == 1


def test_going_while_the_service_is_asked_ends_the_watching_well(site: Site) -> None:
    assert site.status(gone(), InterruptedByUserError("stopped")) is ExitCode.OK
    assert len(site.told("notice")) == 1


def test_going_while_the_service_is_asked_once_is_an_interruption(site: Site) -> None:
    with pytest.raises(InterruptedByUserError):
        site.status(InterruptedByUserError("stopped"), watch=False)
    assert site.told("subscription") == []
