"""Which file of which release the feed knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from torsync.disk.stamps import FileStamp
from torsync.publish.feed.catalogue import (
    Absence,
    Catalogue,
    Pad,
    PublishedFile,
    ServedRelease,
)

ROOT = Path("/srv/pack")
A, B, C = (character * 40 for character in "abc")


def stamp(number: int) -> FileStamp:
    return FileStamp(100, number, number, number)


def release(info_hash: str, stamps: dict[str, int], *, root: Path = ROOT) -> ServedRelease:
    found = {path: stamp(number) for path, number in stamps.items()}
    return ServedRelease(
        b"d" + info_hash.encode(), None, info_hash, f"root-{info_hash[0]}", root, found
    )


class Owner:
    """Publishes, and hears of edits."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.told: list[tuple[str, str]] = []

    def publish(self, *given: ServedRelease, name: str = "pack") -> None:
        for one in given:
            self.catalogue.publish(name, one, lambda *told: self.told.append(told))

    def find(self, info_hash: str, path: str) -> PublishedFile | Pad | Absence:
        return self.catalogue.file(info_hash, f"root-{info_hash[0]}", path)

    def has(self, info_hash: str, path: str) -> bool:
        return isinstance(self.find(info_hash, path), PublishedFile)


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_a_file_is_found_by_the_name_that_clients_have_for_it(owner: Owner) -> None:
    stamps = {"a\\b": 1, "ab": 2, "d/x\u200dy": 3}
    asked_as = {"root-a/ab": "a\\b", "root-a/d/xy": "d/x\u200dy", "root/plain": "plain"}
    first = replace(release(A, stamps), asked_as=asked_as)
    owner.publish(first)
    found = owner.find(A, "d/xy")
    assert found == owner.find(A, "d/x\u200dy")
    assert isinstance(found, PublishedFile)
    assert found.path == "d/x\u200dy"
    exact = owner.find(A, "ab")
    assert isinstance(exact, PublishedFile)
    assert exact.path == "ab"
    assert owner.find(B, "d/xy") is Absence.UNKNOWN
    owner.catalogue.withdraw("pack", ["d/x\u200dy"])
    assert owner.find(A, "d/xy") is Absence.GONE


def test_the_root_may_have_another_name_as_well(owner: Owner) -> None:
    owner.publish(replace(release(A, {"a": 1}), asked_as={"r/a": "a"}))
    assert isinstance(owner.catalogue.file(A, "r", "a"), PublishedFile)
    assert owner.catalogue.file(A, "r", "b") is Absence.UNKNOWN
    assert owner.catalogue.file(A, "other", "a") is Absence.UNKNOWN


def test_clients_names_do_not_lead_to_what_torsync_keeps_for_itself(owner: Owner) -> None:
    asked_as = {"root-a/.torsync/marker": ".tor\u200bsync/marker"}
    owner.publish(replace(release(A, {".tor\u200bsync/marker": 1}), asked_as=asked_as))
    assert owner.find(A, ".torsync/marker") is Absence.UNKNOWN


def test_only_exact_names_of_the_release_are_files(owner: Owner) -> None:
    owner.publish(release(A, {"a/b": 1, ".torsync/marker": 2}))
    assert owner.has(A, "a/b")
    for path in ("a", "a/", "A/b", "a/b/", "./a/b", "a/../a/b", ".torsync/marker", ""):
        assert owner.find(A, path) is Absence.UNKNOWN, path
    assert owner.find(B, "a/b") is Absence.UNKNOWN
    assert owner.catalogue.file(A, "root-b", "a/b") is Absence.UNKNOWN


def test_an_older_release_has_what_is_the_same_in_the_newest(owner: Owner) -> None:
    owner.publish(release(A, {"same": 1, "edited": 2, "removed": 3}))
    owner.publish(release(B, {"same": 1, "edited": 20, "added": 4}))
    assert {path for path in ("same", "edited", "added") if owner.has(B, path)} == {
        *("same", "edited", "added")
    }
    assert owner.has(A, "same")
    assert owner.find(A, "edited") is Absence.GONE
    assert owner.find(A, "removed") is Absence.GONE
    assert not owner.has(A, "added"), "it was not in that release"


