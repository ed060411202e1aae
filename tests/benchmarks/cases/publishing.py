"""How long a release takes to make: the first one, and one in which a single file has changed."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha1
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks.caches import empty_caches
from tests.benchmarks.cases.turns import judge, take_turns
from tests.benchmarks.contestants.authors import (
    BareAuthor,
    CasyncAuthor,
    Mktorrent,
    Torf,
    TorsyncAuthor,
)
from tests.benchmarks.measure import BenchmarkError, file_sizes, read_tree
from tests.benchmarks.table import Row
from tests.benchmarks.trees import write_mixed_tree, write_small_tree
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.authors import AuthorContestant

_LARGE_FILES, _LARGE_BYTES, _LARGE_PIECE = 300, 2 * 1024**3, 1024**2
_SMALL_PIECE = 64 * 1024
_LONGER_BY = 100


@dataclass
class PublishedFolder:
    """A folder that is published again and again, by several contestants in turn."""

    root: Path
    scratch: Path
    piece_size: int
    options: Options
    _edits: int = 0
    _places: dict[str, Path] = field(default_factory=dict)

    def first(
        self, row: Row, contestant: AuthorContestant, is_first: bool, *, cold: bool = False
    ) -> None:
        """Publish it where nothing is known of it."""
        place = self._place(contestant)
        shutil.rmtree(place)
        place.mkdir()
        self._publish(row, contestant, is_first, cold=cold)

    def prepare(self, contestant: AuthorContestant) -> None:
        """Publish it, and once more when its files are older: what was just written is doubtful."""
        for _ in range(2):
            self._edit(0)
            time.sleep(self.options.settle_s)  # nothing is waited for here but time itself
            self._publish(Row("(preparation)", contestant.name), contestant, is_first=False)

    def next(self, row: Row, contestant: AuthorContestant, is_first: bool, *, more: int) -> None:
        """Publish it after one file has changed."""
        self._edit(more)
        self._publish(row, contestant, is_first)

    def _publish(
        self, row: Row, contestant: AuthorContestant, is_first: bool, *, cold: bool = False
    ) -> None:
        place = self._place(contestant)
        torrent = place / "release.torrent"
        torrent.unlink(missing_ok=True)
        if cold:
            empty_caches([self.root], how=self.options.empty_by)
        else:
            read_tree(self.root)
            os.sync()
        row.runs.append(contestant.publish(self.root, place, self.piece_size))
        if is_first and contestant.makes_torrent:
            _check(torrent.read_bytes(), self.root)
            row.compared += 1

    def _place(self, contestant: AuthorContestant) -> Path:
        if contestant.name not in self._places:
            place = self.scratch / f"place{len(self._places)}"
            place.mkdir()
            self._places[contestant.name] = place
        return self._places[contestant.name]

    def _edit(self, more: int) -> None:
        """Give the file in the middle other content; it gets longer by ``more``."""
        self._edits += 1
        sizes = file_sizes(self.root)
        path = sorted(sizes)[len(sizes) // 2]
        size = sizes[path] + more
        (self.root / path).write_bytes(random.Random(self._edits).randbytes(size))


class _Size(NamedTuple):
    """A folder that is published.

    Attributes:
        files: how many.
        piece_size: in bytes.
        write: writes it.
        next_s: how long a release with one changed file shall take at most.
        authors: who makes a first release of it.
        again: who makes the next one; all but torsync hash everything once more.
    """

    files: int
    piece_size: int
    write: Callable[[Path], None]
    next_s: float
    authors: tuple[AuthorContestant, ...]
    again: tuple[AuthorContestant, ...]


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure the wanted ones of ``first-release`` and ``next-release``."""
    if not {"first-release", "next-release"} & set(wanted):
        return []
    return [row for size in _sizes(options) for row in _of_folder(size, wanted, options)]


