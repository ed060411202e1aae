"""What can be fuzzed: each module has ``try_one`` and ``MAX_BYTES``, and ``mutate`` if it likes.

``mutate(data, most_bytes, seed)`` gives other bytes of the same form, or None.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

CORPUS = Path(__file__).parents[2] / "corpus"
NAMES = tuple(sorted(found.name for found in pkgutil.iter_modules(__path__)))


def load_target(name: str) -> ModuleType:
    """Import a target."""
    return importlib.import_module(f"{__name__}.{name}")


def corpus_of(name: str) -> list[Path]:
    """The files that a target has been found to be worth trying with, in order."""
    return sorted((CORPUS / name).iterdir())
