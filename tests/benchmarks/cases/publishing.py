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
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases.turns import judge, take_turns
from tests.benchmarks.contestants.authors import Mktorrent, Torf, TorsyncAuthor
from tests.benchmarks.measure import BenchmarkError, file_sizes, read_tree
from tests.benchmarks.table import Row
from tests.benchmarks.trees import write_mixed_tree, write_small_tree
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.authors import AuthorContestant

_LARGE_FILES, _LARGE_BYTES, _LARGE_PIECE = 300, 2 * 1024**3, 1024**2
_SMALL_FILES, _SMALL_PIECE = 100_000, 64 * 1024
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

    def first(self, row: Row, contestant: AuthorContestant, is_last: bool) -> None:
        """Publish it where nothing is known of it."""
        place = self._place(contestant)
        shutil.rmtree(place)
        place.mkdir()
        self._publish(row, contestant, is_last)

    def prepare(self, contestant: AuthorContestant) -> None:
        """Publish it, and once more when its files are older: what was just written is doubtful."""
        for _ in range(2):
            self._edit(0)
            time.sleep(self.options.settle_s)  # nothing is waited for here but time itself
            self._publish(Row("(preparation)", contestant.name), contestant, is_last=False)

    def next(self, row: Row, contestant: AuthorContestant, is_last: bool, *, more: int) -> None:
        """Publish it after one file has changed."""
        self._edit(more)
        self._publish(row, contestant, is_last)

    def _publish(self, row: Row, contestant: AuthorContestant, is_last: bool) -> None:
        place = self._place(contestant)
        torrent = place / "release.torrent"
        torrent.unlink(missing_ok=True)
        read_tree(self.root)
        os.sync()
        row.runs.append(contestant.publish(self.root, place, self.piece_size))
        if is_last:
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


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure the wanted ones of ``first-release`` and ``next-release``."""
    rows: list[Row] = []
    if not {"first-release", "next-release"} & set(wanted):
        return rows
    files, size = options.scaled(_LARGE_FILES, least=3), options.scaled(_LARGE_BYTES)
    write = partial(write_mixed_tree, files=files, total=size)
    # The others hash everything again; for 100,000 files they take minutes.
    again = (TorsyncAuthor, Mktorrent)
    rows += _of_folder(write, _LARGE_PIECE, files, wanted, options, 0.5, again)
    if "next-release" in wanted:
        files = options.scaled(_SMALL_FILES, least=3)
        write = partial(write_small_tree, files=files)
        rows += _of_folder(write, _SMALL_PIECE, files, {"next-release"}, options, 2.0, again[:1])
    return rows


def _of_folder(
    write: Callable[[Path], None],
    piece_size: int,
    files: int,
    wanted: Collection[str],
    options: Options,
    most_s: float,
    again: tuple[type[AuthorContestant], ...],
) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="publish-", dir=options.folder) as name:
        root = Path(name) / "release"
        write(root)
        folder = PublishedFolder(root, Path(name), piece_size, options)
        every: tuple[AuthorContestant, ...] = (TorsyncAuthor(), Torf(), Mktorrent())
        able = [one for one in every if not options.only or one.name in options.only]
        if "first-release" in wanted:
            first = [_row("first-release", one) for one in able]
            turns = [(row, partial(folder.first, row, one)) for row, one in _pairs(first, able)]
            take_turns(turns, options.repeat)
            goals = options.goals(ratio=1.0)
            judge(first, reference=Mktorrent.name, goals={TorsyncAuthor.name: goals})
            rows += first
        if "next-release" in wanted:
            able = [one for one in able if isinstance(one, again)]
            for one in able:
                if isinstance(one, TorsyncAuthor):
                    folder.prepare(one)
            for what, more in (("same size", 0), ("other size", _LONGER_BY)):
                found = [_row(f"next-release, {files:,}, {what}", one) for one in able]
                turns = [
                    (row, partial(folder.next, row, one, more=more))
                    for row, one in _pairs(found, able)
                ]
                take_turns(turns, options.repeat)
                goals = options.goals(seconds=most_s)
                judge(found, reference=Mktorrent.name, goals={TorsyncAuthor.name: goals})
                rows += found
    return rows


def _row(case: str, contestant: AuthorContestant) -> Row:
    obstacle = contestant.obstacle()
    return Row(case, contestant.name, obstacle or contestant.note, takes_part=not obstacle)


def _pairs(rows: list[Row], able: list[AuthorContestant]) -> list[tuple[Row, AuthorContestant]]:
    return list(zip(rows, able, strict=True))


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
