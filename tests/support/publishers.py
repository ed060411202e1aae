"""torsync as a publisher: publications in its configuration, and subscribers to them.

with Publishing(tmp_path / "publisher") as publishing:
    publishing.publish("pack", {"a": 100})
    publishing.run("check-now").assert_ok()
    service = publishing.start("run")
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import bencode2
import libtorrent as lt

from tests.support.cli import Torsync
from tests.support.processes import HOST, free_port
from tests.support.trees import write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.cli import Json, Outcome, Running
    from tests.support.trees import Content

KIB = 1024
MIB = 1024 * KIB
PIECE = 16 * KIB
NAME = "pack"


class Publishing(Torsync):
    """torsync with publications; their folders and ``.torrent`` files are beside its own files.

    Attributes:
        port: where it listens for peers, and all that it publishes is seeded.
        publications: the tables ``[publications.NAME]``.
        feed: the table ``[feed]``.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)
        self.port = free_port(udp=True)
        self.session["listen"] = [f"{HOST}:{self.port}"]
        self.publications: dict[str, Json] = {}
        self.feed: Json = {}

    def content(self, name: str = NAME) -> Path:
        """The folder that is published."""
        return self.folder / f"content of {name}"

    def torrent(self, name: str = NAME) -> Path:
        """Where its ``.torrent`` is written."""
        return self.folder / "www" / f"{name}.torrent"

    def publish(
        self, name: str = NAME, entries: Mapping[str, Content] | None = None, **options: Any
    ) -> Path:
        """Configure a publication, or change one, and write files into its folder.

        Returns:
            The folder.
        """
        self.torrent(name).parent.mkdir(exist_ok=True)
        given = {
            "path": str(self.content(name)),
            "torrent": str(self.torrent(name)),
            "settle": "0.2s",
            "interval": "1h",
        }
        self.publications.setdefault(name, given).update(options)
        return write_tree(self.content(name), entries or {})

    def peer(self) -> str:
        """What subscribers list under ``peers``."""
        return f"{HOST}:{self.port}"

    def _tables(self) -> Json:
        return {**super()._tables(), "publications": self.publications, "feed": self.feed}


@contextmanager
def subscriber(folder: Path, publishing: Publishing, **options: Any) -> Iterator[Torsync]:
    """A subscriber to the publication that knows the publisher as a peer, unless said otherwise."""
    folder.mkdir(parents=True)
    with Torsync(folder) as torsync:
        given = {"url": publishing.torrent().as_uri(), "peers": [publishing.peer()]}
        torsync.subscribe(NAME, **{**given, **options})
        yield torsync


def publication(outcome: Outcome) -> Json:
    """The only report on a publication."""
    found = outcome.of_type("publication")
    assert len(found) == 1, f"{len(found)} reports; errors: {outcome.errors}"
    return found[0]


def released(outcome: Outcome) -> Json:
    """The report on a release that was made."""
    report = publication(outcome.assert_ok())
    assert report["changed"], report
    return report


def is_release(one: Json, name: str = NAME) -> bool:
    """Whether what was printed tells of a release that was made."""
    return one["type"] == "publication" and one["name"] == name and one["changed"]


def wait_for_release(service: Running, name: str = NAME, *, since: int = 0) -> Json:
    """Return once the service has made a release, which it tells when it is public."""
    return service.wait_for(lambda one: is_release(one, name), f"a release of {name}", since=since)


def releases(service: Running, name: str = NAME) -> list[Json]:
    """The releases that a service has told of so far."""
    return [one for one in service.objects() if is_release(one, name)]


def wait_for_problem(service: Running, name: str = NAME, *, since: int = 0) -> Json:
    """Return the first notice of an error."""
    return service.wait_for(
        lambda one: one["type"] == "notice" and one["level"] == "error" and one["name"] == name,
        f"a problem of {name} is told",
        since=since,
    )


def paths_in(torrent: bytes) -> set[str]:
    """The paths that a ``.torrent`` lists, without its root name, as libtorrent has them."""
    layout = lt.load_torrent_buffer(torrent).ti.layout()
    found = set()
    for index in range(layout.num_files()):
        if not int(layout.file_flags(index)) & 1:
            found.add(layout.file_path(index).partition("/")[2])
    return found


def decoded(torrent: Path) -> dict[bytes, Any]:
    """The outer dictionary of a ``.torrent``."""
    found: dict[bytes, Any] = bencode2.bdecode(torrent.read_bytes())
    return found


def all_errors(outcome: Outcome) -> str:
    """The messages of all errors and notices, for tests that look for what they name."""
    told = [*outcome.errors, *outcome.notices]
    lines = [one["message"] for one in told]
    lines += [problem for one in told for problem in one.get("problems", ())]
    return "\n".join(lines)