def _sizes(options: Options) -> list[_Size]:
    large, many, most = (
        options.scaled(_LARGE_FILES, least=3),
        options.scaled(10_000, least=4),
        options.scaled(100_000, least=10),
    )
    write_large = partial(write_mixed_tree, files=large, total=options.scaled(_LARGE_BYTES))
    write_many, write_most = (partial(write_small_tree, files=files) for files in (many, most))
    own, libtorrent, mktorrent, casync = TorsyncAuthor(), BareAuthor(), Mktorrent(), CasyncAuthor()
    # To compress 2 GiB takes casync a minute; mktorrent and torf take minutes for so many files.
    every = (own, libtorrent, mktorrent, Torf())
    large_too = (*every, casync) if options.all else every
    sizes = {
        _LARGE_FILES: _Size(large, _LARGE_PIECE, write_large, 0.5, large_too, (own, mktorrent)),
        10_000: _Size(many, _SMALL_PIECE, write_many, inf, (*every, casync), (own, mktorrent)),
        100_000: _Size(most, _SMALL_PIECE, write_most, 2.0, (own, libtorrent, casync), (own,)),
    }
    return [size for full, size in sizes.items() if options.has_files(full)]


def _of_folder(size: _Size, wanted: Collection[str], options: Options) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="publish-", dir=options.folder) as name:
        root = Path(name) / "release"
        size.write(root)
        folder = PublishedFolder(root, Path(name), size.piece_size, options)
        if "first-release" in wanted:
            case = f"first-release, {size.files:,}"
            goals = options.goals(ratio=1.0) if size.piece_size == _LARGE_PIECE else {}
            rows += _turns(case, size.authors, folder.first, options, goals)
            if size.piece_size == _LARGE_PIECE:
                cold = (size.authors[0], Mktorrent())
                rows += _turns(f"{case}, cold", cold, partial(folder.first, cold=True), options)
        if "next-release" in wanted:
            able = [one for one in size.again if not options.only or one.name in options.only]
            for one in able:
                if isinstance(one, TorsyncAuthor):
                    folder.prepare(one)
            for what, more in (("same size", 0), ("other size", _LONGER_BY)):
                if more or options.all:
                    case = f"next-release, {size.files:,}, {what}"
                    do = partial(folder.next, more=more)
                    goals = options.goals(seconds=size.next_s) if size.next_s < inf else {}
                    rows += _turns(case, size.again, do, options, goals)
    return rows


def _turns(
    case: str,
    authors: Sequence[AuthorContestant],
    do: Callable[[Row, AuthorContestant, bool], None],
    options: Options,
    goals: dict[str, float] | None = None,
) -> list[Row]:
    able = [one for one in authors if not options.only or one.name in options.only]
    rows = [_row(case, one) for one in able]
    turns = [(row, partial(do, row, one)) for row, one in zip(rows, able, strict=True)]
    take_turns(turns, options.repeat, options)
    names = {row.contestant for row in rows}
    reference = Mktorrent.name if Mktorrent.name in names else BareAuthor.name
    judge(rows, reference=reference, goals={TorsyncAuthor.name: goals or {}})
    return rows


def _row(case: str, contestant: AuthorContestant) -> Row:
    obstacle = contestant.obstacle()
    return Row(case, contestant.name, obstacle or contestant.note, takes_part=not obstacle)


def _check(torrent: bytes, root: Path) -> None:
    """Hash every piece that a ``.torrent`` lists.

    Raises:
        BenchmarkError: it is not what is in the folder.
    """
    manifest = parse_metainfo(torrent)
    listed = {file.path: file.size for file in manifest.files}
    if listed != file_sizes(root):
        raise BenchmarkError("the torrent lists other files")
    for piece in range(manifest.num_pieces):
        found = sha1(usedforsecurity=False)
        for index, offset, length in manifest.segments(piece):
            if index is None:
                found.update(bytes(length))
                continue
            with (root / manifest.files[index].path).open("rb", buffering=0) as file:
                file.seek(offset)
                found.update(file.read(length))
        if found.digest() != manifest.v1_hash(piece):
            raise BenchmarkError(f"piece {piece} is wrong")
