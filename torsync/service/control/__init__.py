"""The control API: what other programs of this user ask of the running service."""
