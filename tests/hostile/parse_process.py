"""Parse ``.torrent`` files in a process that may take only so much memory.

``python -m tests.hostile.parse_process MOST_MIB FILE…`` prints a JSON object for each file: how
many files it lists, or the error that it is refused with, and the seconds of processor time.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from torsync.model.errors import ManifestError
from torsync.model.metainfo import parse_metainfo


def _report(file: str) -> dict[str, object]:
    data = Path(file).read_bytes()
    began_s = time.process_time()
    try:
        found: dict[str, object] = {"files": len(parse_metainfo(data).files)}
    except ManifestError as error:
        found = {"error": error.message}
    return {**found, "seconds": time.process_time() - began_s}


if __name__ == "__main__":
    most_bytes = int(sys.argv[1]) * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    for name in sys.argv[2:]:
        print(json.dumps(_report(name)), flush=True)
