"""What torsync remembers of one publication, in its state directory.

``published.json`` names the release that is public, and ``pending.json`` one that is just becoming
so; ``releases/`` has their ``.torrent``, signature and stamps. Each file is whole or not there.
``one-off/`` has the same for each other file that ``torsync publish`` has written.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

from torsync.disk.durable import write_durably
from torsync.disk.stamps import FileStamp
from torsync.model.errors import ManifestError, StateError
from torsync.model.metainfo import parse_metainfo
from torsync.model.stored import fits, load_json
from torsync.publish.stored_manifest import dump_manifest, load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.model.manifest import Manifest

_FIELDS = len(FileStamp._fields)


def publication_folder(state_dir: Path, tree: Path) -> Path:
    """Where the state of a publication is: the folder's name follows from the tree's real path."""
    real = os.path.realpath(tree)
    key = sha256(os.fsencode(real)).hexdigest()[:16]
    return state_dir / "publications" / f"{os.path.basename(real)[:40]}-{key}"


@dataclass(frozen=True)
class Facts:
    """What identifies a release of a publication.

    Attributes:
        number: of the release, growing.
        time_s: when it was made, in Unix seconds; later than that of every one before it.
        digest: SHA-256 of the ``.torrent``, in hex.
        info_hash: in hex.
        name: the root name.
        signed: whether there is a signature.
        torrent: the public file; empty: only the feed serves it.
        snapshot: the folder with its content, relative to the tree; empty: the tree itself.
        bytes_total: size of the content.
        files: how many files and links it has.
    """

    number: int = 0
    time_s: int = 0
    digest: str = ""
    info_hash: str = ""
    name: str = ""
    signed: bool = False
    torrent: str = ""
    snapshot: str = ""
    bytes_total: int = 0
    files: int = 0


_FACTS = {field.name: type(field.default) for field in fields(Facts)}
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?", re.ASCII)


@dataclass(frozen=True)
class PublishedRelease:
    """A release with all that it takes to seed and serve it.

    Attributes:
        facts: about it.
        metainfo: the whole ``.torrent``.
        signature: the contents of its ``.minisig``; None if it is not signed.
        stamps: what each file that is seeded was when it was hashed, by path; links are left out.
        seen: the same of the files in the folder, where a snapshot is seeded instead of them.
        manifest: what its ``.torrent`` says.
    """

    facts: Facts
    metainfo: bytes = field(repr=False)
    signature: bytes | None
    stamps: Mapping[str, FileStamp] = field(repr=False)
    seen: Mapping[str, FileStamp] = field(repr=False)
    manifest: Manifest = field(repr=False)


class PublicationState:
    """The state of one publication. Whoever writes it holds its lock."""

    def __init__(
        self, folder: Path, *, read_only: bool = False, hashes: Path | None = None
    ) -> None:
        """Open the state.

        Args:
            folder: its own; made if it is not there.
            read_only: for those who don't hold it: nothing is made.
            hashes: the hash cache, if it is that of another state of the same tree.

        Raises:
            StateError: it cannot be made.
        """
        self.folder = folder
        self.hashes = hashes or folder / "hashes.sqlite"
        if not read_only:
            with self._in_words():
                (folder / "releases").mkdir(parents=True, exist_ok=True, mode=0o700)

    @classmethod
    def of(cls, config: PublicationConfig, folder: Path) -> PublicationState:
        """Open the state of a publication.

        What ``torsync publish`` writes elsewhere is no release of the publication that is
        configured: others have its hashes in common, and nothing else.

        Args:
            config: of the publication.
            folder: of its tree's state.

        Raises:
            StateError: it cannot be used.
        """
        state = cls(folder)
        torrent = str(config.torrent or "")
        if not config.is_one_off or state.facts().torrent == torrent:
            return state
        key = sha256(os.fsencode(torrent)).hexdigest()[:16]
        return cls(folder / "one-off" / key, hashes=state.hashes)

    # --- releases ---------------------------------------------------------------------------

    def facts(self) -> Facts:
        """About the release that is public; number 0 if there is none.

        Raises:
            StateError: the disk fails.
        """
        return self._read_facts("published") or Facts()

    def published(self) -> PublishedRelease | None:
        """The release that is public, as far as this state knows.

        Raises:
            StateError: the disk fails.
        """
        return self._load(self._read_facts("published"))

    def pending(self) -> PublishedRelease | None:
        """A release that was becoming public when torsync was cut off.

        Raises:
            StateError: the disk fails.
        """
        return self._load(self._read_facts("pending"))

    def store(self, release: PublishedRelease) -> None:
        """Keep what a release consists of, durably; it is not public yet.

        Raises:
            StateError: that was not possible.
        """
        digest = release.facts.digest
        with self._in_words():
            write_durably(self._file(digest, "torrent"), release.metainfo)
            write_durably(self._file(digest, "manifest"), dump_manifest(release.manifest))
            if release.signature is not None:
                write_durably(self._file(digest, "minisig"), release.signature)
            self.store_stamps(release)

    def store_stamps(self, release: PublishedRelease) -> None:
        """Keep what the files of a release were when they were hashed.

        Raises:
            StateError: that was not possible.
        """
        with self._in_words():
            named = {"stamps": release.stamps}
            if release.facts.snapshot:
                named["seen"] = release.seen
            for name, stamps in named.items():
                data = _dump_stamps(release.manifest, stamps)
                write_durably(self._file(release.facts.digest, name), data)

    def begin(self, release: PublishedRelease) -> None:
        """Note that a stored release is becoming public from now on.

        Raises:
            StateError: that was not possible.
        """
        with self._in_words():
            self._write_facts("pending", release.facts)

    def finish(self, release: PublishedRelease) -> None:
        """Note that a release is public, and forget all others.

        Raises:
            StateError: that was not possible.
        """
        with self._in_words():
            self._write_facts("published", release.facts)
            (self.folder / "pending.json").unlink(missing_ok=True)
            self._forget_but(release.facts.digest)

    def abandon(self) -> None:
        """Forget every release but the one that is public.

        Raises:
            StateError: that was not possible.
        """
        with self._in_words():
            (self.folder / "pending.json").unlink(missing_ok=True)
            self._forget_but(self.facts().digest)

    # --- small facts ------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether the service leaves the publication alone.

        Raises:
            StateError: the disk fails.
        """
        return self._read(self.folder / "paused") is not None

    def put_paused(self, paused: bool) -> None:
        """Leave word for the service, durably.

        Raises:
            StateError: that was not possible.
        """
        with self._in_words():
            if paused:
                write_durably(self.folder / "paused", b"")
            else:
                (self.folder / "paused").unlink(missing_ok=True)

    def note_stage(self, stage: str) -> None:
        """Leave word of what is going on, for ``status``; not durable."""
        self._note("stage", stage)

    def noted_stage(self) -> str:
        """What ``note_stage`` left."""
        return self._noted("stage")

    def note_error(self, message: str, hint: str = "") -> None:
        """Leave word of a failure for ``status``; empty: of success."""
        self._note("error", f"{message}\n{hint}" if message else "")

    def noted_error(self) -> tuple[str, str]:
        """What ``note_error`` left: message and hint."""
        message, _, hint = self._noted("error").partition("\n")
        return message, hint

    def note_hints(self, mark: str) -> None:
        """Leave word of which release's hints the hints file has; not durable."""
        self._note("hints", mark)

    def noted_hints(self) -> str:
        """What ``note_hints`` left."""
        return self._noted("hints")

    def _note(self, name: str, text: str) -> None:
        with suppress(OSError):
            (self.folder / name).write_text(text, encoding="utf-8")

    def _noted(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    # --- files ------------------------------------------------------------------------------

    def _file(self, digest: str, suffix: str) -> Path:
        return self.folder / "releases" / f"{digest}.{suffix}"

    def _read_facts(self, name: str) -> Facts | None:
        """Read a file of facts; one that is damaged counts as lost."""
        data = self._read(self.folder / f"{name}.json")
        found = load_json(data) if data is not None else None
        if not isinstance(found, dict) or not {*found} <= {*_FACTS}:
            return None
        facts = Facts(**found)
        is_right = fits(astuple(facts), *_FACTS.values()) and _DIGEST.fullmatch(facts.digest)
        return facts if is_right else None

    def _write_facts(self, name: str, facts: Facts) -> None:
        write_durably(self.folder / f"{name}.json", json.dumps(asdict(facts)).encode())

    def _load(self, facts: Facts | None) -> PublishedRelease | None:
        if facts is None:
            return None
        metainfo = self._read(self._file(facts.digest, "torrent"))
        if metainfo is None or sha256(metainfo).hexdigest() != facts.digest:
            return None
        signature = self._read(self._file(facts.digest, "minisig")) if facts.signed else None
        manifest = load_manifest(self._read(self._file(facts.digest, "manifest")))
        if manifest is None:
            try:
                manifest = parse_metainfo(metainfo)
            except ManifestError:
                return None
        stamps = _load_stamps(manifest, self._read(self._file(facts.digest, "stamps")))
        seen = stamps
        if facts.snapshot:
            seen = _load_stamps(manifest, self._read(self._file(facts.digest, "seen")))
        facts = replace(facts, signed=signature is not None)
        return PublishedRelease(facts, metainfo, signature, stamps, seen, manifest)

    def _read(self, file: Path) -> bytes | None:
        with self._in_words():
            try:
                return file.read_bytes()
            except FileNotFoundError:
                return None

    def _forget_but(self, digest: str) -> None:
        for file in (self.folder / "releases").iterdir():
            if file.name.partition(".")[0] != digest:
                file.unlink(missing_ok=True)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateError(
                f"the state in {str(self.folder)!r} could not be used: {error}",
                hint="check the disk and the permissions of the state directory",
            ) from error


def _dump_stamps(manifest: Manifest, stamps: Mapping[str, FileStamp]) -> bytes:
    """Four numbers for each file, in the manifest's order; -1 for those without a stamp."""
    nothing = (-1,) * _FIELDS
    rows = [stamps.get(file.path, nothing) for file in manifest.files]
    try:
        numbers = array("q", chain.from_iterable(rows))
    except OverflowError:  # an inode may be larger than a signed number of 64 bits
        numbers = array("q", map(_signed, chain.from_iterable(rows)))
    return numbers.tobytes()


def _load_stamps(manifest: Manifest, data: bytes | None) -> dict[str, FileStamp]:
    """Read what ``_dump_stamps`` gave; nothing if it does not fit."""
    numbers = array("q")
    if data is None or len(data) != len(manifest.files) * _FIELDS * numbers.itemsize:
        return {}
    numbers.frombytes(data)
    found = {}
    for at, file in enumerate(manifest.files):
        size, mtime_ns, ctime_ns, inode = numbers[at * _FIELDS : (at + 1) * _FIELDS]
        if size >= 0:
            found[file.path] = FileStamp(size, mtime_ns, ctime_ns, inode % 2**64)
    return found


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
