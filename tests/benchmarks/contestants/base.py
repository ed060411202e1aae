"""What all contestants have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.measure import Run
    from tests.benchmarks.publisher import Published

SCRIPTS = Path(__file__).parents[1]


class Contestant(ABC):
    """A way to bring a folder to what is published; called twice it has nothing to do.

    Attributes:
        name: in the table.
        note: what a reader of the table has to know.
        again_note: the same for the second call.
        update_note: the same where another release is in the folder.
        format: of the torrent that it takes; empty for whatever the case has.
        remembers: whether it keeps a record of what it has synced, which is to be settled
            before an update is measured.
        leftovers: folder at the top of its tree that holds more than what is published.
        folder_of: name of the contestant in whose folder it works.
    """

    name: str
    note = ""
    again_note = ""
    update_note = ""
    format = ""
    remembers = False
    leftovers = ""
    folder_of = ""

    def obstacle(self, published: Published) -> str:  # noqa: ARG002  overridden
        """Why it cannot take part; empty if it can."""
        return ""

    def tree(self, place: Path, published: Published) -> Path:
        """Where in ``place`` the published files end up."""
        return place / published.folder.name

    @abstractmethod
    def sync(self, published: Published, place: Path) -> Run:
        """Bring ``place``, a folder of its own, to what is published."""

    def prepare(self, published: Published, place: Path) -> None:
        """Do the same where nothing is measured; ``place`` is empty or at another release."""
        self.sync(published, place)

    def forget_past(self, published: Published, place: Path) -> None:  # noqa: B027  for most
        """Give up what it has of earlier releases, so that an update has to fetch them."""

    def tidy(self, published: Published, place: Path) -> None:  # noqa: B027  nothing for most
        """Do what it left undone, after its time was taken."""
