"""Stand-in, to be replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class HashCache:
    """Stand-in."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def close(self) -> None:
        """Stand-in."""
