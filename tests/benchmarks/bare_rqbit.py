"""The least that a download by librqbit takes: add, and wait. Run by path.

``TORRENT FOLDER``: peers cannot be given to it, so it asks the torrent's tracker. It ends at once
when everything is there: to stop the session in order takes a second more.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress

import pyrqbit

_PATIENCE_S = 600
_MOST_FILES = 2**18


def main() -> None:
    """Download, or check what is there."""
    torrent, folder = sys.argv[1:]
    # It keeps every file of a torrent open; only root may have more than the hard limit.
    with suppress(ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES, _MOST_FILES))
    session = pyrqbit.Session(folder, None, disable_dht=True)
    handle = session.add_torrent(torrent, output_folder=folder, overwrite=True)
    done = handle.wait_until_completed(_PATIENCE_S)
    os._exit(0 if done else 1)


if __name__ == "__main__":
    main()
