"""From a folder to a ``.torrent``."""
