"""The arithmetic of files and pieces, checked against a byte-by-byte map."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torsync.model.manifest import FileEntry, Manifest, Segment
from torsync.model.merkle import BLOCK_SIZE

PIECE = 16
ROOT = bytes(range(32))

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def manifest_of(*sizes: int, piece_length: int = PIECE, **changes: object) -> Manifest:
    """A v1 manifest of files ``0``, ``1``, … that lie side by side."""
    files = []
    offset = 0
    for index, size in enumerate(sizes):
        files.append(FileEntry(str(index), size, offset))
        offset += size
    values = {
        "name": "root",
        "info_hash_v1": b"1" * 20,
        "info_hash_v2": None,
        "piece_length": piece_length,
        "layout_size": offset,
        "files": tuple(files),
    }
    return Manifest(**(values | changes))  # type: ignore[arg-type]


def with_files(*files: FileEntry, layout_size: int, **changes: object) -> Manifest:
    return manifest_of(**({"files": files, "layout_size": layout_size} | changes))


class Mapped(NamedTuple):
    """A manifest, and for each byte of its piece space the file and the place in that file."""

    manifest: Manifest
    owners: list[tuple[int, int] | None]


@st.composite
def mapped_manifests(draw: st.DrawFn) -> Mapped:
    """Files with gaps before, between and after them; empty files and links anywhere."""
    owners: list[tuple[int, int] | None] = []
    files = []
    spans = draw(st.lists(st.tuples(st.sampled_from([0, 0, 1, 7, 30]), st.integers(0, 40))))
    for index, (gap, size) in enumerate(spans):
        owners += [None] * gap
        link = "0" if not size and draw(st.booleans()) else None
        files.append(FileEntry(f"d/{index}", size, len(owners), link_target=link))
        owners += [(index, place) for place in range(size)]
    owners += [None] * draw(st.integers(0, 20))
    return Mapped(
        with_files(
            *files, layout_size=len(owners), piece_length=draw(st.sampled_from([1, 2, 8, 16, 64]))
        ),
        owners,
    )


class TestPieces:
    @pytest.mark.parametrize(
        ("size", "sizes"),
        [
            (0, []),
            (1, [1]),
            (PIECE - 1, [PIECE - 1]),
            (PIECE, [PIECE]),
            (PIECE + 1, [PIECE, 1]),
            (2 * PIECE - 1, [PIECE, PIECE - 1]),
            (2 * PIECE, [PIECE, PIECE]),
            (2 * PIECE + 1, [PIECE, PIECE, 1]),
        ],
    )
    def test_only_the_last_piece_may_be_shorter(self, size: int, sizes: list[int]) -> None:
        manifest = manifest_of(size)
        assert manifest.num_pieces == len(sizes)
        assert [manifest.piece_size(piece) for piece in range(manifest.num_pieces)] == sizes

    @pytest.mark.parametrize(
        ("start", "size", "pieces"),
        [
            (0, 0, []),
            (0, 1, [0]),
            (0, PIECE - 1, [0]),
            (0, PIECE, [0]),
            (0, PIECE + 1, [0, 1]),
            (PIECE - 1, 0, []),
            (PIECE - 1, 1, [0]),
            (PIECE - 1, 2, [0, 1]),
            (PIECE, 0, []),
            (PIECE, 1, [1]),
            (PIECE, PIECE, [1]),
            (PIECE, PIECE + 1, [1, 2]),
            (PIECE + 1, PIECE - 2, [1]),
            (PIECE + 1, PIECE - 1, [1]),
            (PIECE + 1, PIECE, [1, 2]),
            (PIECE + 1, 2 * PIECE, [1, 2, 3]),
        ],
    )
    def test_pieces_of_a_file(self, start: int, size: int, pieces: list[int]) -> None:
        manifest = manifest_of(start, size, 100)
        assert list(manifest.pieces_of(1)) == pieces

    def test_a_link_has_no_pieces(self) -> None:
        manifest = with_files(
            FileEntry("a", 5, 0), FileEntry("l", 0, 5, link_target="a"), layout_size=5
        )
        assert list(manifest.pieces_of(1)) == []

    @pytest.mark.parametrize(
        ("before", "segments"),
        [
            (PIECE - 1, [[Segment(0, 0, 15), Segment(1, 0, 1)], [Segment(1, 1, 16)]]),
            (PIECE, [[Segment(0, 0, 16)], [Segment(1, 0, 16)], [Segment(1, 16, 1)]]),
            (
                PIECE + 1,
                [
                    [Segment(0, 0, 16)],
                    [Segment(0, 16, 1), Segment(1, 0, 15)],
                    [Segment(1, 15, 2)],
                ],
            ),
        ],
    )
    def test_segments_around_a_boundary(self, before: int, segments: list[list[Segment]]) -> None:
        manifest = manifest_of(before, PIECE + 1)
        assert [list(manifest.segments(p)) for p in range(manifest.num_pieces)] == segments

    def test_segments_name_padding_before_between_and_after_files(self) -> None:
        manifest = with_files(
            FileEntry("a", 2, 3),
            FileEntry("empty", 0, 8),
            FileEntry("b", 3, 10),
            layout_size=40,
        )
        assert list(manifest.segments(0)) == [
            Segment(None, 0, 3),
            Segment(0, 0, 2),
            Segment(None, 0, 5),
            Segment(2, 0, 3),
            Segment(None, 0, 3),
        ]
        assert list(manifest.segments(1)) == [Segment(None, 0, PIECE)]
        assert list(manifest.segments(2)) == [Segment(None, 0, 8)]
        assert [list(manifest.files_in(piece)) for piece in range(3)] == [[0, 2], [], []]

    @pytest.mark.parametrize(
        ("runs", "sent"),
        [
            ([(0, 4 * BLOCK_SIZE)], 4 * BLOCK_SIZE),
            ([(0, 1)], BLOCK_SIZE),
            ([(BLOCK_SIZE - 1, 2)], 2 * BLOCK_SIZE),
            ([(0, 10), (BLOCK_SIZE, 10)], 2 * BLOCK_SIZE),
            ([(0, 10), (3 * BLOCK_SIZE, BLOCK_SIZE + 1)], 2 * BLOCK_SIZE + 1),
        ],
    )
    def test_whole_blocks_are_sent_in_v1_and_bytes_of_files_in_v2(
        self, runs: list[tuple[int, int]], sent: int
    ) -> None:
        files = tuple(
            FileEntry(str(index), size, offset) for index, (offset, size) in enumerate(runs)
        )
        end = max(4 * BLOCK_SIZE, *(offset + size for offset, size in runs))
        v1 = with_files(*files, layout_size=end, piece_length=8 * BLOCK_SIZE, v1_hashes=b"h" * 20)
        assert v1.sent_bytes(0) == sent
        assert replace(v1, v1_hashes=b"").sent_bytes(0) == sum(size for _offset, size in runs)

    def test_a_layout_of_padding_alone_has_segments(self) -> None:
        manifest = with_files(layout_size=PIECE + 1)
        assert list(manifest.segments(0)) == [Segment(None, 0, PIECE)]
        assert list(manifest.segments(1)) == [Segment(None, 0, 1)]

    @patient
    @given(mapped_manifests())
    def test_segments_are_the_piece_space_byte_by_byte(self, mapped: Mapped) -> None:
        manifest, owners = mapped
        position = 0
        for piece in range(manifest.num_pieces):
            segments = list(manifest.segments(piece))
            assert sum(segment.length for segment in segments) == manifest.piece_size(piece)
            assert all(segment.length > 0 for segment in segments)
            for before, after in pairwise(segments):
                assert before.file_index is not None or after.file_index is not None
            for segment in segments:
                here = owners[position : position + segment.length]
                if segment.file_index is None:
                    assert here == [None] * segment.length
                    assert segment.file_offset == 0
                else:
                    first = segment.file_offset
                    assert here == [
                        (segment.file_index, place) for place in range(first, first + len(here))
                    ]
                position += segment.length
        assert position == len(owners)

    @patient
    @given(mapped_manifests())
    def test_pieces_of_and_files_in_agree_with_the_map(self, mapped: Mapped) -> None:
        manifest, owners = mapped
        length = manifest.piece_length
        for piece in range(manifest.num_pieces):
            here = owners[piece * length : (piece + 1) * length]
            assert list(manifest.files_in(piece)) == sorted({owner[0] for owner in here if owner})
        for index in range(len(manifest.files)):
            pieces = sorted(
                {at // length for at, owner in enumerate(owners) if owner and owner[0] == index}
            )
            assert list(manifest.pieces_of(index)) == pieces

    @patient
    @given(st.lists(st.integers(0, 40)), st.sampled_from([1, 8, 16]))
    def test_v2_pieces_hold_one_file_each(self, sizes: list[int], piece_length: int) -> None:
        files = []
        offset = 0
        for index, size in enumerate(sizes):
            files.append(FileEntry(str(index), size, offset))
            offset += -(-size // piece_length) * piece_length
        manifest = with_files(*files, layout_size=offset, piece_length=piece_length)
        for piece in range(manifest.num_pieces):
            assert len(list(manifest.files_in(piece))) == 1


class TestHashes:
    def test_v1_hash_of_each_piece(self) -> None:
        manifest = manifest_of(33, v1_hashes=b"a" * 20 + b"b" * 20 + b"c" * 20)
        assert [manifest.v1_hash(piece) for piece in range(3)] == [b"a" * 20, b"b" * 20, b"c" * 20]

    @pytest.mark.parametrize("size", [1, PIECE - 1, PIECE])
    def test_v2_hash_of_a_file_of_one_piece_is_its_root(self, size: int) -> None:
        manifest = with_files(FileEntry("a", size, 0, pieces_root=ROOT), layout_size=PIECE)
        assert manifest.v2_hash(0, 0) == ROOT

    @pytest.mark.parametrize(
        ("size", "count"), [(PIECE + 1, 2), (2 * PIECE - 1, 2), (2 * PIECE, 2), (2 * PIECE + 1, 3)]
    )
    def test_v2_hash_of_a_longer_file_is_in_its_layer(self, size: int, count: int) -> None:
        hashes = [bytes([piece]) * 32 for piece in range(count)]
        manifest = with_files(
            FileEntry("other", 1, 0, pieces_root=b"o" * 32),
            FileEntry("a", size, PIECE, pieces_root=ROOT),
            layout_size=PIECE + count * PIECE,
            piece_layers={ROOT: b"".join(hashes)},
        )
        assert len(manifest.pieces_of(1)) == count
        assert [manifest.v2_hash(1, piece) for piece in range(count)] == hashes

    def test_info_hash_prefers_v1(self) -> None:
        hybrid = manifest_of(1, info_hash_v1=b"\x01" * 20, info_hash_v2=b"\x02" * 32)
        assert hybrid.info_hash == "01" * 20
        assert hybrid.is_v2

    def test_info_hash_of_v2_only(self) -> None:
        manifest = manifest_of(1, info_hash_v1=None, info_hash_v2=b"\x02" * 32)
        assert manifest.info_hash == "02" * 32
        assert manifest.is_v2

    def test_v1_only_is_not_v2(self) -> None:
        assert not manifest_of(1).is_v2


class TestDigest:
    """Equal digests mean equal content; the converse holds where the publisher gave a digest."""

    @staticmethod
    def digest(**values: object) -> str:
        entry = FileEntry(**({"path": "a", "size": 5, "offset": 0} | values))  # type: ignore[arg-type]
        return with_files(entry, layout_size=PIECE, v1_hashes=b"h" * 20).digest(0)

    def test_roots_decide_whatever_the_place(self) -> None:
        here = self.digest(pieces_root=ROOT, sha1=b"s" * 20)
        assert here == self.digest(pieces_root=ROOT, path="b", offset=3, mtime_s=1, sha1=b"t" * 20)
        assert here != self.digest(pieces_root=bytes(32))

    def test_sha1_decides_with_the_size_whatever_the_place(self) -> None:
        here = self.digest(sha1=b"s" * 20)
        assert here == self.digest(sha1=b"s" * 20, path="b", offset=3)
        assert here != self.digest(sha1=b"t" * 20)
        assert here != self.digest(sha1=b"s" * 20, size=6)

    def test_empty_files_are_equal(self) -> None:
        assert self.digest(size=0) == self.digest(size=0, offset=4, path="b", sha1=b"s" * 20)
        assert self.digest(size=0) != self.digest(size=1)

    def test_links_are_equal_by_target_and_never_equal_a_file(self) -> None:
        link = self.digest(size=0, link_target="b")
        assert link == self.digest(size=0, link_target="b", path="c", offset=4)
        assert link != self.digest(size=0, link_target="c")
        assert link != self.digest(size=0)

    def test_kinds_of_digest_do_not_meet(self) -> None:
        kinds = [
            self.digest(pieces_root=b"s" * 32),
            self.digest(sha1=b"s" * 20),
            self.digest(),
            self.digest(size=0),
            self.digest(size=0, link_target="s" * 20),
        ]
        assert len(set(kinds)) == len(kinds)

    def test_what_ledgers_hold_is_written_as_ever(self) -> None:
        """Another text would have every file of every subscriber hashed again."""
        entry = FileEntry("a", 5, 3, pieces_root=b"r" * 32, sha1=b"s" * 20)
        manifest = with_files(
            entry,
            FileEntry("empty", 0, 8),
            FileEntry("l", 0, 8, link_target="d/é"),
            layout_size=PIECE,
            v1_hashes=b"h" * 20,
        )
        root, sha1 = f"root:{'72' * 32}:5", f"sha1:{'73' * 20}:5"
        v1 = f"v1:5:3:16:{sha256(b'h' * 20).hexdigest()}"
        assert list(manifest.digests(0)) == [root, sha1, v1]
        assert [manifest.digest(index) for index in range(3)] == [root, "empty", "link:d/é"]

    def test_v1_pieces_match_at_another_piece_with_the_same_place_in_it(self) -> None:
        old = manifest_of(3, 20, 9, v1_hashes=b"a" * 20 + b"b" * 20)
        new = manifest_of(16, 3, 20, 9, v1_hashes=b"x" * 20 + b"a" * 20 + b"b" * 20)
        assert old.digest(1) == new.digest(2)

    @pytest.mark.parametrize(
        ("sizes", "v1_hashes", "piece_length"),
        [
            ((3, 20, 9), b"a" * 20 + b"c" * 20, PIECE),
            ((3, 20, 9), b"c" * 20 + b"b" * 20, PIECE),
            ((4, 20, 8), b"a" * 20 + b"b" * 20, PIECE),
            ((3, 21, 8), b"a" * 20 + b"b" * 20, PIECE),
            ((3, 20, 9), b"a" * 20 + b"b" * 20, PIECE + 1),
        ],
        ids=["last piece", "first piece", "place", "size", "piece length"],
    )
    def test_v1_pieces_differ(
        self, sizes: tuple[int, ...], v1_hashes: bytes, piece_length: int
    ) -> None:
        old = manifest_of(3, 20, 9, v1_hashes=b"a" * 20 + b"b" * 20)
        new = manifest_of(*sizes, v1_hashes=v1_hashes, piece_length=piece_length)
        assert old.digest(1) != new.digest(1)

    def test_v1_pieces_beside_the_file_do_not_matter(self) -> None:
        old = manifest_of(16, 16, 16, v1_hashes=b"a" * 20 + b"b" * 20 + b"c" * 20)
        new = manifest_of(16, 16, 16, v1_hashes=b"x" * 20 + b"b" * 20 + b"y" * 20)
        assert old.digest(1) == new.digest(1)
        assert old.digest(0) != new.digest(0)


class TestNames:
    def test_by_path_finds_each_entry(self) -> None:
        manifest = manifest_of(1, 0, 2)
        assert manifest.by_path == {"0": 0, "1": 1, "2": 2}

    def test_folders_are_all_parents_of_files_and_links(self) -> None:
        manifest = with_files(
            FileEntry("top", 1, 0),
            FileEntry("a/b/c/file", 1, 1),
            FileEntry("a/b/other", 1, 2),
            FileEntry("l/link", 0, 3, link_target="top"),
            layout_size=3,
        )
        assert manifest.folders == {"a", "a/b", "a/b/c", "l"}

    def test_a_manifest_without_folders(self) -> None:
        assert manifest_of(1, 2).folders == frozenset()

    def test_sizes_count_no_padding(self) -> None:
        manifest = with_files(FileEntry("a", 2, 0), FileEntry("b", 3, 16), layout_size=32)
        assert manifest.total_size == 5
        assert manifest.layout_size == 32

    def test_bulky_hashes_stay_out_of_the_representation(self) -> None:
        manifest = manifest_of(1, v1_hashes=b"secretive" * 20, piece_layers={ROOT: b"bulky"})
        assert "secretive" not in repr(manifest)
        assert "bulky" not in repr(manifest)
