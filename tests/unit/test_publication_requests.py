"""Requests for releases: what one process leaves for another in the state, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from torsync.disk.lock import hold_tree
from torsync.model.errors import ExitCode, InterruptedByUserError, RefusedError, RelayedError
from torsync.model.events import discard
from torsync.model.publish_reports import PublishReport
from torsync.publish.request import Requests, request_and_wait
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.swarm.session import SwarmPool

REPORT = PublishReport("pack", release="pack", number=3, changed=True, added=["a"], skipped=["b"])


def no_pool() -> SwarmPool:
    raise AssertionError("nothing is seeded here")


def around(wait: Callable[[float], bool]) -> Surroundings:
    return Surroundings(pool=no_pool, sink=discard, stopping=lambda: False, wait=wait)


def acting(folder: Path, act: Callable[[Requests], None]) -> Surroundings:
    """The other process acts while this one waits."""

    def wait(_seconds: float) -> bool:
        act(Requests(folder))
        return False

    return around(wait)


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_report_comes_back_and_nothing_is_left(tmp_path: Path, *, dry_run: bool) -> None:
    def act(requests: Requests) -> None:
        assert requests.is_waiting
        (request,) = requests.waiting()
        assert request.dry_run is dry_run
        requests.fulfil(request, REPORT)

    assert request_and_wait(tmp_path, acting(tmp_path, act), dry_run=dry_run) == REPORT
    assert not Requests(tmp_path).is_waiting
    assert list((tmp_path / "requests").iterdir()) == []


def test_a_failure_comes_back(tmp_path: Path) -> None:
    def act(requests: Requests) -> None:
        (request,) = requests.waiting()
        requests.fail(request, RefusedError("it is empty", hint="mount it"))

    with pytest.raises(RelayedError) as caught:
        request_and_wait(tmp_path, acting(tmp_path, act))
    told = caught.value
    assert (told.code, told.exit_code) == ("refused", ExitCode.REFUSED)
    assert (told.message, told.hint) == ("it is empty", "mount it")
    assert list((tmp_path / "requests").iterdir()) == []


def test_each_of_several_gets_its_own_answer(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    first, second = requests.leave(), requests.leave(dry_run=True)
    for request in requests.waiting():
        requests.fulfil(request, PublishReport("pack", release=request.id))
    for asked in (second, first):
        report = requests.answer(asked)
        assert report is not None
        assert report.release == asked


def test_nobody_holds_the_publication_any_more(tmp_path: Path) -> None:
    assert request_and_wait(tmp_path, around(lambda _seconds: False)) is None
    assert not Requests(tmp_path).is_waiting, "the next service does not do it"


def test_it_waits_as_long_as_somebody_does(tmp_path: Path) -> None:
    waits = 0

    def wait(_seconds: float) -> bool:
        nonlocal waits
        waits += 1
        return waits > 100

    with (
        hold_tree(tmp_path, name="pack", command="torsync run"),
        pytest.raises(InterruptedByUserError),
    ):
        request_and_wait(tmp_path, around(wait))
    assert Requests(tmp_path).is_waiting


def test_a_request_that_cannot_be_read_is_one_all_the_same(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    asked = requests.leave(dry_run=True)
    (tmp_path / "requests" / f"{asked}.json").write_bytes(b"nonsense")
    (request,) = requests.waiting()
    assert (request.id, request.dry_run) == (asked, False)
    requests.fulfil(request, REPORT)
    requests.forget_answers()
    assert requests.answer(asked) is None
