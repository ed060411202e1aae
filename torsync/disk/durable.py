"""Files that are whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_durably(target: Path, data: bytes) -> None:
    """Write beside, fsync, rename, fsync the folder: the file is there whole or not at all.

    Raises:
        OSError: that was not possible; what was there is as it was.
    """
    temporary = target.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
