"""Files that torsync writes and, if nobody has edited them, writes anew or removes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from torsync.model.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

_FIRST = (
    "# Written by `torsync service install`, which writes it anew: edit with `systemctl edit`. "
)


def seal(text: str) -> str:
    """Put a line before a text by which an edit of it is known."""
    return f"{_FIRST}{_digest(text)}\n{text}"


def is_sealed(text: str) -> bool:
    """Whether a text is as torsync wrote it."""
    first, _, rest = text.partition("\n")
    return first == _FIRST + _digest(rest)


def check_unedited(path: Path, *, force: bool, unit: str) -> None:
    """Make sure that a file is torsync's to change.

    Raises:
        RefusedError: somebody else wrote it, or edited it.
    """
    if force or not path.exists():
        return
    if not is_sealed(path.read_text(encoding="utf-8", errors="replace")):
        raise RefusedError(
            f"{path} was edited, or not written by torsync: it stays as it is",
            hint=f"move your changes to a drop-in with `systemctl edit {unit}`, or give --force: "
            f"then the file is kept as {path.name}.old",
        )


def write_sealed(path: Path, text: str) -> bool:
    """Write a file, if it is not right already; what somebody else wrote is kept beside it."""
    sealed = seal(text)
    if path.exists():
        found = path.read_text(encoding="utf-8", errors="replace")
        if found == sealed:
            return False
        if not is_sealed(found):
            path.replace(path.with_name(f"{path.name}.old"))
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(sealed, encoding="utf-8")
    fresh.replace(path)
    return True


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
