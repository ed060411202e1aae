"""What a publication remembers, and what becomes of it when it is damaged."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.support.torrents import make_raw
from torsync.disk.stamps import FileStamp
from torsync.model.errors import StateError
from torsync.model.metainfo import parse_metainfo
from torsync.publish.state import Facts, PublicationState, PublishedRelease

if TYPE_CHECKING:
    from pathlib import Path

STAMPS = {
    "a": FileStamp(3, 1, 2, 3),
    "b": FileStamp(2**40, -5, 0, 2**64 - 1),  # an inode may be of 64 bits, a time before 1970
}


def release_of(name: str = "pack", number: int = 1, **facts: object) -> PublishedRelease:
    metainfo = make_raw({"a": b"abc", "b": b"d", "c": b"e"}, name=name)
    manifest = parse_metainfo(metainfo)
    digest = sha256(metainfo).hexdigest()
    found = Facts(number, 1000, digest, manifest.info_hash, name, signed=True)
    return PublishedRelease(
        replace(found, **facts),  # type: ignore[arg-type]
        metainfo,
        b"signature",
        STAMPS,
        STAMPS,
        manifest,
    )


@pytest.fixture
def state(tmp_path: Path) -> PublicationState:
    return PublicationState(tmp_path / "state")


def test_a_release_is_found_again(state: PublicationState) -> None:
    assert (state.published(), state.facts()) == (None, Facts())
    release = release_of()
    state.store(release)
    assert state.published() is None, "it is not public yet"
    state.begin(release)
    assert (state.published(), state.pending()) == (None, release)
    state.finish(release)
    assert (state.published(), state.pending()) == (release, None)
    assert PublicationState(state.folder, read_only=True).facts() == release.facts


def test_a_snapshot_has_stamps_of_its_own(state: PublicationState) -> None:
    release = release_of(snapshot=".torsync/snapshot/1")
    release = replace(release, seen={"a": FileStamp(3, 9, 9, 9)})
    state.store(release)
    state.finish(release)
    assert state.published() == release


def test_the_release_before_is_forgotten_once_the_next_is_public(state: PublicationState) -> None:
    old, new = release_of("old"), release_of("new", 2)
    for release in (old, new):
        state.store(release)
        state.finish(release)
    names = {file.name.partition(".")[0] for file in (state.folder / "releases").iterdir()}
    assert names == {new.facts.digest}


def test_one_that_is_abandoned_leaves_the_one_that_is_public(state: PublicationState) -> None:
    old, new = release_of("old"), release_of("new", 2)
    state.store(old)
    state.finish(old)
    state.store(new)
    state.begin(new)
    state.abandon()
    assert (state.published(), state.pending()) == (old, None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state, _digest: (state.folder / "published.json").write_bytes(b"{"),
        lambda state, _digest: (state.folder / "published.json").write_bytes(b'{"x": 1}'),
        lambda state, _digest: (state.folder / "published.json").unlink(),
        lambda state, digest: (state.folder / f"releases/{digest}.torrent").write_bytes(b"x"),
        lambda state, digest: (state.folder / f"releases/{digest}.torrent").unlink(),
    ],
)
def test_what_is_damaged_counts_as_lost(state: PublicationState, damage: object) -> None:
    release = release_of()
    state.store(release)
    state.finish(release)
    damage(state, release.facts.digest)  # type: ignore[operator]
    assert state.published() is None


@pytest.mark.parametrize("length", [0, 5, 8])
def test_without_its_stamps_no_file_is_vouched_for(state: PublicationState, length: int) -> None:
    release = release_of()
    state.store(release)
    state.finish(release)
    (state.folder / f"releases/{release.facts.digest}.stamps").write_bytes(bytes(length))
    found = state.published()
    assert found is not None
    assert found.stamps == {}


def test_a_state_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="could not be used"):
        PublicationState(tmp_path / "file")


def test_stage_and_error_are_left_for_status(state: PublicationState) -> None:
    assert (state.noted_stage(), state.noted_error()) == ("", ("", ""))
    state.note_stage("hashing")
    state.note_error("it failed", "mend it")
    assert (state.noted_stage(), state.noted_error()) == ("hashing", ("it failed", "mend it"))
    state.note_error("")
    assert state.noted_error() == ("", "")
