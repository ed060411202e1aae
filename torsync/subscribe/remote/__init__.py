"""The remote end of a subscription: where its newest ``.torrent`` is, over HTTP or as a file."""
