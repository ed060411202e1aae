"""What a finished command has to tell of a publication."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torsync.model.status_json import status_as_json, status_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.events import Progress

_COUNTED = ("added", "modified", "moved", "removed", "skipped")


@dataclass(slots=True)
class PublishReport:
    """What a release of a publication did, or would do (``dry_run``).

    ``added``, ``modified``, ``moved`` and ``removed`` compare with the release before, by path;
    ``moved`` files have content that was there under another path. ``skipped`` could not be
    published and are left out. ``unchanged`` is only counted: it may be everything.

    Attributes:
        name: of the publication.
        release: the root name.
        number: of the release, growing; 0 where nothing was ever published.
        changed: whether a release was made (would be made).
        torrent: path of the ``.torrent``; empty where only the feed serves it.
        url: where the feed serves it; empty without one.
        bytes_total: size of the content.
        bytes_hashed: what was read to be hashed.
        bytes_to_fetch: what a subscriber at the release before has to fetch, or less where
            hints tell of content that has moved inside files.
        torrent_bytes: size of the ``.torrent``.
        signed: whether it is signed.
        hints_bytes: size of the hints file; 0: there is none.
        hints_made: how many files were cut into chunks for it now; the others were known.
    """

    name: str
    release: str = ""
    info_hash: str = ""
    number: int = 0
    changed: bool = False
    dry_run: bool = False
    format: str = ""
    piece_size: int = 0
    torrent: str = ""
    url: str = ""
    signed: bool = False
    files: int = 0
    unchanged: int = 0
    added: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    bytes_total: int = 0
    bytes_hashed: int = 0
    bytes_to_fetch: int = 0
    torrent_bytes: int = 0
    hints_bytes: int = 0
    hints_made: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        found: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name in _COUNTED:
                found[name] = len(value)
                found[f"{name}_paths"] = value
            else:
                found[name] = round(value, 3) if isinstance(value, float) else value
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PublishReport:
        """Read what ``as_json`` gave."""
        return cls(
            **{name: found[f"{name}_paths" if name in _COUNTED else name] for name in cls.__slots__}
        )


@dataclass(slots=True)
class PublicationStatus:
    """What is known of a publication; times are Unix seconds. See ``StatusReport``."""

    name: str
    path: str
    stage: str
    detail: str = ""
    torrent: str = ""
    release: str = ""
    info_hash: str = ""
    number: int = 0
    files: int = 0
    bytes_total: int = 0
    last_release_s: float | None = None
    next_check_s: float | None = None
    last_error: str = ""
    last_error_hint: str = ""
    paused: bool = False
    holder_pid: int | None = None
    restarts: int = 0
    live: bool = False
    progress: Progress | None = None

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return status_as_json(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PublicationStatus:
        """Read what ``as_json`` gave; what is missing has its default."""
        return cls(**status_values(cls, found))
