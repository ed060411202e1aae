"""Bytes that are nearly those of a good example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

_TELLING = tuple(b"0123456789:ielde-./\\\0\xff\"'{}[]\r\n\t =,")
_EDITS = st.lists(
    st.tuples(
        st.integers(0, 1 << 20),
        st.sampled_from(["set", "insert", "delete", "double", "swap", "end"]),
        st.one_of(st.sampled_from(_TELLING), st.integers(0, 255)),
    ),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, edits: Sequence[tuple[int, str, int]]) -> bytes:
    """Change bytes: each edit is a place, what is done there, and a byte or a length."""
    work = bytearray(data)
    for place, kind, byte in edits:
        work = work or bytearray(b"d")
        at = place % len(work)
        if kind == "set":
            work[at] = byte
        elif kind == "insert":
            work.insert(at, byte)
        elif kind == "delete":
            del work[at : at + 1 + byte % 4]
        elif kind == "double":
            work[at:at] = work[at : at + byte]
        elif kind == "end":
            del work[at:]
        else:
            other = (at + byte) % len(work)
            work[at], work[other] = work[other], work[at]
    return bytes(work)


def near(examples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of some examples, edited; now and then bytes of any kind."""
    return st.one_of(st.builds(edited, st.sampled_from(examples), _EDITS), st.binary(max_size=300))
