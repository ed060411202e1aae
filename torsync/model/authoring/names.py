"""Which files can be published, by what a subscriber makes of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.authoring.layout import tree_order
from torsync.model.errors import ManifestError
from torsync.model.metainfo import MAX_FILE_BYTES
from torsync.model.names import BITCOMET_PAD, NameChecker, resolve_meeting_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.authoring.content import PublishedFile


def find_unpublishable(files: Iterable[PublishedFile]) -> dict[str, str]:
    """Find the files that ``parse_metainfo`` would refuse, or give another name.

    Names that differ only in letter case or Unicode form are the same on some systems: the later
    one in the torrent's order would get a number in every client, and is one of those found.

    Args:
        files: that are to be published, with different paths in valid UTF-8.

    Returns:
        Path → what is wrong; empty if all can be published.
    """
    ordered = sorted(files, key=tree_order)
    checker = NameChecker(windows=False)
    found: dict[str, str] = {}
    for file in ordered:
        try:
            checker.path(file.path.encode().split(b"/"))
            if file.link_target is not None:
                checker.path(file.link_target.encode().split(b"/"), of="the target of the link: ")
        except ManifestError as error:
            found[file.path] = error.problem
        if BITCOMET_PAD in file.path:
            found[file.path] = f"clients take what has {BITCOMET_PAD!r} in its path for padding"
        if file.size > MAX_FILE_BYTES:
            found[file.path] = f"{file.size} bytes are more than the {MAX_FILE_BYTES} of a torrent"
    paths = [file.path for file in ordered if file.path not in found]
    for path, resolved in zip(paths, resolve_meeting_names(paths), strict=True):
        if path != resolved:
            found[path] = (
                "another path is the same but for letter case or Unicode form; on systems that "
                f"make no difference there is room for one, and clients would name it {resolved!r}"
            )
    return found
