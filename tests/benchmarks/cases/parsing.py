"""How long the largest torrents take to parse."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import bench_parse
from tests.benchmarks.measure import run_process
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.benchmarks.cases.options import Options

_FILES = 200_000
# The goal is about torrents of at most 24 MB; a hybrid of that many files has twice that.
_WITH_GOALS = {"v1", "v1 packed", "v2"}

_LOAD_BY_LIBTORRENT = """
import sys
import libtorrent as lt
with open(sys.argv[1], "rb") as file:
    data = file.read()
limits = {"max_buffer_size": 1 << 30, "max_pieces": 1 << 26, "max_decode_tokens": 1 << 28}
layout = lt.load_torrent_buffer(data, limits).ti.layout()
paths = [layout.file_path(index) for index in range(layout.num_files())]
"""
_LOAD_BY_TORSYNC = """
import sys
from torsync.model.metainfo import parse_metainfo
with open(sys.argv[1], "rb") as file:
    data = file.read()
paths = [file.path for file in parse_metainfo(data).files]
"""


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure ``parse``, if it is wanted."""
    rows: list[Row] = []
    if "parse" not in wanted:
        return rows
    with tempfile.TemporaryDirectory(prefix="parse-", dir=options.folder) as name:
        scratch = Path(name)
        path = scratch / "large.torrent"
        for kind in bench_parse.FORMATS:
            bench_parse.write_torrent(path, kind, options.scaled(_FILES, least=3))
            size = path.stat().st_size
            reference = Row(
                f"parse, {kind}", "libtorrent", f"{size / 1e6:.1f} MB", is_reference=True
            )
            row = Row(f"parse, {kind}", "torsync", reference.note, reference=reference)
            if kind in _WITH_GOALS:
                row.goals = options.goals(seconds=5.0, peak_MB=500)
            for _ in range(options.repeat):
                for one, program in ((reference, _LOAD_BY_LIBTORRENT), (row, _LOAD_BY_TORSYNC)):
                    run = run_process([sys.executable, "-c", program, str(path)], scratch)
                    one.runs.append(run)
            rows += [reference, row]
    return rows
