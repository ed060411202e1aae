"""What is published: files and their hashes, as values."""

from __future__ import annotations

from typing import NamedTuple


class PublishedFile(NamedTuple):
    """One file or symbolic link of a folder that is published.

    Attributes:
        path: relative to the folder, ``/`` between names.
        size: bytes; 0 for a link.
        mtime_s: modification time in whole Unix seconds; 0 where there is none to tell.
        executable: BEP 47 attribute ``x``.
        hidden: BEP 47 attribute ``h``.
        link_target: for a symbolic link, the target's path relative to the folder (BEP 47
            ``symlink path``); None for a file.
    """

    path: str
    size: int
    mtime_s: int = 0
    executable: bool = False
    hidden: bool = False
    link_target: str | None = None


class FileHashes(NamedTuple):
    """The hashes of one file for one piece length; none depends on where the file lies.

    Attributes:
        root: BEP 52 pieces root, 32 bytes; empty for an empty file or a link.
        layer: BEP 52 piece layer, 32 bytes a piece; empty for a file of at most one piece.
        v1: 20 bytes of SHA-1 a piece (BEP 3), for a file that starts on a piece boundary and
            has its pieces to itself (``is_aligned``); empty for any other. The last piece is
            hashed with zeros behind it up to the full piece length, always: also the last
            file of a torrent is followed by a pad file (BEP 47).
    """

    root: bytes
    layer: bytes = b""
    v1: bytes = b""


NO_HASHES = FileHashes(b"")
"""Those of an empty file or a link."""
