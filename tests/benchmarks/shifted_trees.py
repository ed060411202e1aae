"""Releases in which content has shifted: each function writes two trees called ``release``.

All content comes from a seed. What compresses is made of words, as text and markup are.
"""

from __future__ import annotations

import random
import sqlite3
import zipfile
from typing import TYPE_CHECKING

from tests.benchmarks.trees import write_incompressible

if TYPE_CHECKING:
    from pathlib import Path

_COPIED_AT_ONCE = 4 * 1024**2
_EPOCH = (2024, 1, 1, 0, 0, 0)
_ROW_BYTES = 480


def write_insertion(base: Path, *, size: int) -> tuple[Path, Path]:
    """A file of ``size`` bytes, and the same with one byte inserted at its front."""
    old, new = _releases(base)
    write_incompressible(old / "image.raw", size, "image")
    with (old / "image.raw").open("rb") as source, (new / "image.raw").open("wb") as target:
        target.write(b"!")
        while block := source.read(_COPIED_AT_ONCE):
            target.write(block)
    return old, new


def write_zips(base: Path, *, members: int, stored: bool) -> tuple[Path, Path]:
    """A zip of text files, and one rebuilt with another file in the middle, a little longer."""
    old, new = _releases(base)
    how = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    for root, changed in ((old, -1), (new, members // 2)):
        with zipfile.ZipFile(root / "assets.zip", "w", how) as archive:
            for number in range(members):
                # Other times would change the headers of all members.
                info = zipfile.ZipInfo(f"folder{number % 20:02}/page{number:05}.txt", _EPOCH)
                info.compress_type = how
                text = _text(f"page {number}", 4_000 + number * 7919 % 40_000)
                if number == changed:
                    text += _text("added", 1_000)
                archive.writestr(info, text)
    return old, new


def write_databases(base: Path, *, rows: int, vacuum: bool) -> tuple[Path, Path]:
    """A database of ``rows`` rows of 0.5 kB, and the same after one in a hundred was updated.

    Args:
        base: where both are made.
        rows: how many.
        vacuum: whether it is rebuilt after that.
    """
    old, new = _releases(base)
    for root, is_new in ((old, False), (new, True)):
        database = sqlite3.connect(root / "library.db", isolation_level=None)
        try:
            _fill(database, rows)
            if is_new:
                _update(database, rows)
                if vacuum:
                    database.execute("VACUUM")
        finally:
            database.close()
    return old, new


def write_logs(base: Path, *, size: int, rotated: bool) -> tuple[Path, Path]:
    """A log of ``size`` bytes, and what a day makes of it.

    Args:
        base: where both are made.
        size: of the log in the old release; a fiftieth is added to it.
        rotated: the log is renamed to ``server.log.1``, which there was one of before, and what
            is added is the new log; else it is appended.
    """
    old, new = _releases(base)
    today, yesterday = _log("today", size), _log("yesterday", size)
    added = _log("tomorrow", size // 50)
    for name, text in (("server.log", today), ("server.log.1", yesterday)):
        (old / name).write_bytes(text)
    after = (added, today) if rotated else (today + added, yesterday)
    for name, text in zip(("server.log", "server.log.1"), after, strict=True):
        (new / name).write_bytes(text)
    if rotated:
        (new / "server.log.2").write_bytes(yesterday)
    return old, new


def _releases(base: Path) -> tuple[Path, Path]:
    old, new = base / "old" / "release", base / "new" / "release"
    for root in (old, new):
        root.mkdir(parents=True)
    return old, new


def _fill(database: sqlite3.Connection, rows: int) -> None:
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT, body TEXT)")
    database.execute("CREATE INDEX titles ON books (title)")
    chance = random.Random("books")
    database.execute("BEGIN")
    database.executemany(
        "INSERT INTO books VALUES (?, ?, ?)",
        (
            (number, f"{chance.getrandbits(40):010x}", _body(chance, _ROW_BYTES))
            for number in range(rows)
        ),
    )
    database.execute("COMMIT")


def _update(database: sqlite3.Connection, rows: int) -> None:
    """Give every hundredth row, in no order, a body of another length."""
    chance = random.Random("updates")
    database.execute("BEGIN")
    for number in chance.sample(range(rows), max(rows // 100, 1)):
        body = _body(chance, _ROW_BYTES + chance.randrange(-60, 120))
        database.execute("UPDATE books SET body = ? WHERE id = ?", (body, number))
    database.execute("COMMIT")


def _body(chance: random.Random, length: int) -> str:
    return chance.randbytes(length // 2).hex()


def _log(seed: str, size: int) -> bytes:
    chance = random.Random(seed)
    lines, length, at = [], 0, 0.0
    while length < size:
        at += chance.random()
        line = (
            f"{seed} {at:012.3f} 10.{chance.randrange(256)}.{chance.randrange(256)}."
            f"{chance.randrange(256)} GET /item/{chance.getrandbits(32):08x} 200 "
            f"{chance.randrange(100_000)}\n"
        )
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size]


def _text(seed: str, length: int) -> str:
    chance = random.Random(seed)
    words = chance.choices(_WORDS, k=length // 7)
    return " ".join(words)


_WORDS = [f"{random.Random(number).getrandbits(32):x}"[: 3 + number % 6] for number in range(4_000)]
