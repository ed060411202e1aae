"""``torsync``, run as a user would."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tests.benchmarks.contestants.base import Contestant
from tests.benchmarks.measure import BenchmarkError, run_process
from tests.benchmarks.publisher import UNHINTED
from tests.support.processes import HOST
from torsync.model.hints.format import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Run
    from tests.benchmarks.publisher import Published

_COUNTS = ("kept", "moved", "copied", "patched", "fetched", "trashed")


class Torsync(Contestant):
    """``torsync check-now``, polling over HTTP."""

    name = "torsync"
    note = "re-read, synced to disk, ledger written"
    again_note = "polls over HTTP, stats every file"
    update_note = "staged"
    remembers = True
    apply = "staged"

    def tree(self, place: Path, published: Published) -> Path:  # noqa: ARG002  overrides
        """The root name is dropped."""
        return place / "tree"

    def sync(self, published: Published, place: Path) -> Run:
        """Run ``check-now`` and believe what it says only where the seeder agrees."""
        sent, hints = published.uploaded_bytes(), _hints_served(published)
        run, told = self._run(published, place, "check-now", "--timeout", "60s")
        sent = published.uploaded_bytes() - sent
        if told["bytes_fetched"] != sent:
            raise BenchmarkError(
                f"torsync told of {told['bytes_fetched']} bytes fetched, {sent} were sent"
            )
        counts = {name: told[name] for name in _COUNTS}
        hints = _hints_served(published) - hints
        return run.telling(
            fetched=sent + hints,
            hashed=told["bytes_hashed"],
            hints=hints if published.web else None,
            counts=counts,
        )

    def forget_past(self, published: Published, place: Path) -> None:
        """Empty the trash."""
        self._run(published, place, "trash", "empty")

    def url(self, published: Published) -> str:
        """What is polled."""
        return published.torrent_url

    def _run(
        self, published: Published, place: Path, *arguments: str
    ) -> tuple[Run, dict[str, Any]]:
        """Run a command, and give what it tells of the subscription, too."""
        config = place / "config.toml"
        config.write_text(
            '[session]\nlisten = ["127.0.0.1:0"]\ndht = false\nlsd = false\n'
            "[subscriptions.release]\n"
            f"url = {json.dumps(self.url(published))}\n"
            f"path = {json.dumps(str(self.tree(place, published)))}\n"
            f'peers = ["{HOST}:{published.seeder.port}"]\n'
            f'apply = "{self.apply}"\n'
        )
        command = [sys.executable, "-m", "torsync", "--json", "--config", str(config)]
        run = run_process([*command, "--state-dir", str(place / "state"), *arguments], place)
        lines = (json.loads(line) for line in run.output.splitlines())
        return run, next(line for line in lines if line["type"] == "subscription")


def _hints_served(published: Published) -> int:
    return published.web.served_bytes(SUFFIX) if published.web else 0


class TorsyncUnhinted(Torsync):
    """The same where the hints file is missing."""

    name = "torsync, no hints"
    update_note = "the hints file is missing"
    format = UNHINTED


class TorsyncFromFile(Torsync):
    """The same with a ``file:`` URL: the difference is what HTTP costs."""

    name = "torsync, file: URL"
    again_note = "the same without HTTP"

    def url(self, published: Published) -> str:
        """What is polled."""
        return published.torrent_file.as_uri()


class TorsyncInPlace(Torsync):
    """The same where files are patched where they are."""

    name = "torsync, in place"
    update_note = "patches files where they are"
    apply = "in-place"


class TorsyncV2(Torsync):
    """The same where the publisher offers a v2 torrent."""

    name = "torsync, v2"
    format = "v2"


class TorsyncVerify(Torsync):
    """``torsync verify`` of the folder that it has synced."""

    name = "torsync verify"
    note = again_note = "every file; nothing is polled"
    folder_of = Torsync.name

    def sync(self, published: Published, place: Path) -> Run:
        """Check, and see that every file was found right."""
        run, told = self._run(published, place, "verify")
        files = sum(1 for path in published.folder.rglob("*") if path.is_file())
        if told["ok"] != files:
            raise BenchmarkError(f"torsync verified {told['ok']} of {files} files")
        return run.telling(fetched=0)

    def prepare(self, published: Published, place: Path) -> None:
        """Sync, where there is nothing to check yet."""
        Torsync().sync(published, place)


class TorsyncVerifyV2(TorsyncVerify):
    """The same for v2."""

    format = "v2"
    folder_of = TorsyncV2.name
