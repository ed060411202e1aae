"""Keep a folder equal to what a remote .torrent describes."""

from __future__ import annotations

__version__ = "0.1.0"
