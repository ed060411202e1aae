"""Changes to bencoded values that leave them bencoded, for fuzzers that change bytes."""

from __future__ import annotations

import random
from typing import Any

import bencode2

_WRONG: tuple[Any, ...] = (
    *(0, 1, -1, 2, 5, 16384, 32768, 12345, 1 << 31, 1 << 48, 1 << 63, (1 << 64) + 1, 10**30),
    *(b"", b".", b"..", b"a", b"A", b"a/b", b"a\0", b".torsync", b"x" * 256, b"\xff", b"l", b"p"),
    *("é".encode(), "e\u0301".encode(), b"CON", b"r" * 32, b"h" * 20, b"attr", b"length"),
    *([], {}, [b"a"], [b"a", b"b"], {b"": {b"length": 0}}, {b"length": 1, b"path": [b"a"]}),
)
_KEYS = (b"a", b"A", b"attr", b"length", b"path.utf-8", b"name.utf-8", b"zz", b"")


def mutated(data: bytes, most_bytes: int, seed: int) -> bytes | None:
    """Change one to three values somewhere in bencoded data; None if it is none, or grows too far.

    Args:
        data: bencoded, or not.
        most_bytes: that the result may have.
        seed: of all choices.
    """
    try:
        value = bencode2.bdecode(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not value:
        return None
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 3)):
        _change(value, rng)
    try:
        result: bytes = bencode2.bencode(value)
    except (ValueError, TypeError, RecursionError):
        return None
    return result if len(result) <= most_bytes else None


def _change(value: Any, rng: random.Random) -> None:
    holder: Any = value
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = holder[key]
        if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.2:
            break
        holder = inner
    way = rng.randrange(6)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), inner)
    elif way == 1:
        holder[rng.choice(_KEYS)] = inner
    elif way == 2:
        other = rng.choice(keys)
        holder[key], holder[other] = holder[other], inner
    elif way == 3 and isinstance(inner, int):
        holder[key] = inner + rng.choice([-1, 1, 16384, -16384])
    elif way == 3 and isinstance(inner, bytes) and inner:
        holder[key] = inner[: rng.randrange(len(inner))]
    else:
        holder[key] = rng.choice(_WRONG)
