"""Which files of a release ``select`` leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.manifest import folders_above

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from torsync.model.assess import Matcher
    from torsync.model.manifest import Manifest


def unselected_files(wanted: Manifest, select: Matcher | None) -> frozenset[int]:
    """Find the files and links that are left alone: those that ``select`` does not match.

    Args:
        wanted: the release.
        select: the paths that are wanted; None: every one.
    """
    if select is None:
        return frozenset()
    return frozenset(index for index, file in enumerate(wanted.files) if not select(file.path))


def selected_folders(wanted: Manifest, unselected: Container[int]) -> frozenset[str]:
    """Every folder that one of the other files lies in."""
    if not unselected:
        return wanted.folders
    return folders_above(
        file.path for index, file in enumerate(wanted.files) if index not in unselected
    )


def selected_bytes(wanted: Manifest, unselected: Iterable[int]) -> int:
    """How many bytes the other files have."""
    return wanted.total_size - sum(wanted.files[index].size for index in unselected)
