"""``.torrent`` files made to crash, stall or outwit the parser: a Manifest or a ManifestError.

Whatever comes out as a Manifest has only paths that stay inside the tree.
"""

from __future__ import annotations

import random
import time
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import bencode2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.manifests import check_manifest
from tests.unit.metainfo_samples import (
    BLOCK,
    PIECE,
    Item,
    file_tree,
    hybrid,
    hybrid_info,
    pad,
    torrent,
    v1,
    v1_info,
    v1_single,
    v2,
    v2_info,
    with_pads,
)
from torsync.model.errors import ManifestError
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest

LIMIT_S = 5.0

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ITEMS = (
    Item("a.txt", 5, b"x", extra=((b"sha1", b"s" * 20), (b"mtime", 1_600_000_000))),
    Item("b/c/large", 3 * PIECE + 1),
    Item("b/empty"),
    Item("b/link", target="b/c/large"),
    Item("z", PIECE),
)
OUTER: dict[str, Any] = {
    "announce": b"http://tracker.example/announce",
    "announce_list": [[b"http://a.example/"], [b"udp://b.example:80"]],
    "comment": "Grüße".encode(),
    "created_by": b"someone",
    "creation_date": 1_600_000_000,
    "nodes": [[b"router.example", 6881]],
    "url_list": [b"http://seed.example/"],
}
LAYERS = file_tree(ITEMS, PIECE)[1]
VALID = {
    "v1": torrent(v1_info([*ITEMS[:2], pad(77), *ITEMS[2:]], private=1), **OUTER),
    "v1 single": torrent(v1_single(size=PIECE + 1), **OUTER),
    "v2": torrent(v2_info(ITEMS), LAYERS, **OUTER),
    "hybrid": torrent(hybrid_info(ITEMS), LAYERS, **OUTER),
}
every_valid = pytest.mark.parametrize("data", VALID.values(), ids=VALID.keys())


def outcome(data: bytes, *, limit_s: float = LIMIT_S) -> Manifest | None:
    """Parse; None for a refusal. Anything else that is raised, and slowness, fails the test."""
    start = time.process_time()
    message = ""
    manifest = None
    try:
        manifest = parse_metainfo(data)
    except ManifestError as error:
        message = error.message
    assert time.process_time() - start < limit_s
    if manifest is None:
        assert 0 < len(message) < 10_000, "a message is for people"
        message.encode()
    else:
        check_manifest(manifest)
    return manifest


@every_valid
def test_these_are_valid_to_begin_with(data: bytes) -> None:
    assert outcome(data) is not None


class TestCutOff:
    @every_valid
    def test_at_every_97th_byte(self, data: bytes) -> None:
        for end in range(0, len(data), 97):
            assert outcome(data[:end]) is None

    @every_valid
    def test_at_every_byte_of_the_end(self, data: bytes) -> None:
        for end in range(len(data) - 97, len(data)):
            assert outcome(data[:end]) is None

    @every_valid
    def test_at_the_front(self, data: bytes) -> None:
        for start in range(1, len(data), 97):
            assert outcome(data[start:]) is None


