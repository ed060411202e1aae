"""What ``parse_metainfo`` accepts, refuses and makes of it; libtorrent is the reference."""

from __future__ import annotations

import os
import unicodedata
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any

import bencode2
import libtorrent as lt
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.benchmarks.bench_parse import FORMATS, measure, write_torrent
from tests.unit.metainfo_samples import (
    BLOCK,
    KIB,
    PIECE,
    Item,
    file_tree,
    hybrid,
    hybrid_info,
    libtorrent_view,
    pad,
    torrent,
    tree_hashes,
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
    from pathlib import Path

    from torsync.model.manifest import Manifest

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MAKERS = {"v1": v1, "v2": v2, "hybrid": hybrid}
every_format = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def paths_of(data: bytes, *, windows: bool = False) -> list[str]:
    return [entry.path for entry in parse_metainfo(data, windows=windows).files]


def refused(data: bytes, *mentions: str, windows: bool = False) -> str:
    """Parse what has to be refused; the message has to mention some words."""
    with pytest.raises(ManifestError) as caught:
        parse_metainfo(data, windows=windows)
    message = caught.value.message
    for word in mentions:
        assert word.casefold() in message.casefold(), message
    return message


def agrees_with_libtorrent(data: bytes) -> Manifest:
    manifest = parse_metainfo(data)
    view = libtorrent_view(data)
    assert [(e.path, e.offset, e.size) for e in manifest.files] == view.files
    assert manifest.num_pieces == view.num_pieces
    # libtorrent pads the last file of a v2 torrent too
    assert manifest.layout_size == view.layout_size or manifest.info_hash_v1 is None
    assert manifest.info_hash_v1 == view.info_hash_v1
    assert manifest.info_hash_v2 == view.info_hash_v2
    return manifest


# --- the layout ---------------------------------------------------------------------------

SIZES = (1, 0, BLOCK - 1, BLOCK, BLOCK + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 7)


class TestLayout:
    ITEMS = tuple(Item(f"d{index % 3}/f{index}", size) for index, size in enumerate(SIZES))
    SORTED = tuple(sorted(ITEMS, key=lambda item: item.raw_path))

    def test_v1_side_by_side(self) -> None:
        manifest = agrees_with_libtorrent(v1(self.ITEMS))
        assert [entry.path for entry in manifest.files] == [item.path for item in self.ITEMS]
        assert manifest.layout_size == sum(SIZES) == manifest.total_size
        assert manifest.info_hash_v2 is None
        assert not manifest.is_v2

    @pytest.mark.parametrize("tail", [True, False])
    def test_v1_with_pads(self, tail: bool) -> None:
        manifest = agrees_with_libtorrent(v1(with_pads(self.ITEMS, PIECE, tail=tail)))
        assert all(entry.offset % PIECE == 0 for entry in manifest.files if entry.size)
        assert manifest.total_size == sum(SIZES)

    def test_v1_pads_anywhere(self) -> None:
        items = [pad(5), Item("a", 3), pad(7), pad(PIECE), Item("b", 0), Item("c", 9), pad(2)]
        manifest = agrees_with_libtorrent(v1(items))
        assert [(entry.path, entry.offset) for entry in manifest.files] == [
            ("a", 5),
            ("b", 5 + 3 + 7 + PIECE),
            ("c", 5 + 3 + 7 + PIECE),
        ]

    def test_v1_pads_may_share_a_name(self) -> None:
        items = [Item("a", 3), pad(7), Item("b", 2), pad(7), Item("c", 1)]
        assert paths_of(v1(items)) == ["a", "b", "c"]

    def test_pads_need_no_usable_name(self) -> None:
        """Nothing is ever written for them, and clients name them as they please."""
        info = v1_info([Item("a", PIECE), Item("b", 1)])
        info[b"files"].insert(1, {b"length": 0, b"attr": b"p", b"path": [b".pad", b"0"]})
        assert paths_of(torrent(info)) == ["a", "b"]

    def test_v2(self) -> None:
        manifest = agrees_with_libtorrent(v2(self.ITEMS))
        assert [entry.path for entry in manifest.files] == [item.path for item in self.SORTED]
        assert manifest.info_hash_v1 is None
        assert manifest.v1_hashes == b""
        assert manifest.is_v2

    def test_v2_order_is_that_of_raw_bytes(self) -> None:
        items = [Item(p, 1) for p in ["c", "a/z", "a.x", "B", "é", "a-/q", "z", "~"]]
        manifest = agrees_with_libtorrent(v2(items))
        assert [entry.path for entry in manifest.files] == [
            "B", "a/z", "a-/q", "a.x", "c", "z", "~", "é",
        ]  # fmt: skip

    def test_hybrid(self) -> None:
        manifest = agrees_with_libtorrent(hybrid(self.SORTED))
        assert [entry.path for entry in manifest.files] == [item.path for item in self.SORTED]
        assert len(manifest.v1_hashes) == 20 * manifest.num_pieces
        assert manifest.is_v2

    def test_hybrid_without_a_pad_at_the_end(self) -> None:
        items = [Item("a", 5), Item("b", 7)]
        files = v1_info(with_pads(items, PIECE, tail=False))[b"files"]
        manifest = parse_metainfo(hybrid(items, files=files))
        assert [(entry.path, entry.offset) for entry in manifest.files] == [("a", 0), ("b", PIECE)]
        assert manifest.num_pieces == 2

    def test_v1_single_file(self) -> None:
        manifest = agrees_with_libtorrent(torrent(v1_single(size=PIECE + 1)))
        assert [entry.path for entry in manifest.files] == ["file.bin"]
        assert manifest.name == "file.bin"

    def test_v2_single_file(self) -> None:
        manifest = agrees_with_libtorrent(v2([Item("root", PIECE + 1)]))
        assert [entry.path for entry in manifest.files] == ["root"]

    def test_hybrid_single_file(self) -> None:
        items = [Item("root", PIECE + 1)]
        info = v1_single(b"root", PIECE + 1) | v2_info(items)
        manifest = agrees_with_libtorrent(torrent(info, file_tree(items, PIECE)[1]))
        assert [entry.path for entry in manifest.files] == ["root"]

    def test_a_folder_of_one_file_keeps_its_name(self) -> None:
        for make in MAKERS.values():
            assert paths_of(make([Item("other", 5)])) == ["other"]
            assert paths_of(make([Item("d/other", 5)])) == ["d/other"]

    def test_root_name_is_only_a_label(self) -> None:
        for make in MAKERS.values():
            manifest = parse_metainfo(make([Item("a", 1), Item("b", 1)], name=b"pack-1.3"))
            assert manifest.name == "pack-1.3"
            assert [entry.path for entry in manifest.files] == ["a", "b"]

    @every_format
    def test_only_empty_files(self, make: Any) -> None:
        manifest = parse_metainfo(make([Item("a"), Item("b")]))
        assert [(entry.path, entry.size) for entry in manifest.files] == [("a", 0), ("b", 0)]
        assert manifest.num_pieces == 0
        assert manifest.total_size == 0

    def test_v1_hashes_are_those_of_the_torrent(self) -> None:
        hashes = b"".join(bytes([index]) * 20 for index in range(3))
        manifest = parse_metainfo(v1([Item("a", 2 * PIECE + 1)], pieces=hashes))
        assert manifest.v1_hashes == hashes
        assert manifest.v1_hash(2) == b"\x02" * 20

    @pytest.mark.parametrize("make", [v2, hybrid])
    def test_v2_hashes_are_those_of_the_torrent(self, make: Any) -> None:
        for size in (1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 4 * PIECE, 5 * PIECE):
            manifest = parse_metainfo(make([Item("a", 1), Item("b", size)]))
            root, layer = tree_hashes("b", size, PIECE)
            assert manifest.files[1].pieces_root == root
            assert manifest.piece_layers == ({root: layer} if layer else {})
            assert manifest.v2_hash(1, 0) == (layer[:32] or root)

    @pytest.mark.parametrize("make", [v2, hybrid])
    def test_files_of_equal_content_share_a_layer(self, make: Any) -> None:
        items = [Item("a", 3 * PIECE), Item("b", 3 * PIECE)]
        tree, layers = file_tree(items[:1], PIECE)
        tree[b"b"] = tree[b"a"]
        manifest = parse_metainfo(torrent(
            v2_info(items, file_tree=tree) if make is v2 else hybrid_info(items, file_tree=tree),
            layers,
        ))  # fmt: skip
        assert manifest.digest(0) == manifest.digest(1)
        assert len(manifest.piece_layers) == 1

    @pytest.mark.parametrize("piece_length", [BLOCK, 2 * BLOCK, 8 * BLOCK, 1024 * BLOCK])
    def test_piece_lengths_of_v2(self, piece_length: int) -> None:
        manifest = agrees_with_libtorrent(v2([Item("a", 3 * piece_length + 1)], piece_length))
        assert manifest.piece_length == piece_length

    @pytest.mark.parametrize("piece_length", [1, 1000, BLOCK - 1, BLOCK + 1])
    def test_v1_takes_any_piece_length(self, piece_length: int) -> None:
        manifest = parse_metainfo(v1([Item("a", 3 * piece_length + 1)], piece_length))
        assert manifest.num_pieces == 4

    def test_info_hash_covers_keys_that_nobody_knows(self) -> None:
        info = v1_info([Item("a", 1)], zzz=[1, {b"x": b"y"}], source=b"tracker")
        manifest = agrees_with_libtorrent(torrent(info))
        assert manifest.info_hash_v1 == sha1(bencode2.bencode(info)).digest()

    def test_info_hash_of_v2_covers_keys_that_nobody_knows(self) -> None:
        info = v2_info([Item("a", 1)], zzz=[1, {b"x": b"y"}])
        manifest = agrees_with_libtorrent(torrent(info, {}))
        assert manifest.info_hash_v2 == sha256(bencode2.bencode(info)).digest()


SAFE_NAMES = st.text("abcXYZ019_- +é", min_size=1, max_size=6).filter(lambda s: s.strip() == s)
SOME_SIZES = st.one_of(
    st.sampled_from([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE]),
    st.integers(0, 20 * BLOCK),
)


@st.composite
def distinct_items(draw: st.DrawFn) -> list[Item]:
    """Files whose names do not meet, at least one of them with content, and links to them."""
    folders = draw(st.lists(SAFE_NAMES, max_size=3, unique_by=str.casefold))
    items = []
    for index, size in enumerate(draw(st.lists(SOME_SIZES, min_size=1, max_size=12))):
        folder = draw(st.sampled_from(["", *(f"{name}.d/" for name in folders)]))
        attr = draw(st.sampled_from([b"", b"", b"x", b"h", b"hx"]))
        items.append(Item(f"{folder}{draw(SAFE_NAMES)}{index}", size, attr))
    if draw(st.booleans()):
        items.insert(0, Item("link", 0, target=str(items[0].path)))
    assume(any(item.size for item in items))
    return items


class TestAgainstLibtorrent:
    @patient
    @given(distinct_items(), st.data())
    def test_v1_layouts(self, items: list[Item], data: st.DataObject) -> None:
        for at in data.draw(st.lists(st.integers(0, len(items)), max_size=4)):
            items.insert(at, pad(data.draw(st.integers(1, 2 * PIECE))))
        agrees_with_libtorrent(v1(items, data.draw(st.sampled_from([BLOCK, PIECE, 5 * BLOCK]))))

    @patient
    @given(distinct_items(), st.sampled_from([BLOCK, PIECE, 4 * PIECE]))
    def test_v2_layouts(self, items: list[Item], piece_length: int) -> None:
        agrees_with_libtorrent(v2(items, piece_length))

    @patient
    @given(distinct_items(), st.sampled_from([BLOCK, PIECE, 4 * PIECE]), st.booleans())
    def test_hybrid_layouts(self, items: list[Item], piece_length: int, tail: bool) -> None:
        items.sort(key=lambda item: item.raw_path)
        files = v1_info(with_pads(items, piece_length, tail=tail), piece_length)[b"files"]
        size = sum(entry[b"length"] for entry in files)
        data = hybrid(items, piece_length, files=files, pieces=b"h" * 20 * -(-size // piece_length))
        agrees_with_libtorrent(data)

    CREATED = pytest.mark.parametrize(
        "flags",
        [
            lt.create_torrent.v1_only,
            lt.create_torrent.v1_only | lt.create_torrent.canonical_files,
            lt.create_torrent.v2_only,
            0,
            lt.create_torrent.canonical_files_no_tail_padding,
        ],
        ids=["v1", "v1 padded", "v2", "hybrid", "hybrid without tail padding"],
    )

    @staticmethod
    def created(folder: Path, root: str, flags: int) -> bytes:
        """A torrent of real content, made by libtorrent."""
        flags |= lt.create_torrent.symlinks | lt.create_torrent.modification_time
        files = lt.list_files(str(folder / root), flags=flags)
        maker = lt.create_torrent(files, BLOCK, flags=flags)
        lt.set_piece_hashes(maker, str(folder), lambda _piece: None)
        return lt.bencode(maker.generate())

    @CREATED
    def test_created_by_libtorrent(self, tmp_path: Path, flags: int) -> None:
        root = tmp_path / "root"
        for name, size in [
            ("a", 10),
            ("b", 3 * BLOCK),
            ("sub/deep/c", 5 * BLOCK + 1),
            ("sub/d", BLOCK),
            ("t", 2 * BLOCK - 1),
            ("empty", 0),
            ("z", 17 * BLOCK),
        ]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(bytes(index % 251 for index in range(size)))
        (root / "b").chmod(0o755)
        (root / "sub" / "link").symlink_to("../b")
        os.utime(root / "a", (1_500_000_000, 1_500_000_000))

        manifest = agrees_with_libtorrent(self.created(tmp_path, "root", flags))

        entries = {entry.path: entry for entry in manifest.files}
        assert entries["b"].executable
        assert not entries["a"].executable
        assert entries["a"].mtime_s == 1_500_000_000
        assert entries["sub/link"].link_target == "b"
        assert entries["a"].link_target is None
        if manifest.is_v2:
            content = (root / "a").read_bytes()
            assert entries["a"].pieces_root == sha256(content).digest()
            assert entries["empty"].pieces_root is None

    @CREATED
    def test_single_file_created_by_libtorrent(self, tmp_path: Path, flags: int) -> None:
        (tmp_path / "file.bin").write_bytes(bytes(3 * BLOCK + 5))
        manifest = agrees_with_libtorrent(self.created(tmp_path, "file.bin", flags))
        assert [entry.path for entry in manifest.files] == ["file.bin"]


# --- attributes ---------------------------------------------------------------------------


class TestAttributes:
    """BEP 47, and digests in file entries."""

    @every_format
    def test_executable_and_hidden(self, make: Any) -> None:
        items = [Item("a", 1, b"x"), Item("b", 1, b"h"), Item("c", 1, b"hx"), Item("d", 1)]
        assert [(e.executable, e.hidden) for e in parse_metainfo(make(items)).files] == [
            (True, False),
            (False, True),
            (True, True),
            (False, False),
        ]

    def test_attributes_of_a_single_file(self) -> None:
        info = v1_single(attr=b"x", sha1=b"s" * 20, mtime=7, pieces_root=b"r" * 32)
        entry = parse_metainfo(torrent(info)).files[0]
        assert entry.executable
        assert entry.sha1 == b"s" * 20
        assert entry.mtime_s == 7
        assert entry.pieces_root == b"r" * 32

    @every_format
    def test_unknown_attributes_are_ignored(self, make: Any) -> None:
        entry = parse_metainfo(make([Item("a", 1, b"?zx")])).files[0]
        assert entry.executable

    @every_format
    def test_sha1_and_mtime(self, make: Any) -> None:
        extra = ((b"sha1", b"s" * 20), (b"mtime", 1_234_567_890))
        entry, other = parse_metainfo(make([Item("a", 1, extra=extra), Item("b", 1)])).files
        assert entry.sha1 == b"s" * 20
        assert entry.mtime_s == 1_234_567_890
        assert other.sha1 is None
        assert other.mtime_s is None

    def test_roots_in_v1_entries(self) -> None:
        root = tree_hashes("a", 9 * PIECE, PIECE).root
        manifest = parse_metainfo(v1([Item("a", 9 * PIECE, extra=((b"pieces root", root),))]))
        assert manifest.files[0].pieces_root == root
        assert manifest.digest(0) == f"root:{root.hex()}:{9 * PIECE}"
        assert not manifest.is_v2

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            (b"sha1", b"short"),
            (b"sha1", 5),
            (b"mtime", b"x"),
            (b"pieces root", b"short"),
            (b"pieces root", 5),
            (b"attr", 5),
        ],
    )
    def test_unusable_attributes_are_left_out_or_refused(self, key: bytes, value: Any) -> None:
        """Never taken over: a digest of the wrong length would identify nothing."""
        try:
            entry = parse_metainfo(v1([Item("a", 1, extra=((key, value),))])).files[0]
        except ManifestError:
            return
        assert (entry.sha1, entry.mtime_s, entry.pieces_root) == (None, None, None)

    @every_format
    @pytest.mark.parametrize("target", ["a", "d/c", "d", "l", "nowhere/at/all"])
    def test_link_targets_are_relative_to_the_root(self, make: Any, target: str) -> None:
        items = [Item("a", 1), Item("d/c", 1), Item("d/l", target=target)]
        link = parse_metainfo(make(items)).files[2]
        assert (link.path, link.link_target, link.size) == ("d/l", target, 0)

    @every_format
    @pytest.mark.parametrize(
        "target",
        ["", "..", "../a", "d/../../a", "d/../a", "/etc/passwd", "/", "d//c", "d/", ".", "./a"],
    )
    def test_link_targets_outside_the_tree_are_refused(self, make: Any, target: str) -> None:
        refused(make([Item("a", 1), Item("d/evil", target=target)]), "d/evil")

    @pytest.mark.parametrize(
        "target",
        [
            [b"/etc/passwd"], [b"/etc", b"passwd"], [b"a/../../b"], [b"a\0b"], [b"\xff"],
            [b"a/b"], [], [5], b"a", 5, None, [[b"a"]], [b"x"] * 101, [b"x" * 256],
        ],
        ids=repr,
    )  # fmt: skip
    def test_malformed_link_targets_are_refused(self, target: Any) -> None:
        entry = {b"attr": b"l", b"length": 0, b"path": [b"evil"], b"symlink path": target}
        if target is None:
            del entry[b"symlink path"]
        info = v1_info([Item("a", 1)])
        info[b"files"].append(entry)
        refused(torrent(info), "evil")

    @pytest.mark.parametrize("target", ["..\\a", "C:\\a", "d\\..\\..\\a", "C:", "nul"])
    def test_link_targets_for_windows(self, target: str) -> None:
        data = v1([Item("a", 1), Item("evil", target=target)])
        assert parse_metainfo(data).files[1].link_target == target
        refused(data, "evil", windows=True)

    def test_a_link_with_a_length_is_refused(self) -> None:
        """Clients differ in whether it takes part in the piece space."""
        refused(v1([Item("evil", 5, target="a"), Item("a", 5)]), "evil", "length")

    def test_a_link_may_leave_its_length_out(self) -> None:
        info = v1_info([Item("l", target="a"), Item("a", 5)])
        del info[b"files"][0][b"length"]
        manifest = agrees_with_libtorrent(torrent(info))
        assert [(entry.size, entry.offset) for entry in manifest.files] == [(0, 0), (5, 0)]

    def test_a_symlink_path_without_the_attribute_makes_no_link(self) -> None:
        data = v1([Item("a", 1, extra=((b"symlink path", [b"b"]),))])
        assert parse_metainfo(data).files[0].link_target is None


# --- keys beside the info dictionary ------------------------------------------------------


def outer(**keys: Any) -> Manifest:
    return parse_metainfo(torrent(v1_info([Item("a", 1)]), **keys))


class TestOuterKeys:
    def test_nothing_there(self) -> None:
        manifest = outer()
        assert manifest.trackers == ()
        assert manifest.web_seeds == ()
        assert manifest.nodes == ()
        assert not manifest.private
        assert (manifest.comment, manifest.created_by) == ("", "")
        assert manifest.creation_date_s is None

    def test_announce(self) -> None:
        for url in ("http://t.example/a", "https://t.example/a", "udp://t.example:80"):
            assert outer(announce=url.encode()).trackers == ((url,),)

    def test_announce_list_in_tiers(self) -> None:
        tiers = [[b"http://a.example/", b"udp://b.example:80"], [b"https://c.example/x"]]
        manifest = outer(announce=b"http://ignored.example/", announce_list=tiers)
        assert manifest.trackers == (
            ("http://a.example/", "udp://b.example:80"),
            ("https://c.example/x",),
        )

    def test_trackers_of_other_schemes_are_dropped(self) -> None:
        tiers = [
            [b"wss://a.example/", b"http://b.example/", b"file:///etc/passwd"],
            [b"ftp://c.example"],
            [b"UDP://d.example:1"],
            [b"", b"\xff", 5, b"nonsense"],
        ]
        found = [tier for tier in outer(announce_list=tiers).trackers if tier]
        assert found == [("http://b.example/",), ("UDP://d.example:1",)]
        assert outer(announce=b"wss://a.example/").trackers == ()

    def test_url_list_of_one(self) -> None:
        assert outer(url_list=b"http://w.example/d/").web_seeds == ("http://w.example/d/",)

    def test_url_list_of_several(self) -> None:
        seeds = [
            *(b"\xff", b"http://y.example:99999/", b"http://w.example/d/", b"https://x.example/e"),
            *(b"ftp://y.example/", b"", 5),
        ]
        assert outer(url_list=seeds).web_seeds == ("http://w.example/d/", "https://x.example/e")

    @pytest.mark.parametrize("seed", [b"udp://a.example/", b"file:///etc/", b"", b"\xff"])
    def test_web_seeds_of_other_schemes_are_dropped(self, seed: bytes) -> None:
        assert outer(url_list=seed).web_seeds == ()

    def test_nodes(self) -> None:
        nodes = [[b"10.0.0.1", 6881], [b"router.example", 1], [b"::1", 65535]]
        assert outer(nodes=nodes).nodes == (
            ("10.0.0.1", 6881),
            ("router.example", 1),
            ("::1", 65535),
        )

    def test_nodes_that_are_none_are_dropped(self) -> None:
        nodes = [
            [b"a", 6881, 5], [b"a"], [], 5, b"ab", [5, b"a"], [b"a", b"5"],
            [b"a", 0], [b"a", -1], [b"a", 65536], [b"", 6881], [b"good", 6881],
        ]  # fmt: skip
        assert ("good", 6881) in outer(nodes=nodes).nodes
        for host, port in outer(nodes=nodes).nodes:
            assert isinstance(host, str)
            assert 0 < port < 65536

    def test_texts(self) -> None:
        manifest = outer(comment="Grüße".encode(), created_by=b"torsync", creation_date=1234567890)
        assert manifest.comment == "Grüße"
        assert manifest.created_by == "torsync"
        assert manifest.creation_date_s == 1234567890

    @pytest.mark.parametrize("time_s", [1, 253_402_300_799])
    def test_times_end_with_the_year_9999(self, time_s: int) -> None:
        assert outer(creation_date=time_s).creation_date_s == time_s

    @pytest.mark.parametrize("time_s", [0, -1, 253_402_300_800])
    def test_other_times_are_as_good_as_none(self, time_s: int) -> None:
        assert outer(creation_date=time_s).creation_date_s is None

    @pytest.mark.parametrize("reference", [b"x.hints", b"!~", b"x" * 2048])
    def test_hints(self, reference: bytes) -> None:
        assert outer(torsync={b"hints": reference}).hints == reference.decode()

    @pytest.mark.parametrize("wrong", [b"x" * 2049, b"a b", b"a\x7f", b"\xc3\xa9", 5, [], {}])
    def test_hints_that_are_no_reference_are_none(self, wrong: Any) -> None:
        assert outer(torsync={b"hints": wrong}).hints == ""

    def test_what_cannot_be_seen_in_the_root_name_is_replaced(self) -> None:
        manifest = parse_metainfo(v1([Item("a", 1), Item("b", 1)], name=b"pack\n\xff\x1b1"))
        assert manifest.name == "pack\ufffd\ufffd\ufffd1"

    @pytest.mark.parametrize(
        ("name", "label"), [(None, "unnamed"), (b"", "unnamed"), (b"x" * 1025, "x" * 1024)]
    )
    def test_a_root_name_that_is_none_or_absurd_has_a_label(
        self, name: bytes | None, label: str
    ) -> None:
        info = with_key(v1_info([Item("a", 1), Item("b", 1)]), b"name", name)
        assert parse_metainfo(torrent(info)).name == label

    def test_undecodable_texts_are_no_reason_to_refuse(self) -> None:
        manifest = outer(comment=b"ok \xff", created_by=b"\xfe")
        assert manifest.comment.startswith("ok ")
        manifest.comment.encode()
        manifest.created_by.encode()

    @pytest.mark.parametrize(("value", "private"), [(1, True), (0, False), (b"1", False)])
    def test_private(self, value: Any, private: bool) -> None:
        data = v1([Item("a", 1)], private=value)
        assert parse_metainfo(data).private is private

    @pytest.mark.parametrize("wrong", [5, -(10**30), b"\xff\xfe", [], [[]], [[5]], {}, {b"a": 5}])
    @pytest.mark.parametrize(
        "key",
        [
            "announce", "announce_list", "url_list", "nodes", "comment", "created_by",
            "creation_date", "httpseeds", "encoding", "unknown",
        ],
    )  # fmt: skip
    def test_wrong_types_are_ignored(self, key: str, wrong: Any) -> None:
        manifest = outer(**{key: wrong})
        assert manifest.trackers == ()
        assert manifest.web_seeds == ()
        assert manifest.nodes == ()

    def test_a_wrong_announce_list_leaves_announce(self) -> None:
        url = b"http://t.example/a"
        for wrong in (5, b"x", {}):
            manifest = outer(announce=url, announce_list=wrong)
            assert manifest.trackers == (("http://t.example/a",),)

    def test_pad_files_of_bitcomet_are_known_by_their_names(self) -> None:
        pad = "_____padding_file_0_if you see this file, please update to BitComet 0.85"
        named = [Item("a", 10), Item(pad, 6), Item("d/b", 3), Item(f"d/{pad}", 13), Item("e", 1)]
        manifest = parse_metainfo(torrent(v1_info(named)))
        assert [(file.path, file.offset) for file in manifest.files] == [
            ("a", 0),
            ("d/b", 16),
            ("e", 32),
        ]

    def test_utf8_variants_are_ignored_where_names_are_utf8(self) -> None:
        info = v1_info([Item("a", 1)])
        info[b"name.utf-8"] = b"evil"
        info[b"files"][0][b"path.utf-8"] = [b"..", b"evil"]
        manifest = parse_metainfo(torrent(info))
        assert manifest.name == "root"
        assert manifest.files[0].path == "a"

    def test_names_in_another_encoding_are_taken_from_their_utf8_variants(self) -> None:
        info = v1_info([Item("a", 1), Item("b", 1)])
        info[b"name"], info[b"name.utf-8"] = b"gr\xf6\xdfe", "größe".encode()
        info[b"files"][0][b"path"] = [b"d", b"na\xefve"]
        info[b"files"][0][b"path.utf-8"] = [b"d", "naïve".encode()]
        manifest = parse_metainfo(torrent(info))
        assert manifest.name == "größe"
        assert [file.path for file in manifest.files] == ["d/naïve", "b"]

    def test_a_single_file_is_named_by_its_utf8_variant(self) -> None:
        info = v1_single(b"gr\xf6\xdfe", 5) | {b"name.utf-8": "größe".encode()}
        (file,) = parse_metainfo(torrent(info)).files
        assert file.path == "größe"

    @pytest.mark.parametrize(
        "variant", [[b"..", b"evil"], [b".torsync", b"x"], [b"na\xefve"], [], b"a", 5]
    )
    def test_utf8_variants_are_checked_like_any_path(self, variant: object) -> None:
        info = v1_info([Item("a", 1)])
        info[b"files"][0] |= {b"path": [b"na\xefve"], b"path.utf-8": variant}
        refused(torrent(info))


def with_key(info: dict[bytes, Any], key: bytes, value: Any) -> dict[bytes, Any]:
    """Replace a key, or remove it for None."""
    rest = {k: v for k, v in info.items() if k != key}
    return rest if value is None else rest | {key: value}


# --- what is refused ----------------------------------------------------------------------


class TestRefusedAsAWhole:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"d",
            b"e",
            b"i5e",
            b"le",
            b"4:spam",
            b"<html>not found</html>",
            b"\0" * 100,
            b"d1:a",
        ],
    )
    def test_not_a_torrent(self, data: bytes) -> None:
        assert refused(data)

    def test_no_info(self) -> None:
        refused(b"de", "info")
        refused(bencode2.bencode({b"announce": b"http://a.example/"}), "info")

    @pytest.mark.parametrize("info", [5, b"x", []])
    def test_info_is_no_dictionary(self, info: Any) -> None:
        refused(torrent(info), "info")

    @pytest.mark.parametrize("garbage", [b"\n", b"\0", b"e", b"de", b"garbage"])
    def test_trailing_bytes(self, garbage: bytes) -> None:
        refused(v1([Item("a", 1)]) + garbage)

    def test_an_empty_info(self) -> None:
        refused(torrent({}))

    @pytest.mark.parametrize(
        ("value", "make"),
        [(value, make) for value in (None, 0, -1, b"16384", []) for make in (v1_info, v2_info)]
        + [(value, v2_info) for value in (BLOCK - 1, BLOCK + 1, 3 * BLOCK, 8 * KIB, 1)],
    )
    def test_piece_length(self, value: Any, make: Any) -> None:
        info = with_key(make([Item("a", 1)]), b"piece length", value)
        refused(torrent(info, {}), "piece length")

    @pytest.mark.parametrize("version", [0, 3, -1, b"2", [], {}])
    def test_meta_version(self, version: Any) -> None:
        refused(torrent(v2_info([Item("a", 1)], meta_version=version), {}), "meta version")

    def test_file_tree_without_meta_version(self) -> None:
        refused(torrent(v2_info([Item("a", 1)], meta_version=None), {}))

    def test_meta_version_without_file_tree(self) -> None:
        refused(torrent(v2_info([Item("a", 1)], file_tree=None), {}))

    @pytest.mark.parametrize("tree", [5, b"x", [], {}, {b"a": {}}, {b"a": 5}, {b"a": {b"": 5}}])
    def test_file_trees_that_are_none(self, tree: Any) -> None:
        refused(torrent(v2_info([], file_tree=tree), {}))

    def test_a_node_that_is_file_and_folder(self) -> None:
        tree = file_tree([Item("a", 1)], PIECE)[0]
        tree[b"a"][b"b"] = {b"": {b"length": 0}}
        refused(torrent(v2_info([], file_tree=tree), {}), "a")

    def test_a_file_at_the_root_of_the_tree(self) -> None:
        refused(torrent(v2_info([], file_tree={b"": {b"length": 0}}), {}))

    def test_no_files(self) -> None:
        refused(v1([]))
        refused(v2([]))
        refused(v1([pad(5)]))

    @pytest.mark.parametrize(
        "files", [5, b"x", {}, [5], [[]], [b"x"], [{}], [{b"length": 1}], [{b"path": [b"a"]}]]
    )
    def test_files_that_are_none(self, files: Any) -> None:
        refused(torrent(v1_info([Item("a", 1)], files=files)))

    def test_neither_files_nor_length(self) -> None:
        refused(torrent(v1_info([Item("a", 1)], files=None)))

    @pytest.mark.parametrize("path", [5, b"a", {}, [], [5], [[b"a"]], [b"a", 5]])
    def test_paths_that_are_none(self, path: Any) -> None:
        files = [{b"length": 1, b"path": path}]
        refused(torrent(v1_info([Item("a", 1)], files=files)))


