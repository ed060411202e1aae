"""What has to be so before a release goes public: others can fetch it."""

from __future__ import annotations

import threading
from random import randrange
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError, TorsyncError
from torsync.model.events import Level
from torsync.model.samples import choose_pieces, choose_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torsync.model.manifest import Manifest
    from torsync.subscribe.surroundings import Voice
    from torsync.swarm.torrent import Torrent

_LOOK_S = 0.1


def check_session(
    torrent: Torrent,
    manifest: Manifest,
    changed: Sequence[int],
    *,
    withdrawn: Collection[str],
    wait: Callable[[float], bool],
    voice: Voice,
) -> None:
    """See that the session serves a release: some pieces of it are fetched as a peer does it.

    Args:
        torrent: in the session.
        manifest: of the release.
        changed: indexes of files that the release before does not have so.
        withdrawn: paths of files that it is not to serve.
        wait: sleeps so many seconds, True if the work shall stop.
        voice: says what could not be seen.

    Raises:
        NotServedError: it does not serve it.
        TreeError: it could not read a file.
        InterruptedByUserError: ``wait`` said so.
    """
    from torsync.swarm.probe import probe  # noqa: PLC0415 - not needed where nothing has changed

    without = {manifest.by_path[path] for path in withdrawn}
    chosen = choose_pieces(
        manifest, [index for index in changed if index not in without], randrange
    )
    pieces = [piece for piece in chosen if without.isdisjoint(manifest.files_in(piece))]
    if not pieces:
        return
    try:
        fetched = probe(torrent.endpoints, manifest, pieces, wait=wait)
    except TorsyncError:
        torrent.raise_failure()  # the cause, if a file could not be read
        raise
    if not fetched:
        voice.notice(
            Level.INFO,
            "session_busy",
            "the session is busy with other peers; it says that it has the release, and no piece "
            "of it was fetched to see",
        )


def check_web_seeds(
    manifest: Manifest,
    web_seeds: Sequence[str],
    changed: Sequence[int],
    *,
    stopping: Callable[[], bool],
) -> None:
    """See that each web seed has the content of a release; all are asked at the same time.

    Args:
        manifest: of the release.
        web_seeds: the URLs that others serve.
        changed: indexes of files that the release before does not have so.
        stopping: asked several times a second.

    Raises:
        WebSeedError: one has not; the first of them.
        InterruptedByUserError: ``stopping`` said so.
    """
    http = [url for url in web_seeds if url.partition(":")[0].lower() in {"http", "https"}]
    if not http:
        return
    from torsync.publish.web_seed_check import check_web_seed  # noqa: PLC0415 - costs start-up time

    parts = choose_ranges(manifest, changed, randrange)
    failures: dict[str, BaseException] = {}

    def check(url: str) -> None:
        try:
            check_web_seed(url, manifest, parts)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures[url] = error

    threads = [threading.Thread(target=check, args=(url,), daemon=True) for url in http]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            if stopping():  # the threads end by their own deadlines
                raise InterruptedByUserError("stopped while checking the release")
            thread.join(_LOOK_S)
    for url in http:
        if url in failures:
            raise failures[url]
