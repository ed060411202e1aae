"""What two manifests tell of single pieces: which are the same, which are somewhere else.

Where both have v2 hashes (BEP 52) of the same piece length, each piece of a file stands for
itself. Where they have v1 hashes in common (BEP 3), a piece can be compared if it covers the
same runs of the same files as before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torsync.model.assessment import Extent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torsync.model.known import Known
    from torsync.model.manifest import Manifest, Segment

Places = tuple[Extent, ...]
_MOST_PLACES = 4  # of one piece: zeros and the like can be everywhere
_FEW = 256  # hashes that are looked for one by one before a manifest is parsed
_WORTH_PER_FILE = 1024  # bytes that are hashed in less time than it takes to parse a file's entry


class PieceFinder:
    """Compares pieces of a wanted release with those of the synced one that are on disk."""

    def __init__(self, wanted: Manifest, known: Known) -> None:
        self._wanted = wanted
        self._known = known
        self._comparison: _Comparison | None = None
        self._chosen = False
        self._is_not_worth_it = False  # to parse the synced release for so few pieces

    def is_same(self, piece: int, segments: Sequence[Segment], paths: Sequence[str]) -> bool | None:
        """Whether a piece is right if its files' content is taken from ``paths``.

        Args:
            piece: of the wanted release.
            segments: of the piece.
            paths: one per segment; empty for padding.

        Returns:
            None if the manifests cannot tell.
        """
        comparison = None if self._is_not_worth_it else self._get()
        return None if comparison is None else comparison.is_same(piece, segments, paths)

    def places(self, pieces: Iterable[int]) -> dict[int, list[Places]]:
        """Find where unchanged files of the synced release hold the content of ``pieces``."""
        sought = list(pieces)
        if not sought:
            return {}
        if len(sought) <= _FEW and not self._is_any_mentioned(sought):
            to_hash = len(sought) * self._wanted.piece_length
            self._is_not_worth_it = len(self._wanted.files) * _WORTH_PER_FILE > to_hash
            return {}
        comparison = self._get()
        return {} if comparison is None else comparison.places(sought)

    def _is_any_mentioned(self, pieces: Iterable[int]) -> bool:
        """Whether the synced release has a hash of one of the pieces anywhere; cheap."""
        return self._known.mentions_any(
            digest for piece in pieces for digest in _hashes(self._wanted, piece)
        )

    def _get(self) -> _Comparison | None:
        if not self._chosen:
            self._comparison, self._chosen = self._choose(), True
        return self._comparison

    def _choose(self) -> _Comparison | None:
        wanted, synced = self._wanted, self._known.synced
        if synced is None or synced.piece_length != wanted.piece_length:
            return None
        if synced.is_v2 and wanted.is_v2:
            return _V2Comparison(wanted, synced, self._known)
        if synced.v1_hashes and wanted.v1_hashes:
            return _V1Comparison(wanted, synced, self._known)
        return None


def _hashes(manifest: Manifest, piece: int) -> Iterator[bytes]:
    if manifest.v1_hashes:
        yield manifest.v1_hash(piece)
    if manifest.is_v2:
        yield _v2_hash(manifest, piece)


def _v2_hash(manifest: Manifest, piece: int) -> bytes:
    """The hash of the one file that has bytes in a piece of a v2 layout."""
    segment = next(found for found in manifest.segments(piece) if found.file_index is not None)
    assert segment.file_index is not None
    return manifest.v2_hash(segment.file_index, segment.file_offset // manifest.piece_length)


class _Comparison(ABC):
    def __init__(self, wanted: Manifest, synced: Manifest, known: Known) -> None:
        self._wanted = wanted
        self._synced = synced
        self._known = known

    @abstractmethod
    def is_same(
        self, piece: int, segments: Sequence[Segment], paths: Sequence[str]
    ) -> bool | None: ...

    @abstractmethod
    def hash_of(self, piece: int) -> bytes:
        """What a piece of the wanted release is looked up by."""

    @abstractmethod
    def hashes(self) -> Iterator[tuple[bytes, Callable[[], Places]]]:
        """All hashes of the synced release, each with how to find its place."""

    def places(self, pieces: Iterable[int]) -> dict[int, list[Places]]:
        sought: dict[bytes, list[int]] = {}
        for piece in pieces:
            sought.setdefault(self.hash_of(piece), []).append(piece)
        known: dict[bytes, list[Places]] = {}
        for digest, locate in self.hashes():
            if digest in sought:
                places = known.setdefault(digest, [])
                if len(places) < _MOST_PLACES and (extents := locate()):
                    places.append(extents)
        return {
            piece: places for digest, places in known.items() if places for piece in sought[digest]
        }


class _V2Comparison(_Comparison):
    def is_same(self, piece: int, segments: Sequence[Segment], paths: Sequence[str]) -> bool | None:
        segment, path = next(
            (segment, path)
            for segment, path in zip(segments, paths, strict=True)
            if segment.file_index is not None
        )
        old = self._known.old_file(path)
        if old is None:
            return None
        number = segment.file_offset // self._wanted.piece_length
        if self._length(old, number) != segment.length:
            return None
        return self._synced.v2_hash(old, number) == self.hash_of(piece)

    def _length(self, index: int, number: int) -> int:
        """The bytes of one piece of a file of the synced release."""
        piece_length = self._synced.piece_length
        return min(piece_length, self._synced.files[index].size - number * piece_length)

    def hash_of(self, piece: int) -> bytes:
        return _v2_hash(self._wanted, piece)

    def hashes(self) -> Iterator[tuple[bytes, Callable[[], Places]]]:
        for index, _file in enumerate(self._synced.files):
            for number in range(len(self._synced.pieces_of(index))):

                def locate(index: int = index, number: int = number) -> Places:
                    return self._locate(index, number)

                yield self._synced.v2_hash(index, number), locate

    def _locate(self, index: int, number: int) -> Places:
        file = self._synced.files[index]
        if self._known.old_file(file.path) != index:
            return ()
        offset = number * self._synced.piece_length
        return (Extent(file.path, offset, self._length(index, number)),)


class _V1Comparison(_Comparison):
    def is_same(self, piece: int, segments: Sequence[Segment], paths: Sequence[str]) -> bool | None:
        old_piece = self._at_same_place(segments, paths)
        if old_piece is None:
            return None
        places = self._locate(old_piece)
        here = tuple(
            Extent(path, segment.file_offset, segment.length)
            for segment, path in zip(segments, paths, strict=True)
        )
        if places != here:
            return None
        return self._synced.v1_hash(old_piece) == self.hash_of(piece)

    def _at_same_place(self, segments: Sequence[Segment], paths: Sequence[str]) -> int | None:
        """The piece that began where the first file's run in this one did."""
        lead = 0
        for segment, path in zip(segments, paths, strict=True):
            if path:
                old = self._known.old_file(path)
                if old is None:
                    return None
                start = self._synced.files[old].offset + segment.file_offset - lead
                piece, off = divmod(start, self._wanted.piece_length)
                return piece if not off and 0 <= piece < self._synced.num_pieces else None
            lead += segment.length
        return None

    def hash_of(self, piece: int) -> bytes:
        return self._wanted.v1_hash(piece)

    def hashes(self) -> Iterator[tuple[bytes, Callable[[], Places]]]:
        for piece in range(self._synced.num_pieces):

            def locate(piece: int = piece) -> Places:
                return self._locate(piece)

            yield self._synced.v1_hash(piece), locate

    def _locate(self, piece: int) -> Places:
        """Where the bytes of a piece of the synced release are; empty if not all are there."""
        found = []
        for segment in self._synced.segments(piece):
            path = ""
            if segment.file_index is not None:
                path = self._synced.files[segment.file_index].path
                if self._known.old_file(path) != segment.file_index:
                    return ()
            found.append(Extent(path, segment.file_offset, segment.length))
        return tuple(found)
