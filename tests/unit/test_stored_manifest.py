"""A manifest that was stored is what parsing its ``.torrent`` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from tests.support.authored import author
from tests.unit.test_authoring import notes, patient, published
from torsync.model.authoring.content import PublishedFile
from torsync.model.config import TorrentFormat
from torsync.model.manifest import Manifest
from torsync.model.metainfo import parse_metainfo
from torsync.publish.stored_manifest import dump_manifest, load_manifest

if TYPE_CHECKING:
    from torsync.model.authoring.writer import Notes


def some_manifest() -> Manifest:
    contents = {"a": b"1" * 40_000, "b/c": b"2", "empty": b""}
    files = [PublishedFile(path, len(data), 1_700_000_000) for path, data in contents.items()]
    return author(files, contents, format=TorrentFormat.HYBRID).manifest


@pytest.mark.parametrize("format_", list(TorrentFormat))
@patient
@given(found=published(), said=notes)
def test_what_is_loaded_is_what_is_parsed(
    format_: TorrentFormat, found: tuple[list[PublishedFile], dict[str, bytes]], said: Notes
) -> None:
    files, contents = found
    made = author(files, contents, format=format_, notes=said, private=bool(said.comment))
    parsed = parse_metainfo(made.metainfo)
    loaded = load_manifest(dump_manifest(parsed))
    assert loaded == parsed
    assert [type(value) for value in vars(loaded).values()] == [
        type(value) for value in vars(parsed).values()
    ]
    assert loaded.files == parsed.files


def test_a_digest_by_sha1_and_a_file_without_any_are_kept() -> None:
    made = author([PublishedFile("a", 1), PublishedFile("b", 1)], {"a": b"1", "b": b"2"})
    one, other = made.manifest.files
    files = (one._replace(sha1=b"s" * 20, pieces_root=None), other._replace(pieces_root=None))
    manifest = Manifest(**{**vars(made.manifest), "files": files})
    assert load_manifest(dump_manifest(manifest)) == manifest


def test_what_is_damaged_counts_as_not_there() -> None:
    data = dump_manifest(some_manifest())
    assert load_manifest(data) is not None
    for at in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 1
        assert load_manifest(bytes(damaged)) is None
    for length in (0, 1, 15, 16, 17, len(data) // 2, len(data) - 1):
        assert load_manifest(data[:length]) is None
    assert load_manifest(None) is None
