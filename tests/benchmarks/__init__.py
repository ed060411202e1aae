"""Timings that are looked at, not asserted."""
