"""What a new release changes, and what a subscriber will have to fetch for it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.authored import author, of_contents
from torsync.model.authoring import difference
from torsync.model.authoring.content import PublishedFile
from torsync.model.authoring.difference import Difference, bytes_to_fetch, find_difference
from torsync.model.config import TorrentFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.manifest import Manifest

BLOCK = 16 * 1024
PIECE = 2 * BLOCK
V1, V2, HYBRID = TorrentFormat.V1, TorrentFormat.V2, TorrentFormat.HYBRID
every_format = pytest.mark.parametrize("format_", TorrentFormat)


def content(seed: object, size: int) -> bytes:
    return random.Random(repr(seed)).randbytes(size)


def release(contents: Mapping[str, bytes], format_: TorrentFormat = V1) -> Manifest:
    return author(of_contents(contents), contents, format=format_, piece_length=PIECE).manifest


SOME = {
    **{f"small/{number:03}": content(number, 3000) for number in range(60)},
    "large/a": content("a", 200_000),
    "large/b": content("b", 100_000),
    "empty": b"",
}


@every_format
def test_the_same_content_has_no_difference(format_: TorrentFormat) -> None:
    before = release(SOME, format_)
    assert find_difference(before, before) == Difference((), (), (), (), len(SOME), 0)


@every_format
def test_paths_are_compared_by_their_content(format_: TorrentFormat) -> None:
    after = dict(SOME)
    after["small/new"] = content("new", 10)
    after["small/003"] = content("other", 3000)
    after["elsewhere/b"] = after.pop("large/b")
    del after["small/059"]
    found = find_difference(release(SOME, format_), release(after, format_))
    assert replace(found, bytes_to_fetch=0) == Difference(
        added=("small/new",),
        modified=("small/003",),
        moved=("elsewhere/b",),
        removed=("small/059",),
        unchanged=len(SOME) - 3,
        bytes_to_fetch=0,
    )
    assert 0 < found.bytes_to_fetch <= 4 * PIECE


def test_of_several_files_of_the_same_content_those_of_the_same_name_have_moved() -> None:
    same = content("same", 50)
    before = release({"x/a": same, "x/b": same, "x/c": same, "stays": b"1"})
    after = release({"y/a": same, "y/other": same, "stays": b"1", "y/empty": b""})
    found = find_difference(before, after)
    assert (found.moved, found.removed) == (("y/a", "y/other"), ("x/c",))
    assert found.added == ("y/empty",)
    assert found.bytes_to_fetch == 0


def test_a_bit_or_a_target_that_changes_is_a_modification() -> None:
    contents = {"a": b"1", "b": b"2", "c": b"3"}
    files = [*of_contents(contents), PublishedFile("l", 0, link_target="a")]
    before = author(files, contents).manifest
    changed = [
        files[0]._replace(executable=True),
        files[1]._replace(hidden=True),
        files[2]._replace(mtime_s=5),
        files[3]._replace(link_target="b"),
    ]
    found = find_difference(before, author(changed, contents).manifest)
    assert (found.modified, found.unchanged, found.bytes_to_fetch) == (("a", "b", "l"), 1, 0)


@every_format
@pytest.mark.parametrize("tail", ["z/small", "z/large"])
def test_the_first_release_has_all_to_be_fetched(format_: TorrentFormat, tail: str) -> None:
    contents = {**SOME, tail: content(tail, 10 if tail == "z/small" else 70_001)}
    new = release(contents, format_)
    found = find_difference(None, new)
    assert set(found.added) == set(contents)
    assert found.bytes_to_fetch == sum(map(new.sent_bytes, range(new.num_pieces)))
    assert found.bytes_to_fetch >= new.total_size


def test_releases_of_different_formats_are_compared_by_their_roots() -> None:
    before, after = release(SOME, V1), release(SOME, V2)
    assert find_difference(before, after) == Difference((), (), (), (), len(SOME), 0)


def test_a_release_without_digests_is_compared_by_pieces() -> None:
    def stripped(manifest: Manifest) -> Manifest:
        files = tuple(file._replace(pieces_root=None) for file in manifest.files)
        return replace(manifest, files=files)

    after = {**SOME, "large/a": SOME["large/a"][:-1] + b"!"}
    found = find_difference(stripped(release(SOME)), stripped(release(after)))
    assert (found.modified, found.unchanged) == (("large/a",), len(SOME) - 1)
    assert found.bytes_to_fetch == BLOCK  # the rest of the last piece


def test_a_move_is_found_by_any_digest_that_both_releases_have() -> None:
    """The release before is of another author, who records no roots."""
    large = content("large", 3 * PIECE)
    before = release({"a": large})
    files = tuple(file._replace(pieces_root=None) for file in before.files)
    found = find_difference(replace(before, files=files), release({"b": large}))
    assert (found.moved, found.removed, found.bytes_to_fetch) == (("b",), (), 0)


def test_of_what_stays_only_neighbours_of_a_change_and_large_files_are_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan of all of a large release, for a file of it, takes seconds."""
    planned: list[tuple[Manifest, Manifest]] = []

    def spy(old: Manifest, new: Manifest) -> int:
        planned.append((old, new))
        return bytes_to_fetch(old, new)

    monkeypatch.setattr(difference, "bytes_to_fetch", spy)
    before, after = release(SOME), release({**SOME, "small/003": content("other", 3000)})
    find_difference(before, after)
    ((old, new),) = planned
    pieces = after.pieces_of(after.by_path["small/003"])
    beside = {after.files[index].path for piece in pieces for index in after.files_in(piece)}
    assert {file.path for file in new.files} == beside
    assert len(beside) < 30
    assert {file.path for file in old.files} == beside | {"large/a", "large/b"}


names = st.sampled_from([f"{folder}/{name}" for folder in "abc" for name in "12345678"])
bodies = st.tuples(
    st.integers(0, 6), st.sampled_from([0, 1, 3000, BLOCK, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
)
releases = st.dictionaries(names, bodies, min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    before=releases,
    edits=releases,
    gone=st.sets(names),
    formats=st.tuples(*[st.sampled_from(TorrentFormat)] * 2),
)
def test_what_is_left_out_does_not_matter_to_what_is_fetched(
    before: dict[str, tuple[int, int]],
    edits: dict[str, tuple[int, int]],
    gone: set[str],
    formats: tuple[TorrentFormat, TorrentFormat],
) -> None:
    after = {path: body for path, body in {**before, **edits}.items() if path not in gone}
    old, new = (
        release({path: content(*body) for path, body in bodies.items()}, format_)
        for bodies, format_ in zip([before, after or {"x": (1, 1)}], formats, strict=True)
    )
    assert find_difference(old, new).bytes_to_fetch == bytes_to_fetch(old, new)
