"""What the ledger knows of the content on disk, before anything is read."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import DiskIndex, LedgerRow

_NO_CONTENT = frozenset({"", "link", "empty"})
_LONGEST_KIND = len("empty")
_DIGESTS_OF_CONTENT = frozenset({"root", "sha1"})  # the others depend on neighbours, too


class Synced:
    """The release that the tree was last made equal to; parsed only if it can tell something."""

    def __init__(
        self, load: Callable[[], Manifest | None], read: Callable[[], bytes] | None = None
    ) -> None:
        """Prepare.

        Args:
            load: gives the manifest; None if there is none.
            read: gives the bytes of its ``.torrent``, to see what it cannot have without parsing
                it.
        """
        self._load = load
        self._read = read

    @cached_property
    def manifest(self) -> Manifest | None:
        """The release."""
        return self._load()

    def mentions_any(self, digests: Iterable[bytes]) -> bool:
        """Whether it may have one of these hashes; False is certain."""
        body = self._read() if self._read is not None else b""
        return not body or any(digest in body for digest in digests)


NEVER_SYNCED = Synced(lambda: None)


class Known:
    """The files that the ledger vouches for, and what the synced release says of them."""

    def __init__(self, index: DiskIndex, ledger: Mapping[str, LedgerRow], synced: Synced) -> None:
        self._index = index
        self._ledger = ledger
        self._synced = synced

    @property
    def synced(self) -> Manifest | None:
        """The release that the tree was last made equal to; nothing if no row vouches."""
        return self._synced.manifest if self._ledger else None

    def mentions_any(self, digests: Iterable[bytes]) -> bool:
        """Whether the synced release may have one of these hashes; False is certain."""
        return bool(self._ledger) and self._synced.mentions_any(digests)

    def digest(self, path: str) -> str:
        """What identifies the content at ``path``; empty if nobody vouches for it."""
        row = self._ledger.get(path)
        entry = self._index.entries.get(path)
        if row is None or entry is None or entry.kind is not Kind.FILE:
            return ""
        if path in self._index.problems:
            return ""
        return row.digest if row.vouches_for(entry) else ""

    def old_file(self, path: str) -> int | None:
        """The file of the synced release whose content is at ``path``, at that path then."""
        digest = self.digest(path)
        if not digest or self.synced is None:
            return None
        index = self.synced.by_path.get(path)
        return index if index is not None and self.synced.digest(index) == digest else None

    def digests(self, path: str) -> tuple[str, ...]:
        """All by which the synced release identifies the content at ``path``, if it has it."""
        old = self.old_file(path)
        return () if old is None or self.synced is None else tuple(self.synced.digests(old))

    def differs(self, path: str, wanted: Manifest, file_index: int) -> bool:
        """Whether the content at ``path`` is known not to be that of a wanted file."""
        return _is_other(self.digest(path), wanted, file_index)

    def seems_to_differ(self, path: str, wanted: Manifest, file_index: int) -> bool | None:
        """The same, if it does not matter that a file's links, name or mode were changed.

        Returns:
            None if nothing is known of the file, or it was written to.
        """
        row = self._ledger.get(path)
        entry = self._index.entries.get(path)
        if row is None or entry is None or not row.digest or path in self._index.problems:
            return None
        if not row._replace(ctime_ns=entry.ctime_ns).vouches_for(entry):
            return None
        return entry.size != wanted.files[file_index].size or _is_other(
            row.digest, wanted, file_index
        )

    def identifies(self, path: str, wanted: Manifest) -> bool:
        """Whether the content at ``path`` can be told from that of any file of a release."""
        kind = kind_of_digest(self.digest(path))
        return bool(kind) and kind == kind_of_all(wanted)

    def holders(self, wanted: Manifest, files: Iterable[int]) -> dict[int, list[str]]:
        """Find where the content of wanted files is: file → paths, in the order of the paths.

        Releases in different formats identify a file in different ways, of which they may have
        a weaker one in common. Files of the same content share one list.
        """
        kinds = set(map(_kind, {row.digest[:_LONGEST_KIND] for row in self._ledger.values()}))
        kinds -= _NO_CONTENT
        names: dict[int, tuple[str, ...]] = {}
        strongest = set()
        for index in files if kinds else ():
            digest = wanted.digest(index)
            strongest.add(_kind(digest))
            same_kind = kinds == {_kind(digest)}
            names[index] = (digest,) if same_kind else tuple(wanted.digests(index))
        paths: dict[str, list[str]] = {name: [] for found in names.values() for name in found}
        all_comparable = kinds <= strongest
        for path, row in self._ledger.items() if paths else ():
            if row.digest in paths:
                if self.digest(path):
                    paths[row.digest].append(path)
            elif not all_comparable and _kind(row.digest) not in strongest:
                for digest in self.digests(path):
                    if digest in paths:
                        paths[digest].append(path)
        found = {
            index: next((paths[name] for name in digests if paths[name]), [])
            for index, digests in names.items()
        }
        for holders in paths.values():
            holders.sort()
        return {index: holders for index, holders in found.items() if holders}


def _kind(digest: str) -> str:
    return digest.partition(":")[0]


def kind_of_digest(digest: str) -> str:
    """The kind of a digest that tells content from any other; empty if it is of another kind."""
    kind = _kind(digest)
    return kind if kind in _DIGESTS_OF_CONTENT else ""


def kind_of_all(manifest: Manifest) -> str:
    """That kind of the digests that the files of a release have; that of the first with bytes."""
    first = next((index for index, file in enumerate(manifest.files) if file.size), None)
    return "" if first is None else kind_of_digest(manifest.digest(first))


def _is_other(digest: str, wanted: Manifest, file_index: int) -> bool:
    """Whether ``digest`` is of other content than a wanted file."""
    kind = _kind(digest)
    return kind in _DIGESTS_OF_CONTENT and any(
        expected != digest for expected in wanted.digests(file_index) if _kind(expected) == kind
    )
