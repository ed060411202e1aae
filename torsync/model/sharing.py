"""What hashing has shown serves other files, too: the second half of finding what is there.

Pieces tell whether the content of a file is where it was looked for. If it isn't, it may be
where another wanted file of the same content was found, or in a file that is read whole, to be
told by its digest.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from torsync.model.assessment import CERTAIN, Assessment, Here, Told
from torsync.model.known import kind_of_all, kind_of_digest
from torsync.model.names import in_private
from torsync.model.sources import give_out
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from torsync.model.assess import Matcher
    from torsync.model.tree_index import LedgerRow

_READ_FOR_ONE_FETCHED = 16  # bytes that are read rather than fetch one


class Sharing:
    """Finds the content of files that are not right where they were looked for.

    Attributes:
        lacking: these files.
    """

    def __init__(
        self, found: Assessment, hashed_good: Container[int], unreadable: Container[int] = ()
    ) -> None:
        """Prepare.

        Args:
            found: what stat and ledger tell.
            hashed_good: of its doubtful pieces, those whose content is right.
            unreadable: the wanted files that could not be read when they were to be hashed.
        """
        self._found = found
        self._wanted = found.wanted
        self._good = found.good_pieces(hashed_good)
        is_nothing_there = all(
            entry.kind is not Kind.FILE for entry in found.index.entries.values()
        )
        self.lacking = [
            index
            for index, here in enumerate(() if is_nothing_there else found.here)
            if (here is Here.ABSENT or here is Here.DOUBTFUL)
            and index not in unreadable
            and not self._has_all(index)
        ]

    def _has_all(self, index: int) -> bool:
        pieces = self._wanted.pieces_of(index)
        return all(self._good[pieces.start : pieces.stop])

    @cached_property
    def _holders(self) -> dict[str, list[str]]:
        """Digest → paths that have the content, of what is lacking."""
        wanted = self._wanted
        holders: dict[str, list[str]] = {wanted.digest(index): [] for index in self.lacking}
        sizes = {wanted.files[index].size for index in self.lacking}
        for index, path in self._places_of(sizes):
            paths = holders.get(wanted.digest(index))
            if paths is not None:
                paths.append(path)
        for index in self.lacking:
            if index in self._found.spares:
                holders[wanted.digest(index)].append(self._found.spares[index])
        return holders

    def _places_of(self, sizes: Container[int]) -> Iterator[tuple[int, str]]:
        """The files of some sizes whose content is known to be somewhere, and where."""
        found, entries = self._found, self._found.index.entries
        for index, (file, here) in enumerate(zip(self._wanted.files, found.here, strict=True)):
            if not file.size or file.size not in sizes:
                continue
            if here is Here.DOUBTFUL:
                entry = entries.get(found.source(index))
                is_there = entry is not None and entry.size == file.size and self._has_all(index)
            else:
                is_there = here in CERTAIN
            if is_there:
                yield index, found.source(index)

    def to_identify(self, ledger: Mapping[str, LedgerRow]) -> list[str]:
        """Choose the files to read whole, to know them by the kind of digest the release has.

        These are files of a lacking one's size of which nobody knows what they are, and those
        that are perhaps right where they are: each wrong piece has bytes of other files, too.
        It has to be worth it: not more is read than 16 times what would be fetched.

        Args:
            ledger: what torsync remembers, by path.
        """
        kind = kind_of_all(self._wanted)
        if not kind or not self._missing:
            return []
        budget = _READ_FOR_ONE_FETCHED * self._wanted.piece_length * len(self._missing)
        entries = self._found.index.entries
        chosen = []
        for path in dict.fromkeys([*self._perhaps_right(), *self._of_their_size()]):
            row, entry = ledger.get(path), entries[path]
            is_known = row is not None and row.vouches_for(entry)
            if is_known and row is not None and kind_of_digest(row.digest) == kind:
                continue
            if entry.size <= budget:
                budget -= entry.size
                chosen.append(path)
        return chosen

    @cached_property
    def _missing(self) -> set[int]:
        """The pieces that would have to be fetched."""
        return {
            piece
            for index in self.lacking
            for piece in self._wanted.pieces_of(index)
            if not self._good[piece] and piece not in self._found.elsewhere
        }

    def _perhaps_right(self) -> Iterator[str]:
        found, files = self._found, self._wanted.files
        for index in self.lacking:
            entry = found.entry(index)
            is_whole = entry is not None and entry.size == files[index].size
            is_looked_at = found.here[index] is Here.DOUBTFUL and index not in found.sources
            if is_whole and is_looked_at and not self._is_refuted(index):
                yield files[index].path

    def _is_refuted(self, index: int) -> bool:
        """Whether what was looked at has a wrong piece that is of no other file."""
        wanted = self._wanted
        wrong = (piece for piece in wanted.pieces_of(index) if not self._good[piece])
        return any(all(other == index for other in wanted.files_in(piece)) for piece in wrong)

    def _of_their_size(self) -> Iterator[str]:
        found, wanted = self._found, self._wanted
        seekers: dict[int, set[int]] = {}
        refuted: dict[str, set[int]] = {}
        for index in self.lacking:
            is_missed = not self._missing.isdisjoint(wanted.pieces_of(index))
            if is_missed and not self._holders[wanted.digest(index)]:
                seekers.setdefault(wanted.files[index].size, set()).add(index)
                if found.here[index] is Here.DOUBTFUL and self._is_refuted(index):
                    refuted.setdefault(found.source(index), set()).add(index)
        known = {path for _index, path in self._places_of(seekers)}
        known.update(wanted.files[index].path for index in found.unselected)
        for path, entry in found.index.entries.items():
            if entry.size not in seekers or entry.kind is not Kind.FILE or path in known:
                continue
            if path in found.index.problems or in_private(path):
                continue
            if seekers[entry.size] - refuted.get(path, set()):
                yield path

    def share(
        self,
        identified: Mapping[str, str],
        *,
        keep: Matcher,
        barred: Container[str] = (),
    ) -> Assessment:
        """Give what is lacking the content of files that have it.

        Args:
            identified: path → ``Manifest.digest`` of the files that were read whole.
            keep: paths that stay where they are.
            barred: paths that nothing is to be taken from.

        Returns:
            What is known now. Its doubtful pieces are those that have to be hashed again.
        """
        wanted, found = self._wanted, self._found
        holders = {digest: [*paths] for digest, paths in self._holders.items()}
        for path, digest in identified.items():
            if digest in holders:
                holders[digest].append(path)
        usable = {
            digest: sorted({path for path in paths if path not in barred})
            for digest, paths in holders.items()
        }
        here, sources = list(found.here), dict(found.sources)
        seekers = {}
        for index in self.lacking:
            paths = usable[wanted.digest(index)]
            if wanted.files[index].path in paths:
                here[index] = Here.RIGHT
                sources.pop(index, None)
            elif paths:
                seekers[index] = paths
        sources |= give_out(wanted, here, seekers, keep)
        changed = [index for index in self.lacking if here[index] in CERTAIN]
        told = self._told(here, changed)
        return replace(
            found,
            here=tuple(here),
            sources=sources,
            spares={},
            told=bytes(told),
            elsewhere={
                piece: extents
                for piece, extents in found.elsewhere.items()
                if told[piece] != Told.RIGHT.value
            },
        )

    def _told(self, here: Sequence[Here], changed: Iterable[int]) -> bytearray:
        """What is known of each piece once some files are certain that were not."""
        wanted, found = self._wanted, self._found
        told = bytearray(found.told)
        for piece in found.doubtful_pieces():
            told[piece] = (Told.RIGHT if self._good[piece] else Told.WRONG).value
        for piece in {piece for index in changed for piece in wanted.pieces_of(index)}:
            kinds = {here[index] for index in wanted.files_in(piece)}
            if kinds <= CERTAIN:
                told[piece] = Told.RIGHT.value
            elif told[piece] != Told.RIGHT.value and kinds <= {*CERTAIN, Here.DOUBTFUL}:
                told[piece] = Told.NOTHING.value
        return told

    def new_sources(self, shared: Assessment) -> set[str]:
        """The paths whose content was found to be that of lacking files; to be readable."""
        return {
            shared.source(index) for index in self.lacking if shared.here[index] is Here.ELSEWHERE
        }
