"""Which paths a configuration means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.assess import Matcher


def matcher(patterns: Iterable[str]) -> Matcher:
    """Match paths against gitignore patterns; pathspec is imported only if there are any."""
    listed = list(patterns)
    if not listed:
        return nothing
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - costs start-up time

    return GitIgnoreSpec.from_lines(listed).match_file


def nothing(_path: str) -> bool:
    """Be a ``Matcher`` that matches no path."""
    return False
