"""Looking for a newer release while one is being fetched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from torsync.model.errors import TorsyncError
from torsync.model.events import Level
from torsync.subscribe.asking import Superseded
from torsync.subscribe.remote.poll import Validators

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.remote.long_poll import LongPoll
    from torsync.subscribe.state import PollState, TreeState
    from torsync.subscribe.surroundings import Voice


class Outlook:
    """Knows whether the release that is being fetched is still the newest.

    Attributes:
        releases: that are known; set once, as they tell ``await_next`` of each poll.
    """

    releases: Releases

    def __init__(
        self, interval_s: float, state: TreeState, voice: Voice, news: LongPoll | None
    ) -> None:
        """Prepare.

        Args:
            interval_s: seconds between looks.
            state: of the tree.
            voice: tells of a newer release.
            news: waits for the next release after each poll, if somebody does.
        """
        self._interval_s = interval_s
        self._state = state
        self._voice = voice
        self._news = news

    def await_next(self, poll: PollState) -> None:
        """Have the server tell of the next release, if it does such things."""
        if self._news is not None:
            self._news.arm(Validators(poll.etag, poll.last_modified), poll.sha256)

    def beyond(self, current: Release) -> Callable[[], None]:
        """Look for a newer release at the interval, or when the server tells of one.

        Returns:
            What looks if it is time for that; it raises ``Superseded`` if there is one.
        """
        glances_s = time.monotonic() + self._interval_s

        def look_out() -> None:
            nonlocal glances_s
            if time.monotonic() > glances_s or (self._news is not None and self._news.take_news()):
                glances_s = time.monotonic() + self._interval_s
                self.glance(current)

        return look_out

    def glance(self, current: Release) -> None:
        """See whether a release is still the newest.

        Raises:
            Superseded: it is not.
        """
        if self._state.pinned == current.digest:
            return
        try:
            newest = self.releases.glance()
        except TorsyncError as error:
            self._voice.notice(Level.DEBUG, error.code, error.message, error.hint)
            return
        if not newest.is_same_content(current):
            label = newest.manifest.name
            self._voice.notice(Level.INFO, "superseded", f"a newer release is there: {label}")
            raise Superseded(newest)
