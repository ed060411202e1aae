"""torsync as its users run it: a child process, with a configuration file and a state directory.

with Torsync(tmp_path) as torsync, LibtorrentSeeder() as seeder:
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.publish(torrent, folder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 0
    assert_same_tree(torsync.tree, folder)
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import jsonschema
import tomli_w

from tests.support.processes import HOST, wait_until
from tests.support.trees import OWN_FOLDER
from tests.support.warm_start import warm_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from tests.support.foreign_seeders import Aria2Seeder, TransmissionSeeder
    from tests.support.qbittorrent import QBittorrent
    from tests.support.rqbit import Rqbit
    from tests.support.seeders import LibtorrentSeeder

    Seeder = Union[LibtorrentSeeder, TransmissionSeeder, Aria2Seeder, QBittorrent, Rqbit]

Json = dict[str, Any]
Argument = Union[str, Path]

_SCHEMA = json.loads(files("torsync.cli").joinpath("schema.json").read_text(encoding="utf-8"))
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)


@dataclass(frozen=True)
class Outcome:
    """How a torsync process ended.

    Attributes:
        exit_code: negative for the signal that ended it.
        objects: what it said on standard output, line by line.
        errors: the same for standard error.
        stderr: standard error as it was.
    """

    exit_code: int
    objects: list[Json]
    errors: list[Json]
    stderr: str

    def of_type(self, kind: str) -> list[Json]:
        """The objects of one type."""
        return [found for found in self.objects if found["type"] == kind]

    @property
    def subscription(self) -> Json:
        """The report on the only subscription."""
        found = self.of_type("subscription")
        assert len(found) == 1, f"{len(found)} reports; errors: {self.errors}"
        return found[0]

    @property
    def notices(self) -> list[Json]:
        """All notices, but that the service begins and ends."""
        of_course = {"started", "stopping"}
        return [one for one in self.of_type("notice") if one["code"] not in of_course]

    @property
    def error(self) -> Json:
        """The only error."""
        assert len(self.errors) == 1, f"not one error: {self.errors}"
        return self.errors[0]

    def assert_ok(self) -> Self:
        """Fail, showing its errors, unless the exit code is 0."""
        assert self.exit_code == 0, (
            f"exit code {self.exit_code}: {self.stderr or self.objects[-3:]}"
        )
        assert not self.errors, self.errors
        return self


class _Lines:
    """The JSON lines in a file that grows; each is validated once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._found: list[Json] = []
        self._offset = 0

    def parsed(self) -> list[Json]:
        with self.file.open("rb") as stream:
            stream.seek(self._offset)
            fresh = stream.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                one = json.loads(line)
            except ValueError:
                text = self.file.read_text(errors="replace")
                raise AssertionError(f"not JSON: {line!r} in:\n{text}") from None
            _VALIDATOR.validate(one)
            self._found.append(one)
        self._offset += len(whole)
        return list(self._found)


def _outcome(exit_code: int, out: _Lines, err: _Lines) -> Outcome:
    """Check that everything that a process said fits the schema."""
    stderr = err.file.read_text()
    outcome = Outcome(exit_code, out.parsed(), err.parsed(), stderr)
    for found in outcome.objects:
        assert found["type"] != "error", found
    for found in outcome.errors:
        assert found["type"] == "error", found
    if exit_code >= 0:
        assert outcome.objects, f"nothing was printed; exit code {exit_code}: {stderr}"
        last = outcome.objects[-1]
        assert last["type"] == "result", last
        assert last["exit_code"] == exit_code, (exit_code, last)
        assert len(outcome.of_type("result")) == 1
    return outcome


def _late(timeout_s: float, out: _Lines, err: _Lines) -> AssertionError:
    said = [*out.parsed()[-5:], *err.parsed()]
    return AssertionError(f"it did not end within {timeout_s} s: {said}")


