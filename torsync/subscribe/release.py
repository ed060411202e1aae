"""Poll the remote and know releases: the bytes that came, and what they mean."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from torsync.model.errors import ManifestError, NotPolledError, StateError
from torsync.model.events import Level
from torsync.model.known import NEVER_SYNCED, Synced
from torsync.subscribe.remote.poll import Fetched, Remote, Timeouts, Validators
from torsync.subscribe.state import PollState

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.config import SubscriptionConfig
    from torsync.model.manifest import Manifest
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice
    from torsync.subscribe.trust import Trust

_GLANCE = Timeouts(connect_s=3.0, read_s=3.0, total_s=30.0, attempts=1)


@dataclass(frozen=True)
class Release:
    """One stored ``.torrent``: what it says is kept once it has been asked for, its bytes are not.

    Attributes:
        digest: the SHA-256 of the bytes, in hex.
        read: gives the bytes.
    """

    digest: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    @property
    def body(self) -> bytes:
        """The bytes; read anew every time.

        Raises:
            StateError: they are gone.
        """
        return self.read()

    @cached_property
    def manifest(self) -> Manifest:
        """What the bytes say; parsed when it is first asked for.

        Raises:
            ManifestError: they are no usable ``.torrent``.
            StateError: they are gone.
        """
        return _parse(self.body)

    def is_same_content(self, other: Release) -> bool:
        """Whether both have the same info-hash: they may differ in trackers and the like."""
        return self.digest == other.digest or self.manifest.info_hash == other.manifest.info_hash


def _ignore(_poll: PollState) -> None:
    pass


class Releases:
    """The releases of one subscription: the newest at the URL, and those stored."""

    def __init__(
        self,
        remote: Remote,
        brisk: Remote,
        url: str,
        state: TreeState,
        trust: Trust | None = None,
        on_poll: Callable[[PollState], None] = _ignore,
    ) -> None:
        """Prepare.

        Args:
            remote: for polls.
            brisk: the same with less patience, for ``glance``.
            url: that both ask.
            state: where releases are stored.
            trust: accepts signed releases; None: they need no signature.
            on_poll: told what each good poll got.
        """
        self._remote = remote
        self._brisk = brisk
        self._url = url
        self._state = state
        self._trust = trust
        self._on_poll = on_poll
        self._known: dict[str, Release] = {}

    def poll(self, *, force: bool = False) -> Release:
        """Ask the remote for the newest release; the stored one if it has not changed.

        The new bytes are kept beside the old ones, and count only once they have been parsed.

        Args:
            force: ask without validators.

        Raises:
            RemoteError: the remote is unreachable, or what it sent is no usable ``.torrent``.
            UntrustedError: it is not signed as it has to be.
        """
        return self._ask(self._remote, Timeouts(), force=force)

    def glance(self) -> Release:
        """Poll once, without patience, while something else is under way.

        Raises:
            RemoteError: as ``poll``.
        """
        return self._ask(self._brisk, _GLANCE, force=False, is_patient=False)

    def _ask(
        self, remote: Remote, timeouts: Timeouts, *, force: bool, is_patient: bool = True
    ) -> Release:
        previous = self._state.load_poll()
        stored = None
        if previous is not None and previous.url == self._url and not force:
            stored = self.load(previous.sha256)
            if self._trust is not None and not self._trust.covers(previous.sha256):
                stored = None
        validators = None
        if stored is not None and previous is not None:
            validators = Validators(previous.etag, previous.last_modified)
        answer = remote.poll(validators)
        if not isinstance(answer, Fetched):
            assert stored is not None
            assert previous is not None
            self._on_poll(previous)
            return stored
        vouched = None
        if self._trust is not None:  # before it is parsed

            def again() -> Fetched:
                found = remote.poll(uncached=True)
                assert isinstance(found, Fetched)
                return found

            answer, vouched = self._trust.accept(
                answer, timeouts=timeouts, again=again if is_patient else None, force=force
            )
        release = self._known.get(answer.sha256)
        if release is None:
            release = self._stored(answer.sha256)
            vars(release)["manifest"] = _parse(answer.body)  # before it is stored
        self._state.store_body(answer.body)
        if self._trust is not None and vouched is not None:
            self._trust.record(vouched)
        now = PollState(
            self._url,
            answer.sha256,
            answer.validators.etag,
            answer.validators.last_modified,
        )
        if now != previous:
            self._state.store_poll(now)
        self._on_poll(now)
        return self._remember(release)

    def polled(self) -> Release | None:
        """The newest release that a poll of this URL got; None before the first."""
        poll = self._state.load_poll()
        return self.load(poll.sha256) if poll is not None and poll.url == self._url else None

    def trusted(self, release: Release, name: str) -> Release:
        """Give back what a poll of the subscription ``name`` got, if it may be applied.

        Raises:
            UntrustedError: keys were configured since, and its signature was not checked.
        """
        if self._trust is not None:
            self._trust.require(release.digest, name)
        return release

    def load(self, digest: str) -> Release | None:
        """Load a stored release; None if its bytes are gone."""
        known = self._known.get(digest)
        if known is not None or not digest:
            return known
        if self._state.load_body(digest) is None:
            return None
        return self._remember(self._stored(digest))

    def _stored(self, digest: str) -> Release:
        def read() -> bytes:
            try:
                return self._state.read_body(digest)
            except StateError:
                self._known.pop(digest, None)
                raise

        return Release(digest, read)

    def synced(self) -> Release | None:
        """The release that the tree is known to equal; None if it cannot be parsed any more."""
        release = self.load(self._state.synced)
        return release if release is not None and _manifest_of(release) is not None else None

    def synced_manifest(self) -> Synced:
        """The same for comparing with another, without parsing it in vain."""
        release = self.load(self._state.synced)
        return Synced(partial(_manifest_of, release), release.read) if release else NEVER_SYNCED

    def _remember(self, release: Release) -> Release:
        """Keep the synced and the newest release parsed, no others."""
        synced = self._state.synced
        self._known = {digest: known for digest, known in self._known.items() if digest == synced}
        self._known[release.digest] = release
        return release


def open_releases(
    config: SubscriptionConfig,
    wait: Callable[[float], bool],
    state: TreeState,
    voice: Voice,
    on_poll: Callable[[PollState], None] = _ignore,
    stopping: Callable[[], bool] | None = None,
) -> Releases:
    """Know the releases of a subscription.

    Args:
        config: of the subscription.
        wait: sleeps between tries of a poll.
        state: where releases are stored.
        voice: of the subscription.
        on_poll: told what each good poll got.
        stopping: see ``Remote``.
    """
    trust = None
    if config.public_keys:
        from torsync.subscribe.trust import Patience, Trust  # noqa: PLC0415 - costs start-up time

        tell = partial(voice.notice, Level.INFO, "signature_awaited")
        patience = Patience(wait, tell, stopping=stopping)
        trust = Trust(config.url, config.public_keys, state, patience, headers=config.headers)

    def remote(timeouts: Timeouts) -> Remote:
        return Remote(
            config.url,
            headers=config.headers,
            max_bytes=config.max_torrent_bytes,
            timeouts=timeouts,
            wait=wait,
            stopping=stopping,
        )

    return Releases(remote(Timeouts()), remote(_GLANCE), config.url, state, trust, on_poll)


def not_polled(name: str) -> NotPolledError:
    """No release of a subscription is known."""
    return NotPolledError(
        f"no release of {name!r} is known yet, as its URL has not been polled",
        hint=f"run `torsync check-now --dry-run {name}`: it polls and tells, and changes nothing",
    )


def _manifest_of(release: Release) -> Manifest | None:
    """What a stored release says; None if it was stored by a version that refused less."""
    try:
        return release.manifest
    except ManifestError:
        return None


def _parse(body: bytes) -> Manifest:
    from torsync.model.metainfo import parse_metainfo  # noqa: PLC0415 - not needed where nothing has changed

    return parse_metainfo(body, windows=os.name == "nt")
