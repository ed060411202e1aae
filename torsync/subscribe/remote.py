"""The poll: fetch the remote ``.torrent``, or learn that it has not changed."""
