"""What ``service install`` and ``service uninstall`` have to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """What was done to a systemd unit.

    Attributes:
        command: ``"service install"`` or ``"service uninstall"``.
        unit: its name, such as ``"torsync.service"``.
        scope: whose manager has it: ``"system"`` or ``"user"``.
        changed: whether files were written or removed.
        started: whether it was told to run.
        written_paths: files that were written.
        removed_paths: files that were removed.
        commands: that were run, as one would type them.
        next_steps: what is left for a person to do or to know.
        example: where there is no systemd, a file or command for what is there instead.
    """

    command: str
    unit: str = ""
    scope: str = ""
    changed: bool = False
    started: bool = False
    written_paths: tuple[str, ...] = ()
    removed_paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    example: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {
            "command": self.command,
            "unit": self.unit,
            "scope": self.scope,
            "changed": self.changed,
            "started": self.started,
            "written_paths": list(self.written_paths),
            "removed_paths": list(self.removed_paths),
            "commands": list(self.commands),
            "next_steps": list(self.next_steps),
            "example": self.example,
        }
