"""The hints file of a publication, on disk: whole throughout, and replaced in one step."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from torsync.disk.stamps import FileStamp, stamp_of
from torsync.model.hints.format import SUFFIX
from torsync.publish.output import beside, in_words, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.publish.output import Output


class HintsFile:
    """Beside the ``.torrent``; whoever reads the old one while it is replaced goes on with that."""

    def __init__(self, path: Path, like: Path | None = None) -> None:
        """Name it; a new one gets the permissions of ``like``, where that is there."""
        self.path = path
        self._like = like

    @classmethod
    def of(cls, config: PublicationConfig, output: Output | None, folder: Path) -> HintsFile:
        """Decide where a publication has it.

        Args:
            config: of the publication.
            output: its public files; None if only the feed serves it.
            folder: of its state, where it is then.
        """
        if output is None:
            return cls(folder / f"{config.name}.torrent{SUFFIX}")
        return cls(output.place.with_name(output.place.name + SUFFIX), output.place)

    @property
    def reference(self) -> str:
        """What a ``.torrent`` in the same folder says of it (RFC 3986: a relative reference)."""
        return quote(os.fsencode(self.path.name), safe="")

    def stamp(self) -> FileStamp | None:
        """What it is like; None if it is not there."""
        try:
            return stamp_of(os.stat(self.path))
        except OSError:
            return None

    def begins_with(self, front: bytes) -> bool:
        """Whether it is there, and its first bytes are these."""
        try:
            with self.path.open("rb") as file:
                return file.read(len(front)) == front
        except OSError:
            return False

    def replace(self, parts: Iterable[bytes]) -> None:
        """Write it durably under a hidden name, and let that take its place.

        Raises:
            TreeError: that was not possible; it is as it was.
        """
        try:
            with in_words(self.path, "write"):
                with beside(self.path).open("wb") as file:
                    with suppress(OSError):
                        like = self.path if self._like is None or self.stamp() else self._like
                        os.fchmod(file.fileno(), like.stat().st_mode & 0o7777)
                    for part in parts:
                        file.write(part)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside(self.path), self.path)
                sync_folder(self.path.parent)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written under the hidden name."""
        with suppress(OSError):
            beside(self.path).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove it.

        Raises:
            TreeError: that was not possible.
        """
        with in_words(self.path, "remove"):
            self.path.unlink(missing_ok=True)
