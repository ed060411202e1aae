"""Find content of a release that has moved inside files of the tree, with the publisher's hints."""
