"""How much is measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from tests.benchmarks.caches import FILES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Options:
    """How much is measured.

    Attributes:
        scale: everything is so many times smaller than the full size.
        repeat: how often each contestant takes its turn.
        checks: how often it does where nothing has changed, which is short.
        format: of the torrents of the cases about one release.
        only: names of contestants; empty for all.
        folder: where everything is made, in folders that are removed again.
        packages: where archives from registries are kept; None for the user's cache.
        files: of the trees that differ in it, those with so many at full size; empty for all.
        settle_s: how old a synced folder has to be before an update of it is measured.
        all: contestants that differ little from others, or are slow, take part, too.
        patience_s: a contestant that has taken so long in a case has no further turn in it.
        ends_s: by ``clock``; no further case is begun after that.
        empty_by: how caches are emptied, as ``caches.empty_caches`` calls it.
    """

    scale: int = 1
    repeat: int = 3
    checks: int = 5
    format: str = "v1"
    only: tuple[str, ...] = ()
    folder: Path | None = None
    packages: Path | None = None
    files: tuple[int, ...] = ()
    settle_s: float = 2.5
    all: bool = True
    patience_s: float = inf
    ends_s: float = inf
    clock: Callable[[], float] = time.monotonic
    empty_by: str = FILES

    @property
    def is_late(self) -> bool:
        """Whether no further case is to be begun."""
        return self.clock() >= self.ends_s

    def has_files(self, full: int) -> bool:
        """Whether trees that have so many files at full size are measured."""
        return not self.files or full in self.files

    def scaled(self, full: int, *, least: int = 1) -> int:
        """The size for this run."""
        return max(full // self.scale, least)

    def goals(self, **goals: float) -> dict[str, float]:
        """Goals, which count at the full size only; spaces are written as underscores."""
        if self.scale != 1:
            return {}
        return {name.replace("_", " "): most for name, most in goals.items()}
