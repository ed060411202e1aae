"""What the system lets a process have."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH_FILES = 1 << 20


def allow_open_files() -> None:
    """Raise the limit of open files to what this process may have: each tree takes about seven.

    Many systems begin with 1024, for the sake of programs that use select(2); this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # then fewer trees fit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
