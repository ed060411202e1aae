"""Random releases, formats and local damage: what one check makes of them, end to end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.cli import Torsync, trash_contents
from tests.support.trees import random_bytes, tree_bytes, write_tree
from tests.support.updates import PIECE, WITH_DIGESTS, Updates, pieces_with

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hypothesis.vendor.pretty import RepresentationPrinter

    from tests.support.seeders import LibtorrentSeeder

# Some of them cannot be in one release: a file is no folder, and case alone tells no names apart.
PATHS = ("a", "a/x", "a/y", "b", "c/d/e", "c/d", "c/f", "README", "readme", "z")
# A release of one file would have another shape, one without content cannot be.
ALWAYS = {"0/first": random_bytes(700, "first"), "zz/last": random_bytes(900, "last")}
MINE = ("mine", "a/mine", "c/mine", "c/d/mine", "0/mine")
SIZES = (0, 1, 700, 5000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 321)
CONTENTS = st.builds(random_bytes, st.sampled_from(SIZES), st.integers(0, 1))
FORMATS = st.sampled_from(["v1", *WITH_DIGESTS])
PIECE_SIZES = st.sampled_from([PIECE, PIECE, 4 * PIECE])


@dataclass(frozen=True)
class Story:
    """Two releases, and what happens to the tree between them.

    Attributes:
        before: the first release.
        after: the second.
        damage: files of the first release → what is there instead; None if it was deleted.
        mine: files that no release lists.
        formats: format and piece size of each release.
    """

    before: dict[str, bytes]
    after: dict[str, bytes]
    damage: dict[str, bytes | None]
    mine: dict[str, bytes]
    formats: tuple[tuple[str, int], tuple[str, int]]

    def __repr__(self) -> str:
        def brief(contents: Mapping[str, bytes | None]) -> str:
            return str(
                {
                    path: "deleted" if found is None else f"{len(found)}:{found[-3:].hex()}"
                    for path, found in contents.items()
                }
            )

        told = ", ".join(map(brief, [self.before, self.after, self.damage, self.mine]))
        return f"Story({told}, {self.formats})"

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:
        """Have hypothesis tell it as it is told here: contents are long."""
        printer.text(repr(self))


def possible(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Without the files that others need as a folder, and without clashes of names."""
    return {
        path: found
        for path, found in {**contents, **ALWAYS}.items()
        if not is_folder(path, contents) and not (path == "readme" and "README" in contents)
    }


def is_folder(path: str, paths: Collection[str]) -> bool:
    return any(other.startswith(f"{path}/") for other in paths)


@st.composite
def contents_of_releases(draw: st.DrawFn) -> dict[str, bytes]:
    paths = draw(st.lists(st.sampled_from(PATHS), min_size=2, max_size=6, unique=True))
    return possible({path: draw(CONTENTS) for path in paths})


@st.composite
def edited(draw: st.DrawFn, content: bytes) -> bytes:
    """Changed somewhere, longer, shorter, or with two stretches changing places."""
    at = draw(st.integers(0, max(0, len(content) - 1)))
    change = draw(st.sampled_from(["overwritten", "longer", "shorter", "rearranged"]))
    if change == "overwritten":
        return content[:at] + b"edited" + content[at + 6 :]
    if change == "longer":
        return content + random_bytes(at + 10, "more")
    if change == "shorter":
        return content[:at]
    return content[PIECE : 2 * PIECE] + content[:PIECE] + content[2 * PIECE :]


@st.composite
def later_contents(draw: st.DrawFn, before: Mapping[str, bytes]) -> dict[str, bytes]:
    """A release that could follow: files moved, swapped, copied, edited, dropped, added."""
    after = dict(before)
    for _ in range(draw(st.integers(1, 5))):
        here = st.sampled_from(sorted(after))
        source, target = draw(here), draw(st.sampled_from(PATHS))
        change = draw(st.sampled_from(["move", "move", "swap", "copy", "edit", "drop", "add"]))
        if change == "edit":
            after[source] = draw(edited(after[source]))
        elif change == "swap":
            other = draw(here)
            after[source], after[other] = after[other], after[source]
        elif change == "drop":
            del after[source]
        else:
            content = draw(CONTENTS) if change == "add" else after[source]
            if change == "move":
                del after[source]
            # What is in the way goes: a file becomes a folder, or a folder a file.
            for path in list(after):
                if is_folder(path, [target]) or is_folder(target, [path]):
                    del after[path]
            after[target] = content
        after |= ALWAYS
    return possible(after)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    before = draw(contents_of_releases())
    after = draw(later_contents(before))
    damaged = draw(st.lists(st.sampled_from(sorted(before)), max_size=2, unique=True))
    damage = {path: None if draw(st.booleans()) else draw(edited(before[path])) for path in damaged}
    mine = {path: f"mine: {path}".encode() for path in draw(st.sets(st.sampled_from(MINE)))}
    everywhere = [*before, *after]
    return Story(
        before,
        after,
        damage,
        {
            path: content
            for path, content in mine.items()
            if not any(is_folder(file, [path]) or is_folder(path, [file]) for file in everywhere)
        },
        ((draw(FORMATS), draw(PIECE_SIZES)), (draw(FORMATS), draw(PIECE_SIZES))),
    )


def may_fetch(story: Story, torrent: bytes, disk: Mapping[str, bytes]) -> int:
    """The most that an update may fetch: pieces with content that no intact file has."""
    (format_, piece_size) = story.formats[1]
    intact = {path for path, content in story.before.items() if disk.get(path) == content}
    known = {story.before[path] for path in intact} | {b""}
    new = [path for path, content in story.after.items() if content not in known]
    pieces = len(pieces_with(torrent, new))
    if format_ == "v1":  # boundaries of files that are elsewhere, or were damaged
        came = [path for path, content in story.after.items() if disk.get(path) != content]
        pieces += 2 * len(came)
    return pieces * piece_size


@pytest.mark.timeout(180)
@settings(
    max_examples=12,
    deadline=None,
    print_blob=True,
    # A failing story is told whole; trying simpler ones would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=stories())
def test_the_tree_becomes_the_release_and_nothing_is_lost(
    tmp_path: Path, seeder: LibtorrentSeeder, story: Story
) -> None:
    (format_1, piece_1), (format_2, piece_2) = story.formats
    scratch = Path(tempfile.mkdtemp(dir=tmp_path))
    with Torsync(scratch) as torsync:
        updates = Updates(scratch, torsync, seeder)
        try:
            updates.publish(story.before, format_1, piece_size=piece_1)
            updates.check()
            for path, content in story.damage.items():
                if content is None:
                    (torsync.tree / path).unlink()
                else:
                    write_tree(torsync.tree, {path: content})
            write_tree(torsync.tree, story.mine)
            disk = tree_bytes(torsync.tree)
            torrent = updates.publish(story.after, format_2, piece_size=piece_2)
            report = updates.check(besides=story.mine).subscription
            assert report["bytes_fetched"] <= may_fetch(story, torrent, disk)
            left = {content for found in trash_contents(torsync.tree).values() for content in found}
            left |= set(tree_bytes(torsync.tree).values())
            lost = [path for path, content in disk.items() if content not in left]
            assert not lost, "neither in the tree nor in the trash"
            updates.assert_at_rest()
        finally:
            updates.withdraw()
