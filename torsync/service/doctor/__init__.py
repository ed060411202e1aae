"""Finds out why nothing moves: each module looks at one group of things that have to work."""
