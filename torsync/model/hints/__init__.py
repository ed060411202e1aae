"""Hints: content-defined chunks of a release's files, published beside its ``.torrent``; pure.

With them, content that has moved inside a file is found in what a subscriber has. They are not
trusted: what they say is checked by the pieces' hashes before it counts.
"""
