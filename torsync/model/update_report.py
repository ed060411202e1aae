"""What hooks and notifications are told: one event, as an object, as variables, as a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torsync.model.changes import Changes, changes_of
from torsync.model.printable import printable
from torsync.model.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torsync.model.config import PublicationConfig, SubscriptionConfig
    from torsync.model.errors import TorsyncError
    from torsync.model.publish_reports import PublishReport
    from torsync.model.reports import CheckReport

BEFORE_UPDATE, ON_UPDATE = "before_update", "on_update"
ON_ERROR, ON_RELEASE = "on_error", "on_release"

_PATHS_SHOWN = 10
_MOST_TEXT = 500
_MOST_VALUE = 4096
_PREFIX = "TORSYNC_"


class Message(NamedTuple):
    """A notification: a title without markup, and a body in Markdown."""

    title: str
    body: str
    is_failure: bool = False


# --- objects ---------------------------------------------------------------------------------


def update_details(event: str, config: SubscriptionConfig, report: CheckReport) -> dict[str, Any]:
    """Tell of an update, as JSON can; ``event`` says whether it is done or only planned."""
    details: dict[str, Any] = {
        **_begin(event, config),
        "release": report.release,
        "info_hash": report.info_hash,
        "from_release": report.from_release,
        **_listed(changes_of(report)._asdict()),
        "bytes_total": report.bytes_total,
    }
    if event == BEFORE_UPDATE:
        return {**details, "bytes_to_fetch": report.bytes_to_fetch}
    return {
        **details,
        "bytes_fetched": report.bytes_fetched,
        "seconds": round(report.seconds, 3),
    }


def release_details(config: PublicationConfig, report: PublishReport) -> dict[str, Any]:
    """Tell of a release that was made, as JSON can."""
    return {
        **_begin(ON_RELEASE, config),
        "release": report.release,
        "info_hash": report.info_hash,
        "number": report.number,
        "torrent": report.torrent,
        "url": report.url,
        **_listed(
            {
                "added": report.added,
                "changed": report.modified,
                "moved": report.moved,
                "removed": report.removed,
                "skipped": report.skipped,
            }
        ),
        "files": report.files,
        "bytes_total": report.bytes_total,
        "bytes_to_fetch": report.bytes_to_fetch,
        "seconds": round(report.seconds, 3),
    }


def error_details(
    config: SubscriptionConfig | PublicationConfig, error: TorsyncError
) -> dict[str, Any]:
    """Tell of a failure, as JSON can."""
    return {
        **_begin(ON_ERROR, config),
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
    }


def _begin(event: str, config: SubscriptionConfig | PublicationConfig) -> dict[str, Any]:
    return {"event": event, "name": config.name, "path": str(config.path)}


def _listed(paths: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, listed in paths.items():
        found[name] = len(listed)
        found[f"{name}_paths"] = list(listed)
    return found


def as_variables(details: dict[str, Any]) -> dict[str, str]:
    """The same for an environment, ``TORSYNC_NAME`` and so on: all but the lists of paths."""
    return {
        _PREFIX + name.upper(): str(value).replace("\0", "")[:_MOST_VALUE]
        for name, value in details.items()
        if not isinstance(value, list)
    }


# --- messages --------------------------------------------------------------------------------


def message_of(details: dict[str, Any]) -> Message:
    """Tell an event to a person, from its object."""
    name, event = details["name"], details["event"]
    if event == ON_ERROR:
        hint = f"\n\n{_plain(details['hint'])}" if details["hint"] else ""
        return Message(f"{name}: failed", f"{_plain(details['message'])}{hint}", is_failure=True)
    release = _shortened(details["release"])
    if event == ON_RELEASE:
        title = f"{name}: release {details['number']} is public"
        cost = (
            f"{format_size(details['bytes_to_fetch'])} of {format_size(details['bytes_total'])} "
            "to fetch for subscribers"
        )
        kinds = [*Changes._fields, "skipped"]
    else:
        title = f"{name}: updated to {release}"
        before = _shortened(details["from_release"])
        came = f"From {_code(before)}. " if before and before != release else ""
        cost = (
            f"{came}{format_size(details['bytes_fetched'])} of "
            f"{format_size(details['bytes_total'])} fetched in "
            f"{format_duration(details['seconds'])}"
        )
        kinds = [*Changes._fields]
    parts = [_section(kind, details[f"{kind}_paths"]) for kind in kinds if details[kind]]
    return Message(title, "\n\n".join([*parts, cost + "."]))


def _section(kind: str, paths: Sequence[str]) -> str:
    noun = "file" if len(paths) == 1 else "files"
    lines = [f"- {_code(_shortened(path))}" for path in paths[:_PATHS_SHOWN]]
    if len(paths) > _PATHS_SHOWN:
        lines.append(f"- and {len(paths) - _PATHS_SHOWN:,} more")
    return "\n".join([f"{len(paths):,} {noun} {kind}:", "", *lines])


def _shortened(text: str) -> str:
    shown = printable(text[: _MOST_TEXT + 1])
    return shown if len(shown) <= _MOST_TEXT else shown[: _MOST_TEXT - 1] + "…"


def _code(text: str) -> str:
    """Show text as it is, whatever Markdown would make of it (CommonMark, code spans)."""
    longest = _longest_run(text)
    if not longest:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"


def _longest_run(text: str) -> int:
    longest = run = 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    return longest


def _plain(text: str) -> str:
    """Show a sentence; names in it, which may come from others, are no markup."""
    return "".join(_escaped(printable(text)))


def _escaped(chars: Iterable[str]) -> Iterable[str]:
    for char in chars:
        yield f"\\{char}" if char in r"\*_[]<>#" else char
