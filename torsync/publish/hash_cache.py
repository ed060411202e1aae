"""Stand-in, to be replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class HashCache:
    """Stand-in."""

    def __init__(self, file: Path, *, on_new: Callable[[str, str], None]) -> None:
        self.file = file
        self.on_new = on_new

    def close(self) -> None:
        """Stand-in."""
