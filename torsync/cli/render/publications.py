"""Publications in words: what all renderers for people say. Pure.

Every text given is ``printable`` already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.render.summaries import Section, activity, ago
from torsync.cli.render.text import counted, printable, printable_url, shortened
from torsync.model.units import format_duration, format_size

if TYPE_CHECKING:
    from torsync.model.publish_reports import PublicationStatus, PublishReport


def summarise_publication(report: PublishReport) -> str:
    """Say in one line what a release did, or would do."""
    took = format_duration(report.seconds)
    content = f"{counted(report.files, 'file')} ({format_size(report.bytes_total)})"
    if not report.changed:
        since = f" since release {report.number}" if report.number else ""
        return f"nothing changed{since}: {content} · checked in {took}"
    number = f"release {report.number}"
    outcome = f"{number} would be published" if report.dry_run else f"{number} published"
    if not _is_update(report):
        what = f"all of {content} to fetch"
    else:
        need = format_size(report.bytes_to_fetch)
        what = f"{_counts(report)} · at most {need} of {format_size(report.bytes_total)} to fetch"
    return f"{outcome}: {what} · {format_size(report.bytes_hashed)} hashed in {took}"


def publication_sections(report: PublishReport) -> list[Section]:
    """The path lists that hold something; of a first release only what was left out."""
    found = [
        Section("added", report.added),
        Section("modified", report.modified),
        Section("moved", report.moved),
        Section("removed", report.removed),
    ]
    found = found if _is_update(report) else []
    found.append(Section("left out", report.skipped, is_problem=True))
    return [
        section._replace(paths=[printable(path) for path in section.paths])
        for section in found
        if section.paths
    ]


def publication_remarks(report: PublishReport) -> list[tuple[str, str]]:
    """Where the release is, if it is new; what was made for it: a label and its text each."""
    hints = []
    if report.hints_bytes:
        made = f", {counted(report.hints_made, 'file')} cut" if report.hints_made else ""
        hints.append(("hints", f"{format_size(report.hints_bytes)}{made}"))
    if not report.changed:
        return hints if report.hints_made else []
    remarks = []
    if report.torrent:
        signed = ", signed" if report.signed else ""
        size = format_size(report.torrent_bytes)
        remarks.append(("torrent", f"{printable(report.torrent)} ({size}{signed})"))
    remarks += hints
    if report.url:
        remarks.append(("url", printable_url(report.url)))
    if report.info_hash:
        pieces = f"{report.format}, pieces of {_binary(report.piece_size)}"
        remarks.append(("info-hash", f"{report.info_hash} ({pieces})"))
    return remarks


def summarise_publication_status(report: PublicationStatus, now_s: float) -> str:
    """Say in one line what is known of a publication; ``now_s`` in Unix seconds."""
    files = f"{counted(report.files, 'file')}, {format_size(report.bytes_total)}"
    parts = [f"{report.stage} ({report.detail})" if report.detail else report.stage]
    parts = [printable(parts[0])]
    if report.number:
        parts[0] += f", release {report.number} of {shortened(report.release)} ({files})"
        parts.append(f"published {ago(report.last_release_s, now_s)}")
    parts += activity(report, now_s)
    if report.holder_pid is not None:
        parts.append(f"held by process {report.holder_pid}")
    return " · ".join(parts)


def _binary(size: int) -> str:
    """Show a power of two."""
    return f"{size // 1024**2} MiB" if size >= 1024**2 else f"{size // 1024} KiB"


def _is_update(report: PublishReport) -> bool:
    return bool(report.unchanged or report.modified or report.moved or report.removed)


def _counts(report: PublishReport) -> str:
    numbers = [
        (len(report.added), "added"),
        (len(report.modified), "modified"),
        (len(report.moved), "moved"),
        (len(report.removed), "removed"),
        (report.unchanged, "unchanged"),
        (len(report.skipped), "left out"),
    ]
    parts: list[str] = []
    for number, what in numbers:
        if number:
            parts.append(f"{f'{number:,}' if parts else counted(number, 'file')} {what}")
    return ", ".join(parts)
