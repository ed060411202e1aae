"""A reader that looks before every file-system call of an update: no path is half or absent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.faults import test_fail_everywhere as every_action
from tests.faults import test_moves_cut_off as moves
from tests.faults.test_fail_everywhere import Scene, Strike, fast_folder, found, nth_call
from tests.faults.test_moves_cut_off import AlignedScene
from tests.support.trees import tree_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.torrents import RawFile
    from tests.support.trees import Found

    Files = Mapping[str, bytes | RawFile]

_readlink = os.readlink  # the update's own is watched


class Reader:
    """Reads every path that two releases have, and knows what may be there."""

    def __init__(self, tree: Path, old: Mapping[str, Found], new: Mapping[str, Found]) -> None:
        self._tree = tree
        self._allowed = {path: (old[path], new[path]) for path in old.keys() & new.keys()}
        self.looks = 0
        self.wrong: list[str] = []
        self.seen: set[tuple[str, Found]] = set()

    def look(self, call: Strike) -> bool:
        """Be asked about a call that is about to be made; it is let through."""
        self.looks += 1
        for path, allowed in self._allowed.items():
            try:
                content = self._read(path, is_link=isinstance(allowed[0], tuple))
            except OSError as error:
                self.wrong.append(f"{path!r} before {call}: {error}")
                continue
            self.seen.add((path, content))
            if content not in allowed:
                self.wrong.append(f"{path!r} is neither old nor new before {call}")
        return False

    def _read(self, path: str, *, is_link: bool) -> Found:
        if is_link:
            return ("link", _readlink(self._tree / path))
        with open(self._tree / path, "rb") as file:
            return file.read()


@pytest.mark.parametrize("back", [False, True], ids=["forth", "back"])
@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        pytest.param(Scene, every_action.OLD, every_action.NEW, id="every action"),
        pytest.param(AlignedScene, moves.OLD, moves.NEW, id="moves"),
    ],
)
def test_at_each_moment_each_path_is_there_and_is_wholly_old_or_new(
    kind: type[Scene], old: Files, new: Files, back: bool
) -> None:
    before, after = (new, old) if back else (old, new)
    with fast_folder() as folder:
        scene = kind(folder)
        scene.publish(before)
        scene.check_now()
        scene.publish(after)
        reader = Reader(scene.tree, found(before), found(after))
        with nth_call(0, lambda _call: None, of=reader.look):
            scene.check_now()
        assert tree_bytes(scene.tree) == found(after)
    assert reader.wrong == []
    assert reader.looks > 100
    was, wanted = found(before), found(after)
    changed = {path for path in was.keys() & wanted.keys() if was[path] != wanted[path]}
    assert {path for path, content in reader.seen if content == wanted[path]} >= changed
