"""Reports in words: what the plain and the terminal renderer both say, built once and pure.

Every text given is ``printable`` already.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, NamedTuple

from torsync.cli.render.text import (
    PATHS_SHOWN,
    counted,
    describe_progress,
    piece_ranges,
    printable,
    printable_url,
    shortened,
    time_left,
)
from torsync.model.events import Stage
from torsync.model.past import HASH_SHOWN
from torsync.model.reports import StatusReport
from torsync.model.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torsync.model.key_report import KeyReport
    from torsync.model.publish_reports import PublicationStatus
    from torsync.model.reports import CheckReport, PastReport, VerifyReport


class Section(NamedTuple):
    """Paths that have something in common, under a label such as ``fetched``."""

    label: str
    paths: Sequence[str]
    is_problem: bool = False

    def lines(self, limit: int | None = PATHS_SHOWN) -> list[str]:
        """The first ``limit`` paths (None: all), then how many there are besides."""
        if limit is None or len(self.paths) <= limit:
            return list(self.paths)
        return [*self.paths[:limit], f"and {len(self.paths) - limit:,} more (-v: all)"]


def summarise_check(report: CheckReport) -> str:
    """Say in one line what ``check-now`` did, or would do."""
    release = _with_release(report.release)
    total = format_size(report.bytes_total)
    took = format_duration(report.seconds)
    done, planned = _check_counts(report)
    is_whole = not (report.unreadable or report.locked)
    outcome = f"in sync{release}" if is_whole else f"not in sync{release}"
    if not report.changed and not _is_touched(report):
        nothing = "nothing would change" if report.dry_run else "nothing changed"
        what = f"{nothing}, {done or 'no files'} ({total})"
        return f"{outcome}: {what} · checked in {took}"
    if report.dry_run:
        need = format_size(report.bytes_to_fetch)
        would = f"would {planned if _is_touched(report) else 'update attributes'}"
        return f"not in sync{release}: {would} · {need} of {total} to fetch"
    if report.bytes_fetched > report.bytes_total:
        cost = f"{format_size(report.bytes_fetched)} fetched for {total}"
    elif report.bytes_fetched:
        cost = f"{format_size(report.bytes_fetched)} of {total} fetched"
    else:
        cost = f"nothing of {total} fetched"
    if report.bytes_reused.shifted:
        cost += f", {format_size(report.bytes_reused.shifted)} found at other places"
    if not _is_touched(report):
        done = f"attributes updated, {done or 'no files'}"
    return f"{outcome}: {done} · {cost} in {took}"


def _is_touched(report: CheckReport) -> bool:
    """Whether any file, not only its mode or time, was or would be changed."""
    return any((report.fetched, report.patched, report.copied, report.moved, report.trashed))


def _check_counts(report: CheckReport) -> tuple[str, str]:
    """What was done, and the same as what would be done."""
    counts = [
        (len(report.fetched), "{} fetched", "fetch {}"),
        (len(report.patched), "{} patched", "patch {}"),
        (len(report.copied), "{} copied", "copy {}"),
        (len(report.moved), "{} moved", "move {}"),
        (len(report.trashed), "{} to the trash", "trash {}"),
        (report.kept, "{} kept", "keep {}"),
        (len(report.kept_local), "{} left as edited here", "leave {} as edited here"),
        (report.unselected, "{} not selected", "leave {} not selected"),
        (len(report.unreadable), "{} unreadable", "skip {} unreadable"),
        (len(report.locked), "{} held by other programs", "skip {} held by other programs"),
    ]
    done = _with_noun([(number, template) for number, template, _ in counts])
    return done, _with_noun([(number, template) for number, _, template in counts])


def check_sections(report: CheckReport) -> list[Section]:
    """The path lists of something that was done, those that hold something."""
    return _filled(
        Section("fetched", report.fetched),
        Section("patched", report.patched),
        Section("copied", report.copied),
        Section("moved", report.moved),
        Section("to the trash", report.trashed),
        Section("left as edited here", report.kept_local),
        Section("unreadable", report.unreadable, is_problem=True),
        Section("held by another program", report.locked, is_problem=True),
    )


def summarise_verify(report: VerifyReport) -> str:
    """Say in one line what ``verify`` found and what is left of it."""
    release = _with_release(report.release)
    would = "would be " if report.dry_run else ""
    trashed = "would go to the trash" if report.dry_run else "to the trash"
    counts = _with_noun(
        [
            (report.ok, "{} OK"),
            (len(report.missing), "{} missing"),
            (len(report.damaged), "{} damaged"),
            (len(report.wrong_size), "{} of the wrong size"),
            (len(report.modified), f"{{}} {_modified(report)}"),
            (len(report.unreadable), "{} unreadable"),
            (len(report.unlisted), "{} unlisted"),
            (len(report.kept_local), "{} left as edited here"),
            (report.unselected, "{} not selected"),
            (len(report.repaired), f"{{}} {would}repaired"),
            (len(report.cleaned), f"{{}} {trashed}"),
        ]
    )
    mended = set() if report.dry_run else {*report.repaired, *report.cleaned}
    problems = {*report.missing, *report.damaged, *report.wrong_size, *report.unreadable} - mended
    extra = set(report.unlisted) - mended
    if problems:
        outcome = f"not in sync{release}"
    elif report.modified:
        outcome = f"perhaps not in sync{release}"
    elif extra:
        outcome = f"in sync{release}, apart from unlisted files"
    else:
        outcome = f"in sync{release}"
    took = format_duration(report.seconds)
    cost = f"{format_size(report.bytes_hashed)} hashed in {took}"
    if report.quick and not report.bytes_hashed:
        cost = f"sizes and times compared in {took}"
    if report.bytes_fetched:
        cost = f"{format_size(report.bytes_fetched)} fetched, {cost}"
    return f"{outcome}: {counts or 'no files'} · {cost}"


def verify_sections(report: VerifyReport, *, all_pieces: bool = False) -> list[Section]:
    """The path lists of a verify's report that hold something, problems first."""
    limit = None if all_pieces else PATHS_SHOWN
    pieces = report.damaged_pieces
    damaged = [
        f"{printable(path)} ({piece_ranges(pieces[path], limit)})"
        if pieces.get(path)
        else printable(path)
        for path in report.damaged
    ]
    would = "would be " if report.dry_run else ""
    found = _filled(
        Section("missing", report.missing, is_problem=True),
        Section("wrong size", report.wrong_size, is_problem=True),
        Section(_modified(report), report.modified, is_problem=True),
        Section("unreadable", report.unreadable, is_problem=True),
        Section("unlisted", report.unlisted, is_problem=True),
        Section("left as edited here", report.kept_local),
        Section(f"{would}repaired", report.repaired),
        Section("would go to the trash" if report.dry_run else "to the trash", report.cleaned),
    )
    if damaged:
        found.insert(0, Section("damaged", damaged, is_problem=True))
    return found


