"""Make the hints file of a release: cut what is not known, keep that, write it all."""
