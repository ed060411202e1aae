"""The rows of the benchmarks, and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.benchmarks.measure import Run

_FORMATS = {
    "seconds": ".3f",
    "best": ".3f",
    "ratio": ".2f",
    "CPU s": ".2f",
    "MB fetched": ",.1f",
    "MB ratio": ".2f",
    "hints MB": ",.3f",
    "peak MB": ".0f",
    "extra MB": ",.1f",
    "CPU percent": ".2f",
}
_ONLY_WHERE_KNOWN = {"MB ratio", "hints MB", "extra MB", "CPU percent"}
_HEADINGS = ("case", "contestant", *_FORMATS, "note")
_TEXT = {"case", "contestant", "note"}


@dataclass
class Row:
    """What one contestant did in one case.

    Attributes:
        runs: in the order they were made; the median of their times counts.
        compared: how often the tree was found equal to what was published, byte for byte.
        reference: the row whose time is 1; None where this is it, or there is none.
        is_reference: whether this is such a row.
        bytes_reference: the row whose bytes fetched are 1; None where nobody's are.
        takes_part: whether it has turns.
        goals: figure, as ``figures`` calls it → what it shall be at most.
    """

    case: str
    contestant: str
    note: str = ""
    runs: list[Run] = field(default_factory=list)
    compared: int = 0
    reference: Row | None = None
    is_reference: bool = False
    takes_part: bool = True
    bytes_reference: Row | None = None
    goals: dict[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Run | None:
        """The fastest run."""
        return min(self.runs, key=lambda run: run.seconds, default=None)

    @property
    def ratio(self) -> float | None:
        """Its time by the reference's time; None where there is none to compare with."""
        reference = self if self.is_reference else self.reference
        mine, other = self.seconds, reference.seconds if reference else None
        return mine / other if mine is not None and other else None

    @property
    def seconds(self) -> float | None:
        """The median of its times."""
        return median(run.seconds for run in self.runs) if self.runs else None

    def figures(self) -> dict[str, float | None]:
        """The numbers of the table, by heading: the median of times, the most of all else."""
        best = self.best
        used = [run.user_s + run.system_s for run in self.runs]
        fetched = _most(run.fetched_bytes for run in self.runs)
        extra = _most(run.extra_bytes for run in self.runs)
        hints = _most(run.hint_bytes for run in self.runs)
        cpu = [run.cpu_percent for run in self.runs if run.cpu_percent is not None]
        return {
            "seconds": self.seconds,
            "best": best.seconds if best else None,
            "ratio": self.ratio,
            "CPU s": median(used) if used and max(used) else None,
            "MB fetched": fetched / 1e6 if fetched is not None else None,
            "MB ratio": self._bytes_ratio(fetched),
            "hints MB": hints / 1e6 if hints is not None else None,
            "peak MB": max(run.peak_bytes for run in self.runs) / 1e6 if self.runs else None,
            "extra MB": extra / 1e6 if extra is not None else None,
            "CPU percent": max(cpu, default=None),
        }

    def _bytes_ratio(self, fetched: int | None) -> float | None:
        other = self.bytes_reference
        most = _most(run.fetched_bytes for run in other.runs) if other else None
        return fetched / most if fetched is not None and most else None

    def verdicts(self) -> list[str]:
        """Whether each goal is reached."""
        figures = self.figures()
        said = []
        for name, most in self.goals.items():
            value = figures[name]
            if value is None:
                said.append(f"{name} not judged ({most:.3g})")
            else:
                said.append(f"{name} {'within' if value <= most else 'MISSES'} {most:.3g}")
        return said

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured; what is not known is left out."""
        figures = {
            name.replace(" ", "_"): round(value, 4)
            for name, value in self.figures().items()
            if value is not None
        }
        told = {
            "case": self.case,
            "contestant": self.contestant,
            **figures,
            "runs": [_run_as_json(run) for run in self.runs],
            "trees_compared": self.compared,
            "goals": self.goals,
            "verdicts": self.verdicts() if self.runs else [],
            "note": self.note,
        }
        return {name: value for name, value in told.items() if value not in ({}, [], "")}

    def cells(self) -> tuple[str, ...]:
        """What is printed."""
        figures = self.figures()
        fetched = figures["MB fetched"]
        is_small = fetched is not None and 0 < fetched < 1
        formats = {**_FORMATS, "MB fetched": ",.3f" if is_small else _FORMATS["MB fetched"]}
        shown = [
            "-" if figures[name] is None else format(figures[name], formats[name])
            for name in formats
        ]
        hashed = _most(run.hashed_bytes for run in self.runs)
        told = "" if hashed is None else f"hashed {hashed / 1e6:,.1f} MB"
        note = "; ".join(part for part in (*self.verdicts(), told, self.note) if part)
        return (self.case, self.contestant, *shown, note)


def _run_as_json(run: Run) -> dict[str, Any]:
    told = {
        "seconds": round(run.seconds, 4),
        "user_s": round(run.user_s, 3),
        "system_s": round(run.system_s, 3),
        "peak_bytes": run.peak_bytes,
        "fetched_bytes": run.fetched_bytes,
        "hint_bytes": run.hint_bytes,
        "hashed_bytes": run.hashed_bytes,
        "extra_bytes": run.extra_bytes,
        "cpu_percent": run.cpu_percent,
        "counts": dict(run.counts),
    }
    return {name: value for name, value in told.items() if value not in (None, {})}


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def format_table(rows: Iterable[Row]) -> str:
    """Align the rows under their headings; some columns are there only if a row has a figure."""
    lines: list[Sequence[str]] = [_HEADINGS, *(row.cells() for row in rows)]
    columns = [
        (column, heading in _TEXT, max(len(line[column]) for line in lines))
        for column, heading in enumerate(_HEADINGS)
        if heading not in _ONLY_WHERE_KNOWN or any(line[column] != "-" for line in lines[1:])
    ]
    return "\n".join(
        "  ".join(
            line[column].ljust(width) if is_text else line[column].rjust(width)
            for column, is_text, width in columns
        ).rstrip()
        for line in lines
    )
