"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        settle_s: how old a synced folder has to be before an update of it is measured.
    """

    scale: int = 1
    repeat: int = 3
    checks: int = 5
    format: str = "v1"
    only: tuple[str, ...] = ()
    folder: Path | None = None
    packages: Path | None = None
    settle_s: float = 2.5

    def scaled(self, full: int, *, least: int = 1) -> int:
        """The size for this run."""
        return max(full // self.scale, least)

    def goals(self, **goals: float) -> dict[str, float]:
        """Goals, which count at the full size only; spaces are written as underscores."""
        if self.scale != 1:
            return {}
        return {name.replace("_", " "): most for name, most in goals.items()}