HUGE_PIECE = 1 << 28
LARGEST_FILE = 1 << 48
LARGEST_SUM = 1 << 50
MOST_PIECES = 4 * 1024 * 1024


class TestRefusedSizes:
    @every_format
    @pytest.mark.parametrize("size", [-1, -(1 << 63), b"5", None, []])
    def test_sizes_that_are_none(self, make: Any, size: Any) -> None:
        if make is v2:
            tree = {b"evil": {b"": with_key({b"pieces root": b"r" * 32}, b"length", size)}}
            info = v2_info([], file_tree=tree)
        elif make is v1:
            info = v1_info([Item("a", 1)])
            info[b"files"].append(with_key({b"path": [b"evil"]}, b"length", size))
        else:
            info = hybrid_info([Item("a", 1), Item("evil", 1)])
            info[b"files"][2] = with_key({b"path": [b"evil"]}, b"length", size)
        refused(torrent(info, {}), "evil")

    @pytest.mark.parametrize("size", [-1, b"5", []])
    def test_size_of_a_single_file(self, size: Any) -> None:
        refused(torrent(v1_single(length=size)))

    def test_a_negative_pad(self) -> None:
        items = [Item("a", 5), pad(-5), Item("b", 5)]
        refused(torrent(v1_info(items, pieces=b"h" * 20)))

    def test_largest_file(self) -> None:
        for size in (LARGEST_FILE - 1, LARGEST_FILE):
            assert parse_metainfo(v1([Item("a", size)], HUGE_PIECE)).total_size == size
        refused(v1([Item("large", LARGEST_FILE + 1)], HUGE_PIECE), "large")

    def test_largest_file_v2(self) -> None:
        items = [Item("a", LARGEST_FILE)]
        assert parse_metainfo(v2(items, HUGE_PIECE)).total_size == LARGEST_FILE
        refused(v2([Item("large", LARGEST_FILE + 1)], HUGE_PIECE), "large")

    def test_largest_sum(self) -> None:
        items = [Item(str(index), LARGEST_FILE) for index in range(4)]
        assert parse_metainfo(v1(items, HUGE_PIECE)).total_size == LARGEST_SUM
        assert refused(v1([*items, Item("x", 1)], HUGE_PIECE))

    def test_largest_piece(self) -> None:
        assert parse_metainfo(v1([Item("a", 1)], HUGE_PIECE)).piece_length == HUGE_PIECE
        assert refused(v1([Item("a", 1)], HUGE_PIECE + 1))

    def test_sum_counts_pads(self) -> None:
        items = [Item("a", 1), *(pad(LARGEST_FILE) for _ in range(4))]
        assert refused(v1(items, HUGE_PIECE))

    def test_sizes_beyond_64_bits(self) -> None:
        for size in (1 << 63, 1 << 64, 10**1000):
            refused(torrent(v1_info([Item("a", 1)], files=[{b"length": size, b"path": [b"a"]}])))
            refused(torrent(v1_single(length=size)))

    @pytest.mark.parametrize(
        "pieces", [b"", b"h" * 19, b"h" * 21, b"h" * 39, b"h" * 60, 5, [], None]
    )
    @pytest.mark.parametrize("make", [v1, hybrid])
    def test_pieces_do_not_match_the_size(self, make: Any, pieces: Any) -> None:
        assert refused(make([Item("a", PIECE + 1)], pieces=pieces), "piece")

    def test_most_pieces(self) -> None:
        info = v1_single(size=MOST_PIECES, piece_length=1)
        assert parse_metainfo(torrent(info)).num_pieces == MOST_PIECES
        refused(torrent(v1_single(size=MOST_PIECES + 1, piece_length=1)), "piece")

    def test_most_pieces_v2(self) -> None:
        items = [Item("a", MOST_PIECES * BLOCK), Item("b", 1)]
        tree = {
            item.raw_path[0]: {b"": {b"length": item.size, b"pieces root": b"r" * 32}}
            for item in items
        }
        refused(torrent(v2_info([], BLOCK, file_tree=tree), {}), "piece")


