"""What was stored as text and is read back: it may have been damaged, or be of another version."""

from __future__ import annotations

import json
import math
from typing import Any

NUMBER = (int, float)


def load_json(text: str | bytes) -> Any:
    """Read JSON; None if it is something else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def fits(found: object, *kinds: type | tuple[type, ...]) -> bool:
    """Whether something is a list of one value of each kind, in order; numbers are finite."""
    return (
        isinstance(found, (list, tuple))
        and len(found) == len(kinds)
        and all(map(isinstance, found, kinds))
        and all(math.isfinite(value) for value in found if isinstance(value, float))
    )


def are_texts(found: object) -> bool:
    """Whether something is a list of text."""
    return isinstance(found, (list, tuple)) and all(isinstance(text, str) for text in found)


def load_number(text: str) -> float | None:
    """Read a finite number; None if it is something else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
