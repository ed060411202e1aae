"""What the feed serves: the newest release of each publication, and what is left of older ones."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints import format as hints_format
from torsync.model.names import is_private

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from torsync.disk.stamps import FileStamp

    OnEdited = Callable[[str, str], None]

TORRENT = ".torrent"
HINTS = TORRENT + hints_format.SUFFIX
_SIGNATURE = ".torrent.minisig"
_SUFFIXES = (TORRENT, _SIGNATURE, HINTS)
_PAD = re.compile(r"\.pad/([0-9]{1,9})", re.ASCII)
_LARGEST_PAD_BYTES = 128 * 1024**2  # no piece is larger
_KEPT_RELEASES = 4
_MOST_DIFFERENCES = 200_000  # paths that are remembered for all older releases of a publication


@dataclass(frozen=True)
class ServedRelease:
    """One release, as the feed hands it out.

    Attributes:
        metainfo: the whole ``.torrent``.
        signature: the contents of its ``.minisig``; None if releases are not signed.
        info_hash: in hex, as it is in the web seed's URL.
        root_name: of the torrent (BEP 3: ``name``).
        root: the folder with the files themselves.
        stamps: by path: what each file was when it was hashed. The feed keeps this very mapping;
            it may not change any more.
        hints: the hints file, read anew for each answer; None: it has none.
        asked_as: names by which clients ask for files that have others in the torrent: root name,
            slash and path → path.
    """

    metainfo: bytes
    signature: bytes | None
    info_hash: str
    root_name: str
    root: Path
    stamps: Mapping[str, FileStamp]
    hints: Path | None = None
    asked_as: Mapping[str, str] = field(default_factory=dict)

    def find_name(self, root_name: str, path: str) -> tuple[str, str]:
        """The root name and path that the torrent has for what is asked for so."""
        if root_name == self.root_name and path in self.stamps:
            return root_name, path
        own = self.asked_as.get(f"{root_name}/{path}")
        return (root_name, path) if own is None else (self.root_name, own)


class Document(NamedTuple):
    """Bytes that are served from memory, with their strong entity tag (RFC 9110, section 8.8.3)."""

    body: bytes
    etag: str
    media_type: str


class PublishedFile(NamedTuple):
    """A file of a release that may be read as long as it is what its stamp says.

    Attributes:
        name: of the publication.
        root: the folder that ``path`` is in.
        path: with slashes, relative to the root.
        stamp: what it was when it was hashed.
        etag: strong; another one once the file has been touched.
    """

    name: str
    root: Path
    path: str
    stamp: FileStamp
    etag: str


class Pad(NamedTuple):
    """A pad file (BEP 47): zeros, and nowhere on disk; clients that know none ask for it."""

    size_bytes: int


class Absence(Enum):
    """Why there is no such file."""

    UNKNOWN = 404
    GONE = 410


@dataclass(frozen=True)
class _Served:
    """A release and what its answers need; replaced as a whole."""

    release: ServedRelease
    documents: Mapping[str, Document]
    on_edited: OnEdited
    withdrawn: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)


class _Publication(NamedTuple):
    """The newest release, and by which paths each older one differs from it; never changed.

    An older release's file is still served while it is the newest release's as well, path and
    stamp alike: so a client in the middle of a download goes on. Stamps are kept once.

    Attributes:
        served: the newest release.
        older: info-hash → root name and differing paths, the oldest first.
    """

    served: _Served
    older: Mapping[str, tuple[str, set[str]]]


def _succeeding(known: _Publication, served: _Served) -> _Publication:
    """Decide what is left of older releases when the next one is there."""
    old, new = known.served.release, served.release
    older = OrderedDict(known.older)
    if old.info_hash != new.info_hash:
        older[old.info_hash] = (old.root_name, set())
    older.pop(new.info_hash, None)
    if older:
        changed = _differences(old, new)
        for info_hash, (root_name, paths) in older.items():
            older[info_hash] = (root_name, paths | changed)
    while older and (
        len(older) >= _KEPT_RELEASES
        or sum(len(paths) for _, paths in older.values()) > _MOST_DIFFERENCES
    ):
        older.popitem(last=False)
    return _Publication(served, older)


class Catalogue:
    """Published by some threads, looked up by others: each sees one whole release, unhindered."""

    def __init__(self, awaited: Collection[str] = ()) -> None:
        """Begin without releases; ``awaited`` are the publications that will have one."""
        self._awaited = frozenset(awaited)
        self._publications: Mapping[str, _Publication] = {}  # replaced as a whole
        self._publishing = threading.Lock()
        self._telling = threading.Lock()

    def publish(self, name: str, release: ServedRelease, on_edited: OnEdited) -> None:
        """Replace a publication's release: ``.torrent`` and signature in one step."""
        served = _Served(release, _documents(name, release), on_edited)
        with self._publishing:
            known = self._publications.get(name)
            new = _Publication(served, {}) if known is None else _succeeding(known, served)
            self._publications = {**self._publications, name: new}

    def expect(self, names: Collection[str]) -> None:
        """Have these publications only; those that have no release yet will have one."""
        with self._publishing:
            self._awaited = frozenset(names)
            self._publications = {
                name: known for name, known in self._publications.items() if name in self._awaited
            }

    def withdraw(self, name: str, paths: Iterable[str]) -> None:
        """Serve these files no more, until the next release."""
        with self._publishing:
            if name in self._publications:
                self._publications[name].served.withdrawn.update(paths)

    def may_come(self, file_name: str = "") -> bool:
        """Whether what is not there is so only until a first release, as after a restart.

        Args:
            file_name: ``NAME.torrent`` or what belongs beside it; empty: some release's content.
        """
        awaited = self._awaited - self._publications.keys()
        if not file_name:
            return bool(awaited)
        return any(
            file_name.endswith(suffix) and file_name.removesuffix(suffix) in awaited
            for suffix in _SUFFIXES
        )

    def names(self) -> list[str]:
        """The publications, in the order of their names."""
        return sorted(self._publications)

    def info_hash(self, name: str) -> str:
        """Of a publication's newest release, in hex."""
        return self._publications[name].served.release.info_hash

    def document(self, file_name: str) -> Document | None:
        """Find ``NAME.torrent`` or what belongs beside it."""
        for suffix in _SUFFIXES:
            publication = self._publications.get(file_name.removesuffix(suffix))
            if publication is not None and file_name.endswith(suffix):
                return publication.served.documents.get(file_name)
        return None

    def hints(self, file_name: str) -> Path | None:
        """Find ``NAME.torrent.hints``, also under the name that a ``.torrent`` has for it.

        That is another one where the ``.torrent`` is a file whose name is not the publication's.
        """
        publication = self._publications.get(file_name.removesuffix(HINTS))
        if publication is not None and file_name.endswith(HINTS):
            return publication.served.release.hints
        paths = (served.release.hints for served, _ in self._publications.values())
        return next((path for path in paths if path is not None and path.name == file_name), None)

    def file(
        self, info_hash: str, asked_root: str, asked_path: str
    ) -> PublishedFile | Pad | Absence:
        """Find a file of a release by its exact name, or the one by which clients ask for it."""
        if is_private(asked_path.partition("/")[0]):
            return Absence.UNKNOWN
        found: Pad | Absence = Absence.UNKNOWN
        for name, (served, older) in self._publications.items():
            release = served.release
            root, path = release.find_name(asked_root, asked_path)
            differing: set[str] | None = None
            if release.info_hash == info_hash:
                is_listed = release.root_name == root
            else:
                known_name, differing = older.get(info_hash, ("", None))
                is_listed = differing is not None and known_name == root
            if not is_listed:
                continue
            stamp = release.stamps.get(path)
            if path in served.withdrawn or (differing is not None and path in differing):
                found = Absence.GONE
            elif stamp is not None:
                return PublishedFile(name, release.root, path, stamp, _etag_of(path, stamp))
            elif (pad := _PAD.fullmatch(path)) and int(pad[1]) <= _LARGEST_PAD_BYTES:
                found = Pad(int(pad[1]))
        return found

    def is_withdrawn(self, file: PublishedFile) -> bool:
        """Whether a file that was found before may not be sent any more."""
        return file.path in self._publications[file.name].served.withdrawn

    def tell_edited(self, file: PublishedFile) -> None:
        """Tell the owner, once per release, that a file is not what was published."""
        with self._telling:
            served = self._publications[file.name].served
            is_newest = served.release.stamps.get(file.path) == file.stamp
            is_news = is_newest and file.path not in served.told
            if is_news:
                served.told.add(file.path)
        if is_news:
            served.on_edited(file.name, file.path)


def _documents(name: str, release: ServedRelease) -> dict[str, Document]:
    def document(body: bytes, media_type: str) -> Document:
        return Document(body, f'"{sha256(body).hexdigest()}"', media_type)

    found = {f"{name}{TORRENT}": document(release.metainfo, "application/x-bittorrent")}
    if release.signature is not None:
        found[f"{name}{_SIGNATURE}"] = document(release.signature, "text/plain")
    return found


def _differences(old: ServedRelease, new: ServedRelease) -> set[str]:
    """The paths that are not the same file in both."""
    if old.root != new.root:
        return {*old.stamps, *new.stamps}
    if old.stamps is new.stamps:
        return set()
    gone = {path for path, stamp in old.stamps.items() if new.stamps.get(path) != stamp}
    return gone | (new.stamps.keys() - old.stamps.keys())


def _etag_of(path: str, stamp: FileStamp) -> str:
    """Hashed, as times and inodes are nobody else's business."""
    return f'"{blake2b(repr((path, *stamp)).encode(), digest_size=16).hexdigest()}"'
