"""What keeps a folder from being published."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import TorsyncError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 5


class Problem(NamedTuple):
    """Something in the folder that cannot be published.

    Attributes:
        path: relative to the folder; bytes that are no UTF-8 are surrogates (PEP 383).
        reason: to be read after the path.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path!r} {self.reason}"


class PublishError(TorsyncError):
    """The folder cannot be published as it is; ``problems`` has everything that is to be mended."""

    code = "publish"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        shown = "; ".join(map(str, self.problems[:_SHOWN]))
        more = len(self.problems) - _SHOWN
        super().__init__(
            f"not published: {shown}{f'; and {more:,} more' if more > 0 else ''}",
            hint="mend or ignore what is named, or leave it out: --skip-unreadable, or "
            "skip_unreadable = true in the configuration",
        )


class EmptyFolderError(TorsyncError):
    """There is nothing in the folder that could be published."""

    code = "publish_empty"


class PieceSizeError(TorsyncError):
    """The piece size makes more pieces than subscribers accept."""

    code = "piece_size"


class HashingError(TorsyncError):
    """A process that hashed for this one is gone; what was hashed before is kept."""

    code = "hashing"
