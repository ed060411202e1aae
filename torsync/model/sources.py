"""Find, for each wanted file that is not at its place, where its content may be in the tree.

In this order: a file of the same digest; the file that most of its pieces are in, for one that
was renamed and changed; a file of the same size of which nothing is known.
"""

from __future__ import annotations

from bisect import bisect_left
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
        if (seen is Here.DOUBTFUL or seen is Here.ABSENT) and wanted.files[index].size:
            yield index


def find_same_content(
    wanted: Manifest,
    index: DiskIndex,
    here: list[Here],
    unsettled: Iterable[int],
    known: Known,
    *,
    keep: Callable[[str], bool],
) -> tuple[dict[int, str], dict[int, str]]:
    """Find files of the same content; ``here`` becomes ``RIGHT`` or ``ELSEWHERE`` for them.

    Each file on disk is given to one wanted file before any is shared, so that as many as
    possible can be moved; preferably to one of the same name.

    Returns:
        The source of each file that is elsewhere; and a spare one for files that may well be
        right where they are, which only hashing can tell.
    """
    holders = known.holders(wanted, unsettled)
    seekers: dict[int, list[str]] = {}
    spares = {}
    for each, paths in holders.items():
        file = wanted.files[each]
        entry = index.entries.get(file.path)
        if _is_among(file.path, paths):
            here[each] = Here.RIGHT
        elif (
            here[each] is Here.DOUBTFUL
            and entry is not None
            and entry.size == file.size
            and not known.digest(file.path)
        ):
            spares[each] = paths[0]
        else:
            seekers[each] = paths
    return give_out(wanted, here, seekers, keep), spares


def _is_among(path: str, paths: Sequence[str]) -> bool:
    """Whether it is one of many sorted paths, which as many files may ask for."""
    at = bisect_left(paths, path)
    return at < len(paths) and paths[at] == path


def give_out(
    wanted: Manifest,
    here: list[Here],
    seekers: Mapping[int, list[str]],
    keep: Callable[[str], bool],
) -> dict[int, str]:
    """Give each seeker one of the paths that have its content; it becomes ``ELSEWHERE``.

    Seekers of the same content share one list of paths.
    """
    if not seekers:
        return {}
    staying = {
        file.path
        for file, seen in zip(wanted.files, here, strict=True)
        if seen is Here.RIGHT or seen is Here.UNSELECTED
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
    """Files of the same content: those that may be moved are taken once, then one is shared.

    All that are to be taken by their name are taken first.
    """

    def __init__(self, paths: Sequence[str], movable: Iterable[str]) -> None:
        self._shared = paths[0]
        self._free = dict.fromkeys(movable)
        self._named: dict[str, list[str]] = {}
        for path in self._free:
            self._named.setdefault(_name(path), []).append(path)

    def take_named(self, name: str, *, but: str = "") -> str:
        """Take one of that name; empty if there is none."""
        paths = self._named.get(name, [])
        path = next((path for path in paths if path != but), "")
        if path:
            paths.remove(path)
            del self._free[path]
        return path

    def take(self, *, but: str = "", share: bool = True) -> str:
        """Take any, or share one if all are taken; empty if there is none."""
        path = next((path for path in self._free if path != but), "")
        if path:
            del self._free[path]
        elif share and self._shared != but:
            path = self._shared
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
    file, begin = wanted.files[index], piece * wanted.piece_length
    start = max(file.offset, begin)
    length = min(file.offset + file.size, begin + wanted.piece_length) - start
    lead = start - begin
    for extent in place:
        if not lead and extent.path:
            if extent.offset == start - file.offset and extent.length >= length:
                yield extent.path
            return
        lead -= extent.length
        if lead < 0:
            return


def find_same_size(
    wanted: Manifest,
    index: DiskIndex,
    here: Sequence[Here],
    seekers: Sequence[int],
    known: Known,
) -> dict[int, str]:
    """Find files of the size that wanted ones have, to be looked into.

    Nothing tells their content from the wanted one, but that does not mean much: one that is
    where it belongs is looked into only for the sake of a piece or more, and not if the wanted
    file has something at its own path; one that is not selected not at all.

    Args:
        wanted: the release.
        index: what is on disk.
        here: what is known of each file.
        seekers: files that are not at their path, or have another content there.
        known: what is known of the content on disk.

    Returns:
        The source of each file for which there is one.
    """
    sizes = {wanted.files[each].size for each in seekers}
    staying = {
        file.path
        for file, seen in zip(wanted.files, here, strict=True)
        if seen is Here.RIGHT and file.size in sizes
    }
    unselected = {
        file.path for file, seen in zip(wanted.files, here, strict=True) if seen is Here.UNSELECTED
    }
    candidates: dict[int, list[str]] = {}
    for path, entry in index.entries.items() if seekers else ():
        if path in unselected:
            continue
        if entry.size not in sizes or entry.kind is not Kind.FILE:
            continue
        if path in staying and entry.size < wanted.piece_length:
            continue
        if path not in index.problems and not known.identifies(path, wanted):
            candidates.setdefault(entry.size, []).append(path)
    pools = {
        size: _Pool(sorted(paths), [path for path in sorted(paths) if path not in staying])
        for size, paths in candidates.items()
    }
    found: dict[int, str] = {}
    asking = [each for each in seekers if wanted.files[each].size in pools]
    for each in asking:
        file = wanted.files[each]
        path = pools[file.size].take_named(_name(file.path), but=file.path)
        if path:
            found[each] = path
    for each in asking:
        file = wanted.files[each]
        if each not in found:
            path = pools[file.size].take(but=file.path, share=here[each] is Here.ABSENT)
            if path:
                found[each] = path
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2]
