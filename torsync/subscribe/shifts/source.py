"""Where hints come from: parts of a hints file, which nobody vouches for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torsync.model.errors import TorsyncError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.hints.format import Range


class HintsUnavailableError(TorsyncError):
    """The hints cannot be had, or not as one version; an update goes on without them."""

    code = "hints_unavailable"


class HintsSource(Protocol):
    """A hints file of which parts can be read."""

    @property
    def bytes_received(self) -> int:
        """What has been received so far, without the headers of answers."""

    @property
    def shown(self) -> str:
        """Where it is, without secrets."""

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """Read parts of the file: exactly the bytes asked for, in the order asked for.

        All that is ever read comes from one version of the file. After a failure every later
        call fails as well.

        Raises:
            HintsUnavailableError: why, and what can be done about it.
            InterruptedByUserError: the work shall stop.
        """

    def close(self) -> None:
        """Let go of connections and files."""
