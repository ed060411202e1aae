"""Everything that identifies a file's content: releases may have only a weaker digest in common."""

from __future__ import annotations

import pytest

from tests.support.releases import LAYOUTS, Link, make_release

A = b"AAAAAAAABBBBBBBB"


def kinds(layout: str, digests: str, content: bytes | Link = A) -> list[str]:
    manifest = make_release({"a": content}, layout=layout, digests=digests).manifest
    return [digest.partition(":")[0] for digest in manifest.digests(0)]


@pytest.mark.parametrize(
    ("layout", "digests", "expected"),
    [
        ("v1", "", ["v1"]),
        ("v1", "sha1", ["sha1", "v1"]),
        ("padded", "root", ["root", "v1"]),
        ("v2", "", ["root"]),
        ("v2", "sha1", ["root", "sha1"]),
        ("hybrid", "", ["root", "v1"]),
        ("hybrid", "sha1", ["root", "sha1", "v1"]),
    ],
)
def test_all_that_the_publisher_gave_are_told_the_strongest_first(
    layout: str, digests: str, expected: list[str]
) -> None:
    assert kinds(layout, digests) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("digests", ["", "root", "sha1"])
def test_the_first_is_the_one_that_is_remembered(layout: str, digests: str) -> None:
    contents = {"a": A, "empty": b"", "link": Link("a")}
    manifest = make_release(contents, layout=layout, digests=digests).manifest
    assert all(next(manifest.digests(index)) == manifest.digest(index) for index in range(3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_links_and_empty_files_have_one_only(layout: str) -> None:
    assert kinds(layout, "sha1", Link("b")) == ["link"]
    assert kinds(layout, "sha1", b"") == ["empty"]


def test_formats_have_what_both_give_in_common() -> None:
    def digests(layout: str, digest: str) -> set[str]:
        return {*make_release({"a": A}, layout=layout, digests=digest).manifest.digests(0)}

    assert len(digests("hybrid", "") & digests("padded", "")) == 1
    assert len(digests("v2", "sha1") & digests("v1", "sha1")) == 1
    assert len(digests("v2", "") & digests("hybrid", "sha1")) == 1
    assert not digests("v2", "") & digests("v1", "sha1")
