"""Hooks in the service: what waits for what, what is told once, what is withheld."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until
from torsync.model.config import Config, PublicationConfig, SessionConfig, SubscriptionConfig
from torsync.model.errors import (
    InterruptedByUserError,
    NoPeersError,
    PostponedError,
    is_same_failure,
)
from torsync.model.events import Level, Notice
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport
from torsync.service.hooks.commands import CommandHooks
from torsync.service.hooks.errands import Errands

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.events import Event

REPORT = CheckReport("pack", release="two", changed=True, fetched=["a"])


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def subscription(folder: Path, **commands: tuple[str, ...]) -> SubscriptionConfig:
    return SubscriptionConfig("pack", "https://example.org/x", folder, **commands)  # type: ignore[arg-type]


def notices(events: list[Event]) -> list[tuple[Level, str]]:
    return [(one.level, one.message) for one in events if isinstance(one, Notice)]


def test_without_commands_everything_is_agreed_to(tmp_path: Path) -> None:
    events: list[Event] = []
    hooks = CommandHooks(events.append)
    config = subscription(tmp_path)
    hooks.before_update(config, REPORT)
    hooks.updated(config, REPORT)
    hooks.failed(config, NoPeersError("nobody"))
    hooks.close()
    assert events == []


def test_the_last_line_of_a_refusal_is_its_reason(tmp_path: Path) -> None:
    hooks = CommandHooks(lambda _event: None)
    with pytest.raises(PostponedError) as caught:
        hooks.before_update(subscription(tmp_path, before_update=sh("echo busy; exit 9")), REPORT)
    assert (caught.value.reason, caught.value.is_timed) == ("busy", False)
    with pytest.raises(PostponedError, match="exit code 9"):
        hooks.before_update(subscription(tmp_path, before_update=sh("exit 9")), REPORT)


def test_what_is_told_does_not_hold_up_the_work_and_is_in_order(tmp_path: Path) -> None:
    """``before_update`` waits for what it was told of before."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = tmp_path / "done"
    config = subscription(
        tmp_path,
        on_update=sh(f"read x <{fifo}; echo update $x >>{done}"),
        on_error=sh(f"echo error >>{done}"),
        before_update=sh(f"echo asked >>{done}"),
    )
    events: list[Event] = []
    hooks = CommandHooks(events.append)
    hooks.updated(config, REPORT)
    hooks.failed(config, NoPeersError("nobody"))
    assert not done.exists()
    asking = threading.Thread(target=hooks.before_update, args=(config, REPORT))
    asking.start()
    fifo.write_text("one\n")
    asking.join(30)
    assert done.read_text().splitlines() == ["update one", "error", "asked"]
    assert [level for level, _said in notices(events)] == [Level.DEBUG] * 3


