"""Which names libtorrent gives files, other than the torrent's own."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from tests.support.torrents import make_raw
from torsync.model.names import is_plain
from torsync.swarm.loading import names_of_its_own

ROOT = "root"


def asked_as(*paths: str, root_name: str = ROOT) -> dict[str, str]:
    """By what name libtorrent asks for each file whose name it changes."""
    torrent = make_raw([(path, b"x") for path in paths], name=root_name)
    return names_of_its_own(torrent, root_name, paths)


def test_libtorrent_keeps_every_character_of_a_plain_name() -> None:
    characters = map(chr, range(sys.maxunicode + 1))
    plain = [
        f"a{character}b"
        for character in characters
        if unicodedata.category(character) != "Cs"
        and character != "/"
        and is_plain(f"a{character}b")
    ]
    assert len(plain) > 100_000
    # Many to a name: libtorrent looks at each character by itself.
    names = ["".join(plain[start : start + 12]) for start in range(0, len(plain), 12)]
    assert all(map(is_plain, names))
    assert asked_as(*names) == {}


@pytest.mark.parametrize("character", ["a", "é", "日", "🎉"])
def test_libtorrent_keeps_the_length_of_a_plain_name(character: str) -> None:
    size = len(character.encode())
    names = [character * (length // size) for length in range(size, 256, size)]
    plain = [name for name in names if is_plain(name)]
    assert len(plain) > 200 // size
    assert asked_as(*(f"d/{number}/{name}" for number, name in enumerate(plain))) == {}
    assert not all(map(is_plain, names))
    assert is_plain("/".join(plain[-1] for _ in range(5)))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("back\\slash", "backslash"),
        ("👨\u200d👩.txt", "👨👩.txt"),
        ("new\nline", "new_line"),
        ("a\u202eb", "ab"),
    ],
)
def test_what_libtorrent_changes_is_no_plain_name(name: str, found: str) -> None:
    """These are facts of libtorrent 2.1.1."""
    assert not is_plain(name)
    assert asked_as("d/plain", f"d/{name}") == {f"root/d/{found}": f"d/{name}"}
    assert asked_as("a", "b", root_name=name) == {f"{found}/a": "a", f"{found}/b": "b"}


def test_pad_files_do_not_shift_the_names() -> None:
    names = {"a": b"1", "b\\c": b"2", "d": b"3"}
    torrent = make_raw(names, name=ROOT, align=True)
    assert names_of_its_own(torrent, ROOT, list(names)) == {"root/bc": "b\\c"}
