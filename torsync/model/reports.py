"""What a finished command has to tell: values that renderers turn into tables or JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from torsync.model.status_json import status_as_json, status_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.events import Progress
    from torsync.model.history import UpdateRecord
    from torsync.model.past import PastRelease


class PlannedAction(NamedTuple):
    """What would happen to one path, and why.

    Attributes:
        action: ``move``, ``copy``, ``patch``, ``fetch``, ``link``, ``kept_local``,
            ``unreadable`` for a file of the release; ``trash`` for what would be removed.
        source: the path that a move, a copy or a patch takes content from; else empty.
        size: bytes of the file in the release; of what is trashed, on disk.
    """

    action: str
    path: str
    source: str
    size: int
    reason: str


_COUNTED_BY_CHECK = (
    "moved",
    "copied",
    "patched",
    "fetched",
    "trashed",
    "kept_local",
    "unreadable",
    "locked",
)
_COUNTED_BY_VERIFY = (
    *("missing", "damaged", "wrong_size", "modified", "unlisted", "unreadable", "cleaned"),
    *("repaired", "kept_local"),
)
_PLAIN_OF_CHECK = (
    *("name", "changed", "dry_run", "info_hash", "release", "kept", "unselected"),
    *("bytes_to_fetch", "bytes_fetched", "bytes_hashed", "bytes_total", "seconds"),
)


class Reused(NamedTuple):
    """How many bytes of a release's content need not be fetched, by where they come from.

    Attributes:
        kept: of files that stay as they are.
        moved: of files that are whole elsewhere in the tree, and are moved or copied.
        same_place: of other files, at the same offset of the file that they are patched from.
        shifted: of other files, at another offset or in other files.
    """

    kept: int = 0
    moved: int = 0
    same_place: int = 0
    shifted: int = 0


@dataclass(slots=True)
class CheckReport:
    """What one ``check-now`` of a subscription did, or would do (``dry_run``).

    The path lists are relative to the tree. ``kept`` and ``unselected`` are only counted: they
    may be everything.
    ``locked`` are left for the next time, as another program holds them.
    ``bytes_fetched`` is payload from peers and web seeds, failed and redundant included;
    ``bytes_hashed`` is what was read from disk to be hashed, staged pieces included;
    ``bytes_total`` is the size of what is selected of the wanted release, ``bytes_reused`` what of
    it was in the tree, and ``bytes_hints`` what was read of hints to find some of that.
    ``from_release`` is the one that the tree was at before; empty if it was never in sync.

    A dry run has three fields more: ``actions``, all but what is only counted, the release's in
    its order, then what would be removed; and the bytes that staging takes on the tree's file
    system, ``space_needed``, and what is there, ``space_free``.
    """

    name: str
    release: str = ""
    info_hash: str = ""
    from_release: str = ""
    changed: bool = False
    dry_run: bool = False
    actions: list[PlannedAction] = field(default_factory=list)
    space_needed: int = 0
    space_free: int = 0
    kept: int = 0
    unselected: int = 0
    moved: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    patched: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    trashed: list[str] = field(default_factory=list)
    kept_local: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    bytes_to_fetch: int = 0
    bytes_fetched: int = 0
    bytes_hints: int = 0
    bytes_reused: Reused = field(default_factory=Reused)
    bytes_hashed: int = 0
    bytes_total: int = 0
    seconds: float = 0.0

    def add_finished(self, finished: CheckReport) -> None:
        """Tell as well what was done to finish an update to this release that was cut off."""
        if self.dry_run or self.info_hash != finished.info_hash:
            return
        told = {*self.moved, *self.copied, *self.patched, *self.fetched}
        for name in ("moved", "copied", "patched", "fetched"):
            paths: list[str] = getattr(self, name)
            added = [path for path in getattr(finished, name) if path not in told]
            paths += added
            self.kept -= len(added)
        self.trashed = sorted({*self.trashed, *finished.trashed})
        self.changed = self.changed or finished.changed

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        planned = {
            "space_needed": self.space_needed,
            "space_free": self.space_free,
            "actions": [action._asdict() for action in self.actions],
        }
        return {
            "name": self.name,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "info_hash": self.info_hash,
            "release": self.release,
            "from_release": self.from_release,
            "kept": self.kept,
            "unselected": self.unselected,
            **_counts(self, _COUNTED_BY_CHECK),
            "bytes_to_fetch": self.bytes_to_fetch,
            "bytes_fetched": self.bytes_fetched,
            "bytes_hints": self.bytes_hints,
            "bytes_reused": self.bytes_reused._asdict(),
            "bytes_hashed": self.bytes_hashed,
            "bytes_total": self.bytes_total,
            "seconds": round(self.seconds, 3),
            **(planned if self.dry_run else {}),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> CheckReport:
        """Read what ``as_json`` gave."""
        lists = {name: list(found.get(f"{name}_paths", ())) for name in _COUNTED_BY_CHECK}
        plain = {name: found[name] for name in _PLAIN_OF_CHECK}
        report = cls(**{**plain, **lists})
        report.bytes_hints = found.get("bytes_hints", 0)  # older versions have none of these
        report.from_release = found.get("from_release", "")
        report.bytes_reused = Reused(**found.get("bytes_reused", {}))
        if report.dry_run:
            report.space_needed = found.get("space_needed", 0)
            report.space_free = found.get("space_free", 0)
            report.actions = [PlannedAction(**action) for action in found.get("actions", ())]
        return report


@dataclass(slots=True)
class VerifyReport:
    """What ``verify`` found, and what ``--repair`` and ``--clean`` did.

    ``quick`` is a verify that trusts the ledger. ``modified`` files have the right size and
    content that is not known: ``quick`` has not read them, though they were touched since they
    were last known to be right; otherwise they changed while they were hashed.
    ``unselected`` files are not looked into, whatever is at their paths, and only counted.
    ``damaged_pieces`` maps each damaged file to the indexes of its bad pieces.
    """

    name: str
    release: str = ""
    info_hash: str = ""
    quick: bool = False
    dry_run: bool = False
    ok: int = 0
    unselected: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    wrong_size: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    kept_local: list[str] = field(default_factory=list)
    damaged_pieces: dict[str, list[int]] = field(default_factory=dict)
    bytes_fetched: int = 0
    bytes_hashed: int = 0
    bytes_total: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {
            "name": self.name,
            "quick": self.quick,
            "dry_run": self.dry_run,
            "info_hash": self.info_hash,
            "release": self.release,
            "ok": self.ok,
            "unselected": self.unselected,
            **_counts(self, _COUNTED_BY_VERIFY),
            "damaged_pieces": self.damaged_pieces,
            "bytes_fetched": self.bytes_fetched,
            "bytes_hashed": self.bytes_hashed,
            "bytes_total": self.bytes_total,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> VerifyReport:
        """Read what ``as_json`` gave."""
        names = {name: f"{name}_paths" for name in _COUNTED_BY_VERIFY}
        return cls(**{name: found[names.get(name, name)] for name in cls.__slots__})


@dataclass(slots=True)
class PauseReport:
    """Whether the service leaves a subscription or publication alone.

    ``changed`` tells whether that was otherwise before.
    """

    name: str
    paused: bool
    changed: bool = True

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PauseReport:
        """Read what ``as_json`` gave."""
        return cls(**{name: found[name] for name in cls.__slots__})


@dataclass(slots=True)
class PastReport:
    """The releases that a tree can go back to, the newest first.

    ``current`` is the digest of the one that it is at, and ``pinned`` whether it stays there.
    """

    name: str
    current: str = ""
    pinned: bool = False
    releases: list[PastRelease] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {
            "name": self.name,
            "pinned": self.pinned,
            "releases": [
                {
                    "release": release.name,
                    "info_hash": release.info_hash,
                    "synced_s": release.at_s,
                    "current": release.digest == self.current,
                }
                for release in self.releases
            ],
        }


@dataclass(slots=True)
class StatusReport:
    """What is known of a subscription; times are Unix seconds.

    With ``live``, the running service has told it; else it is from the state directory, which
    knows nothing of ``progress`` and ``next_check_s``.
    ``detail`` says more of the stage. ``newest`` is the release that the last poll got, where the
    tree is not at it. ``restarts`` is how often its work has failed in a way that nobody foresaw.
    ``pinned`` tells that it was rolled back to ``release``, and stays there. ``between`` is the
    release that the tree is on its way to, where that is done in place, or was cut off while it was
    committed: until it is there, the tree is of no release. ``files`` and ``bytes_total`` are of
    what is selected.
    """

    name: str
    url: str
    path: str
    stage: str
    detail: str = ""
    release: str = ""
    info_hash: str = ""
    pinned: bool = False
    between: str = ""
    newest: str = ""
    files: int = 0
    bytes_total: int = 0
    last_check_s: float | None = None
    last_update_s: float | None = None
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
    def from_json(cls, found: Mapping[str, Any]) -> StatusReport:
        """Read what ``as_json`` gave; what is missing has its default."""
        return cls(**status_values(cls, found))


@dataclass(slots=True)
class HistoryReport:
    """What updates a subscription, or releases a publication, has had; the newest first."""

    name: str
    is_publication: bool = False
    updates: list[UpdateRecord] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {"name": self.name, "updates": [one.as_json() for one in self.updates]}


def _counts(report: CheckReport | VerifyReport, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        paths: list[str] = getattr(report, name)
        found[name] = len(paths)
        found[f"{name}_paths"] = paths
    return found
