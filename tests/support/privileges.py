"""Children of root that may read no more than other users may."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support.trees import write_tree

if TYPE_CHECKING:
    from pathlib import Path

# Put into PYTHONPATH, it takes from root what lets it read everything.
_WITHOUT_CAPABILITIES = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
nothing = (ctypes.c_uint32 * 6)()
if libc.capset(header, nothing):
    raise OSError(ctypes.get_errno(), "capset")
"""


def unprivileged_environment(site: Path) -> dict[str, str]:
    """Environment variables under which a Python run by root heeds permissions.

    Args:
        site: a folder to make; it has to stay while that Python starts.
    """
    if os.geteuid() != 0:
        return {}
    write_tree(site, {"sitecustomize.py": _WITHOUT_CAPABILITIES.encode()})
    return {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
