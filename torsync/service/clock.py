"""Times as the service shows them."""

from __future__ import annotations

from datetime import datetime, timezone


def iso_time(at_s: float) -> str:
    """Show a time, given in Unix seconds, as ISO 8601 has it: UTC, to the millisecond."""
    at = datetime.fromtimestamp(at_s, timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
