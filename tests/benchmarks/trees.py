"""The trees that are measured on, and how one release of them differs from the next.

All content comes from a seed: the same tree each time, incompressible, no two blocks alike.
"""

from __future__ import annotations

import os
import random
import shutil
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1024**2
_SMALL_FILES_PER_FOLDER = 300
_SMALL_FILE = (2_000, 4_000)
_DAY_S = 86_400

PAIR_FILES = 279
_ARCHIVE = 145_000_000
_OVERWRITTEN, _OVERWRITTEN_AT = 100_000, 61_012_345
_RENAMED_FOLDER = [300_000 + 40_000 * number for number in range(12)]
_DELETED = 2_000_000
_PAGES = [3_000 + 3_500 * number for number in range(8)]
_ADDED = {
    "dlc/arena.pak": 1_950_000,
    "dlc/music.pak": 1_100_000,
    "dlc/readme.txt": 60_000,
    "docs/page04-errata.txt": 40_000,
}
CHANGED_BYTES = _OVERWRITTEN + sum(_ADDED.values())
_LONGER_BY = 100


class SmallReleases(NamedTuple):
    """A tree of small files, and two releases in which one of them is another.

    Attributes:
        old: the tree.
        same_size: the file has other content.
        other_size: it is a little longer, too, so that all after it is shifted in a v1 torrent.
        changed: path of the file.
    """

    old: Path
    same_size: Path
    other_size: Path
    changed: str


def write_mixed_tree(root: Path, *, files: int, total: int) -> None:
    """Write ``files`` files of very different sizes, ``total`` bytes in all."""
    for number, size in enumerate(_sizes(files, total)):
        write_incompressible(root / _asset(number), size, f"mixed {number}")


def write_small_tree(root: Path, *, files: int) -> None:
    """Write ``files`` files of about 3 kB, some hundred in a folder."""
    chance = random.Random("small")
    for number in range(files):
        path = root / _small(number)
        if number % _SMALL_FILES_PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(chance.randbytes(chance.randint(*_SMALL_FILE)))


def write_release_pair(base: Path, *, files: int, total: int, scale: int) -> tuple[Path, Path]:
    """Write two releases of a tree, both called ``release``; what is the same is hard-linked.

    Between them part of one large file is overwritten, another large file and a folder are
    renamed, some files are added and one is deleted.

    Args:
        base: where they are made.
        files: in the old release, at least 24.
        total: bytes of the old release.
        scale: whatever changes is so many times smaller.

    Returns:
        The old and the new one.
    """
    old, new = base / "old" / "release", base / "new" / "release"
    fixed = {"archives/base.pak": _ARCHIVE // scale, "archives/models-1.0.pak": _ARCHIVE // scale}
    for number, size in enumerate(_RENAMED_FOLDER):
        fixed[f"music/menu-1.0/track{number:02}.ogg"] = size // scale
    for number, size in enumerate(_PAGES):
        fixed[f"docs/page{number:02}.txt"] = max(size // scale, 1)
    fixed["part05/obsolete.pak"] = _DELETED // scale
    sizes = _sizes(files - len(fixed), total - sum(fixed.values()))
    for path, size in {**fixed, **{_asset(i): size for i, size in enumerate(sizes)}}.items():
        write_incompressible(old / path, size, path)
    _link_tree(old, new)
    (new / "archives/models-1.0.pak").rename(new / "archives/models-1.1.pak")
    (new / "music/menu-1.0").rename(new / "music/menu-1.1")
    (new / "part05/obsolete.pak").unlink()
    for path, size in _ADDED.items():
        write_incompressible(new / path, size // scale, path)
    length = max(_OVERWRITTEN // scale, 1)
    at, other = _OVERWRITTEN_AT // scale, random.Random("overwritten").randbytes(length)
    data = (old / "archives/base.pak").read_bytes()
    _replace(old, new, "archives/base.pak", data[:at] + other + data[at + length :])
    return old, new


def write_small_releases(base: Path, *, files: int) -> SmallReleases:
    """Write a tree of small files and what one changed file makes of it."""
    old, same, other = (base / name / "release" for name in ("old", "same", "other"))
    write_small_tree(old, files=files)
    changed = _small(files // 2)
    chance = random.Random("changed")
    for new, more in ((same, 0), (other, _LONGER_BY)):
        _link_tree(old, new)
        size = (old / changed).stat().st_size + more
        _replace(old, new, changed, chance.randbytes(size))
    return SmallReleases(old, same, other, changed)


def differing_paths(old: Path, new: Path) -> set[str]:
    """Relative paths that are another file, or none, in the other of two hard-linked releases."""
    return {path for path, _ in _inodes(old) ^ _inodes(new)}


def _inodes(root: Path) -> set[tuple[str, int]]:
    found = set()
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            found.add((os.path.relpath(path, root), os.lstat(path).st_ino))
    return found


def _sizes(files: int, total: int) -> list[int]:
    chance = random.Random("mixed")
    weights = [chance.lognormvariate(0, 1.7) for _ in range(files)]
    left, weight_left = total, sum(weights)
    sizes = []
    for number, weight in enumerate(weights):
        size = round(left * weight / weight_left) if number < files - 1 else left
        left, weight_left = left - size, weight_left - weight
        sizes.append(size)
    return sizes


def _asset(number: int) -> str:
    return f"part{number % 12:02}/asset{number:04}.pak"


def _small(number: int) -> str:
    return f"folder{number // _SMALL_FILES_PER_FOLDER:04}/file{number:06}.bin"


def write_incompressible(path: Path, size: int, seed: str) -> None:
    """Write a file of which no two blocks are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    with path.open("wb") as file:
        for at in range(0, size, _CHUNK):
            # Each chunk exchanges the byte values in another way: much faster than new ones.
            values = bytearray(range(256))
            chance.shuffle(values)
            file.write(_chunk()[: size - at].translate(values))


@lru_cache(maxsize=1)
def _chunk() -> bytes:
    return random.Random("chunk").randbytes(_CHUNK)


def _link_tree(old: Path, new: Path) -> None:
    shutil.copytree(old, new, copy_function=os.link)


def _replace(old: Path, new: Path, path: str, content: bytes) -> None:
    """Give ``new`` a file of its own there; the old one looks a day older."""
    target = new / path
    target.unlink()
    target.write_bytes(content)
    earlier = target.stat().st_mtime - _DAY_S
    os.utime(old / path, (earlier, earlier))