def hint_verify(report: VerifyReport) -> str:
    """Say what to do about files whose content is not known; empty if there are none."""
    if not report.modified:
        return ""
    name = printable(shlex.quote(report.name))
    if report.quick:
        return f"`torsync verify {name}` reads them and tells whether they are right"
    return f"run `torsync verify {name}` again when nothing writes to them"


def _modified(report: VerifyReport) -> str:
    return "touched since" if report.quick else "changed meanwhile"


def summarise_status(report: StatusReport, now_s: float) -> str:
    """Say in one line what is known of a subscription; ``now_s`` in Unix seconds."""
    files = f"{counted(report.files, 'file')}, {format_size(report.bytes_total)}"
    at = f"at {shortened(report.release)} ({files})" if report.release else "never synced"
    if report.between:
        at = f"on the way from {release_of(report)}"
    elif report.newest:
        at += f", {newer(report)}"
    stage = f"{printable(report.stage)} ({printable(report.detail)})" if report.detail else None
    parts = [
        f"{stage or printable(report.stage)}, {at}",
        *activity(report, now_s),
    ]
    if report.last_check_s is not None:
        parts.append(f"checked {ago(report.last_check_s, now_s)}")
    elif report.stage != "never checked":
        parts.append("never checked")
    if report.last_update_s is not None:
        parts.append(f"updated {ago(report.last_update_s, now_s)}")
    if report.holder_pid is not None:
        parts.append(f"held by process {report.holder_pid}")
    return " · ".join(parts)


