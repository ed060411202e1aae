"""Programs that some tests drive; where one is absent, its tests skip."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str) -> str:
    """Return the program's path, or skip the test that asks for it.

    Besides the search path this looks where servers are installed, which is not on
    everybody's search path.
    """
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
    found = shutil.which(program, path=places)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found
