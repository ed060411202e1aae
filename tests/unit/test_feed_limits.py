"""How many connections the feed takes, by how many files the system lets a program open."""

from __future__ import annotations

import resource

import pytest

from torsync.publish.feed.running import _connection_limit

ENDLESS = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "asked_for", "limit"),
    [
        (1024, 1_048_576, 20_512, 10_000),
        (1024, ENDLESS, 20_512, 10_000),
        (1024, 4096, 4096, (4096 - 512) // 2),
        (256, 256, None, 64),
        (65_536, 1_048_576, None, 10_000),
        (ENDLESS, ENDLESS, None, 10_000),
    ],
)
def test_as_many_are_taken_as_files_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, asked_for: int | None, limit: int
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: asked.append(limits))
    assert _connection_limit() == limit
    assert asked == ([] if asked_for is None else [(asked_for, hard)])


def test_where_the_limit_cannot_be_raised_it_is_lived_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_which: int, _limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, ENDLESS))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert _connection_limit() == (1024 - 512) // 2