def activity(report: StatusReport | PublicationStatus, now_s: float) -> list[str]:
    """What the running service says of progress, and of what comes next."""
    parts = []
    if report.progress is not None and (how_far := describe_progress(report.progress)):
        parts.append(how_far)
    if report.next_check_s is not None:
        left_s = report.next_check_s - now_s
        parts.append(f"next check in {time_left(left_s)}" if left_s >= 1 else "next check now")
    if report.restarts:
        parts.append(f"begun again {counted(report.restarts, 'time')}")
    return parts


def advice(report: StatusReport | PublicationStatus) -> str:
    """What a person may do about it, if something waits for one; empty else."""
    name = printable(shlex.quote(report.name))
    if report.last_error_hint:
        return printable(report.last_error_hint)
    if report.stage == Stage.PAUSED:
        return f"`torsync resume {name}` goes on"
    if report.stage == Stage.NEEDS_APPROVAL:
        return f"`torsync plan {name}` shows what it would do, `torsync apply {name}` does it"
    if isinstance(report, StatusReport) and report.pinned:
        return f"`torsync apply {name}` follows the newest again"
    return ""


def newer(report: StatusReport) -> str:
    """Say that there is a newer release than the one in place, and if that is meant."""
    is_same_name = report.newest == report.release
    said = "a newer one is there" if is_same_name else f"{shortened(report.newest)} is there"
    return f"rolled back, {said}" if report.pinned and report.stage != "rolled back" else said


def past_lines(report: PastReport, now_s: float) -> list[str]:
    """One line for each release that a tree can go back to; ``now_s`` in Unix seconds."""
    if not report.releases:
        return ["no release is kept yet"]
    here = "(stays here)" if report.pinned else "(is here)"
    return [
        f"{shortened(release.name)}  {release.info_hash[:HASH_SHOWN]}  {ago(release.at_s, now_s)}"
        + (f"  {here}" if release.digest == report.current else "")
        for release in report.releases
    ]


def release_of(report: StatusReport) -> str:
    """Name the release that a tree is at, or is between."""
    release = shortened(report.release) if report.release else "nothing"
    if report.between:
        return f"{release} to {shortened(report.between)}"
    return release if report.release else "-"


def ago(moment_s: float | None, now_s: float) -> str:
    """Show a past moment: ``"never"``, ``"just now"``, ``"3 m 20 s ago"``."""
    if moment_s is None:
        return "never"
    passed_s = now_s - moment_s
    return "just now" if passed_s < 10 else f"{format_duration(passed_s)} ago"


def summarise_added(url: str, path: str, config: str) -> str:
    """Say what ``init`` did."""
    return f"added: {printable_url(url)} into {printable(path)} (in {printable(config)})"


def hint_added(name: str) -> str:
    """Say what comes after ``init``."""
    fetch = f"`torsync check-now {printable(shlex.quote(name))}` fetches it"
    return f"{fetch}; a running service takes it in at `torsync reload`"


def key_lines(report: KeyReport) -> list[tuple[str, str]]:
    """Say where the keys are, and what goes into the configuration of both sides: label and text.

    The lines of configuration can be copied: nothing stands behind them.
    """
    encrypted = "encrypted; " if report.encrypted else ""
    secret = f"{printable(report.secret_key_file)} ({encrypted}for you alone: keep a copy safe)"
    return [
        ("secret key", secret),
        ("public key", f"{report.public_key} (in {printable(report.public_key_file)})"),
        ("in your [publications.NAME]", f"secret_key = {_toml(report.secret_key_file)}"),
        ("in subscribers' [subscriptions.NAME]", f'public_keys = ["{report.public_key}"]'),
    ]


def _toml(text: str) -> str:
    """Quote a path as configuration has it: JSON's escapes are TOML's, and a dollar is doubled."""
    return printable(json.dumps(text.replace("$", "$$"), ensure_ascii=False))


def _with_release(release: str) -> str:
    return f" with {shortened(release)}" if release else ""


def _filled(*sections: Section) -> list[Section]:
    return [
        section._replace(paths=[printable(path) for path in section.paths])
        for section in sections
        if section.paths
    ]


def _with_noun(numbers: Iterable[tuple[int, str]]) -> str:
    """Join what is not zero, the first one with its noun: ``"12 files fetched, 3 patched"``."""
    parts: list[str] = []
    for number, template in numbers:
        if number:
            parts.append(template.format(f"{number:,}" if parts else counted(number, "file")))
    return ", ".join(parts)
