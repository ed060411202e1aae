"""Whole pieces prove where content of a large file went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.authored import author, of_contents
from tests.support.trees import random_bytes, write_tree
from torsync.disk.tree import Tree
from torsync.model.config import TorrentFormat
from torsync.model.hints.cover import Cover
from torsync.model.hints.matching import Unit, groups_in
from torsync.model.hints.regions import windows_over
from torsync.subscribe.shifts.old_files import OldFiles
from torsync.subscribe.shifts.proving import Prover

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torsync.model.manifest import Manifest

MIB = 1024**2
AVERAGE = 8192
CONTENT = random_bytes(20 * MIB, "content")


class Proof:
    """One wanted file, and what pieces prove of it."""

    def __init__(self, scratch: Path, old: bytes, new: bytes, piece: int, format_: str) -> None:
        """Prepare: the tree has the old file, and what is wanted of the new one."""
        root = write_tree(scratch, {"old": old, "new": new})
        contents = {"f": new}
        files, kind = of_contents(contents), TorrentFormat(format_)
        self.manifest: Manifest = author(files, contents, piece_length=piece, format=kind).manifest
        self.tree = Tree(root)
        entries = self.tree.scan().entries
        self.old, self.new = (
            OldFiles(
                self.tree, entries, [path], stopping=lambda: False, on_read=lambda _bytes: None
            )
            for path in ("old", "new")
        )
        self.cover = Cover()

    def groups(self) -> list[Unit]:
        """What truthful hints say of the wanted file."""
        return [
            unit
            for stretch in self.new.stretches(self.new.whole([0]), AVERAGE)
            for unit in groups_in(stretch)
        ]

    def run(self, groups: Sequence[Unit]) -> None:
        lacking = range(self.manifest.num_pieces)
        Prover(self.manifest, 0, lacking, self.old, AVERAGE).run(groups, [0], self.cover)

    def close(self) -> None:
        self.old.close()
        self.new.close()
        self.tree.close()

    def unproven(self) -> int:
        size = self.manifest.files[0].size
        return sum(end - start for start, end in self.cover.gaps(0, size))


@pytest.fixture
def proofs(tmp_path: Path) -> Iterator[list[Proof]]:
    made: list[Proof] = []
    yield made
    for proof in made:
        proof.close()


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_all_pieces_are_proven_but_those_that_were_edited(
    tmp_path: Path, proofs: list[Proof], format_: str
) -> None:
    edits = (3 * MIB, 4 * MIB + 5, 11 * MIB, 19 * MIB)
    parts = [CONTENT[: edits[0]]]
    for start, end in zip(edits, (*edits[1:], len(CONTENT)), strict=True):
        parts += [b"edit", CONTENT[start:end]]
    new = b"".join(parts)
    proof = Proof(tmp_path, CONTENT, new, 64 * 1024, format_)
    proofs.append(proof)
    groups = proof.groups()
    proof.run(groups)
    small_regions = 4 * MIB  # where two edits are so close, nobody looks for what is in between
    assert proof.unproven() <= small_regions + len(edits) * 2 * 64 * 1024
    assert {run.shift for run in proof.cover} >= {0, -8, -12}
    for start, end, _source, shift in proof.cover:
        assert CONTENT[start + shift : end + shift] == new[start:end]
    assert proof.old.bytes_read <= 2 * len(CONTENT)


def test_content_before_the_first_and_behind_the_last_window_is_proven(
    tmp_path: Path, proofs: list[Proof]
) -> None:
    proof = Proof(tmp_path, CONTENT[: 3 * MIB], b"x" + CONTENT[: 3 * MIB], 64 * 1024, "v1")
    proofs.append(proof)
    proof.run(proof.groups())
    assert proof.unproven() == 64 * 1024
    (run,) = proof.cover
    assert (run.start, run.end, run.shift) == (64 * 1024, 3 * MIB + 1, -1)


def test_groups_that_lie_cost_a_bounded_number_of_pieces(
    tmp_path: Path, proofs: list[Proof]
) -> None:
    piece = 4 * MIB
    proof = Proof(tmp_path, CONTENT, random_bytes(len(CONTENT), "new"), piece, "v1")
    proofs.append(proof)
    true = [
        unit
        for stretch in proof.old.stretches(proof.old.whole([0]), AVERAGE)
        for unit in groups_in(stretch)
    ]
    lies, at = [], 0
    for unit in sorted(true, key=lambda unit: unit.digest):
        lies.append(Unit(at, unit.length, unit.digest))
        at += unit.length
    before = proof.old.bytes_read
    proof.run(lies)
    windows = sum(window.length for window in windows_over(0, len(CONTENT)))
    assert len(true) > 100
    assert proof.old.bytes_read - before <= windows + (2 + 8 + 5) * piece
    assert len(proof.cover) == 0


def test_when_too_much_was_tried_in_vain_no_piece_is_read_any_more(
    tmp_path: Path, proofs: list[Proof], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torsync.subscribe.shifts.proving._SPARE_FAILURES", -10_000)
    proof = Proof(tmp_path, CONTENT, b"x" + CONTENT, 64 * 1024, "v1")
    proofs.append(proof)
    proof.run(proof.groups())
    assert len(proof.cover) == 0
    windows = sum(window.length for window in windows_over(0, len(CONTENT)))
    assert proof.old.bytes_read == windows