class TestBencodeBombs:
    @pytest.mark.parametrize(
        "data",
        [
            b"l" * 10**6,
            b"d" * 10**6,
            b"l" * 10**6 + b"e" * 10**6,
            b"d1:a" * 10**6,
            b"d1:a" * 10**6 + b"de" + b"e" * 10**6,
            b"d4:info" * 10**6,
            b"d4:infod9:file tree" + b"d1:a" * 10**6,
        ],
        ids=["l", "d", "l closed", "d keyed", "d closed", "info", "file tree"],
    )
    def test_deep_nesting(self, data: bytes) -> None:
        assert outcome(data) is None

    @pytest.mark.parametrize("depth", [150, 1000, 10**5])
    def test_deep_nesting_in_a_key_that_nobody_reads(self, depth: int) -> None:
        base = v1_info([Item("a", 1)])
        info = bencode2.bencode(base)
        nested = b"l" * depth + b"e" * depth
        outcome(b"d4:info" + info + b"1:z" + nested + b"e")
        outcome(b"d4:info" + info[:-1] + b"1:z" + nested + b"e" + b"e")

    @pytest.mark.parametrize("depth", [101, 150, 500, 10**4])
    def test_deep_file_trees(self, depth: int) -> None:
        leaf = b"d0:d6:lengthi0eee"
        tree = b"d1:a" * depth + leaf + b"e" * depth
        info = b"d9:file tree" + tree + b"12:meta versioni2e4:name4:root12:piece lengthi16384ee"
        assert outcome(b"d4:info" + info + b"12:piece layersdee") is None

    @pytest.mark.parametrize("digits", [20, 4300, 4301, 10**6])
    @pytest.mark.parametrize("sign", [b"", b"-"])
    def test_huge_integers(self, digits: int, sign: bytes) -> None:
        number = b"i" + sign + b"9" * digits + b"e"
        info = bencode2.bencode(v1_info([Item("a", 1)]))
        assert outcome(number) is None
        assert (
            outcome(b"d4:info" + info.replace(b"6:lengthi1e", b"6:length" + number) + b"e") is None
        )
        pieces = b"12:piece length"
        huge = info.replace(pieces + b"i32768e", pieces + number)
        assert outcome(b"d4:info" + huge + b"e") is None
        outcome(b"d13:creation date" + number + b"4:info" + info + b"e")
        outcome(b"d4:info" + info + b"5:nodesll1:h" + number + b"eee")
        outcome(b"d4:info" + info[:-1] + b"7:private" + number + b"e" + b"e")

    def test_huge_modification_times(self) -> None:
        for number in (1 << 63, -(1 << 63), 1 << 64, 10**100, -1):
            manifest = outcome(v1([Item("a", 1, extra=((b"mtime", number),))]))
            if manifest is not None and manifest.files[0].mtime_s is not None:
                assert -(1 << 63) <= manifest.files[0].mtime_s < 1 << 63

    @pytest.mark.parametrize(
        "data",
        [
            b"d4:info100:abce",
            b"d4:info99999999999999999999:abce",
            b"d4:info18446744073709551615:abce",
            b"d4:info9223372036854775807:abce",
            b"d4:info4294967295:abce",
            b"d4:info-1:ae",
            b"d4:info-0:e",
            b"d4:info+1:ae",
            b"d4:info 1:ae",
            b"d4:info01:ae",
            b"d4:info00:e",
            b"d4:info1",
            b"d4:info:e",
            b"d4:info1.0:ae",
            b"d4:info" + b"9" * 10**6 + b":ae",
            b"d9999999999:info",
        ],
        ids=lambda data: ascii(data[:40]),
    )
    def test_lengths_of_strings(self, data: bytes) -> None:
        assert outcome(data) is None

    @pytest.mark.parametrize(
        "number",
        [b"ie", b"i-e", b"i-0e", b"i01e", b"i-01e", b"i+1e", b"i 1e", b"i1 e", b"i1_0e", b"i0x1e",
         b"i1.0e", b"i1", "i\u0661e".encode()],
        ids=ascii,
    )  # fmt: skip
    def test_malformed_integers(self, number: bytes) -> None:
        info = bencode2.bencode(v1_info([Item("a", 1)]))
        outcome(b"d4:info" + info.replace(b"6:lengthi1e", b"6:length" + number) + b"e")
        outcome(b"d13:creation date" + number + b"4:info" + info + b"e")

    def test_dictionaries_with_other_keys_than_strings(self) -> None:
        info = bencode2.bencode(v1_info([Item("a", 1)]))
        for key in (b"i1e", b"le", b"de"):
            assert outcome(b"d4:info" + info + key + b"i2e" + b"e") is None

    def test_duplicate_keys(self) -> None:
        """The info-hash is that of the dictionary that is used."""
        one = bencode2.bencode(v1_info([Item("a", 1)]))
        two = bencode2.bencode(v1_info([Item("b", 1)]))
        manifest = outcome(b"d4:info" + one + b"4:info" + two + b"e")
        if manifest is not None:
            used = {"a": one, "b": two}[manifest.files[0].path]
            assert manifest.info_hash_v1 == sha1(used).digest()
        outcome(b"d4:info" + one[:-1] + b"4:name3:evie" + b"e")
        outcome(b"d4:info" + one[:-1] + b"5:filesle" + b"e")

    def test_unsorted_keys(self) -> None:
        info = bencode2.bencode(v1_info([Item("a", 1)]))
        outcome(b"d4:info" + info + b"8:announce19:http://t.example/an" + b"e")
        unsorted = b"d12:piece lengthi32768e" + info[1:].replace(b"12:piece lengthi32768e", b"")
        manifest = outcome(b"d4:info" + unsorted + b"e")
        assert manifest is None or manifest.info_hash_v1 == sha1(unsorted).digest()

    def test_unsorted_file_tree(self) -> None:
        leaf = b"d0:d6:lengthi1e11:pieces root32:" + b"r" * 32 + b"ee"
        tree = b"d1:b" + leaf + b"1:a" + leaf + b"e"
        info = b"d9:file tree" + tree + b"12:meta versioni2e4:name4:root12:piece lengthi16384ee"
        outcome(b"d4:info" + info + b"12:piece layersdee")
        twice = info.replace(b"1:b", b"1:a")
        assert outcome(b"d4:info" + twice + b"12:piece layersdee") is None

    def test_info_that_only_looks_like_the_info(self) -> None:
        """The hash is over the value of the outer key, not over the first ``4:info``."""
        info = v1_info([Item("a", 1)], name=b"4:infod4:name1:xe")
        for text in (b"4:info", b"4:infod", b"d4:infodee", bencode2.bencode({b"info": info})):
            manifest = outcome(torrent(info, comment=text, announce=b"http://" + text))
            assert manifest is not None
            assert manifest.info_hash_v1 == sha1(bencode2.bencode(info)).digest()
        nested = torrent(info, a={b"info": v1_info([Item("evil", 1)])}, z=[{b"info": {}}])
        manifest = outcome(nested)
        assert manifest is not None
        assert manifest.info_hash_v1 == sha1(bencode2.bencode(info)).digest()


