"""Lines of ``service install`` and ``service uninstall``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.render.text import printable

if TYPE_CHECKING:
    from torsync.model.service_report import ServiceReport


def service_lines(report: ServiceReport) -> list[tuple[str, str]]:
    """What to print: (label, text), the label being the unit's name, ``"hint"`` or ``""``."""
    if report.example:
        return [("", printable(line)) for line in report.example.splitlines()]
    unit = printable(report.unit)
    lines = [(unit, _summary(report))]
    lines += [(unit, f"wrote {printable(path)}") for path in report.written_paths]
    lines += [(unit, f"removed {printable(path)}") for path in report.removed_paths]
    lines += [(unit, f"ran `{printable(command)}`") for command in report.commands]
    lines += [("hint", printable(step)) for step in report.next_steps]
    return lines


def _summary(report: ServiceReport) -> str:
    whose = f"a service of the {report.scope}"
    if report.command == "service uninstall":
        return f"{whose}, removed" if report.changed else f"{whose}, is not installed"
    state = "enabled and started" if report.started else "enabled, not started"
    return f"{whose}, {'written' if report.changed else 'as it was'}, {state}"
