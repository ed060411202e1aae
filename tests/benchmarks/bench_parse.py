"""How long the largest torrents take to parse, and how much memory at most.

Run ``python -m tests.benchmarks.bench_parse [FILES]``. Each torrent is parsed by a
process of its own, so that the peak is that of one parse with the interpreter and imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import bencode2

FORMATS = ("v1", "v1 packed", "v2", "hybrid")

_PIECE = 64 * 1024
_FILE = 3000

# VmHWM is getrusage's ru_maxrss without the memory of the parent that the child was forked from
_CHILD = """
import json, resource, sys, time
from torsync.model.metainfo import parse_metainfo
with open(sys.argv[1], "rb") as file:
    data = file.read()
start = time.perf_counter()
manifest = parse_metainfo(data)
seconds = time.perf_counter() - start
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
if sys.platform == "linux":
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
json.dump([len(manifest.files), len(data), seconds, peak], sys.stdout)
"""


class Measured(NamedTuple):
    """What one parse took."""

    files: int
    torrent_bytes: int
    seconds: float
    peak_bytes: int


def write_torrent(path: Path, kind: str, files: int) -> None:
    """Write a torrent of many small files in folders of a thousand."""
    names = [(b"folder%05d" % (i // 1000), b"some-file-name-%06d.bin" % i) for i in range(files)]
    roots = [sha256(folder + name).digest() for folder, name in names]
    info: dict[bytes, Any] = {b"name": b"root", b"piece length": _PIECE}
    outer: dict[bytes, Any] = {b"info": info}
    if kind != "v2":
        info |= _v1_part(names, roots, kind)
    if kind in {"v2", "hybrid"}:
        info |= {b"meta version": 2, b"file tree": _tree(names, roots)}
        outer[b"piece layers"] = {}
    path.write_bytes(bencode2.bencode(outer))


def _v1_part(names: list[tuple[bytes, bytes]], roots: list[bytes], kind: str) -> dict[bytes, Any]:
    entries: list[dict[bytes, Any]] = []
    pad = {b"attr": b"p", b"length": _PIECE - _FILE, b"path": [b".pad", b"%d" % (_PIECE - _FILE)]}
    for (folder, name), root in zip(names, roots, strict=True):
        entries.append({b"length": _FILE, b"path": [folder, name]})
        if kind == "v1 packed":
            entries[-1][b"pieces root"] = root
        if kind == "hybrid":
            entries.append(pad)
    size = sum(entry[b"length"] for entry in entries)
    return {b"files": entries, b"pieces": b"h" * (20 * -(-size // _PIECE))}


def _tree(names: list[tuple[bytes, bytes]], roots: list[bytes]) -> dict[bytes, Any]:
    tree: dict[bytes, Any] = {}
    for (folder, name), root in zip(names, roots, strict=True):
        leaf = {b"length": _FILE, b"pieces root": root}
        tree.setdefault(folder, {})[name] = {b"": leaf}
    return tree


def measure(path: Path) -> Measured:
    """Parse a torrent in a new process."""
    command = [sys.executable, "-c", _CHILD, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=100)
    return Measured(*json.loads(done.stdout))


def main() -> None:
    """Print a line for each format."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.torrent"
        for kind in FORMATS:
            write_torrent(path, kind, files)
            measured = measure(path)
            print(
                f"{kind:10} {measured.files:,} files, {measured.torrent_bytes / 1e6:.1f} MB: "
                f"{measured.seconds:.2f} s, {measured.peak_bytes / 1e6:.0f} MB peak"
            )


if __name__ == "__main__":
    main()
