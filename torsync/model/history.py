"""What updates and releases have changed, as it is remembered; and how much of it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torsync.model.changes import NO_CHANGES, Changes, changes_of
from torsync.model.reports import CheckReport
from torsync.model.stored import NUMBER, are_texts, fits, load_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.publish_reports import PublishReport

KEPT_UPDATES = 1000
KEPT_PATHS_OF = 20
MOST_PATHS = 1000
KINDS = ("added", "changed", "moved", "removed")
DURATION_BUCKETS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SUMMED = (*KINDS, "bytes_fetched", "bytes_reused", "bytes_hashed")


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """One update of a subscription, or one release of a publication.

    Attributes:
        at_s: when it was done, in Unix seconds.
        number: of a publication's release; 0 for subscriptions.
        from_release, from_info_hash: what was there before; empty where that was nothing, or is
            not known. The same as ``release`` where files were mended.
        added, changed, moved, removed: numbers of files.
        bytes_reused: of the release's content, what need not be fetched.
        seconds: that staging, fetching and putting in place took; of a release, all of it.
        paths: the first of each kind; nothing where they have been forgotten.
    """

    at_s: float
    release: str = ""
    info_hash: str = ""
    number: int = 0
    from_release: str = ""
    from_info_hash: str = ""
    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    bytes_fetched: int = 0
    bytes_reused: int = 0
    bytes_hashed: int = 0
    bytes_total: int = 0
    seconds: float = 0.0
    paths: Changes = NO_CHANGES

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints; it is also what is stored."""
        found: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name in KINDS:
                found[name] = value
                found[f"{name}_paths"] = list(getattr(self.paths, name))
            elif name != "paths":
                found[name] = round(value, 3) if isinstance(value, float) else value
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> UpdateRecord:
        """Read what ``as_json`` gave; what is missing has its default.

        Raises:
            ValueError: it is something else.
        """
        known = {name: found[name] for name in _PLAIN if name in found}
        lists = [found.get(f"{kind}_paths", ()) for kind in KINDS]
        if not fits(list(known.values()), *map(_PLAIN.__getitem__, known)):
            raise ValueError("an update that is remembered has a value of another kind")
        if not all(map(are_texts, lists)):
            raise ValueError("an update that is remembered has paths that are none")
        return cls(**{"at_s": 0.0, **known, "paths": Changes(*map(tuple, lists))})


_PLAIN: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("at_s", "seconds"), NUMBER),
    **dict.fromkeys(("release", "info_hash", "from_release", "from_info_hash"), str),
    **dict.fromkeys(("number", *_SUMMED, "bytes_total"), int),
}


def record_of_update(report: CheckReport, at_s: float, *, from_info_hash: str = "") -> UpdateRecord:
    """What to remember of an update of a subscription."""
    changes = changes_of(report)
    return UpdateRecord(
        at_s,
        report.release,
        report.info_hash,
        from_release=report.from_release,
        from_info_hash=from_info_hash,
        added=len(changes.added),
        changed=len(changes.changed),
        moved=len(changes.moved),
        removed=len(changes.removed),
        bytes_fetched=report.bytes_fetched,
        bytes_reused=sum(report.bytes_reused),
        bytes_hashed=report.bytes_hashed,
        bytes_total=report.bytes_total,
        seconds=report.seconds,
        paths=_first(changes),
    )


def record_of_release(report: PublishReport, at_s: float) -> UpdateRecord:
    """What to remember of a release of a publication."""
    kinds = (report.added, report.modified, report.moved, report.removed)
    changes = Changes(*(tuple(paths) for paths in kinds))
    return UpdateRecord(
        at_s,
        report.release,
        report.info_hash,
        report.number,
        added=len(changes.added),
        changed=len(changes.changed),
        moved=len(changes.moved),
        removed=len(changes.removed),
        bytes_hashed=report.bytes_hashed,
        bytes_total=report.bytes_total,
        seconds=report.seconds,
        paths=_first(changes),
    )


def read_stored(at_s: float, info_hash: str, release: str, stored: str) -> UpdateRecord:
    """Read what is in a history, also one of an older torsync, which stored whole reports.

    Raises:
        ValueError: it is something else.
    """
    found = load_json(stored)
    if not isinstance(found, dict) or not fits((at_s, info_hash, release), NUMBER, str, str):
        raise ValueError("an update that is remembered is damaged")
    if "added" not in found and "fetched" in found:
        try:
            record = record_of_update(CheckReport.from_json(found), at_s)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("an update that is remembered is damaged") from error
        return UpdateRecord.from_json({**record.as_json(), "at_s": at_s})
    known = {**found, "at_s": at_s, "info_hash": info_hash, "release": release}
    return UpdateRecord.from_json(known)


def without_paths(record: UpdateRecord) -> UpdateRecord:
    """The same without paths, which make a history large."""
    return UpdateRecord.from_json({**record.as_json(), **{f"{kind}_paths": () for kind in KINDS}})


def _first(changes: Changes) -> Changes:
    return Changes(*(paths[:MOST_PATHS] for paths in changes))


@dataclass(frozen=True, slots=True)
class Totals:
    """What all updates that were ever made come to; it only grows.

    Attributes:
        updates: how many.
        seconds: that they took.
        sums: by name, as in ``UpdateRecord``.
        buckets: how many took at most ``DURATION_BUCKETS_S``, each counted once.
    """

    updates: int = 0
    seconds: float = 0.0
    sums: Mapping[str, int] = field(default_factory=dict)
    buckets: tuple[int, ...] = (0,) * len(DURATION_BUCKETS_S)

    def plus(self, record: UpdateRecord) -> Totals:
        """With one more."""
        at = next((n for n, most in enumerate(DURATION_BUCKETS_S) if record.seconds <= most), -1)
        return Totals(
            self.updates + 1,
            self.seconds + record.seconds,
            {name: self.sums.get(name, 0) + getattr(record, name) for name in _SUMMED},
            tuple(count + (n == at) for n, count in enumerate(self.buckets)),
        )

    def dump(self) -> str:
        """Give what ``load`` reads."""
        return json.dumps([self.updates, self.seconds, dict(self.sums), self.buckets])

    @classmethod
    def load(cls, text: str) -> Totals:
        """Read what ``dump`` gave; from anything else, begin anew."""
        found = load_json(text)
        if not fits(found, int, NUMBER, dict, list):
            return cls()
        updates, seconds, sums, buckets = found
        numbers = [*sums.values(), *buckets]
        if len(buckets) != len(DURATION_BUCKETS_S) or not all(isinstance(n, int) for n in numbers):
            return cls()
        return cls(updates, float(seconds), sums, tuple(buckets))
