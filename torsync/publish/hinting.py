"""The hints of a publication's releases: made in time, and never what a release fails for."""

from __future__ import annotations

import time
from contextlib import closing
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree
from torsync.model.errors import InterruptedByUserError, StateError, TorsyncError
from torsync.model.events import Level, Stage
from torsync.model.hints.chunks import is_cut, usual_entry_bytes
from torsync.model.hints.format import HintsError, key_of, write_front
from torsync.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from torsync.model.publish_reports import PublishReport
    from torsync.publish.hash_cache import HashCache
    from torsync.publish.hints.file import HintsFile
    from torsync.publish.hints.maker import ReleasedFile
    from torsync.publish.state import PublicationState, PublishedRelease
    from torsync.subscribe.surroundings import Surroundings, Voice

_COPIES = 3  # of entries on the way into the cache: as parts, in SQLite's log, and for good
_HEED_S = 1.0
_LEFT_FREE_BYTES = 8 * 1024**2  # SQLite's log grows to half of that; the state needs some
_NOT_WHOLE = "-"  # instead of a digest


class Hinting:
    """Makes the hints file of one publication.

    Subscribers go on without hints, so an error is told, and that is all. Entries are those of
    content: a file that is ahead of the ``.torrent``, or behind it, does no harm.

    Attributes:
        meanwhile: sees to the release that is public while its hints are made; called about once
            a second.
    """

    def __init__(
        self,
        tree: Tree,
        file: HintsFile,
        state: PublicationState,
        cache: Callable[[], HashCache],
        around: Surroundings,
        voice: Voice,
    ) -> None:
        """Prepare.

        Args:
            tree: the folder.
            file: the hints file.
            state: of the publication.
            cache: gives its hash cache.
            around: what it needs.
            voice: says what is done.
        """
        self._tree = tree
        self._file = file
        self._state = state
        self._cache = cache
        self._around = around
        self._voice = voice
        self.meanwhile: Callable[[], None] = lambda: None
        self._whole = ""  # the mark of what was written last, if nothing was missing
        self._heeds_s = 0.0
        self._failed = ""
        file.discard()

    def cut(
        self, release: PublishedRelease, changed: Collection[int], report: PublishReport
    ) -> None:
        """Cut what has changed, before a release takes the place of the one before.

        Args:
            release: that is not public yet.
            changed: indexes of files that the release before does not have so.
            report: is told what was made.

        Raises:
            InterruptedByUserError: it shall stop; what was cut is kept.
        """
        if release.manifest.hints:
            stopping = self._around.stopping
            self._attempt(lambda: self._cut_unknown(release, changed, report, stopping))

    def show(self, release: PublishedRelease, report: PublishReport) -> None:
        """Have the hints file with what is known of a release that is just becoming public."""
        if release.manifest.hints:
            self._attempt(lambda: self._write(release, report))

    def complete(self, release: PublishedRelease, report: PublishReport) -> None:
        """Have all hints of a release that is public, or none if it shall have none.

        Args:
            release: that is public.
            report: is told what was made.
        """
        noted = self._state.noted_hints()
        if not release.manifest.hints:
            if noted:
                self._forget()
            return
        if noted and noted == self._mark(release):
            stamp = self._file.stamp()
            report.hints_bytes = stamp.size if stamp is not None else 0
            return
        try:
            is_whole = self._attempt(lambda: self._make(release, report))
        except InterruptedByUserError:
            self._voice.notice(
                Level.INFO,
                "hints_later",
                "stopped while making hints; the release is public, and what was made is kept",
                "the next check, or the same command again, makes the rest",
            )
            return
        if is_whole:
            self._failed = ""
            self._state.note_hints(self._mark(release))

    def _mark(self, release: PublishedRelease | None) -> str:
        """What is noted of the hints file as it is now; empty if it is not there.

        Args:
            release: of which it has everything; None if that is not known.
        """
        stamp = self._file.stamp()
        digest = release.facts.digest if release is not None else _NOT_WHOLE
        return " ".join(map(str, (digest, *stamp))) if stamp is not None else ""

    def _attempt(self, action: Callable[[], bool]) -> bool:
        """Do something; False if it says so, or has failed, which is told.

        Raises:
            InterruptedByUserError: it shall stop; what was cut is kept.
        """
        try:
            return action()
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            if error.message != self._failed:  # it is tried again and again
                self._failed = error.message
                said = f"the hints of this release could not be made: {error.message}; subscribers"
                said += " can do without, and fetch more"
                self._voice.notice(Level.WARNING, "hints_failed", said, error.hint)
            return False

    def _make(self, release: PublishedRelease, report: PublishReport) -> bool:
        """Cut and write all that is missing, and forget what is needed no more.

        Returns:
            Whether nothing is missing.

        Raises:
            InterruptedByUserError: it shall stop.
            TorsyncError: it could not be done.
        """
        if not self._whole or self._whole != self._mark(release):
            everything = range(len(release.manifest.files))
            self._cut_unknown(release, everything, report, self._is_stopping)
            self._write(release, report)
        self._cache().hints.finish_release(_wanted(release).keys())
        return bool(self._whole)

    def _is_stopping(self) -> bool:
        """Whether it shall stop; the release that is public is seen to in between."""
        if (now_s := time.monotonic()) >= self._heeds_s:
            self.meanwhile()
            self._heeds_s = now_s + _HEED_S
        return self._around.stopping()

    def _cut_unknown(
        self,
        release: PublishedRelease,
        indexes: Collection[int],
        report: PublishReport,
        stopping: Callable[[], bool],
    ) -> bool:
        """Cut those files of some of which nothing is known.

        Raises:
            InterruptedByUserError: it shall stop.
            TorsyncError: it could not be done.
        """
        known = self._cache().hints.keys()
        unknown = [
            index
            for key, index in _wanted(release).items()
            if key not in known and index in indexes
        ]
        if unknown:
            report.hints_made += self._cut(release, unknown, stopping)
        return True

    def _write(self, release: PublishedRelease, report: PublishReport) -> bool:
        """Write the file, if it has to be another one; False if not everything is in it.

        Raises:
            TorsyncError: it could not be done.
        """
        hints, keys = self._cache().hints, _wanted(release).keys()
        filed = hints.filed(keys)
        front = write_front(filed)
        size = len(front) + sum(entry.length for entry in filed)
        mark, noted = self._mark(None), self._state.noted_hints()
        is_as_written = bool(mark) and mark.partition(" ")[2] == noted.partition(" ")[2]
        if not is_as_written or not self._file.begins_with(front):
            self._file.replace(_measured(chain([front], hints.entries(keys)), size))
            self._state.note_hints(self._mark(None))
        report.hints_bytes = size
        is_whole = len(filed) == len(keys)
        self._whole = self._mark(release) if is_whole else ""
        return is_whole

    def _cut(
        self, release: PublishedRelease, indexes: Iterable[int], stopping: Callable[[], bool]
    ) -> int:
        """Cut files, and give how many it were.

        Raises:
            HintsError: the library that cuts is not there.
            InterruptedByUserError: it shall stop.
            TorsyncError: it could not be done.
        """
        from torsync.publish.author import events_of  # noqa: PLC0415 - costs start-up time
        from torsync.publish.hints.maker import Maker  # noqa: PLC0415 - costs start-up time

        if find_spec("pyfastcdc") is None:
            raise HintsError("pyfastcdc is not there", hint="install it, or set hints = false")
        files = list(_released(release, indexes))
        self._check_room(sum(usual_entry_bytes(file.stamp.size) for file in files))
        snapshot = release.facts.snapshot
        with closing(Tree(self._tree.root / snapshot) if snapshot else self._tree.twin()) as tree:
            maker = Maker(
                tree,
                self._cache().hints,
                progress=events_of(self._voice.name, self._voice.sink, Stage.HINTING),
                stopping=stopping,
            )
            maker.make(files)
        return maker.files_cut

    def _check_room(self, entries_bytes: int) -> None:
        """See that what is cut leaves room for the release itself.

        Raises:
            StateError: it does not.
            TreeError: the disk cannot be asked.
        """
        from torsync.subscribe.room import free_bytes  # noqa: PLC0415 - costs start-up time

        folder, needed = self._state.hashes.parent, _COPIES * entries_bytes + _LEFT_FREE_BYTES
        if free_bytes(folder) < needed:
            raise StateError(
                f"the disk of {str(folder)!r} has less room than {format_size(needed)}",
                hint="make room there, or set hints = false",
            )

    def _forget(self) -> None:
        """Remove the file that a release before had."""
        try:
            self._file.remove()
            self._cache().hints.clear()
        except TorsyncError as error:
            self._voice.notice(Level.WARNING, "hints_left", error.message, error.hint)
        self._state.note_hints("")


def _wanted(release: PublishedRelease) -> dict[bytes, int]:
    """The files that have an entry: the index of one of each content, by key."""
    return {
        key_of(file.pieces_root): index
        for index, file in enumerate(release.manifest.files)
        if file.pieces_root is not None and is_cut(file.size)
    }


def _released(release: PublishedRelease, indexes: Iterable[int]) -> Iterator[ReleasedFile]:
    """The files of a release that can be read, as far as stamps vouch for them."""
    from torsync.publish.hints.maker import ReleasedFile  # noqa: PLC0415 - costs start-up time

    for index in indexes:
        path, root = release.manifest.files[index].path, release.manifest.files[index].pieces_root
        stamp = release.stamps.get(path)
        if stamp is not None and root is not None:
            yield ReleasedFile(path, stamp, root)


def _measured(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Give parts, and see that they are as many bytes as they should be.

    Raises:
        StateError: they are not: the cache was begun anew meanwhile.
    """
    left = size
    for part in parts:
        left -= len(part)
        yield part
    if left:
        raise StateError(
            f"the hash cache has lost entries of the hints file: {size:,} bytes were expected, "
            f"found {size - left:,}",
            hint="they are made anew at the next check",
        )