def test_what_differed_once_differs_for_ever(owner: Owner) -> None:
    owner.publish(release(A, {"x": 1, "y": 1}), release(B, {"x": 2, "y": 1}))
    owner.publish(release(C, {"x": 1, "y": 1}))
    assert owner.find(A, "x") is Absence.GONE
    assert owner.has(A, "y")
    owner.publish(release(A, {"x": 1, "y": 1}))
    assert owner.has(A, "x"), "it is the newest again"
    assert owner.has(C, "x")


def test_few_older_releases_are_known(owner: Owner) -> None:
    hashes = [f"{number:040x}" for number in range(20)]
    owner.publish(*(release(info_hash, {"x": 1}) for info_hash in hashes))
    known = [one for one in hashes if isinstance(owner.find(one, "x"), PublishedFile)]
    assert known == hashes[-4:]


def test_what_is_remembered_of_older_releases_is_bounded(owner: Owner) -> None:
    many = {f"{number}": 1 for number in range(150_000)}
    owner.publish(release(A, many), release(B, dict.fromkeys(many, 2)))
    assert owner.find(A, "5") is Absence.GONE
    owner.publish(release(C, dict.fromkeys(many, 3)))
    assert owner.find(A, "5") is Absence.UNKNOWN


def test_another_folder_has_none_of_the_old_files(owner: Owner) -> None:
    owner.publish(release(A, {"x": 1}), release(B, {"x": 1}, root=Path("/srv/other")))
    assert owner.find(A, "x") is Absence.GONE


def test_withdrawn_files_come_back_with_the_next_release(owner: Owner) -> None:
    owner.publish(release(A, {"x": 1, "y": 1}))
    found = owner.find(A, "x")
    assert isinstance(found, PublishedFile)
    owner.catalogue.withdraw("pack", ["x"])
    owner.catalogue.withdraw("unknown", ["x"])
    assert owner.find(A, "x") is Absence.GONE
    assert owner.catalogue.is_withdrawn(found)
    assert owner.has(A, "y")
    owner.publish(release(A, {"x": 2, "y": 1}))
    assert owner.has(A, "x")


def test_the_owner_is_told_of_an_edit_once_per_release(owner: Owner) -> None:
    owner.publish(release(A, {"x": 1}))
    found = owner.find(A, "x")
    assert isinstance(found, PublishedFile)
    for _ in range(3):
        owner.catalogue.tell_edited(found)
    assert owner.told == [("pack", "x")]
    owner.publish(release(B, {"x": 2}))
    owner.catalogue.tell_edited(found)
    assert owner.told == [("pack", "x")], "that it is not what it was is no news"
    found = owner.find(B, "x")
    assert isinstance(found, PublishedFile)
    owner.catalogue.tell_edited(found)
    assert owner.told == [("pack", "x")] * 2


def test_pad_files_are_there_without_being_on_disk(owner: Owner) -> None:
    owner.publish(release(A, {"x": 1, ".pad/7": 1}))
    assert owner.find(A, ".pad/16384") == Pad(16384)
    assert isinstance(owner.find(A, ".pad/7"), PublishedFile), "a file of that name"
    for path in (".pad/", ".pad/x", ".pad/-1", ".pad/999999999", ".pad/1/2", "a/.pad/1"):
        assert owner.find(A, path) is Absence.UNKNOWN, path
    assert owner.find(B, ".pad/16384") is Absence.UNKNOWN


def test_documents_are_found_by_their_whole_name(owner: Owner) -> None:
    signed = ServedRelease(b"de", b"signature", A, "root", ROOT, {})
    owner.publish(signed, name="a.torrent")
    owner.publish(release(B, {}), name="a")
    find = owner.catalogue.document
    found = {name: find(name) for name in ("a.torrent.torrent", "a.torrent", "a.torrent.minisig")}
    assert [one and one.body for one in found.values()] == [b"de", b"d" + B.encode(), None]
    signature = find("a.torrent.torrent.minisig")
    assert signature is not None
    assert signature.body == b"signature"
    assert find("") is find(".torrent") is find("b.torrent") is None


def test_tags_tell_versions_apart(owner: Owner) -> None:
    def tag(number: int) -> str:
        owner.publish(release(A, {"x": number}))
        found = owner.find(A, "x")
        assert isinstance(found, PublishedFile)
        return found.etag

    assert tag(1) == tag(1) != tag(2)
