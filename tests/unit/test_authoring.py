"""What is authored is what is parsed, by torsync, libtorrent and other clients."""

from __future__ import annotations

import os
import random
import subprocess
from hashlib import sha1, sha256
from typing import TYPE_CHECKING

import bencode2
import libtorrent as lt
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.support.authored import Authored, author, file_hashes, make_authored, of_contents
from tests.support.processes import wait_until
from tests.support.programs import require
from tests.support.torrents import make_libtorrent
from tests.support.trees import write_tree
from tests.unit.metainfo_samples import libtorrent_view
from torsync.model.authoring.content import NO_HASHES, FileHashes, PublishedFile
from torsync.model.authoring.layout import lay_out
from torsync.model.authoring.writer import Notes, write_info
from torsync.model.config import TorrentFormat
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.manifest import Manifest

KIB = 1024
BLOCK = 16 * KIB
PIECE = 32 * KIB
BOUNDARIES = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 90_000)

patient = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
every_format = pytest.mark.parametrize("format_", TorrentFormat)


def content(seed: object, size: int) -> bytes:
    return random.Random(repr(seed)).randbytes(size)


folder_names = st.sampled_from(["a", "a.d", "b", "é", "Z"])
file_names = st.sampled_from(["f", "a.txt", "f f", "ж.bin", "~", ".hidden", "zz", "10", "9"])
paths = st.tuples(st.lists(folder_names, max_size=3), file_names).map(
    lambda found: "/".join([*found[0], found[1]])
)


@st.composite
def published(draw: st.DrawFn) -> tuple[list[PublishedFile], dict[str, bytes]]:
    """Files in any order, with their contents."""
    files, contents = [], {}
    for path in draw(st.lists(paths, min_size=1, max_size=12, unique=True)):
        hidden, executable = draw(st.booleans()), draw(st.booleans())
        if draw(st.integers(0, 5)) == 0:
            target = draw(paths)
            files.append(PublishedFile(path, 0, 0, executable, hidden, target))
            continue
        size = draw(st.sampled_from(BOUNDARIES) | st.integers(0, 2 * PIECE))
        mtime_s = draw(st.integers(-5, 2**34) | st.just(0))
        files.append(PublishedFile(path, size, mtime_s, executable, hidden))
        contents[path] = content(path, size)
    return files, contents


notes = st.builds(
    Notes,
    trackers=st.lists(
        st.sampled_from(["http://a/announce", "udp://b:1/announce", "wss://c/", "no url"]),
        max_size=3,
    ).map(tuple),
    web_seeds=st.lists(st.sampled_from(["http://a/", "https://b/c/", "ftp://d/"]), max_size=2).map(
        tuple
    ),
    nodes=st.lists(
        st.tuples(st.sampled_from(["a.example", "::1"]), st.integers(1, 65535)), max_size=2
    ).map(tuple),
    comment=st.text(max_size=9),
    created_by=st.text(max_size=9),
    creation_date_s=st.none() | st.integers(0, 2**33),
    hints=st.sampled_from(["", "pack.torrent.hints", "a%20b.hints", "no url", "x" * 2049]),
)


def check_hashes(made: Authored, manifest: Manifest) -> None:
    """Every hash is that of the content where the manifest says that it lies."""
    contents = [made.contents.get(file.path, b"") for file in manifest.files]
    for piece in range(manifest.num_pieces if manifest.v1_hashes else 0):
        data = b"".join(
            bytes(length) if index is None else contents[index][offset : offset + length]
            for index, offset, length in manifest.segments(piece)
        )
        assert sha1(data).digest() == manifest.v1_hash(piece), piece
    for file, data in zip(manifest.files, contents, strict=True):
        assert file.size == len(data)
        if data:
            expected = file_hashes(data, manifest.piece_length, TorrentFormat.V2)
            assert file.pieces_root == expected.root
            if manifest.is_v2 and len(data) > manifest.piece_length:
                assert manifest.piece_layers[expected.root] == expected.layer


