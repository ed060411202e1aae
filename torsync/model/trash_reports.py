"""What the ``trash`` commands have to tell: values that renderers turn into lines or JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Union

from torsync.model.retention import freed_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.retention import Trashed


@dataclass(slots=True)
class TrashListed:
    """What is in the trash of a subscription, newest first."""

    command: ClassVar[str] = "trash list"

    name: str
    files: list[Trashed] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        released = sum(file.released for file in self.files)
        return {
            "name": self.name,
            "edited": len(self.files) - released,
            "old_release": released,
            "bytes_total": freed_bytes(self.files),
            "unreadable": len(self.unreadable),
            "unreadable_paths": self.unreadable,
            "entries": [
                {
                    "from": file.folder,
                    "trashed_s": file.at_s,
                    "path": file.path,
                    "size": file.size,
                    "kind": kind_of(file),
                }
                for file in self.files
            ],
        }


@dataclass(slots=True)
class TrashRestored:
    """What came back from the trash of a subscription.

    ``stamp`` is that of the update or clean-up that had put it there; ``trashed`` are paths whose
    content went there in turn; ``replaced_again`` those that the next update does not leave so.
    """

    command: ClassVar[str] = "trash restore"

    name: str
    stamp: str = ""
    restored: list[str] = field(default_factory=list)
    trashed: list[str] = field(default_factory=list)
    replaced_again: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        found: dict[str, Any] = {"name": self.name, "from": self.stamp}
        for key in ("restored", "trashed", "replaced_again"):
            paths: list[str] = getattr(self, key)
            found |= {key: len(paths), f"{key}_paths": paths}
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TrashRestored:
        """Read what ``as_json`` gave."""
        lists = {name: found[f"{name}_paths"] for name in ("restored", "trashed", "replaced_again")}
        return cls(found["name"], found["from"], **lists)


@dataclass(slots=True)
class TrashEmptied:
    """What was removed from the trash of a subscription, and what could not be."""

    command: ClassVar[str] = "trash empty"

    name: str
    removed: int = 0
    bytes_freed: int = 0
    left: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {
            "name": self.name,
            "removed": self.removed,
            "bytes_freed": self.bytes_freed,
            "left": len(self.left),
            "left_paths": self.left,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TrashEmptied:
        """Read what ``as_json`` gave."""
        return cls(found["name"], found["removed"], found["bytes_freed"], found["left_paths"])


TrashReport = Union[TrashListed, TrashRestored, TrashEmptied]


def kind_of(file: Trashed) -> str:
    """Say whose content a file in the trash has."""
    return "old release" if file.released else "edited"
