"""The marker of a tree: the file by which torsync knows the folder again."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree, doing
from torsync.model.guard import marker_id_in, marker_text
from torsync.model.names import PRIVATE_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

MARKER = f"{PRIVATE_FOLDER}/marker"
_MOST_BYTES = 4096


def read_marker(tree: Tree) -> str | None:
    """Read the id in a tree's marker; None if it has no marker, empty if that holds no id.

    Raises:
        TreeError: it cannot be read.
    """
    with doing("read", MARKER):
        try:
            fd = tree.open(MARKER)
        except FileNotFoundError:
            return None
        try:
            found = os.read(fd, _MOST_BYTES)
        finally:
            os.close(fd)
    return marker_id_in(found.decode("utf-8", errors="replace"))


def write_marker(tree: Tree) -> str:
    """Give a tree a marker with a new id, durably, and return that.

    Raises:
        TreeError: it could not be written; an earlier marker is as it was.
    """
    marker_id = secrets.token_hex(16)
    with doing("write", MARKER):
        folder_fd = tree.folder_fd(PRIVATE_FOLDER, create=True)
        with suppress(FileNotFoundError):
            os.unlink("marker.new", dir_fd=folder_fd)
        fd = os.open(
            "marker.new",
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            0o644,
            dir_fd=folder_fd,
        )
        try:
            os.write(fd, marker_text(marker_id).encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename("marker.new", "marker", src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        os.fsync(folder_fd)
    return marker_id


def adopt_folder(folder: Path) -> None:
    """Say that a folder, if it is there, may become a tree with all that is in it.

    Raises:
        TreeError: it is no folder, or cannot be written.
    """
    if not os.path.lexists(folder):
        return
    tree = Tree(folder.resolve())
    try:
        if not read_marker(tree):
            write_marker(tree)
    finally:
        tree.close()
