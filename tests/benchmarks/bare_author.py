"""The least that making a ``.torrent`` by libtorrent takes. Run by path.

``FOLDER OUTPUT PIECE_SIZE``
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import libtorrent as lt


def main() -> None:
    """Hash, which it does with one core, and write."""
    folder, output, piece_size = sys.argv[1:]
    entries = sorted(lt.list_files(folder), key=lambda entry: entry.filename)
    kind = lt.create_torrent
    creator = lt.create_torrent(entries, int(piece_size), flags=kind.v1_only)
    lt.set_piece_hashes(creator, os.path.dirname(folder))
    Path(output).write_bytes(lt.bencode(creator.generate()))


if __name__ == "__main__":
    main()
