"""The BitTorrent side: the only part that touches libtorrent's session."""
