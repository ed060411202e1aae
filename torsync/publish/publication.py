"""One publication at work: release, seed, serve. The order of things; decisions are elsewhere."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree
from torsync.model.errors import InterruptedByUserError, RefusedError, TorsyncError, TreeError
from torsync.model.events import Stage, StageStarted
from torsync.model.names import PRIVATE_FOLDER, in_private
from torsync.model.patterns import matcher
from torsync.publish.failing import note_failure
from torsync.publish.gate import check_session, check_web_seeds
from torsync.publish.hinting import Hinting
from torsync.publish.hints.file import HintsFile
from torsync.publish.odd_names import tell_names_of_clients
from torsync.publish.output import Output
from torsync.publish.recording import note_success
from torsync.publish.releasing import Releasing
from torsync.publish.showing import Showing
from torsync.publish.snapshots import Snapshots
from torsync.publish.standing import Look, changed_of, look_at, look_at_all
from torsync.publish.state import PublicationState
from torsync.subscribe.surroundings import Voice
from torsync.swarm.probe import NotServedError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.model.events import Event
    from torsync.model.publish_reports import PublishReport
    from torsync.publish.feed import Feed
    from torsync.publish.releasing import Prepared
    from torsync.publish.seeding import SeededRelease
    from torsync.publish.state import PublishedRelease
    from torsync.subscribe.surroundings import Surroundings

_LOOK_EVERY_S = 10.0
_LOOK_SHARE = 100  # a look may take a hundredth of the time
_MOST_NAMED = 1000  # to look at one by one is slower


class Publication:
    """A local folder turned into a ``.torrent``, seeded and served. Its lock is held by the caller.

    One thread uses it.

    Attributes:
        hinting: ``heed`` and ``edited`` may be called in its ``meanwhile``.
    """

    def __init__(
        self,
        config: PublicationConfig,
        folder: Path,
        around: Surroundings,
        feed: Feed | None = None,
    ) -> None:
        """Open state and folder; nothing is seeded or served yet.

        Args:
            config: of the publication.
            folder: of its state.
            around: what it needs. Without ``seed`` releases are made, and not seeded.
            feed: that is started already, to serve it.

        Raises:
            RefusedError: the folder is gone, and had files.
            TorsyncError: state or folder cannot be used.
        """
        self.config = config
        self._around = around
        self._ignored = matcher(config.ignore)
        self._looks_s = 0.0
        self._seen: frozenset[str] = frozenset()
        self._is_recovered = False
        with ExitStack() as opened:
            self._state = PublicationState.of(config, folder)
            self._voice = voice = Voice(config.name, self._note_and_tell)
            try:
                self._tree = self._open_tree()
            except TorsyncError as error:
                note_failure(config, self._state, around, error)
                raise
            opened.callback(self._tree.close)
            output = Output(config.torrent) if config.torrent is not None else None
            self._output = output
            hints = HintsFile.of(config, output, self._state.folder)
            self._releasing = releasing = Releasing(
                config,
                self._tree,
                self._state,
                output,
                around,
                voice,
                feed,
                hints.reference if config.hints else "",
            )
            opened.callback(releasing.close)
            self.hinting = Hinting(
                self._tree, hints, self._state, lambda: releasing.cache, around, voice
            )
            self._snapshots = Snapshots(config, self._tree, around, voice)
            self._showing = Showing(config, self._tree, around, voice, feed, hints)
            opened.callback(self._showing.close)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Leave the swarm, close folder and state; the feed keeps what it serves."""
        self._opened.close()

    def _open_tree(self) -> Tree:
        self._check_there()
        tree = Tree(self.config.path)
        try:
            self._hold(tree)
        except TorsyncError:
            tree.close()
            raise
        return tree

    def _hold(self, tree: Tree) -> None:
        """Take the tree's lock, if it can have one: nothing is put into a published folder."""
        if self.config.snapshot or (self.config.path / PRIVATE_FOLDER).is_dir():
            tree.hold()
        else:
            tree.keep_time()

    def _check_there(self) -> None:
        path = self.config.path
        if path.is_dir():
            return
        if path.exists():
            raise TreeError(
                f"{str(path)!r} is not a folder",
                path=str(path),
                hint="put the file into a folder of its own, and publish that",
            )
        if not self._state.facts().files:
            raise TreeError(
                f"the folder {str(path)!r} is not there",
                path=str(path),
                hint="make it, or correct the path",
            )
        raise RefusedError(
            f"the published folder {str(path)!r} is not there; is its disk not mounted?",
            hint="mount it; the release that is public stays as it is until then",
        )

    def _note_and_tell(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._state.note_stage(event.stage.value)
        self._around.sink(event)

    # --- what is public ---------------------------------------------------------------------

    def resume(self) -> bool:
        """Seed and serve the release that is public, as far as its files are as they were.

        A release that was cut off while it became public is finished. Nothing is hashed.

        Returns:
            Whether there is such a release.

        Raises:
            TorsyncError: the folder cannot be looked at, or the session refuses.
        """
        release = self._recover()
        if release is None:
            return False
        if not self._showing.is_seeding:
            self._showing.show(release, changed_of(self._tree, release, self._ignored))
            self._snapshots.forget_but(release)
        return True

    def _recover(self) -> PublishedRelease | None:
        if not self._is_recovered:
            self._showing.release = self._releasing.recover()
            self._is_recovered = True
        return self._showing.release

    def rest(self) -> None:
        """Say that nothing is done until the next edit, look or order."""
        self._voice.stage(Stage.SEEDING if self._showing.is_seeding else Stage.WAITING)

    # --- release ----------------------------------------------------------------------------

    def release_now(self, *, dry_run: bool = False, unsettled: bool = False) -> PublishReport:
        """Make a release of the folder as it is, if anything has changed.

        Public only when it can be fetched; a failure leaves the release before public and seeded.

        Args:
            dry_run: only tell what it would be; files may be hashed, and nothing is published.
            unsettled: the folder is edited all the time; it is not waited for a better moment.

        Raises:
            RefusedError: the folder is empty, and was not.
            PublishError: something in it cannot be published.
            TorsyncError: it could not be done.
        """
        started = time.monotonic()
        try:
            report = self._foretell() if dry_run else self._release(unsettled=unsettled)
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            if not dry_run:
                note_failure(self.config, self._state, self._around, error)
                self._showing.go_on()
            raise
        report.seconds = time.monotonic() - started
        if not dry_run:
            note_success(self._state, report, self._around.now_s(), self._voice)
            if report.changed:
                self._around.hooks.released(self.config, report)
        return report

    def _foretell(self) -> PublishReport:
        before = self._showing.release or self._releasing.public()
        report = self._releasing.prepare(before).report
        report.dry_run = True
        return report

    def _release(self, *, unsettled: bool) -> PublishReport:
        self._see_to_tree()
        before = self._recover()
        if before is None and self._output is not None:
            self._output.check_folder()
        found = self._releasing.prepare(before)
        if before is None or found.report.changed or self._showing.has_lost_clones:
            self._publish(found, before, unsettled=unsettled)
        else:
            self._releasing.confirm(before, found.release)
            self._showing.show(found.release)
        self._seen &= frozenset(found.report.skipped)
        self.hinting.complete(self._showing.release or found.release, found.report)
        self._showing.raise_unreadable()
        return found.report

    def _publish(
        self, found: Prepared, before: PublishedRelease | None, *, unsettled: bool
    ) -> None:
        """Seed a release beside the one before, see that it can be fetched, show it."""
        self._voice.stage(Stage.CHECKING_RELEASE)
        entered = None
        try:
            whole = None if self._showing.has_lost_clones else before
            release = self._snapshots.take(self._releasing.sign(found.release), whole)
            manifest = release.manifest
            self._releasing.keep(release)
            if before is not None:
                self.hinting.cut(release, frozenset(found.changed), found.report)
            entered = self._showing.enter(release)
            if entered is not None:
                self._check_served(entered, found.changed, unsettled=unsettled)
            tell_names_of_clients(release, self.config.web_seeds, self._voice)
            check_web_seeds(
                manifest,
                self.config.web_seeds,
                found.changed,
                stopping=self._around.stopping,
            )
            if before is not None:
                self.hinting.show(release, found.report)
            self._releasing.publish(release, before)
        except BaseException:
            self._releasing.abandon(before)
            if entered is not None:
                entered.leave()
            self._snapshots.forget_but(before)
            raise
        withdrawn = entered.withdrawn if entered is not None else ()
        self._showing.show(release, withdrawn, entered)
        self._snapshots.forget_but(release)

    def _check_served(
        self, entered: SeededRelease, changed: Sequence[int], *, unsettled: bool
    ) -> None:
        """See that the session serves a release.

        In a folder that never settles, a file may have been edited since it was hashed. If that
        kept releases back there would be none, so it is withdrawn instead.
        """
        while entered.torrent is not None:
            try:
                check_session(
                    entered.torrent,
                    entered.release.manifest,
                    changed,
                    withdrawn=entered.withdrawn,
                    wait=self._around.wait,
                    voice=self._voice,
                )
            except NotServedError:  # noqa: PERF203 - it is done once
                edited = changed_of(self._tree, entered.release, self._ignored)
                if not unsettled or edited <= entered.withdrawn:
                    raise
                entered.enter(edited | entered.withdrawn)
            else:
                return

    def _see_to_tree(self) -> None:
        """Open what is there by now: a disk may have been mounted, or be gone."""
        if not self._tree.is_current():
            self._tree.close()  # so that its disk can go
            self._check_there()
            self._tree.reopen()
            self._hold(self._tree)
        self._tree.forget_folders()  # they may be others by now

    # --- between releases -------------------------------------------------------------------

    def heed(self) -> bool:
        """See to what is seeded: what was edited, or cannot be read, is withdrawn.

        The folder is looked at now and then, by stat, for at most a hundredth of the time.

        Returns:
            Whether anything was edited, or has failed, so that a release is due.

        Raises:
            TorsyncError: the folder cannot be looked at, or the session has failed.
        """
        if self._showing.release is None:
            return False
        is_due = self._showing.heed_failures()
        if is_due:
            self._looks_s = 0.0  # others may be gone, too
        if told := self._showing.told():
            is_due |= self.edited(told)
        began = time.monotonic()
        if began >= self._looks_s:
            is_due |= self._look_around(self._showing.release)
            took = time.monotonic() - began
            self._looks_s = began + max(_LOOK_EVERY_S, _LOOK_SHARE * took)
        return is_due

    def edited(self, paths: Collection[str]) -> bool:
        """Look at paths that may have been edited, and withdraw what was.

        Args:
            paths: relative to the folder.

        Returns:
            Whether anything is not as it was published, or is so again.

        Raises:
            TorsyncError: the folder cannot be looked at, or the session has failed.
        """
        release = self._showing.release
        named = [path for path in paths if not in_private(path) and not self._ignored(path)]
        if release is None or not named:
            return bool(named)
        if len(named) > _MOST_NAMED:
            return self._look_around(release)
        self._tree.forget_folders()
        found = {path: look_at(self._tree, release, path) for path in named}
        if Look.FOLDER_GONE in found.values():
            return self._look_around(release)
        self._withdraw(release, [path for path, look in found.items() if look is Look.CHANGED])
        other = {path for path, look in found.items() if look is not Look.SAME}
        mended = self._seen & (found.keys() - other)
        self._seen = self._seen - mended | other
        return bool(other or mended)

    def _look_around(self, release: PublishedRelease) -> bool:
        try:
            self._see_to_tree()
        except TorsyncError:
            self._withdraw(release, release.manifest.by_path)
            raise
        standing = look_at_all(self._tree, release, self._ignored)
        self._withdraw(release, standing.changed)
        found = standing.changed | standing.others
        news = found - self._seen
        self._seen |= found  # what a release leaves out, or fails for, is not news for ever
        return bool(news)

    def _withdraw(self, release: PublishedRelease, paths: Collection[str]) -> None:
        if not release.facts.snapshot:  # edits do no harm to a clone
            self._showing.withdraw(paths)
