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

import re
import unicodedata
from typing import TYPE_CHECKING

from torsync.model.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIVATE_FOLDER = ".torsync"
BITCOMET_PAD = "_____padding_file_"
"""In the path of a pad file without its attribute (BEP 47), in v1 torrents; libtorrent knows it."""
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4000
MAX_DEPTH = 100
MAX_FOLDER_CHARACTERS = 64 * 1024**2
MAX_PATH_CHARACTERS = 128 * 1024**2
_UNCUT_BYTES = 240
_SHOWN_CHARACTERS = 160
_MOST_PASSED = 1000  # names that are worth remembering come early: those of folders
_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9_ .-]{0,199}").fullmatch  # right at a glance

_WINDOWS_CHARACTERS = frozenset('<>:"|?*\\')
_WINDOWS_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789")]
)


class NameChecker:
    """Turns the raw names of a ``.torrent`` into paths, remembering names it has passed."""

    def __init__(self, *, windows: bool) -> None:
        self._windows = windows
        self._passed: dict[bytes, str] = {}
        self._above: list[bytes] = []  # the folder of the last path, and what it came to
        self._folder = ""
        self._characters = 0  # of all paths: a file tree of a megabyte can list gigabytes of them

    def path(self, raw: object, *, of: str = "") -> str:
        """Decode and join the components of one path.

        Args:
            raw: a list of bytes, as it is in the ``.torrent``.
            of: put before the message of an error, where the path itself does not name the entry.

        Raises:
            ManifestError: a component is no name that a tree may hold.
        """
        if type(raw) is list and len(raw) > 1 and raw[:-1] == self._above:
            last = raw[-1]  # most files lie in the same folder as the one before
            is_plain = type(last) is bytes and not self._windows and _PLAIN_NAME(last)
            path = self._folder + (last.decode() if is_plain else self._check(last, raw, of))
        else:
            path = self._whole_path(raw, of)
        if _is_too_long(path):
            raise ManifestError(f"{of}{shown_path(path)} is longer than {MAX_PATH_BYTES} bytes")
        self._characters += len(path)
        if self._characters > MAX_PATH_CHARACTERS:
            raise ManifestError(
                f"the paths of its files have more than {MAX_PATH_CHARACTERS} characters"
            )
        return path

    def _whole_path(self, raw: object, of: str) -> str:
        problem = self._shape_problem(raw)
        if problem:
            raise ManifestError(of + problem)
        assert isinstance(raw, list)
        names = [self._passed.get(name) if type(name) is bytes else None for name in raw]
        checked = [
            self._check(part, raw, of) if name is None else name
            for part, name in zip(raw, names, strict=True)
        ]
        if is_private(checked[0]):
            raise ManifestError(
                f"{of}{shown_path(raw)} lies under {PRIVATE_FOLDER}, which torsync keeps for itself"
            )
        self._above, self._folder = raw[:-1], "/".join([*checked[:-1], ""])
        return "/".join(checked)

    @staticmethod
    def _shape_problem(raw: object) -> str:
        if not isinstance(raw, list) or not raw:
            return f"a path must be a list of names, found {shown_value(raw)}"
        if len(raw) > MAX_DEPTH:
            return (
                f"{shown_path(raw)} is {len(raw)} names deep, more than the {MAX_DEPTH} "
                "that are accepted"
            )
        return ""

    def _check(self, raw: object, path: list[object], of: str) -> str:
        name = ""
        if isinstance(raw, bytes):
            try:
                name = raw.decode()
                problem = self._problem(name, raw)
            except UnicodeDecodeError:
                problem = "is not UTF-8"
        else:
            problem = "is not a string"
        if problem:
            raise ManifestError(f"{of}in {shown_path(path)} the name {shown_path([raw])} {problem}")
        assert isinstance(raw, bytes)
        if len(self._passed) < _MOST_PASSED:
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


def is_plain(path: str) -> bool:
    """Whether every client takes a path as it is.

    libtorrent leaves out or replaces what cannot be seen (such as the joiners in emoji) and
    backslashes, and cuts names that are nearly as long as file systems allow. False may be a
    false alarm.
    """
    if not path.isprintable() or "\\" in path:
        return False
    return len(path) * 4 <= _UNCUT_BYTES or all(
        len(name.encode()) <= _UNCUT_BYTES for name in path.split("/")
    )


def in_private(path: str) -> bool:
    """Whether a path is in torsync's own folder of a tree, as torsync writes it."""
    return path.startswith(f"{PRIVATE_FOLDER}/")


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
    taken = _folder_keys(paths)
    numbers: dict[str, int] = {}
    resolved = list(paths)
    for index, path in enumerate(paths):
        key = meeting_key(path)
        if key in taken:
            first = numbers.get(key, 1)
            resolved[index], taken_key, numbers[key] = _with_suffix(path, taken, first)
            key = taken_key
        taken.add(key)
    return resolved


def _folder_keys(paths: Sequence[str]) -> set[str]:
    """Every folder on the way to a file; bounded, as a path of n names has n - 1 of them."""
    found: set[str] = set()
    characters = 0
    parents = {path.rpartition("/")[0] for path in paths}
    for parent in parents:
        key = meeting_key(parent)
        while key and key not in found:
            found.add(key)
            characters += len(key)
            key = key.rpartition("/")[0]
        if characters > MAX_FOLDER_CHARACTERS:
            raise ManifestError(
                f"the paths of its folders have more than {MAX_FOLDER_CHARACTERS} characters"
            )
    return found


def _with_suffix(path: str, taken: set[str], first: int) -> tuple[str, str, int]:
    """The first free name, its key, and its number: no lower one gets free again."""
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    number = first
    while True:
        candidate = f"{folder}{slash}{stem}.{number}{dot}{extension}"
        key = meeting_key(candidate)
        if key not in taken:
            break
        number += 1
    if len(candidate.rpartition("/")[2].encode()) > MAX_NAME_BYTES or _is_too_long(candidate):
        raise ManifestError(
            f"two files are both named {shown_path(path)}, with no room for a suffix"
        )
    return candidate, key, number


def _is_too_long(path: str) -> bool:
    return len(path) * 4 > MAX_PATH_BYTES and len(path.encode()) > MAX_PATH_BYTES


def _windows_problem(name: str) -> str:
    if not _WINDOWS_CHARACTERS.isdisjoint(name) or min(name) < " ":
        return "holds a character that Windows does not allow"
    if name[-1] in ". ":
        return "ends in a dot or a space, which Windows drops"
    if name.partition(".")[0].rstrip(" ").upper() in _WINDOWS_DEVICES:
        return "is a device on Windows"
    return ""


def shown_path(path: str | Sequence[object]) -> str:
    """A path for people: quoted and short, whatever its components are."""
    if isinstance(path, str):
        return _short(repr(path))
    names = (
        # Cut before it is decoded: a name can be as long as the ``.torrent``.
        name[: 2 * _SHOWN_CHARACTERS].decode(errors="backslashreplace")
        if isinstance(name, bytes)
        else shown_value(name)
        for name in path[: MAX_DEPTH + 1]
    )
    return _short(repr("/".join(names)))


def shown_value(value: object) -> str:
    """A decoded value for people, in few characters.

    What is in lists and dictionaries is left out: they can be nested too deeply for ``repr``.
    """
    if isinstance(value, (bytes, str)):
        return _short(repr(value[: 2 * _SHOWN_CHARACTERS]))
    if isinstance(value, (int, float)):
        return _short(str(value))
    if value is None:
        return "nothing"
    return "an empty list" if value == [] else f"a {type(value).__name__}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:117]}…{text[-40:]}"
