"""``.torrent`` files made to take time or memory: so much for so many bytes, and no more.

They are parsed in a process of their own, which is refused more memory than the bound.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bencode2
import pytest

from tests.hostile.fuzz.oracle import MOST_MESSAGE_CHARACTERS

pytestmark = pytest.mark.timeout(600)

REPOSITORY = Path(__file__).parents[2]
BASE_MIB = 256  # an interpreter with what parsing needs, as address space
MIB_PER_MIB = 48  # for the worst bencode there is: tiny lists and dictionaries
SECONDS = 60.0  # of processor time for all files of a test: twenty times what they take
MANY = 100_000
INFO = {b"length": 1, b"name": b"a", b"piece length": 16384, b"pieces": b"a" * 20}
RAW_INFO = bencode2.bencode(INFO)


def parsed(folder: Path, *torrents: bytes) -> list[dict[str, Any]]:
    """Parse each; what takes more time or memory than it may fails the test."""
    files = []
    for number, data in enumerate(torrents):
        files.append(folder / f"{number}.torrent")
        files[-1].write_bytes(data)
    most_mib = BASE_MIB + MIB_PER_MIB * -(-max(map(len, torrents)) // 1024**2)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.hostile.parse_process", str(most_mib), *map(str, files)],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=550,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(found) == len(torrents)
    assert sum(one["seconds"] for one in found) < SECONDS
    for one in found:
        error = one.get("error", "")
        assert "more memory than there is" not in error
        assert len(error) < MOST_MESSAGE_CHARACTERS
    return found


def with_key(raw: bytes) -> bytes:
    """A good torrent with a key in its info dictionary that nobody reads."""
    return b"d4:info" + RAW_INFO[:-1] + b"1:z" + raw + b"ee"


def outer(**keys: Any) -> bytes:
    """A good torrent with other keys beside its info dictionary."""
    named = {key.replace("_", "-").encode(): value for key, value in keys.items()}
    return bytes(bencode2.bencode({**named, b"info": INFO}))


def empty_files(count: int) -> list[bytes]:
    """Torrents of nothing but empty files: v1 in a list, v2 in a tree."""
    names = [b"%07d" % number for number in range(count)]
    v1 = {**INFO, b"files": [{b"length": 0, b"path": [name]} for name in names], b"pieces": b""}
    del v1[b"length"]
    tree = {name: {b"": {b"length": 0}} for name in names}
    v2 = {b"file tree": tree, b"meta version": 2, b"name": b"r", b"piece length": 16384}
    return [bencode2.bencode({b"info": v1}), bencode2.bencode({b"info": v2})]


def test_a_million_of_the_smallest_values_are_passed_over(tmp_path: Path) -> None:
    values = [b"0:", b"le", b"de", b"i1e", b"d0:0:e", b"l0:e"]
    many = [with_key(b"l" + value * (1_000_000 // len(value) * 2) + b"e") for value in values]
    assert [one.get("files") for one in parsed(tmp_path, *many)] == [1] * len(values)


@pytest.mark.parametrize("value", [b"0:", b"le", b"de"], ids=ascii)
def test_a_million_of_them_in_the_place_of_something_are_refused(
    tmp_path: Path, value: bytes
) -> None:
    values = b"l" + value * 1_000_000 + b"e"
    entry = b"d6:lengthi0e4:path" + values + b"e"
    rest = b"4:name1:a12:piece lengthi16384e6:pieces0:"
    found = parsed(
        tmp_path,
        b"d4:infod5:files" + values + rest + b"ee",
        b"d4:infod5:filesl" + entry + b"e" + rest + b"ee",
        b"d4:infod12:meta version" + values + rest + b"ee",
        b"d4:infod9:file tree" + values + b"12:meta versioni2e" + rest + b"ee",
    )
    assert all(one.get("error") for one in found)


@pytest.mark.parametrize("opening", [b"l", b"d0:", b"d4:path"], ids=ascii)
def test_values_nested_in_the_place_of_something_are_refused_in_words(
    tmp_path: Path, opening: bytes
) -> None:
    torrents = []
    for depth in (90, 500, 900, 990, 1010, 2000, 10_000, 100_000):
        nested = opening * depth + b"le" + b"e" * depth
        rest = b"4:name1:a12:piece lengthi16384e6:pieces0:ee"
        torrents += [
            b"d4:infod12:meta version" + nested + rest,
            b"d4:infod5:filesld6:lengthi0e4:path" + nested + b"ee" + rest,
            b"d4:infod5:filesld6:lengthi0e4:pathl" + nested + b"eee" + rest,
            b"d4:infod9:file tree" + nested + b"12:meta versioni2e" + rest,
            b"d4:infod5:filesl" + nested + b"e" + rest,
            nested,
        ]
    assert all(one.get("error") for one in parsed(tmp_path, *torrents))


def test_a_hundred_thousand_trackers_web_seeds_and_nodes_are_looked_at_once(
    tmp_path: Path,
) -> None:
    urls = [b"http://h.example/%d" % number for number in range(MANY)]
    found = parsed(
        tmp_path,
        outer(announce_list=[urls]),
        outer(announce_list=[[url] for url in urls]),
        outer(url_list=urls),
        outer(url_list=[b""] * MANY, announce_list=[[]] * MANY),
        outer(nodes=[[b"h", 1]] * MANY),
        outer(torsync={b"mtimes": [1 << 62] * MANY, b"hints": b"h" * MANY}),
    )
    assert [one.get("files") for one in found] == [1] * len(found)


def test_names_and_texts_of_megabytes_make_short_messages(tmp_path: Path) -> None:
    long = b"\xff" * (4 * 1024**2)
    files = {**INFO, b"files": [{b"length": 0, b"path": [long]}]}
    tree = {b"meta version": 2, b"piece length": 16384, b"name": b"a"}
    found = parsed(
        tmp_path,
        bencode2.bencode({b"info": {**INFO, b"name": long}}),
        bencode2.bencode({b"info": files}),
        bencode2.bencode({b"info": {**INFO, b"meta version": long}}),
        bencode2.bencode({b"info": {**tree, b"file tree": {long: {}}}}),
        bencode2.bencode({b"info": {**tree, b"file tree": {long: {b"": {}, b"a": {}}}}}),
        bencode2.bencode({b"info": {**INFO, b"piece length": 10**4000}}),
        bencode2.bencode({b"info": {**INFO, b"length": -(10**4000)}}),
    )
    assert all(one.get("error") for one in found)


def file_tree(folder: bytes, depth: int, leaves: int) -> bytes:
    """A v2 torrent with all its files in one folder as deep as that; each path is in it once."""
    leaf = b"d0:d6:lengthi0eee"
    inner = b"".join(b"6:%06d" % number + leaf for number in range(leaves))
    name = b"%d:" % len(folder) + folder
    tree = (b"d" + name) * depth + b"d" + inner + b"e" + b"e" * depth
    rest = b"12:meta versioni2e4:name4:root12:piece lengthi16384e"
    return b"d4:infod9:file tree" + tree + rest + b"ee"


def test_long_paths_that_a_file_tree_shares_are_bounded(tmp_path: Path) -> None:
    """Each file takes 25 bytes of the torrent, and a path of 4,000 characters."""
    long, deep = parsed(tmp_path, file_tree(b"x" * 250, 15, 40_000), file_tree(b"a", 99, 40_000))
    assert "the paths of its files" in long["error"]
    assert deep["files"] == 40_000


def test_thousands_of_empty_files_are_taken(tmp_path: Path) -> None:
    found = parsed(tmp_path, *empty_files(30_000))
    assert [one.get("files") for one in found] == [30_000, 30_000]


@pytest.mark.long
def test_a_million_empty_files_are_taken(tmp_path: Path) -> None:
    for number, data in enumerate(empty_files(1_000_000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert parsed(folder, data)[0].get("files") == 1_000_000
