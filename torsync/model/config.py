"""Configuration as values; see ``config_parse`` for how the TOML becomes these."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Union

from torsync.model.units import SizeLimit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torsync.model.window import DailyWindow

SettingValue = Union[bool, int, str]
Command = tuple[str, ...]  # a program and its arguments; empty: none
DEFAULT_MAX_TORRENT_BYTES = 64 * 1024**2
DEFAULT_HOOK_TIMEOUT_S = 60.0
DEFAULT_TRASH_LIMIT = SizeLimit(percent=10.0)


class CleanMode(str, Enum):
    """What is removed after an update."""

    MANAGED = "managed"
    MIRROR = "mirror"
    OFF = "off"


class ApplyMode(str, Enum):
    """Where files that changed are patched."""

    STAGED = "staged"
    IN_PLACE = "in-place"


class LockedMode(str, Enum):
    """What becomes of an update if another program holds a file of it."""

    WAIT = "wait"
    SKIP = "skip"


class UpdateMode(str, Enum):
    """What a new release leads to."""

    AUTO = "auto"
    ASK = "ask"


class MaxDelete(NamedTuple):
    """How much an update may remove: so many files, or so many percent of them."""

    amount: int
    is_percentage: bool

    def is_exceeded(self, count: int, total: int) -> bool:
        """Whether to remove ``count`` of ``total`` files is too much.

        A part of the files may always be one: a release of one file may give it another name.
        """
        if self.is_percentage:
            if count == 1 and self.amount:
                return False
            return count * 100 > self.amount * total
        return count > self.amount

    def __str__(self) -> str:
        return f"{self.amount}%" if self.is_percentage else str(self.amount)


DEFAULT_MAX_DELETE = MaxDelete(50, is_percentage=True)


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The one libtorrent session; limits in bytes per second, 0 for none."""

    listen: tuple[str, ...] = ("0.0.0.0:6881", "[::]:6881")
    dht: bool = True
    lsd: bool = True
    upnp: bool = False
    download_limit: int = 0
    upload_limit: int = 0
    settings: Mapping[str, SettingValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubscriptionConfig:
    """A remote ``.torrent`` URL kept in one local folder.

    Attributes:
        path: the tree; absolute, ``~`` and environment variables expanded.
        interval_s: seconds between polls.
        update: whether a new release is fetched at once, or waits for ``torsync apply``.
        on_locked: whether an update waits for a file that another program holds, or goes on.
        apply: whether files are patched beside the tree, or where they are.
        keep: gitignore patterns of files never overwritten once there, never removed.
        select: gitignore patterns of the files that are fetched; none: all. The others are left
            alone, whatever is at their paths.
        public_keys: minisign public keys, in base64; a release is to be signed with one of them.
            None: releases need no signature.
        before_update: a command that is asked before an update; its failure postpones that.
        on_update: a command that is run after an update.
        on_error: a command that is run when something goes wrong.
        hook_timeout_s: how long each of these commands may take.
        update_window: when the service may update by itself; None: always.
        peers: host and port, besides those from trackers, DHT, LSD and PEX.
        headers: for the poll; a value may be ``env:NAME``, resolved when it is used.
        max_torrent_bytes: the largest ``.torrent`` that is accepted.
        max_delete: an update that removes more is refused.
        trash_age_s: seconds that something stays in the trash; 0 keeps nothing.
        trash_limit: the disk space that the trash may take.
    """

    name: str
    url: str
    path: Path
    interval_s: float = 600.0
    update: UpdateMode = UpdateMode.AUTO
    apply: ApplyMode = ApplyMode.STAGED
    on_locked: LockedMode = LockedMode.WAIT
    clean: CleanMode = CleanMode.MANAGED
    keep: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    peers: tuple[tuple[str, int], ...] = ()
    web_seeds: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    seed: bool = True
    max_torrent_bytes: int = DEFAULT_MAX_TORRENT_BYTES
    max_delete: MaxDelete = DEFAULT_MAX_DELETE
    trash_age_s: float = 14 * 86400.0
    trash_limit: SizeLimit = DEFAULT_TRASH_LIMIT
    public_keys: tuple[str, ...] = ()
    before_update: Command = ()
    on_update: Command = ()
    on_error: Command = ()
    hook_timeout_s: float = DEFAULT_HOOK_TIMEOUT_S
    update_window: DailyWindow | None = None


class TorrentFormat(str, Enum):
    """Which hashes a publication's ``.torrent`` has."""

    V1 = "v1"
    V2 = "v2"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class PublicationConfig:
    """A local folder turned into a ``.torrent``, seeded and served.

    Attributes:
        name: of the publication, and the root name in its torrents.
        path: the tree; absolute, ``~`` and environment variables expanded.
        torrent: where the ``.torrent`` is written; None: only the feed serves it.
        trackers: announce URLs (BEP 3, BEP 15); each is a tier of its own (BEP 12).
        web_seeds: BEP 19 URLs where somebody else serves the content.
        piece_size: bytes, a power of two of at least 16 KiB; 0: decided by torsync.
        ignore: gitignore patterns of what is not published, besides ``.torsync``.
        private: the swarm is its trackers' to make known (BEP 27).
        secret_key: file of a minisign secret key; None: releases are not signed.
        watch: whether edits lead to a release by themselves.
        settle_s: seconds without an edit before a release is made.
        interval_s: seconds between looks at the folder where it is not watched, or besides.
        super_seeding: BEP 16.
        hints: whether a hints file is made, with which subscribers find content that has moved
            inside a file.
        snapshot: seed from a reflinked clone of the folder.
        on_release: a command that is run after a release.
        on_error: a command that is run when something goes wrong.
        hook_timeout_s: how long each of these commands may take.
        skip_unreadable: leave out what cannot be published, instead of publishing nothing.
        is_one_off: whether a command line describes it, and no configuration.
    """

    name: str
    path: Path
    torrent: Path | None = None
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    format: TorrentFormat = TorrentFormat.V1
    piece_size: int = 0
    ignore: tuple[str, ...] = ()
    comment: str = ""
    private: bool = False
    secret_key: Path | None = None
    watch: bool = True
    settle_s: float = 2.0
    interval_s: float = 600.0
    hints: bool = True
    super_seeding: bool = False
    snapshot: bool = False
    on_release: Command = ()
    on_error: Command = ()
    hook_timeout_s: float = DEFAULT_HOOK_TIMEOUT_S
    skip_unreadable: bool = False
    is_one_off: bool = False


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """The public web server for publications.

    Attributes:
        listen: host and port; None: there is no feed.
        url: where others reach it, without a slash at the end; empty: found out from ``listen``.
    """

    listen: tuple[str, int] | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The running service.

    Attributes:
        control: host (a loopback address) and port of the control API, 0 for any; None: none.
    """

    control: tuple[str, int] | None = ("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """Who is told of updates and errors; ``urls`` are apprise's."""

    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a configuration file says."""

    session: SessionConfig
    subscriptions: Mapping[str, SubscriptionConfig]
    publications: Mapping[str, PublicationConfig] = field(default_factory=dict)
    feed: FeedConfig = FeedConfig()
    service: ServiceConfig = ServiceConfig()
    notify: NotifyConfig = NotifyConfig()
