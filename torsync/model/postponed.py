"""What an update waits for, as the state of a tree remembers it."""

from __future__ import annotations

import json
from typing import NamedTuple

from torsync.model.stored import fits, load_json


class Postponed(NamedTuple):
    """An update that waits.

    Attributes:
        release: the digest of its ``.torrent``.
        is_timed: whether it waits for its hours, and not for a better moment.
        reason: in a few words.
    """

    release: str
    is_timed: bool
    reason: str

    def dump(self) -> str:
        """Give what ``load`` reads."""
        return json.dumps(self._asdict())

    @classmethod
    def load(cls, text: str) -> Postponed | None:
        """Read what ``dump`` gave; None if it is empty, or of another version."""
        found = load_json(text)
        values = [found.get(name) for name in cls._fields] if isinstance(found, dict) else ()
        return cls(*values) if fits(values, str, bool, str) else None

    def is_same_cause(self, other: Postponed | None) -> bool:
        """Whether another one waits for the same kind of thing, whatever the words."""
        return other is not None and self[:2] == other[:2]