class TestTooMuch:
    PIECES = 10_000_000

    def test_ten_million_pieces(self) -> None:
        data = torrent(v1_single(size=self.PIECES, piece_length=1))
        assert outcome(data) is None

    def test_ten_million_pieces_that_are_not_there(self) -> None:
        for size in (self.PIECES * BLOCK, 1 << 48):
            assert outcome(torrent(v1_single(size=size, piece_length=1 << 40, pieces=b""))) is None
            info = v1_single(size=1, piece_length=1) | {b"length": size}
            assert outcome(torrent(info)) is None

    def test_ten_million_pieces_of_v2(self) -> None:
        for size in (self.PIECES * BLOCK, 1 << 48):
            tree = {b"a": {b"": {b"length": size, b"pieces root": b"r" * 32}}}
            for layer in (b"", bytes(32), bytes(32 * 1000)):
                info = v2_info([], BLOCK, file_tree=tree)
                assert outcome(torrent(info, {b"r" * 32: layer})) is None

    def test_many_files_of_the_same_name(self) -> None:
        entry = {b"length": 0, b"path": [b"a.txt"]}
        manifest = outcome(torrent(v1_info([], files=[entry] * 50_000)))
        assert manifest is None or manifest.files[-1].path == "a.49999.txt"

    def test_many_files_of_the_same_name_as_numbered_ones(self) -> None:
        """Each rename steps on a name that is taken already."""
        taken = [{b"length": 0, b"path": [b"a.%d" % number]} for number in range(1, 20_000)]
        entry = {b"length": 0, b"path": [b"a"]}
        outcome(torrent(v1_info([], files=[*taken, *[entry] * 20_000])))
        outcome(torrent(v1_info([], files=[*[entry] * 20_000, *taken])))

    def test_many_files_that_are_folders(self) -> None:
        files = []
        for depth in range(1, 100):
            files += [{b"length": 0, b"path": [b"a"] * depth}] * 50
        outcome(torrent(v1_info([], files=files)))

    def test_many_deep_paths(self) -> None:
        files = [
            {b"length": 0, b"path": [b"d%d" % index, *[b"x" * 38] * 98, b"f"]}
            for index in range(300)
        ]
        manifest = outcome(torrent(v1_info([], files=files)))
        assert manifest is not None

    def test_a_path_of_a_million_components(self) -> None:
        path = [b"a"] * 10**6
        assert outcome(torrent(v1_info([], files=[{b"length": 0, b"path": path}]))) is None
        link = {b"length": 0, b"path": [b"l"], b"attr": b"l", b"symlink path": path}
        assert outcome(torrent(v1_info([], files=[link]))) is None

    def test_a_name_of_a_megabyte(self) -> None:
        for name in (b"x" * 10**6, b"\xff" * 10**6, b"\0" * 10**6):
            files = [{b"length": 0, b"path": [b"d", name]}]
            assert outcome(torrent(v1_info([], files=files))) is None
            assert outcome(torrent(v1_single(name))) is None
            outcome(v1([Item("a", 1), Item("b", 1)], name=name))

    def test_names_that_grow_when_normalised(self) -> None:
        long = "\ufdfa" * 80  # 18 characters each under NFKC
        manifest = outcome(v1([Item(f"{long}/{index}", 1) for index in range(1000)]))
        assert manifest is not None

    def test_many_pads(self) -> None:
        entry = {b"length": 1, b"path": [b".pad", b"1"], b"attr": b"p"}
        files = [entry] * 100_000 + [{b"length": 1, b"path": [b"a"]}]
        manifest = outcome(torrent(v1_info([], files=files, pieces=b"h" * 20 * 4)))
        assert manifest is not None
        assert manifest.files[0].offset == 100_000

    def test_many_files_with_one_large_layer(self) -> None:
        """The layer is in the file once; checking it must not cost once per file."""
        count = 20_000
        tree, layers = file_tree([Item("a", 200 * BLOCK)], BLOCK)
        leaf = tree[b"a"]
        tree = {b"%05d" % index: leaf for index in range(count)}
        manifest = outcome(torrent(v2_info([], BLOCK, file_tree=tree), layers))
        assert manifest is not None
        assert len(manifest.files) == count


