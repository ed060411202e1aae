"""Find, for each wanted file that is not at its place, where its content may be in the tree.

In this order: a file of the same digest; the file that most of its pieces are in, for one that
was renamed and changed; a file of the same size of which nothing is known.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from torsync.model.assessment import Here
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torsync.model.assessment import Extent
    from torsync.model.known import Known
    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import DiskIndex


def unsettled_files(wanted: Manifest, here: Sequence[Here]) -> Iterator[int]:
    """The wanted files with bytes of which it is not known that they are in the tree."""
    for index, seen in enumerate(here):
        if seen in {Here.DOUBTFUL, Here.ABSENT} and wanted.files[index].size:
            yield index


def find_same_content(
    wanted: Manifest, here: list[Here], known: Known, *, keep: Callable[[str], bool]
) -> dict[int, str]:
    """Find files of the same content; ``here`` becomes ``RIGHT`` or ``ELSEWHERE`` for them.

    Each file on disk is given to one wanted file before any is shared, so that as many as
    possible can be moved; preferably to one of the same name.

    Returns:
        The source of each file that is elsewhere.
    """
    holders = known.holders(wanted, unsettled_files(wanted, here))
    for index, paths in holders.items():
        if wanted.files[index].path in paths:
            here[index] = Here.RIGHT
    seekers = {index: paths for index, paths in holders.items() if here[index] is not Here.RIGHT}
    if not seekers:
        return {}
    staying = {
        file.path for file, seen in zip(wanted.files, here, strict=True) if seen is Here.RIGHT
    }
    pools = {
        id(paths): _Pool(paths, [path for path in paths if path not in staying and not keep(path)])
        for paths in {id(paths): paths for paths in seekers.values()}.values()
    }
    found: dict[int, str] = {}
    for index, paths in seekers.items():
        path = pools[id(paths)].take_named(_name(wanted.files[index].path))
        if path:
            found[index] = path
    for index, paths in seekers.items():
        if index not in found:
            found[index] = pools[id(paths)].take()
        here[index] = Here.ELSEWHERE
    return found


class _Pool:
    """Files of the same content: those that may be moved are taken once, then one is shared."""

    def __init__(self, paths: Sequence[str], movable: Iterable[str]) -> None:
        self._shared = paths[0]
        self._free = dict.fromkeys(movable)
        self._named: dict[str, list[str]] = {}
        for path in self._free:
            self._named.setdefault(_name(path), []).append(path)

    def take_named(self, name: str) -> str:
        paths = self._named.get(name)
        if not paths:
            return ""
        path = paths.pop(0)
        del self._free[path]
        return path

    def take(self) -> str:
        if not self._free:
            return self._shared
        path = next(iter(self._free))
        del self._free[path]
        return path


def find_similar(
    wanted: Manifest,
    absent: Iterable[int],
    places: Mapping[int, Sequence[Sequence[Extent]]],
) -> dict[int, str]:
    """Find a file that has most pieces of an absent one at the same place in it."""
    found = {}
    for index in absent if places else ():
        votes: Counter[str] = Counter()
        for piece in wanted.pieces_of(index):
            for place in places.get(piece, ()):
                votes.update(_aligned(wanted, index, piece, place))
        most = min(votes, key=lambda path: (-votes[path], path)) if votes else ""
        if 2 * votes[most] >= len(wanted.pieces_of(index)):
            found[index] = most
    return found


def _aligned(wanted: Manifest, index: int, piece: int, place: Sequence[Extent]) -> Iterator[str]:
    """The file of a place that has a wanted file's part of a piece at the same offset."""
    segments = list(wanted.segments(piece))
    lead = 0
    for segment in segments:
        if segment.file_index == index:
            break
        lead += segment.length
    for extent in place:
        if not lead and extent.path:
            if extent.offset == segment.file_offset and extent.length >= segment.length:
                yield extent.path
            return
        lead -= extent.length
        if lead < 0:
            return


def find_same_size(
    wanted: Manifest,
    index: DiskIndex,
    absent: Iterable[int],
    known: Known,
) -> dict[int, str]:
    """Find files that the release doesn't list, of the size of absent ones, to be looked into.

    Nothing is known of them that says they are others. Each is looked into once at most.
    """
    seekers = list(absent)
    sizes = {wanted.files[each].size for each in seekers}
    strays: dict[int, list[str]] = {}
    for path, entry in index.entries.items() if seekers else ():
        is_stray = path not in wanted.by_path and path not in index.problems
        if entry.size in sizes and entry.kind is Kind.FILE and is_stray:
            strays.setdefault(entry.size, []).append(path)
    found = {}
    for each in seekers if strays else ():
        file = wanted.files[each]
        candidates = [
            path for path in strays.get(file.size, ()) if not known.differs(path, wanted, each)
        ]
        if candidates:
            found[each] = min(candidates, key=lambda path: (_name(path) != _name(file.path), path))
            strays[file.size].remove(found[each])
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2]
