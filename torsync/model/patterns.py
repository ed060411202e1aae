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


def pattern_of(path: str) -> str:
    """Give the gitignore pattern that means this path alone, and what is in it if it is a folder.

    What cannot be written in one is a question mark, which means any character.
    """
    pattern = "".join(
        "?" if not char.isprintable() else f"\\{char}" if char in "*?[]\\" else char
        for char in path
    )
    if pattern.endswith(" "):
        pattern = f"{pattern[:-1]}\\ "
    anchored = "/" in path and path[0] not in "!#"
    return pattern if anchored else f"/{pattern}"


def selector(patterns: Iterable[str]) -> Matcher | None:
    """Match the paths that gitignore patterns select; None if these are all.

    The last pattern that matches decides, and one that matches a folder matches all in it: git's
    own exceptions to that are about folders it need not look into. If there are only patterns
    with ``!``, they say what is left out of everything.
    """
    listed = list(patterns)
    if not listed:
        return None
    from pathspec import PathSpec  # noqa: PLC0415 - costs start-up time
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # noqa: PLC0415 - the same

    spec = PathSpec.from_lines(GitIgnoreSpecPattern, listed)
    otherwise = not any(pattern.include for pattern in spec.patterns)

    def is_selected(path: str) -> bool:
        found = spec.check_file(path).include
        return otherwise if found is None else found

    return is_selected


def nothing(_path: str) -> bool:
    """Be a ``Matcher`` that matches no path."""
    return False