@every_format
@patient
@given(found=published(), said=notes, private=st.booleans())
@example(found=([PublishedFile("only", 5)], {"only": b"12345"}), said=Notes(), private=False)
@example(found=([PublishedFile("empty", 0)], {}), said=Notes(), private=False)
def test_what_is_authored_is_what_is_parsed(
    format_: TorrentFormat,
    found: tuple[list[PublishedFile], dict[str, bytes]],
    said: Notes,
    private: bool,
) -> None:
    files, contents = found
    made = author(
        files, contents, piece_length=PIECE, format=format_, private=private, notes=said, name="n é"
    )
    manifest = parse_metainfo(made.metainfo)
    assert made.manifest == manifest
    assert made.info.info_hash == manifest.info_hash
    assert made.layout.size == manifest.layout_size
    assert made.layout.num_pieces == manifest.num_pieces
    by_path = {file.path: file for file in files}
    assert {file.path for file in manifest.files} == by_path.keys()
    for entry in manifest.files:
        file = by_path[entry.path]
        assert (entry.size, entry.executable, entry.hidden, entry.link_target) == (
            *(file.size, file.executable, file.hidden, file.link_target),
        )
        assert (entry.mtime_s or 0) == max(file.mtime_s, 0)
    assert (manifest.private, manifest.name) == (private, "n é")
    check_hashes(made, manifest)


@every_format
@patient
@given(found=published())
def test_libtorrent_reads_it_alike(
    format_: TorrentFormat, found: tuple[list[PublishedFile], dict[str, bytes]]
) -> None:
    files, contents = found
    assume(any(contents.values()))  # it takes no torrent without a byte
    made = author(files, contents, piece_length=PIECE, format=format_)
    manifest, view = parse_metainfo(made.metainfo), libtorrent_view(made.metainfo)
    assert [(e.path, e.offset, e.size) for e in manifest.files] == view.files
    assert manifest.num_pieces == view.num_pieces
    assert (manifest.info_hash_v1, manifest.info_hash_v2) == (view.info_hash_v1, view.info_hash_v2)


@every_format
@patient
@given(found=published(), said=notes, shuffled=st.randoms(use_true_random=False))
def test_it_is_canonical_bencode_and_the_order_of_files_does_not_matter(
    format_: TorrentFormat,
    found: tuple[list[PublishedFile], dict[str, bytes]],
    said: Notes,
    shuffled: random.Random,
) -> None:
    files, contents = found
    made = author(files, contents, piece_length=PIECE, format=format_, notes=said)
    assert bencode2.bencode(bencode2.bdecode(made.metainfo)) == made.metainfo
    again = list(files)
    shuffled.shuffle(again)
    other = author(again, contents, piece_length=PIECE, format=format_, notes=said)
    assert other.metainfo == made.metainfo


@every_format
def test_times_trackers_and_comments_are_no_part_of_the_info_hash(format_: TorrentFormat) -> None:
    contents = {"a": b"1", "b/c": content(1, 100_000)}
    plain = author(of_contents(contents), contents, format=format_)
    dated = [file._replace(mtime_s=1_700_000_000) for file in of_contents(contents)]
    said = Notes(("udp://a:1",), ("http://b/",), (("c", 1),), "d", "e", 5, "f.hints")
    other = author(dated, contents, format=format_, notes=said)
    assert other.metainfo != plain.metainfo
    assert other.info == plain.info
    assert [file.mtime_s for file in parse_metainfo(other.metainfo).files] == [1_700_000_000] * 2


def test_a_file_has_the_same_hashes_wherever_it_lies() -> None:
    """The last file of a torrent is padded as well: nothing of a file hangs on its neighbours."""
    contents = {"b": content("b", 40_000)}
    alone = author(of_contents(contents), contents, piece_length=PIECE)
    contents |= {"a": b"before", "c": content("c", 50_000)}
    among = author(of_contents(contents), contents, piece_length=PIECE)
    own = alone.manifest.v1_hashes
    assert own == alone.hashes[0].v1
    assert among.manifest.v1_hashes[20:60] == own


@pytest.mark.parametrize("format_", ["v2", "hybrid"])
def test_libtorrent_makes_the_same_torrent_of_a_folder(tmp_path: Path, format_: str) -> None:
    sizes = {f"d/{size}": size for size in BOUNDARIES} | {"z": 5, "x/y/z": PIECE}
    entries = {path: content(path, size) for path, size in sizes.items()}
    folder = write_tree(tmp_path / "folder", entries)
    os.chmod(folder / "z", 0o755)
    ours = bencode2.bdecode(make_authored(folder, piece_size=PIECE, format=format_))
    theirs = bencode2.bdecode(make_libtorrent(folder, piece_size=PIECE, format=format_))
    assert ours[b"info"] == theirs[b"info"]
    assert ours[b"piece layers"] == theirs[b"piece layers"]


