"""The values of keys that are for the running service: what is taken, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from torsync.model.config_service import (
    to_command,
    to_control_address,
    to_hook_timeout_s,
    to_notify_url,
    to_update_window,
)
from torsync.model.window import DailyWindow

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "words", [[], ["reload-game"], ["/usr/bin/env", "X=1"], ["sh", "-c", "echo 'a/b'; true"]]
)
def test_a_program_is_a_name_or_a_full_path_with_arguments(words: list[str]) -> None:
    assert to_command(words) == tuple(words)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("echo a", '["sh", "-c", "echo a"] for a shell'),
        ([1], "expected text in the array, found a number"),
        (["sh", ["-c"]], "expected text in the array, found an array"),
        (["sh\0", "-c"], "found a zero"),
        (["", "a"], 'expected a program first, found ""'),
        (["hooks/done.sh"], "which would be a file of the folder"),
        (["./done.sh"], "write the full path"),
        (7, "expected an array"),
    ],
)
def test_what_is_no_program_is_refused(value: object, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        to_command(value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("90s", 90), ("1d", 86_400)])
def test_a_command_may_run_from_a_second_to_a_day(text: str, seconds: float) -> None:
    assert to_hook_timeout_s(text) == seconds


@pytest.mark.parametrize("text", ["0s", "999ms", "86401s"])
def test_a_command_may_run_neither_shorter_nor_longer(text: str) -> None:
    with pytest.raises(ValueError, match=f'expected from 1s to 1d, found "{text}"'):
        to_hook_timeout_s(text)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("", None),
        ("02:00-05:30", DailyWindow(7200, 19_800)),
        (" 2:00 - 05:30 ", DailyWindow(7200, 19_800)),
        ("23:15-01:02", DailyWindow(83_700, 3720)),
    ],
)
def test_a_window_is_two_times_of_the_day(text: str, window: DailyWindow | None) -> None:
    assert to_update_window(text) == window


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("02:00", "write both ends"),
        ("02:00-24:00", "from 00:00 to 23:59"),
        ("02:60-03:00", "from 00:00 to 23:59"),
        ("night", 'found "night"'),
        ("03:00-03:00", "no time at all"),
        (2, "found a number"),
    ],
)
def test_what_is_no_window_is_refused(value: object, expected: str) -> None:
    with pytest.raises(ValueError, match='expected hours such as "02:00-05:00"') as caught:
        to_update_window(value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.9.9.9:80", ("127.9.9.9", 80)),
        ("[::1]:8080", ("::1", 8080)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_control_listens_on_loopback(text: str, address: tuple[str, int] | None) -> None:
    assert to_control_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0:80", "[::]:80", "192.168.1.1:80", "box.example:80", "localhost.evil.example:80"],
)
def test_control_listens_nowhere_else(text: str) -> None:
    with pytest.raises(ValueError, match="so it listens to this machine only") as caught:
        to_control_address(text)
    expected = 'expected a loopback address such as "127.0.0.1:0", found '
    assert str(caught.value).startswith(f'{expected}"{text}"; ')


def test_a_notification_goes_to_a_url() -> None:
    assert to_notify_url("mailtos+x://a:b@mail.example") == "mailtos+x://a:b@mail.example"


@pytest.mark.parametrize("text", ["mailto", "mailto://", "://secret", "a b://secret", ""])
def test_a_wrong_notification_url_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="found other text") as caught:
        to_notify_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("take", "expected"),
    [
        (to_hook_timeout_s, 'a duration such as "60s"'),
        (to_update_window, 'hours such as "02:00-05:00"'),
        (to_control_address, 'a loopback address such as "127.0.0.1:0"'),
        (to_notify_url, 'a URL of apprise such as "mailto://…"'),
    ],
)
def test_only_text_is_taken(take: Callable[[object], object], expected: str) -> None:
    with pytest.raises(ValueError, match="found true or false") as caught:
        take(True)
    assert str(caught.value) == f"expected {expected}, found true or false; put it in quotes"
