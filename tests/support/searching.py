"""Searches for moved content in a tree on disk, for a release whose content is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.authored import author, of_contents
from tests.support.hinted import CountingSource, entries_of, hints_file
from tests.support.torrents import make_raw
from tests.support.trees import write_tree
from torsync.disk.tree import Tree
from torsync.model.config import CleanMode, TorrentFormat
from torsync.model.hints.chunks import CELL_BYTES
from torsync.model.metainfo import parse_metainfo
from torsync.model.shifts import lacking_ranges
from torsync.subscribe.look import take_look
from torsync.subscribe.shifts.search import find_shifts
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torsync.model.events import Event
    from torsync.model.manifest import Manifest
    from torsync.model.plan import Plan
    from torsync.model.shifts import Shifts

PIECE = 64 * 1024


@dataclass
class Searched:
    """A tree with old content, a release, and what a search in the tree found."""

    root: Path
    contents: Mapping[str, bytes]
    manifest: Manifest
    plan: Plan
    source: CountingSource
    shifts: Shifts
    events: list[Event] = field(default_factory=list)

    def found(self, path: str) -> bytearray:
        """One byte per byte of a wanted file, 1 where it was found."""
        known = bytearray(len(self.contents[path]))
        for run in self.shifts.runs.get(self.manifest.by_path[path], ()):
            known[run.offset : run.offset + run.length] = b"\1" * run.length
        return known

    def lacking(self, path: str) -> int:
        """Bytes of a wanted file that would have to be fetched and were not found."""
        known = self.found(path)
        ranges = lacking_ranges(self.plan).get(self.manifest.by_path[path], [])
        return sum(length - sum(known[start : start + length]) for start, length in ranges)

    def assert_sound(self) -> None:
        """Runs are inside of files, where something is lacking, and none overlap."""
        lacking = lacking_ranges(self.plan)
        for index, runs in self.shifts.runs.items():
            allowed = bytearray(self.manifest.files[index].size)
            for start, length in lacking[index]:
                first = start // CELL_BYTES * CELL_BYTES
                end = min(-(-(start + length) // CELL_BYTES) * CELL_BYTES, len(allowed))
                allowed[first:end] = b"\1" * (end - first)
            done = 0
            for run in runs:
                assert done <= run.offset
                done = run.offset + run.length
                assert run.offset < done <= len(allowed)
                assert allowed.count(1, run.offset, done) == run.length
                assert run.source_offset >= 0
                size = (self.root / run.path).stat().st_size
                assert run.source_offset + run.length <= size

    def assert_right(self) -> None:
        """Runs are sound, and have the wanted bytes."""
        self.assert_sound()
        for index, runs in self.shifts.runs.items():
            content = self.contents[self.manifest.files[index].path]
            for run in runs:
                with (self.root / run.path).open("rb") as old:
                    old.seek(run.source_offset)
                    found = old.read(run.length)
                assert found == content[run.offset : run.offset + run.length]


def look_and_plan(root: Path, manifest: Manifest) -> Plan:
    """Plan an update of a tree of which nothing is remembered."""
    tree = Tree(root)
    try:
        look = take_look(
            tree,
            manifest,
            {},
            Voice("pack", lambda _event: None),
            keep=lambda _path: False,
            trust_ledger=True,
            stopping=lambda: False,
        )
    finally:
        tree.close()
    return look.plan(keep=lambda _path: False, clean=CleanMode.MIRROR)


def search(
    scratch: Path,
    old: Mapping[str, bytes],
    new: Mapping[str, bytes],
    *,
    piece_length: int = PIECE,
    format: str = "v1",  # noqa: A002
    hints: Callable[[bytes], bytes] = bytes,
    fails_at: int = -1,
    stopping: Callable[[], bool] = lambda: False,
    meanwhile: Callable[[Path], None] = lambda _root: None,
) -> Searched:
    """Write old content into a tree, and look there for that of a release.

    Args:
        scratch: an empty folder.
        old: content by path.
        new: content by path.
        piece_length: of the release, in bytes.
        format: of the release; ``unaligned`` is v1 with one file right after the other.
        hints: makes something else of the publisher's hints.
        fails_at: the request for hints from which on there is no answer.
        stopping: asked by the search.
        meanwhile: done to the tree after it was looked at.
    """
    root = write_tree(scratch / "tree", old)
    written = write_tree(scratch / "new", new)
    if format == "unaligned":
        raw = make_raw(new, piece_size=piece_length, roots=True)
        manifest = parse_metainfo(raw, windows=False)
    else:
        files, kind = of_contents(new), TorrentFormat(format)
        manifest = author(files, new, piece_length=piece_length, format=kind).manifest
    data = hints(hints_file(entries_of(written, manifest)))
    source = CountingSource(data, fails_at=fails_at)
    plan = look_and_plan(root, manifest)
    meanwhile(root)
    events: list[Event] = []
    tree = Tree(root)
    try:
        voice = Voice("pack", events.append)
        shifts = find_shifts(tree, plan, source, voice=voice, stopping=stopping)
    finally:
        tree.close()
    return Searched(root, new, manifest, plan, source, shifts, events)