@every_format
def test_links_are_written_as_libtorrent_does(tmp_path: Path, format_: TorrentFormat) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_bytes(b"content")
    (folder / "sub/up").symlink_to("../link")
    (folder / "link").symlink_to("sub/file")
    theirs = bencode2.bdecode(make_libtorrent(folder, piece_size=BLOCK, format=format_.value))
    files = [
        PublishedFile("sub/file", 7),
        PublishedFile("sub/up", 0, executable=True, link_target="link"),
        PublishedFile("link", 0, executable=True, link_target="sub/file"),
    ]
    made = author(files, {"sub/file": b"content"}, format=format_, name="folder")
    ours = bencode2.bdecode(made.info.raw)
    for entry in ours.get(b"files", []):
        entry.pop(b"pieces root", None)
    assert ours == theirs[b"info"]


def test_clients_without_bep_47_see_names_that_do_not_clash_with_files() -> None:
    contents = {"a": content(1, PIECE + 1), "b": content(2, PIECE + 2)}
    made = author(of_contents(contents), contents, piece_length=PIECE)
    entries = bencode2.bdecode(made.info.raw)[b"files"]
    pads = [entry[b"path"] for entry in entries if b"p" in entry.get(b"attr", b"")]
    assert pads == [[b".pad", b"32767"], [b".pad", b"32766"]]


def some_folder() -> Authored:
    sizes = {f"small/{number:02}": 3000 for number in range(40)}
    sizes |= {"large/one.bin": 100_000, "large/two.bin": 2 * PIECE, "empty": 0}
    contents = {path: content(path, size) for path, size in sizes.items()}
    files = [
        *(file._replace(executable=file.path.endswith("5")) for file in of_contents(contents)),
        PublishedFile("link", 0, link_target="large/one.bin"),
    ]
    said = Notes(("http://127.0.0.1:1/announce",), (), (), "ein Ordner", "torsync", 1)
    return author(files, contents, piece_length=PIECE, notes=said, name="folder")


@pytest.mark.programs
def test_aria2_lists_the_files_of_a_packed_torrent(tmp_path: Path) -> None:
    program = require("aria2c")
    made = some_folder()
    (tmp_path / "made.torrent").write_bytes(made.metainfo)
    done = subprocess.run(
        [program, "-S", str(tmp_path / "made.torrent")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert f"Info Hash: {made.info.info_hash}" in done.stdout
    for file in made.layout.files:
        assert f"folder/{file.path}\n" in done.stdout


@pytest.mark.programs
def test_transmission_lists_the_files_of_a_packed_torrent(tmp_path: Path) -> None:
    program = require("transmission-show")
    made = some_folder()
    (tmp_path / "made.torrent").write_bytes(made.metainfo)
    done = subprocess.run(
        [program, str(tmp_path / "made.torrent")], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert made.info.info_hash in done.stdout
    for file in made.layout.files:
        assert f"folder/{file.path} (" in done.stdout


def test_libtorrent_finds_the_content_right(tmp_path: Path) -> None:
    """A full check by libtorrent of a packed torrent's files on disk finds every piece."""
    made = some_folder()
    write_tree(tmp_path / "folder", dict(made.contents))
    params = lt.load_torrent_buffer(made.metainfo, {})
    params.save_path = str(tmp_path)
    session = lt.session({"listen_interfaces": "127.0.0.1:0", "enable_dht": False})
    handle = session.add_torrent(params)
    wait_until(lambda: handle.status().is_seeding, "every piece is found right")


class TestHashesThatDoNotFit:
    """They are refused before anything is written with them."""

    @pytest.mark.parametrize("format_", [TorrentFormat.V2, TorrentFormat.HYBRID])
    def test_a_missing_layer(self, format_: TorrentFormat) -> None:
        layout = lay_out([PublishedFile("a", PIECE + 1)], PIECE, format_)
        with pytest.raises(ValueError, match="needs 64 bytes of layer, found 0"):
            write_info(layout, [FileHashes(bytes(32), b"", bytes(40))], name="x")

    @every_format
    def test_a_missing_root(self, format_: TorrentFormat) -> None:
        layout = lay_out([PublishedFile("a", 1)], PIECE, format_)
        with pytest.raises(ValueError, match="'a' of 1 bytes has a root of 0 bytes"):
            write_info(layout, [NO_HASHES], [bytes(20)], name="x")

    def test_missing_v1_hashes(self) -> None:
        layout = lay_out([PublishedFile("a", PIECE)], PIECE, TorrentFormat.V1)
        with pytest.raises(ValueError, match="1 pieces, but 0 bytes"):
            write_info(layout, [FileHashes(sha256().digest())], name="x")

    @pytest.mark.parametrize("piece_length", [0, BLOCK // 2, 3 * BLOCK, 1 << 29, -BLOCK])
    def test_a_piece_length_that_clients_refuse(self, piece_length: int) -> None:
        with pytest.raises(ValueError, match="power of two"):
            lay_out([], piece_length, TorrentFormat.V1)
