"""The feed: a public web server for publications, that is their ``.torrent`` and their content."""

from torsync.publish.feed.catalogue import ServedRelease
from torsync.publish.feed.server import Feed

__all__ = ["Feed", "ServedRelease"]
