"""Make a release of a folder: hash what changed, sign, check that others can fetch it, publish."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import TYPE_CHECKING

from torsync.model.errors import ManifestError, RefusedError, TorsyncError
from torsync.model.events import Level, Stage
from torsync.model.metainfo import parse_metainfo
from torsync.model.publish_reports import PublishReport
from torsync.model.succession import next_order, order_in_signature
from torsync.model.trust import Order
from torsync.model.units import format_size
from torsync.publish.snapshot import check_reflinks
from torsync.publish.state import Facts, PublishedRelease

if TYPE_CHECKING:
    from torsync.disk.tree import Tree
    from torsync.model.config import PublicationConfig
    from torsync.model.manifest import Manifest
    from torsync.publish.author import Authored
    from torsync.publish.feed import Feed
    from torsync.publish.hash_cache import HashCache
    from torsync.publish.output import Output
    from torsync.publish.signing import Signer
    from torsync.publish.state import PublicationState
    from torsync.subscribe.surroundings import Surroundings, Voice


@dataclass(frozen=True)
class Prepared:
    """A release that is hashed and not public.

    Attributes:
        release: with the facts of the release before, where nothing has changed.
        changed: indexes of files that the release before does not have so.
        report: on what it is.
    """

    release: PublishedRelease
    changed: tuple[int, ...]
    report: PublishReport


class Releasing:
    """Makes releases of one publication."""

    def __init__(
        self,
        config: PublicationConfig,
        tree: Tree,
        state: PublicationState,
        output: Output | None,
        around: Surroundings,
        voice: Voice,
        feed: Feed | None,
        hints: str,
    ) -> None:
        """Prepare.

        Args:
            config: of the publication.
            tree: its folder.
            state: of the publication.
            output: its public files; None if only the feed serves it.
            around: what it needs.
            voice: says what is done.
            feed: that serves it.
            hints: what its ``.torrent`` says of its hints file; empty: there is none.
        """
        self._config = config
        self._tree = tree
        self._state = state
        self._output = output
        self._around = around
        self._voice = voice
        self._feed = feed
        self._hints = hints

    def close(self) -> None:
        """Close the hash cache."""
        if "cache" in self.__dict__:
            self.cache.close()

    @cached_property
    def cache(self) -> HashCache:
        """The hash cache, once it is needed."""
        from torsync.publish.hash_cache import HashCache  # noqa: PLC0415 - costs start-up time

        tell = partial(self._voice.notice, Level.WARNING, "hashes_rebuilt")
        return HashCache(self._state.hashes, on_new=tell)

    @cached_property
    def _signer(self) -> Signer | None:
        if self._config.secret_key is None:
            return None
        from torsync.publish.signing import Signer  # noqa: PLC0415 - costs start-up time

        return Signer.load(self._config.secret_key)

    # --- what is public ---------------------------------------------------------------------

    def public(self) -> PublishedRelease | None:
        """The release that is public: as the state knows it, else as the public files tell.

        Raises:
            StateError: the state cannot be read.
            TreeError: the public files cannot be read.
        """
        return self._state.published() or self._found_public()

    def _found_public(self) -> PublishedRelease | None:
        """What the public files hold, where the state is lost; no file of it is vouched for."""
        metainfo = self._output.read_torrent() if self._output is not None else None
        if self._output is None or metainfo is None:
            return None
        signature = self._output.read_signature()
        order = order_in_signature(signature) or Order(0, 1)
        try:
            manifest = parse_metainfo(metainfo)
        except ManifestError:
            return None  # whatever it is, it is no release of this publication
        return PublishedRelease(
            self._facts(order, metainfo, manifest, signed=signature is not None),
            metainfo,
            signature,
            {},
            {},
            manifest,
        )

    def recover(self) -> PublishedRelease | None:
        """Finish a release that was cut off while it became public, and give what is public.

        Raises:
            StateError: the state cannot be used.
            TreeError: the public files cannot be written.
        """
        pending = self._state.pending()
        if pending is not None:
            self._restore(pending)
            self._state.finish(pending)
        self._state.abandon()  # what was kept, and never came to be public
        if self._output is not None:
            self._output.discard()
        release = self._state.published()
        if release is None:
            return self._found_public()
        was_at, is_at = release.facts.torrent, self._torrent
        if self._restore(release):
            level, said = Level.WARNING, "was not as it was published; it is again"
            if was_at != is_at:
                level, said = Level.INFO, "has the last release now"
                if was_at:
                    said += f", as {was_at!r} had; nothing is written there any more"
            self._voice.notice(level, "torrent_restored", f"{is_at!r} {said}")
        return replace(release, facts=replace(release.facts, torrent=is_at))

    # --- prepare ----------------------------------------------------------------------------

    def prepare(self, before: PublishedRelease | None) -> Prepared:
        """Hash what has changed, and find out whether that makes a release.

        Args:
            before: the release that is public, if there is one.

        Raises:
            RefusedError: the folder is empty, and was not.
            PublishError: something in it cannot be published.
        """
        from torsync.model.authoring.difference import find_difference  # noqa: PLC0415 - costs start-up time

        if self._config.snapshot:
            check_reflinks(self._tree)
        authored = self._author(before)
        manifest = authored.manifest
        signed = self._signer is not None
        changed = (
            before is None
            or not authored.says_the_same_as(before.manifest)
            or not self._is_signed(before)
        )
        report = PublishReport(
            self._config.name,
            release=manifest.name,
            info_hash=manifest.info_hash,
            changed=changed,
            format=self._config.format.value,
            piece_size=manifest.piece_length,
            torrent=self._torrent,
            url=f"{self._feed.url}/{self._config.name}.torrent" if self._feed is not None else "",
            signed=signed,
            files=len(manifest.files),
            skipped=[problem.path for problem in authored.skipped],
            bytes_total=manifest.total_size,
            bytes_hashed=authored.bytes_hashed,
            torrent_bytes=len(authored.metainfo),
        )
        indexes: tuple[int, ...] = ()
        if before is not None and not changed:
            stamps = before.stamps if before.facts.snapshot else authored.stamps
            release = replace(before, stamps=stamps, seen=authored.stamps)
            report.unchanged = len(manifest.files)
            report.torrent_bytes = len(before.metainfo)
        else:
            difference = find_difference(before.manifest if before else None, manifest)
            report.added, report.modified = list(difference.added), list(difference.modified)
            report.moved, report.removed = list(difference.moved), list(difference.removed)
            report.unchanged = difference.unchanged
            report.bytes_to_fetch = difference.bytes_to_fetch
            paths = (*difference.added, *difference.modified, *difference.moved)
            indexes = tuple(sorted(manifest.by_path[path] for path in paths))
            release = self._next(before, authored)
        report.number = release.facts.number
        return Prepared(release, indexes, report)

    def _is_signed(self, release: PublishedRelease) -> bool:
        """Whether a release has the signature that it should have."""
        signer = self._signer
        return signer is None or signer.has_signed(release.metainfo, release.signature)

    def _author(self, before: PublishedRelease | None) -> Authored:
        from torsync.publish.author import AuthorOptions, author, events_of  # noqa: PLC0415 - costs start-up time
        from torsync.publish.errors import EmptyFolderError  # noqa: PLC0415 - costs start-up time
        from torsync.publish.sources import find_sources  # noqa: PLC0415 - costs start-up time

        config = self._config
        options = AuthorOptions(
            name=config.name,
            format=config.format,
            piece_size=config.piece_size,
            ignore=config.ignore,
            comment=config.comment,
            private=config.private,
            skip_unreadable=config.skip_unreadable,
            hints=self._hints,
        )
        self._voice.stage(Stage.SCANNING)
        try:
            return author(
                self._tree,
                options,
                self.cache,
                previous=before.manifest if before is not None else None,
                sources=lambda info_hash: find_sources(
                    config, self._around, self._feed, before, info_hash
                ),
                progress=events_of(config.name, self._voice.sink),
                stopping=self._around.stopping,
                now_s=self._around.now_s,
            )
        except EmptyFolderError as error:
            if before is None:
                raise
            raise RefusedError(
                f"the folder {str(self._config.path)!r} is empty, and was published with "
                f"{format_size(before.manifest.total_size)}; is its disk not mounted?",
                hint="mount it; the release that is public stays as it is until then. To publish "
                "nothing any more, remove the publication, and its .torrent",
            ) from error

    def _next(self, before: PublishedRelease | None, authored: Authored) -> PublishedRelease:
        order = next_order(
            Order(before.facts.time_s, before.facts.number) if before is not None else None,
            self._around.now_s(),
        )
        metainfo, manifest = authored.metainfo, authored.manifest
        facts = self._facts(order, metainfo, manifest, signed=self._signer is not None)
        return PublishedRelease(facts, metainfo, None, authored.stamps, authored.stamps, manifest)

    # --- publish ----------------------------------------------------------------------------

    def sign(self, release: PublishedRelease) -> PublishedRelease:
        """Sign a release, if there is a key to sign with.

        Raises:
            ConfigError: the key cannot be used.
        """
        if self._signer is None:
            return release
        torrent = self._config.torrent
        signature = self._signer.sign(
            release.metainfo,
            file_name=torrent.name if torrent is not None else f"{self._config.name}.torrent",
            number=release.facts.number,
            time_s=release.facts.time_s,
        )
        return replace(release, signature=signature)

    def keep(self, release: PublishedRelease) -> None:
        """Write a release to the disk, where nobody finds it yet.

        Raises:
            StateError: the state cannot be written.
            TreeError: it cannot be written beside the public files.
        """
        self._state.store(release)
        if self._output is not None:
            self._output.write_beside(release.metainfo, release.signature)

    def publish(self, release: PublishedRelease, before: PublishedRelease | None) -> None:
        """Let a release that was kept take the place of the public files.

        Should it be cut off, the next start finishes it.

        Raises:
            StateError: the state cannot be written.
            TreeError: the public files cannot be replaced; a part may have been.
        """
        was_signed = before is not None and before.facts.signed
        self._state.begin(release)
        if self._output is not None:
            self._output.show(signed=release.signature is not None, was_signed=was_signed)
        self._state.finish(release)

    def abandon(self, before: PublishedRelease | None) -> None:
        """Forget a release that was kept, and have the one before public.

        If that is not possible, the next start goes on with the new one.
        """
        with suppress(TorsyncError):
            if before is not None:
                self._restore(before)
            self._state.abandon()
            if self._output is not None:
                self._output.discard()

    def confirm(self, before: PublishedRelease, release: PublishedRelease) -> None:
        """Note that the files hold what they held, though they may have been touched.

        Raises:
            StateError: the state cannot be written.
        """
        if self._state.facts() != release.facts:  # it was lost, and is learnt anew
            self._state.store(release)
            self._state.finish(release)
        elif (before.stamps, before.seen) != (release.stamps, release.seen):
            self._state.store_stamps(release)

    def _restore(self, release: PublishedRelease) -> bool:
        """Have the public files be those of a release; False if they are."""
        output = self._output
        if output is None or output.is_current(release.metainfo, release.signature):
            return False
        output.write_beside(release.metainfo, release.signature)
        output.show(signed=release.signature is not None, was_signed=False)
        return True

    @property
    def _torrent(self) -> str:
        """The public file; empty if there is none."""
        return str(self._output.torrent) if self._output is not None else ""

    def _facts(self, order: Order, metainfo: bytes, manifest: Manifest, *, signed: bool) -> Facts:
        return Facts(
            number=max(order.number, 1),
            time_s=order.time_s,
            digest=sha256(metainfo).hexdigest(),
            info_hash=manifest.info_hash,
            name=manifest.name,
            signed=signed,
            torrent=self._torrent,
            bytes_total=manifest.total_size,
            files=len(manifest.files),
        )
