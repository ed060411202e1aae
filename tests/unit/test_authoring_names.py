"""What cannot be published is what subscribers would refuse, or get under another name."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.authored import author, of_contents
from torsync.model.authoring.content import PublishedFile
from torsync.model.authoring.names import find_unpublishable
from torsync.model.errors import ManifestError
from torsync.model.metainfo import parse_metainfo


def found_in(*paths: str) -> dict[str, str]:
    return find_unpublishable(PublishedFile(path, 1) for path in paths)


def test_ordinary_names_can_be_published() -> None:
    assert found_in("a", "b/c", ".hidden", "CON", "a b", "é", "b/.torsync", "x" * 255) == {}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".torsync/x", "keeps for itself"),
        (".TORSYNC", "keeps for itself"),
        ("a/_____padding_file_1", "for padding"),
        ("x" * 256, "longer than 255 bytes"),
        ("/".join("x" * 101), "deep"),
        ("/".join(["x" * 250] * 17), "longer than 4000 bytes"),
    ],
)
def test_a_name_that_subscribers_refuse_is_found_with_the_reason(path: str, why: str) -> None:
    found = found_in("a", path)
    assert found.keys() == {path}
    assert why in found[path]
    assert ".torrent" not in found[path]


def test_of_names_that_meet_the_later_one_is_found() -> None:
    found = found_in("Read me", "read me", "d/É", "d/e\u0301", "d/é")
    assert found.keys() == {"read me", "d/É", "d/é"}
    assert "'read me.1'" in found["read me"]


def test_a_link_out_of_the_tree_is_found() -> None:
    files = [
        PublishedFile("in", 0, link_target="a/b"),
        PublishedFile("out", 0, link_target="../b"),
        PublishedFile("away", 0, link_target="/etc/passwd"),
    ]
    found = find_unpublishable(files)
    assert found.keys() == {"out", "away"}
    assert found["out"].startswith("the target of the link: ")


def test_a_file_that_is_too_large_is_found() -> None:
    assert find_unpublishable([PublishedFile("a", 1 << 48)]) == {}
    assert "more than" in find_unpublishable([PublishedFile("a", (1 << 48) + 1)])["a"]


components = st.text(st.sampled_from("aAéÉe\u0301.\u017fsS"), min_size=1, max_size=3)


@settings(deadline=None)
@given(st.lists(st.lists(components, min_size=1, max_size=2).map("/".join), unique=True))
def test_what_is_left_keeps_its_names(paths: list[str]) -> None:
    found = found_in(*paths)
    left = [path for path in paths if path not in found]
    assume(left)
    assume(not any(other.startswith(f"{path}/") for path in left for other in left))
    contents = dict.fromkeys(left, b"1")
    manifest = parse_metainfo(author(of_contents(contents), contents).metainfo)
    assert {file.path for file in manifest.files} == set(left)


@settings(deadline=None)
@given(
    st.lists(st.lists(components, min_size=1, max_size=2).map("/".join), unique=True, min_size=1)
)
def test_nothing_is_found_that_subscribers_take_as_it_is(paths: list[str]) -> None:
    assume(not any(other.startswith(f"{path}/") for path in paths for other in paths))
    contents = dict.fromkeys(paths, b"1")
    try:
        manifest = parse_metainfo(author(of_contents(contents), contents).metainfo)
    except ManifestError:
        assert found_in(*paths)
        return
    same = {file.path for file in manifest.files} == set(paths)
    assert same == (not found_in(*paths))
