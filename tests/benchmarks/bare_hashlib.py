"""Hash every file of a folder with all cores: the speed of the hash function. Run by path.

``ALGORITHM FOLDER``
"""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

_BLOCK = 1024**2


def main() -> None:
    """Hash."""
    algorithm, folder = sys.argv[1:]

    def hash_file(path: str) -> bytes:
        hasher, buffer = hashlib.new(algorithm), bytearray(_BLOCK)
        view = memoryview(buffer)
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                hasher.update(view[:count])
        return hasher.digest()

    paths = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    # The largest first, so that no core is left alone with one at the end.
    paths.sort(key=os.path.getsize, reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(hash_file, paths))


if __name__ == "__main__":
    main()
