"""From a folder to a ``.torrent``: look, hash what is not known, put it together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torsync import __version__
from torsync.model.authoring.writer import Notes, manifest_of, write_info, write_metainfo
from torsync.model.events import Progress, Stage, StageStarted
from torsync.model.hints.chunks import is_cut
from torsync.publish.hashing.engine import Hasher
from torsync.publish.hashing.memory import Memory
from torsync.publish.rounds import AuthorOptions, Rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torsync.disk.stamps import FileStamp
    from torsync.disk.tree import Tree
    from torsync.model.events import EventSink
    from torsync.model.manifest import Manifest
    from torsync.publish.errors import Problem
    from torsync.publish.hash_cache import HashCache
    from torsync.publish.hashing.progress import HashProgress

__all__ = ["AuthorOptions", "Authored", "Sources", "author", "events_of"]


@dataclass(frozen=True)
class Sources:
    """Where the content can be had: announce URLs, BEP 19 URLs, DHT nodes (BEP 5)."""

    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Authored:
    """A release that is ready.

    Attributes:
        metainfo: the whole ``.torrent``.
        manifest: what ``parse_metainfo`` gives for it.
        stamps: what each regular file was like when it was hashed, by path.
        skipped: what was left out, with reasons.
        bytes_hashed: what was read to be hashed.
    """

    metainfo: bytes
    manifest: Manifest
    stamps: Mapping[str, FileStamp]
    skipped: tuple[Problem, ...]
    bytes_hashed: int

    def says_the_same_as(self, previous: Manifest | None) -> bool:
        """Whether a release before had the same content and times, and named the same sources.

        What differs may be when it was made, and by which version of torsync.
        """
        if previous is None or self.manifest.info_hash != previous.info_hash:
            return False
        made = {"created_by": previous.created_by, "creation_date_s": previous.creation_date_s}
        return replace(self.manifest, **made) == previous  # type: ignore[arg-type]


def events_of(
    name: str, sink: EventSink, stage: Stage = Stage.HASHING
) -> Callable[[HashProgress], None]:
    """Give the ``progress`` that tells ``sink`` of a publication's hashing, or of a like stage."""
    is_begun = False

    def tell(now: HashProgress) -> None:
        nonlocal is_begun
        if not is_begun:
            sink(StageStarted(name, stage))
            is_begun = True
        sink(
            Progress(
                name,
                stage,
                files_done=now.files_done,
                files_total=now.files_total,
                bytes_done=now.bytes_done,
                bytes_total=now.bytes_total,
                eta_s=now.eta_s,
                rate=now.rate,
                path=now.path,
            )
        )

    return tell


def author(
    tree: Tree,
    options: AuthorOptions,
    cache: HashCache,
    *,
    previous: Manifest | None,
    sources: Callable[[str], Sources],
    progress: Callable[[HashProgress], None],
    stopping: Callable[[], bool],
    now_s: Callable[[], float],
    workers: int = 0,
) -> Authored:
    """Make the ``.torrent`` of a folder as it is now.

    Files that change while they are hashed are hashed again; what is published is what all files
    were like at one moment, by their times.

    Args:
        tree: the folder.
        options: how it is published.
        cache: of this publication.
        previous: the release before, whose piece size is kept if it can be.
        sources: told the hex info-hash.
        progress: told several times a second how far hashing is; ``events_of`` makes one.
        stopping: asked several times a second.
        now_s: gives the time in Unix seconds.
        workers: processes that hash; 0: one per core.

    Raises:
        PublishError: something cannot be published; it names everything that was found.
        EmptyFolderError: nothing in the folder can be published.
        PieceSizeError: there would be more pieces than subscribers accept.
        TreeError: the folder is not there, or could not be read.
        HashingError: a process that hashed has ended.
        StateError: the cache cannot be used.
        InterruptedByUserError: ``stopping`` said so; what was hashed is in the cache.
    """
    memory = Memory(cache)
    hasher = Hasher(tree, memory, progress=progress, stopping=stopping, workers=workers)
    rounds = Rounds(tree, options, memory, hasher, stopping)
    layout, stamps, (hashes, packed) = rounds.settle(previous.piece_length if previous else 0)
    gone = (memory.files.keys() | {path for path, _start in memory.parts}) - stamps.keys()
    if gone or not memory.packed.keys() <= set(hasher.packed_used):
        cache.finish_release(gone, memory.packed, hasher.packed_used)
    info = write_info(layout, hashes, packed, name=options.name, private=options.private)
    where = sources(info.info_hash)
    notes = Notes(
        trackers=where.trackers,
        web_seeds=where.web_seeds,
        nodes=where.nodes,
        comment=options.comment,
        created_by=f"torsync {__version__}",
        creation_date_s=int(now_s()),
        hints=options.hints if any(is_cut(file.size) for file in layout.files) else "",
    )
    return Authored(
        metainfo=write_metainfo(info, layout, hashes, notes),
        manifest=manifest_of(info, layout, hashes, notes),
        stamps=stamps,
        skipped=tuple(sorted(rounds.skipped.values())),
        bytes_hashed=hasher.bytes_hashed,
    )