class TestRefusedHashTrees:
    """BEP 52: everything that can be checked without content is checked."""

    ITEMS = (Item("a", 5), Item("d/large", 3 * PIECE))
    makers = pytest.mark.parametrize("make", [v2_info, hybrid_info])

    @pytest.mark.parametrize("root", [None, b"", b"r" * 31, b"r" * 33, 5, []])
    @makers
    def test_roots(self, make: Any, root: Any) -> None:
        tree, layers = file_tree(self.ITEMS, PIECE)
        for path, leaf in (("a", tree[b"a"]), ("d/large", tree[b"d"][b"large"])):
            kept = leaf[b""]
            leaf[b""] = with_key(kept, b"pieces root", root)
            refused(torrent(make(self.ITEMS, file_tree=tree), layers), path)
            leaf[b""] = kept

    @makers
    def test_missing_layers(self, make: Any) -> None:
        refused(torrent(make(self.ITEMS), {}), "d/large")
        refused(torrent(make(self.ITEMS)))
        refused(torrent(make(self.ITEMS), {b"x" * 32: b"y" * 96}), "d/large")

    @pytest.mark.parametrize("layers", [5, b"x", []])
    @makers
    def test_layers_that_are_none(self, make: Any, layers: Any) -> None:
        refused(torrent(make(self.ITEMS), layers))

    @pytest.mark.parametrize(
        "change",
        [
            lambda layer: layer[:-1],
            lambda layer: layer + b"x",
            lambda layer: layer[:-32],
            lambda layer: layer + bytes(32),
            lambda layer: layer[32:] + layer[:32],
            lambda layer: bytes([layer[0] ^ 1]) + layer[1:],
            lambda layer: layer[:-1] + bytes([layer[-1] ^ 1]),
            lambda _layer: b"",
            lambda _layer: 5,
            lambda _layer: [],
        ],
        ids=[
            "short", "long", "hash short", "hash long", "swapped", "first bit", "last bit", "empty",
            "number", "list",
        ],
    )  # fmt: skip
    @makers
    def test_wrong_layers(self, make: Any, change: Any) -> None:
        layers = file_tree(self.ITEMS, PIECE)[1]
        wrong = {root: change(layer) for root, layer in layers.items()}
        refused(torrent(make(self.ITEMS), wrong), "d/large")

    def test_a_layer_that_fits_another_size(self) -> None:
        """Two files cannot share a root unless they have equally many pieces."""
        tree, layers = file_tree([Item("a", 3 * PIECE)], PIECE)
        root = tree[b"a"][b""][b"pieces root"]
        tree[b"b"] = {b"": {b"length": 4 * PIECE, b"pieces root": root}}
        refused(torrent(v2_info([], file_tree=tree), layers), "b")

    def test_layers_of_many_shapes(self) -> None:
        for count in (2, 3, 4, 5, 7, 8, 9, 31, 32, 33):
            for piece_length in (BLOCK, 4 * BLOCK):
                manifest = parse_metainfo(v2([Item("a", count * piece_length)], piece_length))
                assert len(manifest.pieces_of(0)) == count


