"""Where a ``.torrent`` says that its hints are: what is taken of it, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bencode2
import pytest

from tests.support.authored import author
from tests.unit.metainfo_samples import Item, hybrid, v1, v2
from torsync.model.authoring.content import PublishedFile
from torsync.model.authoring.writer import Notes
from torsync.model.config import PublicationConfig
from torsync.model.metainfo import parse_metainfo
from torsync.publish.hints.file import HintsFile
from torsync.publish.output import Output

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = [Item("a", 5), Item("b", 40_000)]


def _hints_of(data: bytes, extra: Any) -> str:
    outer = bencode2.bdecode(data)
    outer[b"torsync"] = extra
    return parse_metainfo(bencode2.bencode(outer)).hints


@pytest.mark.parametrize("make", [v1, v2, hybrid])
def test_it_is_outside_the_info_dictionary(make: Any) -> None:
    data = make(ITEMS)
    assert _hints_of(data, {b"hints": b"a.torrent.hints", b"mtimes": [1, 2]}) == "a.torrent.hints"
    assert parse_metainfo(data).hints == ""


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({b"hints": b"x" * 2048}, "x" * 2048),
        ({b"hints": b"!~"}, "!~"),
        ({b"hints": b"https://host/a?b#c"}, "https://host/a?b#c"),
        ({b"hints": b""}, ""),
        ({b"hints": b"x" * 2049}, ""),
        ({b"hints": b"a b"}, ""),
        ({b"hints": b"a\n"}, ""),
        ({b"hints": b"\x7f"}, ""),
        ({b"hints": "ä".encode()}, ""),
        ({b"hints": b"\xff"}, ""),
        ({b"hints": 7}, ""),
        ({b"hints": [b"a"]}, ""),
        ({b"hint": b"a"}, ""),
        (b"hints", ""),
        ([], ""),
    ],
)
def test_only_printable_ascii_of_sensible_length_counts(extra: Any, found: str) -> None:
    assert _hints_of(v1(ITEMS), extra) == found


def test_what_is_authored_names_it_and_has_the_same_info_hash_as_without() -> None:
    contents = {"a": b"1" * 40_000}
    files = [PublishedFile("a", 40_000, 1_700_000_000)]
    plain = author(files, contents)
    named = author(files, contents, notes=Notes(hints="a.torrent.hints"))
    assert named.info == plain.info
    assert parse_metainfo(named.metainfo).hints == "a.torrent.hints"
    assert parse_metainfo(plain.metainfo).hints == ""


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("pack.torrent", "pack.torrent.hints"),
        ("a b?c#d.torrent", "a%20b%3Fc%23d.torrent.hints"),
        ("a:b%20.torrent", "a%3Ab%2520.torrent.hints"),
        ("ä.torrent", "%C3%A4.torrent.hints"),
    ],
)
def test_the_reference_is_the_name_of_the_file_as_a_url_has_it(
    tmp_path: Path, name: str, reference: str
) -> None:
    config = PublicationConfig("pack", tmp_path / "folder", torrent=tmp_path / name)
    file = HintsFile.of(config, Output(tmp_path / name), tmp_path / "state")
    assert file.path == tmp_path / f"{name}.hints"
    assert file.reference == reference


def test_it_is_beside_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "pack.torrent").symlink_to(tmp_path / "real" / "1.torrent")
    config = PublicationConfig("pack", tmp_path / "folder", torrent=tmp_path / "pack.torrent")
    file = HintsFile.of(config, Output(tmp_path / "pack.torrent"), tmp_path / "state")
    assert file.path == tmp_path / "real" / "1.torrent.hints"


def test_without_a_public_file_it_is_in_the_state(tmp_path: Path) -> None:
    file = HintsFile.of(PublicationConfig("pack", tmp_path), None, tmp_path / "state")
    assert file.path == tmp_path / "state" / "pack.torrent.hints"
