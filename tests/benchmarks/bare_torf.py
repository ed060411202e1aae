"""Make a ``.torrent`` with torf, with all cores. Run by path.

``FOLDER OUTPUT PIECE_SIZE``
"""

from __future__ import annotations

import os
import sys

import torf


def main() -> None:
    """Hash and write."""
    folder, output, piece_size = sys.argv[1:]
    torrent = torf.Torrent(path=folder, piece_size=int(piece_size))
    torrent.generate(threads=os.cpu_count())
    torrent.write(output)


if __name__ == "__main__":
    main()
