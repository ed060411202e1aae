"""What torsync says of publications, on a terminal and in lines."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from tests.cli.render_samples import HOSTILE_SHOWN, NOW_S, publication_statuses, publish_reports
from torsync.cli.render.plain import PlainRenderer
from torsync.cli.render.rich_live import RichRenderer

FIRST, SECOND, PLAN, SAME, EMPTY = publish_reports()


def plain(*, verbose: bool = False, quiet: bool = False) -> tuple[PlainRenderer, io.StringIO]:
    out = io.StringIO()
    renderer = PlainRenderer(
        out, io.StringIO(), verbose=verbose, quiet=quiet, wall_clock=lambda: NOW_S
    )
    return renderer, out


def rich() -> tuple[RichRenderer, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system=None)
    return RichRenderer(console, refresh_s=None, wall_clock=lambda: NOW_S), out


def test_a_first_release_names_its_size_and_not_its_files() -> None:
    renderer, out = plain(verbose=True)
    renderer.publication(FIRST, "publish")
    assert out.getvalue().splitlines() == [
        "maps: release 1 published: all of 1,219 files (2.1 GB) to fetch · 2.1 GB hashed in 1.25 s",
        "maps: torrent: /srv/www/maps.torrent (123 kB)",
        f"maps: info-hash: {'ab' * 20} (v1, pieces of 64 KiB)",
    ]


def test_an_update_names_what_changed_and_what_subscribers_fetch() -> None:
    renderer, out = plain(verbose=True)
    renderer.publication(SECOND, "run")
    assert out.getvalue().splitlines() == [
        (
            "maps: release 2 published: 1 file added, 1 modified, 1 moved, 2 removed, "
            "1,204 unchanged, 1 left out · "
            "at most 3.4 MB of 2.1 GB to fetch · 34.1 MB hashed in 0.25 s"
        ),
        "maps: added: new/a",
        f"maps: modified: {HOSTILE_SHOWN}",
        "maps: moved: b/moved",
        "maps: removed: old/1",
        "maps: removed: old/2",
        "maps: left out: a pipe",
        "maps: torrent: /srv/www/maps.torrent (123 kB, signed)",
        "maps: hints: 9.2 MB, 2 files cut",
        "maps: url: http://192.0.2.1:8080/maps.torrent",
        f"maps: info-hash: {'ab' * 20} (v1, pieces of 64 KiB)",
    ]


def test_hints_that_were_made_up_are_told_where_nothing_else_has_changed() -> None:
    renderer, out = plain()
    renderer.publication(dataclasses.replace(SAME, hints_bytes=9_200_000), "check-now")
    renderer.publication(dataclasses.replace(SAME, hints_bytes=9_200_000, hints_made=2), "publish")
    told = [line for line in out.getvalue().splitlines() if "nothing changed" not in line]
    assert told == ["maps: hints: 9.2 MB, 2 files cut"]


def test_what_was_left_out_is_told_without_being_asked() -> None:
    renderer, out = plain()
    renderer.publication(SECOND, "run")
    assert "maps: left out: a pipe" in out.getvalue().splitlines()
    assert "new/a" not in out.getvalue()


def test_a_plan_names_its_paths() -> None:
    renderer, out = plain()
    renderer.publication(PLAN, "plan")
    assert "maps: release 2 would be published: " in out.getvalue()
    assert "maps: added: new/a" in out.getvalue().splitlines()


def test_nothing_changed_is_one_line() -> None:
    renderer, out = plain()
    renderer.publication(SAME, "check-now")
    assert out.getvalue() == (
        "maps: nothing changed since release 1: 1,219 files (2.1 GB) · checked in 1.25 s\n"
    )


def test_nothing_is_said_when_quiet() -> None:
    renderer, out = plain(quiet=True)
    renderer.publication(SECOND, "run")
    renderer.status([], publication_statuses())
    assert out.getvalue() == ""


def test_the_status_of_publications_in_lines() -> None:
    renderer, out = plain()
    renderer.status([], publication_statuses())
    assert out.getvalue().splitlines() == [
        (
            "maps: seeding, release 12 of maps (1,219 files, 2.1 GB) · published 3 m 20 s ago"
            " · held by process 4711"
        ),
        "wiki-dump: never published",
        r"wiki-dump: last error: a name is not UTF-8: 'x\xff'",
        "wiki-dump: hint: rename it",
    ]


def test_the_status_of_publications_on_a_terminal_is_a_table_of_their_own() -> None:
    renderer, out = rich()
    renderer.status([], publication_statuses())
    lines = out.getvalue().splitlines()
    assert lines[0].split() == ["publication", "state", "release", "files", "size", "published"]
    assert lines[1].split()[:3] == ["maps", "seeding", "12"]
    assert "last error: a name is not UTF-8" in out.getvalue()


@pytest.mark.parametrize("report", [*publish_reports(), dataclasses.replace(EMPTY, dry_run=True)])
def test_a_terminal_gets_all_that_lines_do(report: object) -> None:
    on_terminal, drawn = rich()
    in_lines, written = plain()
    on_terminal.publication(report, "publish")  # type: ignore[arg-type]
    in_lines.publication(report, "publish")  # type: ignore[arg-type]
    shown = " ".join(drawn.getvalue().split())
    for line in written.getvalue().splitlines():
        words = line.partition(": ")[2].rpartition(": ")[2]
        assert " ".join(words.split()) in shown
