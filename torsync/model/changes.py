"""What an update did to files, whichever way it did that."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torsync.model.reports import CheckReport


class Changes(NamedTuple):
    """Paths by what became of them; those of files that are kept are in none of the lists.

    Attributes:
        added: paths where nothing was.
        changed: paths that have other content, or another kind of file, than before.
        moved: paths where a file is now that was at another one.
        removed: paths where nothing of the release is any more.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def changes_of(report: CheckReport) -> Changes:
    """Sort what an update did by what it means to who uses the files."""
    moved = set(report.moved)
    old = {*report.trashed, *report.patched}
    new = {*report.patched, *report.fetched, *report.copied}
    return Changes(
        added=tuple(sorted(new - old)),
        changed=tuple(sorted(new & old)),
        moved=tuple(sorted(moved)),
        removed=tuple(sorted({*report.trashed} - moved - new)),
    )


NO_CHANGES = Changes()
