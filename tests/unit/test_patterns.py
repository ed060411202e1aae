"""Which paths the gitignore patterns of ``select`` mean."""

from __future__ import annotations

import pytest

from torsync.model.patterns import matcher, selector

PACK = ("readme", "textures/a", "textures/4k/a", "textures/4k/b.esp", "d/textures/z", "d/x.esp")


def selected(*patterns: str) -> set[str]:
    select = selector(patterns)
    assert select is not None
    return {path for path in PACK if select(path)}


def test_no_patterns_select_everything_and_match_nothing() -> None:
    assert selector([]) is None
    assert not matcher([])("a")
    assert matcher(["a"])("a")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["textures/"], {"textures/a", "textures/4k/a", "textures/4k/b.esp", "d/textures/z"}),
        (["/textures/"], {"textures/a", "textures/4k/a", "textures/4k/b.esp"}),
        (["*.esp"], {"textures/4k/b.esp", "d/x.esp"}),
        (["nothing"], set()),
        (["# a comment", "readme"], {"readme"}),
    ],
)
def test_what_matches_is_selected(patterns: list[str], expected: set[str]) -> None:
    assert selected(*patterns) == expected


def test_the_last_pattern_that_matches_decides() -> None:
    found = selected("textures/", "*.esp", "!textures/4k/")
    assert found == {"textures/a", "d/textures/z", "d/x.esp"}
    assert "textures/4k/b.esp" in selected("textures/", "!textures/4k/", "*.esp")
    assert selected("*", "!d/") == {path for path in PACK if not path.startswith("d/")}


def test_exclusions_alone_leave_the_rest() -> None:
    assert selected("!textures/") == {"readme", "d/x.esp"}
    assert selected("!*.esp", "!d/") == {"readme", "textures/a", "textures/4k/a"}