class Running:
    """A torsync process that was started and is not waited for yet."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._out, self._err = _Lines(folder / "stdout"), _Lines(folder / "stderr")
        with self._out.file.open("wb") as out, self._err.file.open("wb") as err:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def objects(self) -> list[Json]:
        """What it has said on standard output so far: whole lines."""
        return self._out.parsed()

    def errors(self) -> list[Json]:
        """What it has said on standard error so far."""
        return self._err.parsed()

    def wait_for(
        self, wanted: Callable[[Json], bool], what: str, *, since: int = 0, deadline_s: float = 20
    ) -> Json:
        """Return the first object that is wanted, once it has been printed.

        Args:
            wanted: is asked for each object.
            what: it is, for the message.
            since: how many of the objects to pass over.
            deadline_s: how long to wait.

        Raises:
            AssertionError: it ended, or did not print it in time.
        """
        found: list[Json] = []

        def is_there() -> bool:
            ended = not self.is_running
            found.extend(one for one in self.objects()[since:] if wanted(one))
            assert found or not ended, f"it ended before {what}: {self._err.file.read_text()}"
            return bool(found)

        try:
            wait_until(is_there, what, deadline_s=deadline_s)
        except TimeoutError as error:
            last = self.objects()[-5:]
            raise AssertionError(f"{error}; last: {last}; {self._err.file.read_text()}") from None
        return found[0]

    def wait_for_stage(self, name: str, stage: str, *, since: int = 0) -> Json:
        """Return once a subscription has entered a stage."""
        return self.wait_for(
            lambda one: one["type"] == "progress" and one["name"] == name and one["stage"] == stage,
            f"{name} is {stage}",
            since=since,
        )

    def wait_for_download(self, at_least: int) -> Json:
        """Return once so many bytes of a download have arrived."""
        return self.wait_for(
            lambda one: (
                one["type"] == "progress"
                and one["stage"] == "downloading"
                and one["bytes_done"] >= at_least
            ),
            f"{at_least} bytes have arrived",
        )

    def send(self, signal_number: int) -> None:
        """Send a signal."""
        self._process.send_signal(signal_number)

    def wait(self, timeout_s: float = 60) -> Outcome:
        """Wait for its end and check that everything it said fits the schema.

        Raises:
            AssertionError: it did not end in time, or printed what it should not.
        """
        try:
            exit_code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise _late(timeout_s, self._out, self._err) from None
        return _outcome(exit_code, self._out, self._err)

    def stop(self, signal_number: int, *, within_s: float) -> Outcome:
        """Send a signal and wait for its end."""
        self.send(signal_number)
        return self.wait(within_s)

    def kill(self) -> None:
        """End it without asking; harmless if it has ended."""
        if self.is_running:
            self._process.kill()
        self._process.wait()


class Torsync:
    """A configuration, a state directory and trees in a folder, and the program run with them.

    Attributes:
        tree: the default folder of a subscription; not made here.
        session: the table ``[session]``; loopback only.
        subscriptions: the tables ``[subscriptions.NAME]``.
        service: the table ``[service]``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.config_file = folder / "config.toml"
        self.state_dir = folder / "state"
        self.session: Json = {"listen": [f"{HOST}:0"], "dht": False, "lsd": False}
        self.subscriptions: dict[str, Json] = {}
        self.service: Json = {}
        self._home = folder / "home"
        self._home.mkdir()
        self._started: list[Running] = []
        self._numbers = itertools.count()

    def subscribe(self, name: str = "pack", **options: Any) -> None:
        """Add a subscription, or change one.

        If they are left out, ``path`` is the default tree, and an update may remove any number
        of files: in small trees one is soon more than half of them.
        """
        given = {"path": str(self.tree), "max_delete": "100%"}
        known = self.subscriptions.setdefault(name, given)
        known.update(options)

    def run(
        self,
        *arguments: Argument,
        timeout_s: float = 60,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run a command to its end; with the usual environment, without Python's start-up.

        Raises:
            AssertionError: it took too long, or printed something that is not in the schema.
        """
        if environment:
            return self.start(*arguments, environment=environment).wait(timeout_s)
        folder = self._next_run()
        out, err = _Lines(folder / "stdout"), _Lines(folder / "stderr")
        try:
            exit_code = warm_start().run(
                self._arguments(arguments),
                stdout=out.file,
                stderr=err.file,
                environment=self.environment(),
                timeout_s=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise _late(timeout_s, out, err) from None
        return _outcome(exit_code, out, err)

    def start(self, *arguments: Argument, environment: Mapping[str, str] | None = None) -> Running:
        """Start a command; ``close`` ends it if nothing else does."""
        command, folder = self.command(*arguments), self._next_run()
        running = Running(command, folder, {**self.environment(), **(environment or {})})
        self._started.append(running)
        return running

    def command(self, *arguments: Argument) -> list[str]:
        """What runs a command in a process of its own, with the configuration as it is now."""
        self._write_config()
        return [sys.executable, "-m", "torsync", *self._arguments(arguments)]

    def environment(self) -> dict[str, str]:
        """The variables that a command is run with."""
        return {**os.environ, "HOME": str(self._home), "NO_PROXY": "*", "no_proxy": "*"}

    def save(self) -> None:
        """Write the configuration as it is now, for a service that runs to read anew."""
        self._write_config()

    def close(self) -> None:
        """End what still runs."""
        for running in self._started:
            running.kill()

    def _next_run(self) -> Path:
        """Write the configuration and make a folder for what is printed."""
        self._write_config()
        folder = self.folder / f"run-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def _tables(self) -> Json:
        """What the configuration holds."""
        return {
            "session": self.session,
            "subscriptions": self.subscriptions,
            "service": self.service,
        }

    def _write_config(self) -> None:
        self.config_file.write_text(tomli_w.dumps(self._tables()), encoding="utf-8")

    def _arguments(self, given: Iterable[Argument]) -> list[str]:
        files = ["--config", str(self.config_file), "--state-dir", str(self.state_dir)]
        return ["--json", *files, *map(str, given)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Publisher:
    """The newest ``.torrent`` at one URL of a file, and its seeder.

    Attributes:
        file: the ``.torrent``.
        seeder: seeds every release that was published.
    """

    def __init__(self, folder: Path, seeder: Seeder) -> None:
        folder.mkdir(exist_ok=True)
        self.file = folder / "newest.torrent"
        self.seeder = seeder

    @property
    def url(self) -> str:
        """Where the ``.torrent`` is."""
        return self.file.as_uri()

    @property
    def peers(self) -> list[str]:
        """The value of ``peers`` that leads to the seeder."""
        return [f"{HOST}:{self.seeder.port}"]

    def publish(self, torrent: bytes, content: Path, **options: Any) -> None:
        """Seed a release and make it the newest; ``content`` has the files themselves."""
        self.seeder.add_folder(torrent, content, **options)
        self.announce(torrent)

    def announce(self, torrent: bytes) -> None:
        """Make a ``.torrent`` the newest, without seeding it."""
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(torrent)
        fresh.replace(self.file)


def trash_contents(tree: Path) -> dict[str, list[bytes]]:
    """Every path in the trash of a tree, with the contents it has there, oldest first."""
    found: dict[str, list[bytes]] = {}
    trash = tree / ".torsync" / "trash"
    for stamp in sorted(trash.iterdir()) if trash.is_dir() else ():
        for file in sorted(stamp.rglob("*")):
            if file.is_symlink() or file.is_dir():
                continue
            found.setdefault(file.relative_to(stamp).as_posix(), []).append(file.read_bytes())
    return found


def staged(tree: Path) -> list[str]:
    """What lies in the stage of a tree."""
    stage = tree / ".torsync" / "stage"
    return sorted(found.relative_to(stage).as_posix() for found in stage.rglob("*"))


def snapshot(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything below a folder with what tells that it was touched, access times aside.

    The lock is touched to learn the file system's time.
    """
    found = {}
    for path in [folder, *folder.rglob("*")]:
        if path.parts[-2:] == (OWN_FOLDER, "lock"):
            continue
        seen = path.lstat()
        found[path.relative_to(folder).as_posix()] = (
            seen.st_mode,
            seen.st_size if not path.is_dir() else 0,
            seen.st_mtime_ns,
            seen.st_ctime_ns,
            seen.st_ino,
        )
    return found


def visible(tree: Path) -> dict[str, tuple[int, ...]]:
    """The snapshot of a tree without torsync's own folder (and the root's times with it)."""
    return {
        path: seen
        for path, seen in snapshot(tree).items()
        if path != "." and not path.startswith(OWN_FOLDER)
    }


def is_report(one: Json) -> bool:
    """Whether what was printed is the report on a subscription."""
    return one["type"] == "subscription"
