"""What is known of a publication's files: what the cache had, and what was found since."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torsync.publish.hash_cache import HashCache, KnownFile, KnownPart, PartKey


class Memory:
    """Writes to the cache what is new, when it is told to.

    Attributes:
        files: by path, stored or not.
        parts: of large files that are not hashed to their end.
        packed: SHA-1 of packed pieces, by the key of their content.
    """

    def __init__(self, cache: HashCache) -> None:
        """Load what the cache has."""
        self._cache = cache
        self.files = cache.files()
        self.parts = cache.parts()
        self.packed = cache.packed()
        self._new_files: dict[str, KnownFile] = {}
        self._new_parts: dict[PartKey, KnownPart] = {}
        self._new_packed: dict[bytes, bytes] = {}

    def note_file(self, path: str, row: KnownFile) -> None:
        """Note a whole file, and forget its parts."""
        self.files[path] = self._new_files[path] = row
        at = 0
        while self.parts and (part := self.parts.pop((path, at), None)):
            self._new_parts.pop((path, at), None)
            at += part.length

    def note_part(self, path: str, start: int, part: KnownPart) -> None:
        """Note part of a file."""
        self.parts[path, start] = self._new_parts[path, start] = part

    def note_packed(self, key: bytes, sha1: bytes) -> None:
        """Note a packed piece."""
        self.packed[key] = self._new_packed[key] = sha1

    def store(self, clock_ns: int) -> None:
        """Write what is new.

        Args:
            clock_ns: what the file system's clock said before the files were looked at.
        """
        self._cache.remember(self._new_files, self._new_parts, self._new_packed, clock_ns=clock_ns)
        self._new_files, self._new_parts, self._new_packed = {}, {}, {}
