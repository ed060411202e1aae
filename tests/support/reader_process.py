"""A process that reads files in a loop, and tells which reads were of no release's content.

It is run by path, with one JSON object on a line of standard input: ``root``, and ``allowed``,
path → SHA-256 digests of what may be there. It answers each further line with one of its own:
``reads`` so far, ``seen`` (path → the digests that were read), and what was ``wrong``. It ends
with standard input.
"""

from __future__ import annotations

import json
import os
import select
import sys
from hashlib import sha256


def main() -> None:
    """Read, and answer, until standard input ends."""
    # Unbuffered: what was read ahead would hide from select.
    requests = open(sys.stdin.fileno(), "rb", buffering=0)  # noqa: SIM115
    request = json.loads(requests.readline())
    os.chdir(request["root"])
    reads = 0
    seen: dict[str, list[str]] = {path: [] for path in request["allowed"]}
    wrong: list[str] = []
    while True:
        for path, allowed in request["allowed"].items():
            try:
                with open(path, "rb", buffering=0) as file:
                    digest = sha256(file.read()).hexdigest()
            except OSError as error:
                wrong.append(f"{path}: {error}")
                continue
            reads += 1
            if digest not in seen[path]:
                seen[path].append(digest)
            if digest not in allowed:
                wrong.append(f"{path}: content of no release")
        if select.select([requests], [], [], 0)[0]:
            if not requests.readline():
                return
            answer = {"reads": reads, "seen": seen, "wrong": wrong[:20]}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
