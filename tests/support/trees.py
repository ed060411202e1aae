"""Folders with known content, and their comparison."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Content = Union[bytes, int, tuple[str, Any]]
Found = Union[bytes, tuple[str, str]]

OWN_FOLDER = ".torsync"


def random_bytes(size: int, seed: int | str | bytes = 0) -> bytes:
    """Incompressible bytes: the same for the same size and seed, on every Python."""
    return random.Random(f"{size}:{seed!r}").randbytes(size)


def write_tree(root: Path, entries: Mapping[str, Content], *, seed: int | str = 0) -> Path:
    """Write files, links and empty folders below ``root``, which is made if need be.

    Args:
        root: the folder; what it already holds and ``entries`` does not name stays.
        entries: relative path → what is there: ``bytes``; a size, for random bytes that
            depend on path, size and ``seed``; ``("exec", bytes or size)``, with the
            executable bit; ``("link", target)``; ``("dir", None)``.
        seed: changes all random content.

    Returns:
        ``root``.
    """
    root.mkdir(parents=True, exist_ok=True)
    for path, content in entries.items():
        target = root / path
        kind, value = content if isinstance(content, tuple) else ("file", content)
        if kind == "dir":
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or (kind == "link" and target.exists()):
            target.unlink()
        if kind == "link":
            target.symlink_to(value)
            continue
        assert kind in {"file", "exec"}, kind
        data = random_bytes(value, f"{seed}:{path}") if isinstance(value, int) else value
        target.write_bytes(data)
        target.chmod(0o755 if kind == "exec" else 0o644)
    return root


def tree_bytes(root: Path) -> dict[str, Found]:
    """Relative path → content of every file, ``("link", target)`` of every link.

    torsync's own folder at the top is left out, and so are folders as such.
    """
    found: dict[str, Found] = {}
    for folder, folders, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
        if not prefix and OWN_FOLDER in folders:
            folders.remove(OWN_FOLDER)
        for name in [*files, *folders]:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found[prefix + name] = ("link", os.readlink(path))
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    found[prefix + name] = file.read()
    return found


def executables(root: Path) -> set[str]:
    """Relative paths of the regular files whose owner may execute them."""
    return {
        path
        for path, content in tree_bytes(root).items()
        if isinstance(content, bytes) and (root / path).stat().st_mode & 0o100
    }


def assert_same_tree(actual: Path, expected: Path, *, modes: bool = True) -> None:
    """Fail, naming each path that is missing, extra or different.

    Contents and link targets are compared, and executable bits unless ``modes`` is off.
    """
    have, want = tree_bytes(actual), tree_bytes(expected)
    problems = [f"missing: {path}" for path in sorted(want.keys() - have.keys())]
    problems += [f"extra: {path}" for path in sorted(have.keys() - want.keys())]
    problems += [
        f"differs: {path}: {_short(have[path])}, expected {_short(want[path])}"
        for path in sorted(want.keys() & have.keys())
        if have[path] != want[path]
    ]
    problems += [
        f"executable bit differs: {path}"
        for path in sorted(executables(actual) ^ executables(expected))
        if modes and path in have and path in want
    ]
    assert not problems, f"{actual} is not equal to {expected}:\n" + "\n".join(problems)


def edit_in_place(file: Path, *, set_mtime_back: bool = False) -> None:
    """Overwrite the first bytes, in a later tick of the file system's clock than the last change.

    Two changes in one tick look the same to stat.
    """
    before = file.stat()
    while file.stat().st_ctime_ns == before.st_ctime_ns:
        with file.open("r+b") as stream:
            stream.write(b"edited")
    if set_mtime_back:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _short(content: Found) -> str:
    if isinstance(content, tuple):
        return repr(content)
    return f"{len(content)} bytes {content[:16].hex()}…"
