"""Which names a release may give its files, and what happens to names that meet.

The rule, everywhere the same:

* A name that could leave the tree, that no file system can hold, or that lies under
  ``.torsync`` makes the release invalid.
* Of names that meet on some system (equal but for case or Unicode form, exact duplicates,
  a file where another entry needs a folder) the later one gets ``.1``, ``.2``, … before its
  extension, as every libtorrent client does it.
* Names that Windows reserves are refused on Windows, and are ordinary names elsewhere.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from torsync.model.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIVATE_FOLDER = ".torsync"
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4000
MAX_DEPTH = 100

_WINDOWS_CHARACTERS = frozenset('<>:"|?*\\')
_WINDOWS_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789")]
)


class NameChecker:
    """Turns the raw names of a ``.torrent`` into paths, remembering names it has passed."""

    def __init__(self, *, windows: bool) -> None:
        self._windows = windows
        self._passed: dict[bytes, str] = {}

    def path(self, raw: object) -> str:
        """Decode and join the components of one path.

        Raises:
            ManifestError: a component is no name that a tree may hold.
        """
        if not isinstance(raw, list) or not raw:
            raise ManifestError(f"a file's path must be a list of names, found {_short(raw)}")
        if len(raw) > MAX_DEPTH:
            raise ManifestError(
                f"a path of {len(raw)} names is deeper than the {MAX_DEPTH} that are accepted: "
                f"{_short(raw)}"
            )
        names = [self._passed.get(name) if type(name) is bytes else None for name in raw]
        checked = [
            self._check(part) if name is None else name
            for part, name in zip(raw, names, strict=True)
        ]
        if is_private(checked[0]):
            raise ManifestError(
                f"{_short(raw)} lies under {PRIVATE_FOLDER}, which torsync keeps for itself"
            )
        path = "/".join(checked)
        if len(path) * 4 > MAX_PATH_BYTES and len(path.encode()) > MAX_PATH_BYTES:
            raise ManifestError(f"a path is longer than {MAX_PATH_BYTES} bytes: {_short(raw)}")
        return path

    def _check(self, raw: object) -> str:
        if not isinstance(raw, bytes):
            raise ManifestError(f"a file name must be a string, found {_short(raw)}")
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raise ManifestError(f"the file name {_short(raw)} is not UTF-8") from None
        problem = self._problem(name, raw)
        if problem:
            raise ManifestError(f"the file name {_short(raw)} {problem}")
        self._passed[raw] = name
        return name

    def _problem(self, name: str, raw: bytes) -> str:
        if name in {"", ".", ".."}:
            return "is no name for a file: it could leave the tree"
        if "/" in name or "\0" in name:
            return "holds a slash or a NUL: it could leave the tree"
        if len(raw) > MAX_NAME_BYTES:
            return f"is longer than {MAX_NAME_BYTES} bytes, which file systems cannot hold"
        if self._windows:
            return _windows_problem(name)
        return ""


def is_private(name: str) -> bool:
    """Whether a top-level name is torsync's own folder on any file system."""
    return unicodedata.normalize("NFKC", name).casefold() == PRIVATE_FOLDER


def meeting_key(path: str) -> str:
    """What two paths have in common if some file system takes them for the same."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def resolve_meeting_names(paths: Sequence[str]) -> list[str]:
    """Give names that meet the suffix ``.N`` that libtorrent gives them.

    Raises:
        ManifestError: a name has no room for the suffix.
    """
    folders = _folder_keys(paths)
    taken = set(folders)
    resolved = list(paths)
    for index, path in enumerate(paths):
        key = meeting_key(path)
        if key in taken:
            resolved[index], key = _with_suffix(path, taken)
        taken.add(key)
    return resolved


def _folder_keys(paths: Sequence[str]) -> set[str]:
    found: set[str] = set()
    parents = {path.rpartition("/")[0] for path in paths}
    for parent in parents:
        key = meeting_key(parent)
        while key and key not in found:
            found.add(key)
            key = key.rpartition("/")[0]
    return found


def _with_suffix(path: str, taken: set[str]) -> tuple[str, str]:
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    number = 1
    while True:
        candidate = f"{folder}{slash}{stem}.{number}{dot}{extension}"
        key = meeting_key(candidate)
        if key not in taken:
            break
        number += 1
    if len(candidate.rpartition("/")[2].encode()) > MAX_NAME_BYTES:
        raise ManifestError(f"two files are both named {_short(path)}, with no room for a suffix")
    return candidate, key


def _windows_problem(name: str) -> str:
    if not _WINDOWS_CHARACTERS.isdisjoint(name) or min(name) < " ":
        return "holds a character that Windows does not allow"
    if name[-1] in ". ":
        return "ends in a dot or a space, which Windows drops"
    if name.partition(".")[0].rstrip(" ").upper() in _WINDOWS_DEVICES:
        return "is a device on Windows"
    return ""


def _short(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 120 else f"{text[:117]}..."
