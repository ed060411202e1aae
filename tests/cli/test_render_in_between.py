"""What people are told of what is rare: a tree between releases, a release that is nowhere yet."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from tests.cli.render_samples import (
    NOW_S,
    check_report,
    plan_report,
    publication_statuses,
    publish_reports,
    status_reports,
)
from torsync.cli.render.plain import PlainRenderer
from torsync.cli.render.plans import plan_remarks, plan_rows
from torsync.cli.render.publications import publication_remarks, summarise_publication
from torsync.cli.render.rich_live import RichRenderer
from torsync.cli.render.summaries import release_of, summarise_check, summarise_status
from torsync.model.errors import ExitCode
from torsync.model.events import Progress, Stage, StageStarted
from torsync.model.reports import Reused


def test_a_tree_that_is_patched_in_place_is_on_the_way_between_two_releases() -> None:
    report = status_reports()[0]
    report.between = "pack-1.4"
    assert release_of(report) == "pack-1.3 to pack-1.4"
    assert "on the way from pack-1.3 to pack-1.4" in summarise_status(report, NOW_S)
    report.release = ""
    assert release_of(report) == "nothing to pack-1.4"


def test_never_checked_is_said_once() -> None:
    report = status_reports()[0]
    report.last_check_s = None
    assert summarise_status(report, NOW_S).count("never checked") == 1
    report.stage = "never checked"
    assert summarise_status(report, NOW_S).count("never checked") == 1


def test_content_that_was_found_at_other_places_is_told() -> None:
    report = check_report()
    report.bytes_reused = Reused(shifted=5_000_000)
    assert "fetched, 5 MB found at other places in" in summarise_check(report)


def test_a_release_that_is_only_planned_has_no_place_yet() -> None:
    report = replace(publish_reports()[1], torrent="", info_hash="", url="")
    assert [label for label, _text in publication_remarks(report)] == ["hints"]


def test_only_what_happened_is_counted() -> None:
    report = replace(publish_reports()[1], added=[], moved=[], removed=[], skipped=[])
    assert ": 1 file modified, 1,204 unchanged ·" in summarise_publication(report)


def test_a_plan_in_which_nothing_stays_and_nothing_is_replaced() -> None:
    report = plan_report()
    report.kept, report.trashed = 0, ["old/1", "old/2"]
    assert "keep" not in [row.label for row in plan_rows(report)]
    assert not [text for text, _stops in plan_remarks(report) if "old version" in text]


def rich(**options: object) -> tuple[RichRenderer, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    options = {"refresh_s": None, "wall_clock": lambda: NOW_S, **options}
    return RichRenderer(console, **options), out  # type: ignore[arg-type]


def test_what_is_seeded_meanwhile_does_not_hide_what_is_waited_for() -> None:
    renderer, out = rich()
    renderer.event(StageStarted("skyrim", Stage.NEEDS_APPROVAL))
    renderer.event(Progress("skyrim", Stage.SEEDING, upload_rate=5_000_000, peers=3))
    renderer.draw()
    assert "needs approval" in out.getvalue()
    assert "seeding" not in out.getvalue()
    renderer.close()


def test_status_that_is_watched_goes_to_a_redirected_standard_output() -> None:
    stdout = io.StringIO()
    plain = PlainRenderer(stdout, io.StringIO(), wall_clock=lambda: NOW_S)
    renderer, out = rich(report_lines=plain)
    renderer.watch(status_reports(), publication_statuses())
    renderer.result(ExitCode.OK, 1.0)
    renderer.close()
    assert "skyrim: seeding, at pack-1.3" in stdout.getvalue()
    assert "skyrim" not in out.getvalue()
