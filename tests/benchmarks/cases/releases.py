"""Folders that go back and forth between the releases of one tree."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.caches import empty_caches
from tests.benchmarks.measure import BenchmarkError, DiskMeter, assert_equal_trees, read_tree
from tests.benchmarks.publisher import Publisher
from tests.benchmarks.trees import differing_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.base import Contestant
    from tests.benchmarks.measure import Run
    from tests.benchmarks.publisher import Published
    from tests.benchmarks.table import Row

FORMAT = "packed"


@dataclass
class Releases:
    """Published releases of one tree, and a folder of each contestant.

    A contestant's folder is brought to the old release by the contestant itself, untimed: a
    copied tree would be another one to whoever looks at inodes and change times. All URLs that
    are polled stay the same; what is behind them is replaced.

    Attributes:
        piece_size: in bytes; 0 has torsync choose, where it publishes.
        format: of the torrents of those contestants that do not ask for one.
        disk: a mounted file system for the contestants' folders, which nobody else writes to, so
            that what an update takes of it can be told; None for a folder in ``scratch``.
    """

    publisher: Publisher
    scratch: Path
    options: Options
    piece_size: int
    format: str = FORMAT
    disk: Path | None = None
    _offers: dict[tuple[Path, str], Published] = field(default_factory=dict)
    _places: dict[str, Path] = field(default_factory=dict)
    _at: dict[str, Path] = field(default_factory=dict)
    _changed: dict[tuple[Path, Path], set[str]] = field(default_factory=dict)
    _places_made: int = 0

    def published(self, contestant: Contestant, release: Path) -> Published:
        """The release in the contestant's format."""
        format_ = contestant.format or self.format
        if (release, format_) not in self._offers:
            self._offers[release, format_] = self.publisher.offer(
                release, piece_size=self.piece_size, format=format_, polled_as=format_
            )
        return self._offers[release, format_]

    def update(
        self,
        row: Row,
        contestant: Contestant,
        old: Path,
        new: Path,
        is_first: bool,
        *,
        cold: bool = False,
    ) -> None:
        """Measure the update of a folder that is in sync with ``old``; the first is compared."""
        if (old, new) not in self._changed:
            self._changed[old, new] = differing_paths(old, new)
        changed = self._changed[old, new]
        place = self._bring_to(contestant, old)
        self._compare(contestant, old, changed)
        contestant.forget_past(self.published(contestant, old), place)
        self._settle(contestant, old)
        published = self.published(contestant, new)
        published.make_current()
        self._calm_down(contestant, new, changed, cold=cold)
        row.runs.append(self._watched(contestant, published, place))
        self._at[_key(contestant)] = new
        contestant.tidy(published, place)
        self._compare(contestant, new, None if is_first else changed)
        row.compared += is_first

    def check(
        self,
        row: Row,
        contestant: Contestant,
        release: Path,
        is_first: bool,
        *,
        cold: bool = False,
    ) -> None:
        """Measure a check of a folder, at whatever release it is; it gets ``release`` first."""
        release = self._at.get(_key(contestant), release)
        place = self._bring_to(contestant, release)
        self._calm_down(contestant, release, set(), cold=cold)
        row.runs.append(contestant.sync(self.published(contestant, release), place))
        if is_first:
            self._compare(contestant, release, None)
            row.compared += 1

    def forget(self, *, but: frozenset[str] = frozenset()) -> None:
        """Remove the folders of all other contestants: there are larger ones to come."""
        for key in self._places.keys() - but:
            shutil.rmtree(self._places.pop(key))
            del self._at[key]

    def _watched(self, contestant: Contestant, published: Published, place: Path) -> Run:
        if self.disk is None:
            return contestant.sync(published, place)
        with DiskMeter(self.disk) as meter:
            run = contestant.sync(published, place)
        return replace(run, extra_bytes=meter.extra_bytes)

    def _bring_to(self, contestant: Contestant, release: Path) -> Path:
        key = _key(contestant)
        published = self.published(contestant, release)
        if key not in self._places:
            self._places_made += 1
            place = (self.disk or self.scratch) / f"place{self._places_made}"
            place.mkdir()
            published.make_current()
            contestant.prepare(published, place)
            self._places[key] = place
        elif self._at[key] != release:
            published.make_current()
            contestant.prepare(published, self._places[key])
            contestant.tidy(published, self._places[key])
        self._at[key] = release
        return self._places[key]

    def _settle(self, contestant: Contestant, release: Path) -> None:
        """What was just synced gets older, and is checked again, as between two releases.

        Time stamps of the very moment in which a record was made prove nothing about a file.
        """
        if not contestant.remembers:
            return
        # Nothing is waited for here but time itself.
        time.sleep(self.options.settle_s)
        place = self._places[_key(contestant)]
        run = contestant.sync(self.published(contestant, release), place)
        if run.fetched_bytes:
            raise BenchmarkError(f"{contestant.name} fetched {run.fetched_bytes} bytes again")

    def _compare(self, contestant: Contestant, release: Path, contents: set[str] | None) -> None:
        published = self.published(contestant, release)
        tree = contestant.tree(self._places[_key(contestant)], published)
        assert_equal_trees(tree, release, without=contestant.leftovers, contents=contents)

    def _calm_down(
        self, contestant: Contestant, new: Path, changed: set[str], *, cold: bool
    ) -> None:
        """Nobody pays for what another one left to be written, or finds other files cold."""
        place = self._places[_key(contestant)]
        if cold:
            empty_caches([place, new], how=self.options.empty_by)
            return
        read_tree(contestant.tree(place, self.published(contestant, new)))
        read_tree(new, changed)
        os.sync()


@contextmanager
def published_releases(
    options: Options,
    *,
    piece_size: int,
    format: str = FORMAT,  # noqa: A002  the configuration's word
) -> Iterator[Releases]:
    """Releases, to be written to ``scratch``, until the block ends; all is removed with it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as name:
        scratch = Path(name)
        offered = scratch / "offered"
        offered.mkdir()
        with Publisher(offered) as publisher:
            yield Releases(publisher, scratch, options, piece_size, format)


def _key(contestant: Contestant) -> str:
    return contestant.folder_of or contestant.name
