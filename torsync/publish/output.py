"""The public files of a publication: its ``.torrent``, and its signature beside that.

They are replaced one after the other, the signature first. A subscriber that has the old
``.torrent`` asks for a signature only once there is a new one, so it finds both new, also should
torsync be killed in between; only who fetches the old ``.torrent`` at that very moment sees a
signature that is not its own, and asks again.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from torsync.model.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE_SUFFIX = ".minisig"


class Output:
    """A ``.torrent`` that others fetch, and its signature."""

    def __init__(self, torrent: Path) -> None:
        """Name the ``.torrent``; where that is a link, what it leads to is replaced."""
        self.torrent = torrent
        self._torrent = Path(os.path.realpath(torrent))
        self._signature = self._torrent.with_name(self._torrent.name + SIGNATURE_SUFFIX)

    @property
    def place(self) -> Path:
        """Where the ``.torrent`` really is, and what belongs beside it."""
        return self._torrent

    def check_folder(self) -> None:
        """See that there is a folder for the files, before hours of hashing are spent on them.

        Raises:
            TreeError: there is none, or it cannot be written to.
        """
        with in_words(self._torrent, "write"):
            beside(self._torrent).touch()
            beside(self._torrent).unlink()

    def read_torrent(self) -> bytes | None:
        """What the ``.torrent`` holds; None if there is none.

        Raises:
            TreeError: it cannot be read.
        """
        return _read(self._torrent)

    def read_signature(self) -> bytes | None:
        """What the signature file holds; None if there is none.

        Raises:
            TreeError: it cannot be read.
        """
        return _read(self._signature)

    def is_current(self, metainfo: bytes, signature: bytes | None) -> bool:
        """Whether the public files are these.

        Raises:
            TreeError: they cannot be read.
        """
        if _read(self._torrent) != metainfo:
            return False
        return signature is None or _read(self._signature) == signature

    def write_beside(self, metainfo: bytes, signature: bytes | None) -> None:
        """Write both durably under hidden names in the same folder, where nobody looks for them.

        Raises:
            TreeError: that was not possible.
        """
        with in_words(self._torrent, "write"):
            _write(self._torrent, metainfo)
            if signature is not None:
                _write(self._signature, signature, else_like=self._torrent)

    def show(self, *, signed: bool, was_signed: bool) -> None:
        """Let what was written beside take the place of the public files; each is whole throughout.

        Args:
            signed: whether there is a signature.
            was_signed: whether the release before had one; it is removed if this one has none.

        Raises:
            TreeError: that was not possible; a part may have been done.
        """
        with in_words(self._torrent, "replace"):
            if signed:
                os.replace(beside(self._signature), self._signature)
                sync_folder(self._torrent.parent)  # else a crash could keep the second alone
            os.replace(beside(self._torrent), self._torrent)
            if was_signed and not signed:
                self._signature.unlink(missing_ok=True)
            sync_folder(self._torrent.parent)

    def discard(self) -> None:
        """Remove what was written beside."""
        for target in (self._torrent, self._signature):
            with suppress(OSError):
                beside(target).unlink(missing_ok=True)


def beside(target: Path) -> Path:
    """The hidden name under which a file is written."""
    return target.with_name(f".{target.name}.new")


def _write(target: Path, data: bytes, *, else_like: Path | None = None) -> None:
    """Write beside a file, with its permissions if it is there; else with those of another."""
    with beside(target).open("wb") as file:
        like = target if else_like is None or target.exists() else else_like
        with suppress(FileNotFoundError):
            os.fchmod(file.fileno(), like.stat().st_mode & 0o7777)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(file: Path) -> bytes | None:
    with in_words(file, "read"):
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a crash."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def in_words(file: Path, doing: str) -> Iterator[None]:
    """Turn what fails into a ``TreeError`` that names the file and what was done to it."""
    try:
        yield
    except OSError as error:
        raise TreeError(
            f"could not {doing} {str(file)!r}: {error.strerror}",
            path=str(file),
            hint="check that its folder is there and can be written to, and that the disk has room",
        ) from error