class TestMutations:
    """Random edits of valid torrents."""

    EDITS = st.lists(
        st.tuples(
            st.integers(0, 1 << 20),
            st.sampled_from(["set", "insert", "delete", "double", "swap"]),
            st.one_of(st.sampled_from(b"0123456789:ielde-./\\\0\xff"), st.integers(0, 255)),
        ),
        min_size=1,
        max_size=6,
    )

    @staticmethod
    def edited(data: bytes, edits: list[tuple[int, str, int]]) -> bytes:
        work = bytearray(data)
        for place, kind, byte in edits:
            at = place % len(work)
            if kind == "set":
                work[at] = byte
            elif kind == "insert":
                work.insert(at, byte)
            elif kind == "delete":
                del work[at : at + 1 + byte % 4]
            elif kind == "double":
                work[at:at] = work[at : at + byte]
            else:
                other = (at + byte) % len(work)
                work[at], work[other] = work[other], work[at]
            work = work or bytearray(b"d")
        return bytes(work)

    @every_valid
    @given(edits=EDITS)
    @settings(patient, max_examples=400)
    def test_edited_bytes(self, data: bytes, edits: list[tuple[int, str, int]]) -> None:
        outcome(self.edited(data, edits), limit_s=1.0)

    @every_valid
    def test_every_byte_replaced_once(self, data: bytes) -> None:
        """Nearly all of these stay bencode when a digit or a name is hit."""
        rng = random.Random(7)
        for at in range(0, len(data), 3):
            work = bytearray(data)
            work[at] = rng.choice(b"0123456789:ielde-./\\\0\xffpxlh")
            outcome(bytes(work), limit_s=1.0)

    WRONG: st.SearchStrategy[Any] = st.recursive(
        st.one_of(
            st.integers(),
            st.sampled_from([0, 1, -1, 1 << 31, 1 << 48, 1 << 63, 1 << 64, 16384]),
            st.binary(max_size=40),
            st.sampled_from(
                [b"", b"..", b".", b"/", b".torsync", b"a\0", b"x" * 256, b"\xff", b"l"]
            ),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.binary(max_size=6), inner, max_size=3)
        ),
        max_leaves=6,
    )

    @classmethod
    def places(cls, value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The way to everything inside a decoded torrent."""
        found = [prefix] if prefix else []
        keys = list(value) if isinstance(value, dict) else []
        if isinstance(value, list):
            keys = list(range(len(value)))
        for key in keys:
            found += cls.places(value[key], (*prefix, key))
        return found

    @given(st.sampled_from(list(VALID.values())), st.data())
    @settings(patient, max_examples=800)
    def test_replaced_or_removed_values(self, valid: bytes, data: st.DataObject) -> None:
        """Still bencode, with values that do not belong there."""
        decoded = bencode2.bdecode(valid)
        for _ in range(data.draw(st.integers(1, 3))):
            way = data.draw(st.sampled_from(self.places(decoded) or [(b"info",)]))
            holder = decoded
            for key in way[:-1]:
                holder = holder[key]
            if data.draw(st.booleans()) or way == (b"info",):
                holder[way[-1]] = data.draw(self.WRONG)
            else:
                del holder[way[-1]]
        outcome(bencode2.bencode(decoded), limit_s=1.0)

    @patient
    @given(st.binary(max_size=200))
    def test_noise(self, data: bytes) -> None:
        assert outcome(data) is None

    @patient
    @given(WRONG)
    def test_bencoded_noise(self, value: Any) -> None:
        assert outcome(bencode2.bencode(value)) is None
        outcome(bencode2.bencode({b"info": value}))

    COMPONENTS = st.one_of(
        st.sampled_from(
            [b"..", b".", b"", b"/", b"a/..", b"a", b"A", b"\\", b"a\0", b"\xff", b".torsync",
             "\uff0e\uff0e".encode(), "\u202e".encode(), "\u200d".encode(), b"a" * 255,
             b"a.1", b"~", b"-"]
        ),
        st.binary(max_size=8),
        st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
    )  # fmt: skip
    RAW_PATHS = st.lists(
        st.tuples(
            st.lists(COMPONENTS, max_size=4), st.one_of(st.none(), st.lists(COMPONENTS, max_size=3))
        ),
        min_size=1,
        max_size=5,
    )

    @given(RAW_PATHS)
    @settings(patient, max_examples=500)
    def test_names_of_all_kinds(
        self, entries: list[tuple[list[bytes], list[bytes] | None]]
    ) -> None:
        files = [
            {b"length": 0, b"path": path}
            | ({b"attr": b"l", b"symlink path": target} if target is not None else {})
            for path, target in entries
        ]
        outcome(torrent(v1_info([], files=files)))


def test_hybrid_halves_cannot_smuggle_a_file_past_each_other() -> None:
    """A path that only one half has, or a pad in one half that is content in the other."""
    shown = [Item("a", PIECE), Item("b", PIECE)]
    hidden = with_pads([*shown, Item("evil", PIECE)], PIECE)
    info = hybrid_info(shown) | {
        b"files": v1_info(hidden)[b"files"],
        b"pieces": b"h" * 60,
    }
    assert outcome(torrent(info, {})) is None
    padded = hybrid_info(shown)
    padded[b"files"][1][b"attr"] = b"p"
    assert outcome(torrent(padded, {})) is None
    assert outcome(hybrid(shown)) is not None
    assert outcome(v2(shown)) is not None


def test_folders_that_would_fill_the_memory_are_refused() -> None:
    names = [b"%02d" % level + b"x" * 36 for level in range(98)]
    files = [{b"length": 0, b"path": [b"%06d" % number, *names, b"file"]} for number in range(400)]
    info = {b"files": files, b"name": b"deep", b"piece length": 16384, b"pieces": b""}
    with pytest.raises(ManifestError, match="the paths of its folders"):
        parse_metainfo(bencode2.bencode({b"info": info}))
