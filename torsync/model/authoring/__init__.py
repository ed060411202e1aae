"""From a list of files and their hashes to the bytes of a ``.torrent``; pure."""
