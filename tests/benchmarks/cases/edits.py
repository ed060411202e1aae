"""How long an edit in a watched publication takes to reach two subscribers.

All three are services on this machine, each in a process of its own; the subscribers know the
feed's URL alone. The clock runs from the end of the edit until both copies of the edited file have
it, and the settle time is left out of it.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from tests.benchmarks.measure import REPOSITORY, BenchmarkError, Run, assert_equal_trees
from tests.benchmarks.table import Row
from tests.benchmarks.trees import write_mixed_tree
from tests.support.processes import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.benchmarks.cases.options import Options

_FILES, _TOTAL = 300, 2 * 1024**3
_SETTLE_S = 2.0
_OVERWRITTEN = 4096
_PATIENCE_S = 120.0
_POLL_S = 0.005


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure ``edit-to-sync``, if it is wanted."""
    if "edit-to-sync" not in wanted:
        return []
    row = Row(
        "edit-to-sync",
        "torsync",
        f"2 subscribers, besides the settle time of {_SETTLE_S:g} s",
        goals=options.goals(seconds=2.0),
    )
    scratch = tempfile.TemporaryDirectory(prefix="edits-", dir=options.folder)
    with ExitStack() as on:
        base = Path(on.enter_context(scratch))
        folder = base / "maps"
        write_mixed_tree(folder, files=_FILES, total=options.scaled(_TOTAL, least=10_000_000))
        port = free_port()
        on.enter_context(_service(base / "publisher", _publication(folder, port)))
        copies = [base / f"copy{number}" for number in range(2)]
        for number, copy in enumerate(copies):
            on.enter_context(_service(base / f"subscriber{number}", _subscription(copy, port)))
        edited = max(file for file in folder.rglob("*") if file.is_file())
        _wait_for(copies, folder, edited, 0)
        chance = random.Random("edits")
        for _ in range(options.repeat):
            time.sleep(_SETTLE_S)  # the service has its hands free again
            at = chance.randrange(edited.stat().st_size - _OVERWRITTEN)
            with edited.open("r+b") as file:
                file.seek(at)
                file.write(chance.randbytes(_OVERWRITTEN))
            began = time.perf_counter()
            _wait_for(copies, folder, edited, at)
            seconds = time.perf_counter() - began - _SETTLE_S
            row.runs.append(Run(seconds, 0, 0, 0, None, ""))
        for copy in copies:
            assert_equal_trees(copy, folder)
        row.compared = len(copies)
    return [row]


def _publication(folder: Path, port: int) -> dict[str, object]:
    return {
        "publications": {"maps": {"path": str(folder), "settle": f"{_SETTLE_S:g}s"}},
        "feed": {"listen": f"{HOST}:{port}"},
    }


def _subscription(copy: Path, port: int) -> dict[str, object]:
    return {
        "subscriptions": {"maps": {"url": f"http://{HOST}:{port}/maps.torrent", "path": str(copy)}}
    }


@contextmanager
def _service(home: Path, tables: dict[str, object]) -> Iterator[None]:
    """Run ``torsync run`` in a process of its own."""
    home.mkdir()
    session = {"listen": [f"{HOST}:0"], "dht": False, "lsd": False}
    config = home / "config.toml"
    config.write_text(tomli_w.dumps({"session": session, **tables}))
    command = ["-m", "torsync", "--config", str(config), "--state-dir", str(home / "state"), "run"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=REPOSITORY,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "NO_PROXY": HOST},
            stdout=log,
            stderr=log,
        )
        try:
            yield
            if process.poll() is not None:
                raise BenchmarkError((home / "log").read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _wait_for(copies: list[Path], folder: Path, edited: Path, at: int) -> None:
    """Wait until every copy of a file has the same bytes at a place."""
    wanted = _bytes_at(edited, at)
    ends = time.perf_counter() + _PATIENCE_S
    for copy in copies:
        while _bytes_at(copy / edited.relative_to(folder), at) != wanted:
            if time.perf_counter() > ends:
                raise BenchmarkError(f"{copy} did not get the edit within {_PATIENCE_S:g} s")
            time.sleep(_POLL_S)


def _bytes_at(path: Path, at: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(_OVERWRITTEN)
    except FileNotFoundError:
        return b""