class TestRefusedHybrids:
    """A client that goes by one half would make other files than one that goes by the other."""

    ITEMS = (Item("a", 5), Item("b", PIECE + 1), Item("c", 0), Item("d/e", 7))

    def refuses(self, files: list[Item], *mentions: str) -> None:
        size = sum(item.size for item in files)
        info = hybrid_info(
            self.ITEMS,
            files=v1_info(files)[b"files"],
            pieces=b"h" * (20 * -(-size // PIECE)),
        )
        refused(torrent(info, file_tree(self.ITEMS, PIECE)[1]), *mentions)

    def test_these_would_be_fine(self) -> None:
        agrees_with_libtorrent(hybrid(self.ITEMS))

    def test_another_path(self) -> None:
        self.refuses(with_pads([Item("z", 5), *self.ITEMS[1:]], PIECE))
        self.refuses(with_pads([Item("A", 5), *self.ITEMS[1:]], PIECE))
        self.refuses(with_pads([*self.ITEMS[:3], Item("d/f", 7)], PIECE), "d/")

    def test_another_size(self) -> None:
        self.refuses(with_pads([Item("a", 6), *self.ITEMS[1:]], PIECE), "a")
        self.refuses(with_pads([Item("a", 0), *self.ITEMS[1:]], PIECE), "a")

    def test_another_order(self) -> None:
        self.refuses(with_pads([self.ITEMS[1], self.ITEMS[0], *self.ITEMS[2:]], PIECE))

    def test_the_order_that_libtorrent_makes_and_refuses(self) -> None:
        """Its ``create_torrent`` sorts v1 files by whole paths, where ``.`` comes before ``/``."""
        items = [Item("sub/d", 5), Item("sub.e", 5)]
        files = v1_info(with_pads(reversed(items), PIECE))[b"files"]
        data = hybrid(items, files=files)
        with pytest.raises(RuntimeError, match="does not match"):
            libtorrent_view(data)
        refused(data, "sub.e", "sub/d")

    def test_one_file_more_or_less(self) -> None:
        self.refuses(with_pads([*self.ITEMS, Item("z", 1)], PIECE))
        self.refuses(with_pads([*self.ITEMS, Item("z", 0)], PIECE))
        self.refuses(with_pads(self.ITEMS[:-1], PIECE))
        self.refuses(with_pads([*self.ITEMS[:2], self.ITEMS[3]], PIECE))

    def test_no_alignment(self) -> None:
        self.refuses(list(self.ITEMS))

    def test_wrong_alignment(self) -> None:
        self.refuses([self.ITEMS[0], pad(PIECE - 6), *self.ITEMS[1:]])
        self.refuses([pad(PIECE), *with_pads(self.ITEMS, PIECE)])
        self.refuses([self.ITEMS[0], pad(2 * PIECE - 5), *with_pads(self.ITEMS[1:], PIECE)])

    def test_a_link_in_one_half_only(self) -> None:
        files = [*with_pads(self.ITEMS[:2], PIECE), Item("c", target="a"), self.ITEMS[3]]
        self.refuses(files, "c")

    def test_links_to_different_targets(self) -> None:
        items = [Item("a", 1), Item("l", target="a")]
        info = hybrid_info(items)
        info[b"files"][-1][b"symlink path"] = [b"b"]
        refused(torrent(info, {}), "l")

    def test_a_single_file_of_another_name(self) -> None:
        info = v1_single(b"root", 5) | v2_info([Item("other", 5)], name=b"root")
        refused(torrent(info, {}))

    def test_a_single_file_and_a_tree_of_two(self) -> None:
        info = v1_single(b"a", 5) | v2_info([Item("a", 5), Item("b", 0)], name=b"a")
        refused(torrent(info, {}))


# --- names --------------------------------------------------------------------------------

OUT_OF_TREE = {
    "empty": b"",
    "dot": b".",
    "parent": b"..",
    "separator": b"x/y",
    "absolute": b"/etc",
    "nul": b"x\0y",
    "nul only": b"\0",
    "not utf-8": b"\xff\xfe",
    "latin-1": "é".encode("latin-1"),
    "overlong dot": b"\xc0\xae\xc0\xae",
    "surrogate": b"\xed\xa0\x80",
    "256 bytes": b"x" * 256,
    "256 bytes of two each": "é".encode() * 128,
}
bad_names = pytest.mark.parametrize("name", OUT_OF_TREE.values(), ids=OUT_OF_TREE.keys())

TORSYNC_NAMES = [
    ".torsync",
    ".TORSYNC",
    ".TorSync",
    "\uff0e\uff54\uff4f\uff52\uff53\uff59\uff4e\uff43",
    ".tor\u017fync",
    "\u2024torsync",
]

WINDOWS_NAMES = [
    "CON", "con", "PRN", "AUX", "NUL", "nul.txt", "NUL.tar.gz", "Aux.h", "COM1", "com9.x", "LPT1",
    "lpt9", "x.", "x ", "x..", "...", " ", "a<b", "a>b", "a:b", "C:", "a:stream", 'a"b', "a|b",
    "a?b", "a*b", "a\\b", "..\\x", "\\x", "a\x01b", "a\nb", "\x1f",
]  # fmt: skip
FINE_FOR_WINDOWS = [
    "CONSOLE", "con1", "xnul", "COM10", "COM0", "LPT", "COM", "x.y", " x", ".hid", "a'b", "a;b",
    "é", "日本", "..x", "a b", "LPT10", "nul_", "auxiliary.txt", "-", "~", "a%b",
]  # fmt: skip


def with_raw_path(make: Any, path: list[bytes]) -> bytes:
    """A torrent of one file with these path components, as they are."""
    if make is v1:
        return torrent(v1_info([Item("x", 1)], files=[{b"length": 1, b"path": path}]))
    tree: dict[bytes, Any] = {b"": {b"length": 1, b"pieces root": b"r" * 32}}
    for component in reversed(path):
        tree = {component: tree}
    if make is v2:
        return torrent(v2_info([], file_tree=tree), {})
    info = hybrid_info([Item("x", 1)], file_tree=tree)
    info[b"files"][0][b"path"] = path
    return torrent(info, {})


class TestNames:
    @every_format
    @bad_names
    def test_refused_anywhere_in_a_path(self, make: Any, name: bytes) -> None:
        refused(with_raw_path(make, [b"folder", name]), "folder")
        refused(with_raw_path(make, [name, b"inside"]))
        refused(with_raw_path(make, [b"folder", name, b"inside"]), "folder")
        refused(with_raw_path(make, [name]))

    def test_the_message_names_the_entry(self) -> None:
        assert ".." in refused(v1([Item("ok", 1), Item("some/../where", 1)]), "some", "where")

    @bad_names
    def test_refused_as_name_of_a_single_file(self, name: bytes) -> None:
        refused(torrent(v1_single(name)))

    def test_a_single_file_without_a_name(self) -> None:
        refused(torrent(with_key(v1_single(), b"name", None)))
        refused(torrent(with_key(v1_single(), b"name", 5)))

    @every_format
    @bad_names
    def test_root_names_do_no_harm_as_labels(self, make: Any, name: bytes) -> None:
        manifest = parse_metainfo(make([Item("a", 1), Item("b", 1)], name=name))
        assert [entry.path for entry in manifest.files] == ["a", "b"]
        manifest.name.encode()
        assert "\0" not in manifest.name

    def test_root_name_is_decoded_with_replacement(self) -> None:
        data = v1([Item("a", 1), Item("b", 1)], name=b"pack\xff \x1b[31m\nred\x7f\xc2\x9b")
        name = parse_metainfo(data).name
        assert name.startswith("pack\ufffd ")
        assert not any(unicodedata.category(char) == "Cc" for char in name)

    @every_format
    @pytest.mark.parametrize(
        "name", ["\\", "a\\b", "..\\x", "C:\\x", "con", "a\nb", "x.", "~", "..."]
    )
    def test_ordinary_on_posix(self, make: Any, name: str) -> None:
        assert paths_of(make([Item(f"d/{name}", 1)])) == [f"d/{name}"]
        assert paths_of(make([Item(name, 1)])) == [name]

    @every_format
    @pytest.mark.parametrize("name", WINDOWS_NAMES, ids=ascii)
    def test_refused_on_windows(self, make: Any, name: str) -> None:
        for path in (f"d/{name}", f"{name}/f", name):
            data = make([Item(path, 1)])
            assert paths_of(data) == [path]
            refused(data, windows=True)

    @pytest.mark.parametrize("name", WINDOWS_NAMES, ids=ascii)
    def test_single_file_refused_on_windows(self, name: str) -> None:
        data = torrent(v1_single(name.encode()))
        assert paths_of(data) == [name]
        refused(data, windows=True)

    @every_format
    @pytest.mark.parametrize("name", FINE_FOR_WINDOWS, ids=ascii)
    def test_fine_on_windows(self, make: Any, name: str) -> None:
        assert paths_of(make([Item(f"d/{name}", 1)]), windows=True) == [f"d/{name}"]
        assert paths_of(make([Item(name, 1)]), windows=True) == [name]

    def test_root_name_as_a_label_needs_no_windows_name(self) -> None:
        assert paths_of(v1([Item("a", 1), Item("b", 1)], name=b"nul"), windows=True) == ["a", "b"]

    @every_format
    @pytest.mark.parametrize("name", TORSYNC_NAMES, ids=ascii)
    def test_torsyncs_own_folder_is_refused(self, make: Any, name: str) -> None:
        refused(make([Item(f"{name}/marker", 1)]))
        refused(make([Item(name, 1)]))

    @pytest.mark.parametrize("name", TORSYNC_NAMES, ids=ascii)
    def test_torsyncs_own_folder_is_refused_as_single_file(self, name: str) -> None:
        refused(torrent(v1_single(name.encode())))

    @every_format
    def test_torsync_deeper_down_is_an_ordinary_name(self, make: Any) -> None:
        paths = ["a/.torsync/x", "torsync/x", ".torsync2/x", ".torsyn/c"]
        assert sorted(paths_of(make([Item(p, 1) for p in sorted(paths)]))) == sorted(paths)

    @every_format
    def test_longest_component(self, make: Any) -> None:
        for name in ("x" * 255, "é" * 127 + "x", "d/" + "x" * 255):
            assert paths_of(make([Item(name, 1)])) == [name]

    @every_format
    def test_longest_path(self, make: Any) -> None:
        path = "/".join(["x" * 199] * 20)  # 3,999 bytes
        assert paths_of(make([Item(path, 1)])) == [path]
        assert paths_of(make([Item(path + "y", 1)])) == [path + "y"]
        refused(make([Item(path + "yy", 1)]))
        refused(make([Item(path[:-2] + "éé", 1)]))

    @every_format
    def test_deepest_path(self, make: Any) -> None:
        path = "/".join("x" * 100)
        assert paths_of(make([Item(path, 1)])) == [path]
        refused(make([Item(path + "/x", 1)]))


class TestNamesThatMeet:
    def test_exact_and_case_duplicates_as_libtorrent_numbers_them(self) -> None:
        data = v1([Item(p, 1) for p in ["a.txt", "a.txt", "A.txt", "a.txt"]])
        agrees_with_libtorrent(data)
        assert paths_of(data) == ["a.txt", "a.1.txt", "A.2.txt", "a.3.txt"]

    @pytest.mark.parametrize(
        ("paths", "expected"),
        [
            (["a", "a"], ["a", "a.1"]),
            (["a", "A"], ["a", "A.1"]),
            ([".hid", ".HID"], [".hid", ".1.HID"]),
            (["x.tar.gz", "X.tar.gz"], ["x.tar.gz", "X.tar.1.gz"]),
            (["d.x/f", "D.x/f"], ["d.x/f", "D.x/f.1"]),
            (["a.1", "a", "a"], ["a.1", "a", "a.2"]),
            (["a", "a.1", "a"], ["a", "a.1", "a.2"]),
            (["a", "a/b"], ["a.1", "a/b"]),
            (["a/b", "a"], ["a/b", "a.1"]),
            (["a/b", "A"], ["a/b", "A.1"]),
            (["A/b/c", "a/B"], ["A/b/c", "a/B.1"]),
            (["a", "a", "a/b"], ["a.1", "a.2", "a/b"]),
            (["a/b/c", "a/b", "a"], ["a/b/c", "a/b.1", "a.1"]),
            (["a.txt", "a.txt/x"], ["a.1.txt", "a.txt/x"]),
            (["A/b", "a/c"], ["A/b", "a/c"]),
        ],
        ids=str,
    )
    def test_renamed_as_libtorrent_does(self, paths: list[str], expected: list[str]) -> None:
        data = v1([Item(path, 1) for path in paths])
        agrees_with_libtorrent(data)
        assert paths_of(data) == expected

    @pytest.mark.parametrize(
        ("paths", "expected"),
        [
            (["\u00e9", "e\u0301"], ["\u00e9", "e\u0301.1"]),
            (["\u00e9", "\u00c9"], ["\u00e9", "\u00c9.1"]),
            (["stra\u00dfe.t", "STRASSE.T"], ["stra\u00dfe.t", "STRASSE.1.T"]),
            (["\u00e9/x", "E\u0301"], ["\u00e9/x", "E\u0301.1"]),
            (["\u00e9/x", "e\u0301/x"], ["\u00e9/x", "e\u0301/x.1"]),
        ],
        ids=ascii,
    )
    def test_unicode_twins_meet_too(self, paths: list[str], expected: list[str]) -> None:
        assert paths_of(v1([Item(path, 1) for path in paths])) == expected

    def test_compatibility_forms_do_not_meet(self) -> None:
        """No file system takes these for the same name."""
        paths = ["x\u00b2", "x2", "\uff41", "a"]
        assert paths_of(v1([Item(path, 1) for path in paths])) == paths

    def test_links_count_as_files(self) -> None:
        items = [Item("l", target="d"), Item("l/x", 1), Item("d/y", 1), Item("D/Y", target="l/x")]
        assert paths_of(v1(items)) == ["l.1", "l/x", "d/y", "D/Y.1"]

    def test_pad_files_meet_nothing(self) -> None:
        assert paths_of(v1([Item(".pad/5", 1), pad(5), Item("b", 1)])) == [".pad/5", "b"]
        assert paths_of(v1([Item(".pad", 1), pad(5), Item("b", 1)])) == [".pad", "b"]

    @pytest.mark.parametrize("make", [v2, hybrid])
    def test_case_twins_in_a_tree(self, make: Any) -> None:
        data = make([Item("A.txt", 1), Item("B/x", 1), Item("a.txt", 2), Item("b", 3)])
        agrees_with_libtorrent(data)
        assert paths_of(data) == ["A.txt", "B/x", "a.1.txt", "b.1"]

    def test_numbers_grow_as_long_as_they_have_to(self) -> None:
        paths = paths_of(v1([Item("a", 1)] * 1000))
        assert paths == ["a", *(f"a.{number}" for number in range(1, 1000))]

    @pytest.mark.parametrize(
        "name", ["x" * 255, "x" * 251 + ".txt", "/".join(["y" * 199] * 20)], ids=len
    )
    def test_a_suffix_cannot_break_the_limits(self, name: str) -> None:
        try:
            paths = paths_of(v1([Item(name, 1), Item(name, 1), Item(name, 1)]))
        except ManifestError:
            return
        assert len(set(paths)) == 3
        for path in paths:
            assert len(path.encode()) <= 4000
            assert all(len(part.encode()) <= 255 for part in path.split("/"))

    NAMES = st.sampled_from(["a", "A", "a.1", "A.1", "a.2", "b.x", "B.X", "b.1.x", ".h", ".1.h"])
    PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)

    @patient
    @given(st.lists(PATHS, min_size=1, max_size=10))
    @example(["a", "a", "a.1"])
    @example(["a", "a/a", "a.1/a"])
    def test_afterwards_no_two_meet(self, paths: list[str]) -> None:
        result = paths_of(v1([Item(path, 1) for path in paths]))
        folded = [path.casefold() for path in result]
        taken = set(folded)
        assert len(taken) == len(paths)
        for path in folded:
            parts = path.split("/")
            assert not taken & {"/".join(parts[:end]) for end in range(1, len(parts))}
        for before, after in zip(paths, result, strict=True):
            assert before.rpartition("/")[0] == after.rpartition("/")[0]

    @patient
    @given(st.lists(PATHS, min_size=1, max_size=8))
    def test_numbered_as_libtorrent_does(self, paths: list[str]) -> None:
        data = v1([Item(path, 1) for path in paths])
        view = libtorrent_view(data)
        theirs = [placed.path for placed in view.files]
        # libtorrent does not look ahead: ["a", "a", "a.1"] gives "a.1" twice
        renamed = {new.casefold() for old, new in zip(paths, theirs, strict=True) if old != new}
        assume(not renamed & {path.casefold() for path in paths})
        assert paths_of(data) == theirs


class TestMessages:
    """Each names the entry, what was expected and what was found."""

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"i5e", "expected a dictionary, found a int"),
            (b"de", "it has no info dictionary"),
            (v1([]), "it lists no files"),
            (v1([Item("a", 1)], pieces=5), "its pieces must be a string of SHA-1 hashes"),
            (
                bencode2.bencode({b"info": v2_info([Item("a", 1)]), b"piece layers": 5}),
                "its piece layers must be a dictionary",
            ),
            (
                torrent(with_key(v1_info([Item("a", 1)]), b"piece length", None)),
                "the info dictionary has no number as its piece length",
            ),
            (
                v1([Item("a", 1)], HUGE_PIECE + 1),
                "the piece length must be 1 to 268435456, found 268435457",
            ),
            (
                v2([Item("a", 1)], 20000),
                (
                    "the piece length of a v2 torrent must be a power of two of at least 16384, "
                    "found 20000"
                ),
            ),
            (
                torrent(v2_info([Item("a", 1)], meta_version=3)),
                "its meta version is 3; versions 1 and 2 are known",
            ),
            (v1([Item("a", 1)], files=5), "its files must be a list"),
            (v1([Item("a", 1)], files=[5]), "a file entry must be a dictionary, found a int"),
            (
                v1([Item("a", 1)], files=[{b"path": [b"a"]}]),
                "'a' has no number as its length",
            ),
            (
                v1([Item("a", 1)], files=[{b"path": [b"a"], b"length": -1}]),
                "the length of 'a' must be 0 to 281474976710656, found -1",
            ),
            (
                v1([Item("a", 1), pad(-1)], pieces=b""),
                "the length of a pad file must be 0 to 281474976710656, found -1",
            ),
            (
                v1([Item("l", 5, target="a")]),
                "the symbolic link 'l' has a length",
            ),
            (
                v1([Item("l", target="..")]),
                (
                    "the target of the link 'l': in '..' the name '..' is no name for a file: "
                    "it could leave the tree"
                ),
            ),
            (
                v1([Item("a", PIECE + 1)], pieces=b"h" * 20),
                "32769 bytes in pieces of 32768 need 40 bytes of hashes, found 20",
            ),
            (
                v1([Item(str(index), LARGEST_FILE) for index in range(5)], HUGE_PIECE, pieces=b""),
                "it describes 1407374883553280 bytes; at most 1125899906842624 are accepted",
            ),
            (
                torrent(v1_single(size=MOST_PIECES + 1, piece_length=1, pieces=b"")),
                "it has 4194305 pieces; at most 4194304 are accepted",
            ),
            (torrent(v2_info([Item("a", 1)], file_tree=None)), "a v2 torrent needs a file tree"),
            (
                v1([Item("_____padding_file_0", -1)], pieces=b""),
                "the length of a pad file must be 0 to 281474976710656, found -1",
            ),
            (
                torrent(v2_info([], file_tree={b"a": {b"": {b"length": 1}}}), {}),
                "'a' has no pieces root",
            ),
            (torrent(v2_info([], file_tree={b"a": {}})), "the file tree is broken at 'a'"),
            (
                torrent(v2_info([], file_tree={b"a": {b"": {}, b"b": {}}})),
                "'a' is both a file and a folder in the file tree",
            ),
            (
                torrent(v2_info([Item("a", PIECE + 1)])),
                "'a' needs a piece layer of 64 bytes, found nothing",
            ),
            (
                torrent(
                    v2_info([Item("a", PIECE + 1)]),
                    {tree_hashes("a", PIECE + 1, PIECE).root: bytes(32)},
                ),
                "'a' needs a piece layer of 64 bytes, found 32 bytes",
            ),
            (
                torrent(
                    v2_info([Item("a", PIECE + 1)]),
                    {tree_hashes("a", PIECE + 1, PIECE).root: bytes(64)},
                ),
                "the piece layer of 'a' does not lead to its pieces root",
            ),
            (
                torrent(
                    hybrid_info([Item("a", 1)], files=v1_info([Item("a", 1), Item("b")])[b"files"]),
                    {},
                ),
                "its v1 half lists 2 files, its v2 half 1",
            ),
            (
                torrent(hybrid_info([Item("a", 1)], files=v1_info([Item("b", 1)])[b"files"]), {}),
                "its v1 and v2 halves disagree: 'b' of 1 bytes at 0 against 'a' of 1 bytes at 0",
            ),
        ],
    )
    def test_messages(self, data: bytes, problem: str) -> None:
        with pytest.raises(ManifestError) as caught:
            parse_metainfo(data)
        assert caught.value.problem == problem


# --- size ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "hybrid"])
def test_two_hundred_thousand_files_fit_in_half_a_gigabyte(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "large.torrent"
    write_torrent(path, kind, 200_000)
    measured = measure(path)
    assert measured.files == 200_000
    assert measured.peak_bytes < 500 * 1000 * 1000