def test_asking_ends_with_the_work_on_its_tree(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    hooks = CommandHooks(lambda _event: None)
    config = subscription(tmp_path, before_update=sh(f"touch {begun}; sleep 600"))
    with pytest.raises(InterruptedByUserError):
        hooks.interruptible(begun.exists).before_update(config, REPORT)


def test_asking_does_not_wait_for_what_hangs_once_the_work_shall_stop(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    stop = threading.Event()
    hooks = CommandHooks(lambda _event: None, stop.is_set)
    config = subscription(
        tmp_path, on_update=sh(f"touch {begun}; sleep 600"), before_update=sh("true")
    )
    hooks.updated(config, REPORT)
    with pytest.raises(InterruptedByUserError):
        hooks.interruptible(begun.exists).before_update(config, REPORT)
    stop.set()
    hooks.close()


def test_a_command_that_does_not_work_is_told_once_in_a_row(tmp_path: Path) -> None:
    events: list[Event] = []
    hooks = CommandHooks(events.append)
    broken = subscription(tmp_path, before_update=("/no such program",))
    working = subscription(tmp_path, before_update=sh("true"))

    def ask_in_vain() -> None:
        with pytest.raises(PostponedError, match="No such file"):
            hooks.interruptible(lambda: False).before_update(broken, REPORT)

    ask_in_vain()
    ask_in_vain()
    hooks.before_update(working, REPORT)
    ask_in_vain()
    levels = [level for level, _said in notices(events)]
    assert levels == [Level.ERROR, Level.DEBUG, Level.ERROR]


def test_variables_that_hold_secrets_are_withheld(tmp_path: Path) -> None:
    found = tmp_path / "found"
    environ = {"PATH": os.environ["PATH"], "MINE": "1"}
    environ |= {"TOKEN": "x", "TORSYNC_KEY_PASSWORD": "x", "NOTIFY_SOCKET": "x"}
    hooks = CommandHooks(lambda _event: None, environ=environ)
    config = SubscriptionConfig(
        "pack",
        "https://user:password@example.org/x",
        tmp_path,
        headers={"X": "env:TOKEN", "Y": "as it is"},
        on_update=(
            sys.executable,
            "-ISc",
            f"import os; open({str(found)!r}, 'w').write(str(dict(os.environ)))",
        ),
    )
    hooks.withhold(Config(SessionConfig(), {"pack": config}))
    hooks.updated(config, REPORT)
    hooks.close()
    told = found.read_text()
    assert "'MINE': '1'" in told
    for secret in ("TOKEN", "PASSWORD", "password", "NOTIFY_SOCKET", "as it is"):
        assert secret not in told


def test_a_release_and_a_failure_of_a_publication_are_told(tmp_path: Path) -> None:
    told = tmp_path / "told"
    whitelist = f"echo $TORSYNC_EVENT $TORSYNC_INFO_HASH $TORSYNC_NUMBER $TORSYNC_CODE >>{told}"
    config = PublicationConfig("maps", tmp_path, on_release=sh(whitelist), on_error=sh(whitelist))
    hooks = CommandHooks(lambda _event: None)
    hooks.released(config, PublishReport("maps", info_hash="ab" * 20, number=3, changed=True))
    hooks.publication_failed(config, NoPeersError("nobody"))
    hooks.close()
    assert told.read_text().splitlines() == [f"on_release {'ab' * 20} 3", "on_error no_peers"]


def test_the_same_failure_at_other_numbers_is_the_same() -> None:
    assert is_same_failure(
        "nothing for 2 m 1 s from 3 peers", "nothing for 10 m 4.5 s from 0 peers"
    )
    assert not is_same_failure("nothing arrived", "no room")


class TestErrands:
    """What is done beside the work."""

    def test_they_are_done_in_order_by_a_thread_that_ends(self) -> None:
        errands, done, go_on = Errands("test"), [], threading.Event()
        assert errands.add(lambda: done.append(go_on.wait(30)))
        for number in range(5):
            assert errands.add(lambda number=number: done.append(number))
        assert not errands.wait(0.01)
        assert not errands.wait(stopping=lambda: True)
        go_on.set()
        assert errands.wait(30)
        assert done == [True, 0, 1, 2, 3, 4]
        wait_until(
            lambda: all(thread.name != "test" for thread in threading.enumerate()), "it ends"
        )
        assert errands.add(lambda: done.append(5))
        assert errands.wait(30)
        assert done[-1] == 5

    def test_one_that_comes_as_the_last_one_ends_is_done(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []

        class Condition(threading.Condition):
            """Lets another thread in whenever the worker has let go of it."""

            def __exit__(self, *details: object) -> None:
                super().__exit__(*details)
                is_worker = threading.current_thread().name == "test"
                if is_worker and done == ["first"]:
                    done.append("given")
                    assert errands.add(lambda: done.append("second"))

        monkeypatch.setattr(threading, "Condition", Condition)
        errands = Errands("test")
        monkeypatch.undo()
        errands.add(lambda: done.append("first"))
        wait_until(lambda: "given" in done and errands.wait(0.1), "all is done")
        wait_until(lambda: done[-1] == "second", "so is the second one")

    def test_there_may_be_too_many(self) -> None:
        errands, go_on = Errands("test"), threading.Event()
        errands.add(lambda: assert_set(go_on))
        taken = [errands.add(lambda: None) for _ in range(200)]
        assert 99 <= sum(taken) <= 100, "the one that is being done may count"
        go_on.set()
        assert errands.wait(30)


def assert_set(event: threading.Event) -> None:
    assert event.wait(30)
