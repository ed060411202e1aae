"""Requests to the service for a release: ``torsync check-now`` leaves one where it is found.

In the state of a publication, ``requests/ID.json`` is what is asked for, and ``requests/ID.answer``
what became of it.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torsync.disk.durable import write_durably
from torsync.disk.lock import holder_pid
from torsync.model.errors import (
    ExitCode,
    InterruptedByUserError,
    RelayedError,
    StateError,
    TorsyncError,
)
from torsync.model.publish_reports import PublishReport

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.subscribe.surroundings import Surroundings

_REQUEST, _ANSWER = ".json", ".answer"
_LOOK_EVERY_S = 0.1
_LOOKS_PER_HOLDER = 20


@dataclass(frozen=True)
class Request:
    """What another process asks for.

    Attributes:
        id: of the request.
        dry_run: only tell what the release would be.
    """

    id: str
    dry_run: bool = False


class Requests:
    """The requests for a release of one publication."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the publication's state."""
        self._folder = folder / "requests"

    @property
    def is_waiting(self) -> bool:
        """Whether there is a request that nobody has answered."""
        return bool(self._waiting_ids())

    def leave(self, *, dry_run: bool = False) -> str:
        """Ask for a release, and give the id that the answer will have.

        Raises:
            StateError: the state cannot be written.
        """
        request_id = secrets.token_hex(8)
        self._write(request_id, _REQUEST, {"dry_run": dry_run})
        return request_id

    def waiting(self) -> list[Request]:
        """What is asked for."""
        found = []
        for request_id in self._waiting_ids():
            asked = _read(self._file(request_id, _REQUEST)) or {}
            found.append(Request(request_id, dry_run=asked.get("dry_run", False) is True))
        return found

    def fulfil(self, request: Request, report: PublishReport) -> None:
        """Answer with what was done.

        Raises:
            StateError: the state cannot be written.
        """
        self._settle(request, {"report": report.as_json()})

    def fail(self, request: Request, error: TorsyncError) -> None:
        """Answer with why it was not done.

        Raises:
            StateError: the state cannot be written.
        """
        found = {
            "code": error.code,
            "exit_code": int(ExitCode(error.exit_code)),
            "message": error.message,
            "hint": error.hint,
        }
        self._settle(request, {"error": found})

    def answer(self, request_id: str) -> PublishReport | None:
        """What became of a request; None while that is open. It is told once.

        Raises:
            RelayedError: it failed.
        """
        file = self._file(request_id, _ANSWER)
        found = _read(file)
        if found is None:
            return None
        with suppress(OSError):
            file.unlink(missing_ok=True)
        if "error" in found:
            raise RelayedError(**found["error"])
        return PublishReport.from_json(found["report"])

    def take_back(self, request_id: str) -> None:
        """Withdraw a request that nobody will answer."""
        with suppress(OSError):
            self._file(request_id, _REQUEST).unlink(missing_ok=True)

    def forget_answers(self) -> None:
        """Remove answers that nobody waits for: their processes have ended."""
        with suppress(OSError):
            for file in self._folder.glob(f"*{_ANSWER}"):
                file.unlink(missing_ok=True)

    def _settle(self, request: Request, answer: dict[str, object]) -> None:
        self._write(request.id, _ANSWER, answer)
        self.take_back(request.id)

    def _waiting_ids(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        return [name.removesuffix(_REQUEST) for name in sorted(names) if name.endswith(_REQUEST)]

    def _file(self, request_id: str, suffix: str) -> Path:
        return self._folder / f"{request_id}{suffix}"

    def _write(self, request_id: str, suffix: str, content: dict[str, object]) -> None:
        file = self._file(request_id, suffix)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(file, json.dumps(content).encode())
        except OSError as error:
            raise StateError(
                f"{str(file)!r} could not be written: {os.strerror(error.errno or 0)}",
                hint="check the disk and the permissions of the state directory",
            ) from error


def request_and_wait(
    folder: Path,
    around: Surroundings,
    *,
    dry_run: bool = False,
) -> PublishReport | None:
    """Ask the process that holds a publication for a release, and wait until it has acted.

    Args:
        folder: of the publication's state.
        around: ``wait`` may end the waiting.
        dry_run: only tell what the release would be.

    Returns:
        The report on what was done; None if nobody holds the publication any more.

    Raises:
        RelayedError: it failed.
        StateError: the state cannot be written.
        InterruptedByUserError: the waiting was ended; the request stays.
    """
    requests = Requests(folder)
    request_id = requests.leave(dry_run=dry_run)
    looks = 0
    while (report := requests.answer(request_id)) is None:
        if around.wait(_LOOK_EVERY_S):
            raise InterruptedByUserError("stopped waiting; the service goes on with the request")
        looks += 1
        if looks % _LOOKS_PER_HOLDER == 0 and holder_pid(folder) is None:
            requests.take_back(request_id)
            return None
    return report


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
