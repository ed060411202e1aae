"""Edits in a folder, as the operating system tells of them."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from typing import TYPE_CHECKING

from torsync.model.names import in_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_GROUP_MS = 200
_STEP_MS = 50
_WAKE_MS = 500
_MOST_PATHS = 100_000
_LIMIT_HINT = (
    "raise the limits: `sysctl fs.inotify.max_user_watches=1048576 "
    "fs.inotify.max_user_instances=1024`, and the same in /etc/sysctl.d/ to keep them"
)


class Watch:
    """Watches a folder in a thread of its own, and notes which paths were touched."""

    def __init__(
        self, root: Path, *, on_edit: Callable[[], None], on_end: Callable[[str, str], None]
    ) -> None:
        """Prepare; ``start`` begins.

        Args:
            root: the folder.
            on_edit: called when there are paths to take; from the watching thread.
            on_end: called with a reason and a hint if watching is not possible, or no more; from
                the watching thread.
        """
        self._path = root
        self._root = os.path.realpath(root)
        self._watched = _identity(root)
        self._is_gone = False
        self._on_edit = on_edit
        self._on_end = on_end
        self._stop = threading.Event()
        self._paths: deque[str] = deque()
        self._too_many = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that."""
        self._stop.set()
        self._thread.join()

    @property
    def is_lost(self) -> bool:
        """Whether the folder is another one by now, or was gone and is there again."""
        found = _identity(self._path)
        return found is not None and (self._is_gone or found != self._watched)

    def take(self) -> list[str] | None:
        """The paths that were touched since the last call, relative to the folder.

        Returns:
            None if they were too many to remember: anything may have been touched.
        """
        if self._too_many:
            self._too_many = False
            self._paths.clear()
            return None
        return list(dict.fromkeys(self._paths.popleft() for _ in range(len(self._paths))))

    def _run(self) -> None:
        from watchfiles import watch  # noqa: PLC0415 - costs start-up time

        try:
            for changes in watch(
                self._root,
                watch_filter=None,
                debounce=_GROUP_MS,
                step=_STEP_MS,
                rust_timeout=_WAKE_MS,
                stop_event=self._stop,
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=False,  # else exceeded limits would go unseen
            ):
                self._note([path for _change, path in changes])
                if not os.path.isdir(self._root):
                    self._end("the folder is gone")
                    self._is_gone = True
                    return
        except (OSError, RuntimeError) as error:
            self._end(str(error))

    def _note(self, paths: list[str]) -> None:
        prefix = f"{self._root.rstrip('/')}/"
        named = [path[len(prefix) :] for path in paths if path.startswith(prefix)]
        touched = [path for path in named if not in_private(path)]
        if not touched:
            return
        if len(self._paths) + len(touched) > _MOST_PATHS:
            self._too_many = True
        else:
            self._paths.extend(touched)
        self._on_edit()

    def _end(self, reason: str) -> None:
        exceeded = "limit reached" in reason or os.strerror(errno.EMFILE) in reason
        self._on_end(reason.partition(" about [")[0], _LIMIT_HINT if exceeded else "")


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one; None if there is none."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None
