"""Edits of any kind, for property tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from tests.support.trees import random_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable


class Edit(NamedTuple):
    """One edit of some bytes at an offset; ``to`` is where they are moved or repeated."""

    kind: str
    at: int
    length: int
    to: int


def edit_lists(size: int, longest: int, most: int = 6) -> st.SearchStrategy[list[Edit]]:
    """Up to so many edits of content of about ``size`` bytes."""
    return st.lists(
        st.builds(
            Edit,
            st.sampled_from(["insert", "delete", "overwrite", "move", "repeat"]),
            st.integers(0, size),
            st.integers(1, longest),
            st.integers(0, size),
        ),
        min_size=1,
        max_size=most,
    )


def edited(content: bytes, edits: Iterable[Edit]) -> bytes:
    """Carry out edits one after the other."""
    for kind, at, length, to in edits:
        part = content[at : at + length]
        if kind == "insert":
            content = content[:at] + random_bytes(length, at) + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + length :]
        elif kind == "overwrite":
            content = content[:at] + random_bytes(len(part), to) + content[at + len(part) :]
        elif kind == "move":
            rest = content[:at] + content[at + length :]
            content = rest[:to] + part + rest[to:]
        else:
            content = content[:to] + part + content[to:]
    return content
