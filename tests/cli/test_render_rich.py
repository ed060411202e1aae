"""What a terminal shows: bars, colours, tables, and nothing that a name smuggles in."""

from __future__ import annotations

import io
import re
import threading

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.cli.render_samples import (
    HOSTILE,
    HOSTILE_SHOWN,
    NOW_S,
    check_report,
    downloading,
    hashing,
    plan_report,
    status_reports,
    trash_reports,
    verify_report,
)
from torsync.cli.render import make_renderer
from torsync.cli.render.plain import PlainRenderer
from torsync.cli.render.rich_live import RichRenderer
from torsync.cli.render.rich_rows import Row, live_lines
from torsync.model.errors import ConfigError, ExitCode, RemoteUnreachableError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted
from torsync.model.key_report import KeyReport
from torsync.model.reports import CheckReport, PlannedAction, StatusReport

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A terminal of fixed size; ``text`` is what was printed, without rich's own controls."""

    def __init__(
        self,
        width: int = 80,
        height: int = 24,
        *,
        verbose: bool = False,
        refresh_s: float | None = None,
        plain_reports: bool = False,
        plain_messages: bool = False,
    ) -> None:
        self.screen, self.stdout, self.stderr = io.StringIO(), io.StringIO(), io.StringIO()
        self.console = Console(
            file=self.screen,
            width=width,
            height=height,
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
            _environ={},
        )
        plain = PlainRenderer(self.stdout, self.stderr, verbose=verbose)
        self.renderer = RichRenderer(
            self.console,
            verbose=verbose,
            report_lines=plain if plain_reports else None,
            message_lines=plain if plain_messages else None,
            refresh_s=refresh_s,
            wall_clock=lambda: NOW_S,
        )

    def text(self) -> str:
        return _CONTROL.sub("", self.screen.getvalue())

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text().splitlines()]


def row(name: str = "skyrim") -> Row:
    return Row(name, Stage.DOWNLOADING, progress=downloading(name))


def test_a_wide_terminal_shows_everything_about_a_download() -> None:
    (line,) = live_lines([row()], 120, 24)

    assert line.plain == (
        "skyrim downloading ━━━━━━━━━━━━───────────────  45%   945 MB/2.1 GB 12/345 files"
        " ↓12.3 MB/s  ↑120 kB/s 8 peers 1 m 34 s"
    )


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "skyrim downloading ━━━━───────  45%   945 MB/2.1 GB ↓12.3 MB/s 8 peers 1 m 34 s"),
        (40, "skyrim downloading  45% ↓12.3 MB/s"),
        (20, "skyrim downloading"),
        (12, "skyrim down…"),
    ],
)
def test_a_narrow_terminal_shows_what_matters_most(width: int, shown: str) -> None:
    (line,) = live_lines([row()], width, 24)

    assert line.plain == shown


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            130,
            (
                "skyrim verifying ━━━━━━━━━━━━━━────────────────  47%     1 GB/2.1 GB 12/345 files"
                "  2.9 GB/s 0 s       data/textures/rock.dds"
            ),
        ),
        (
            100,
            (
                "skyrim verifying ━━━━━───────  47%     1 GB/2.1 GB 12/345 files  2.9 GB/s 0 s"
                "       …xtures/rock.dds"
            ),
        ),
    ],
)
def test_hashing_shows_the_file_as_far_as_it_fits(width: int, shown: str) -> None:
    path = "data/textures/rock.dds"
    (line,) = live_lines([Row("skyrim", Stage.VERIFYING, progress=hashing(path))], width, 24)

    assert line.plain == shown


@pytest.mark.parametrize("width", [1, 2, 5, 10, 39, 40, 41, 60, 80, 81, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 30])
def test_no_line_is_wider_and_no_area_higher_than_the_terminal(width: int, height: int) -> None:
    rows = [
        row(HOSTILE),
        row("日本語のとても長い名前データ"),
        row(""),
        Row("wiki", Stage.SEEDING, progress=Progress("wiki", Stage.SEEDING, upload_rate=5)),
        Row("new", Stage.CHECKING_REMOTE, detail=HOSTILE * 5),
        Row("files", Stage.VERIFYING, progress=Progress("f", Stage.VERIFYING, 10**9, 10**9)),
        Row("hash", Stage.VERIFYING, progress=hashing(HOSTILE * 5)),
        Row("wide", Stage.VERIFYING, progress=hashing("日本語の" * 50)),
    ]
    lines = live_lines(rows, width, height)

    assert len(lines) == min(height, len(rows))
    assert all(cell_len(line.plain) <= width for line in lines)
    assert all(line.plain.isprintable() for line in lines)


def test_columns_stay_in_place_while_numbers_change() -> None:
    def starts(percent: int) -> list[int]:
        (line,) = live_lines(
            [Row("s", Stage.DOWNLOADING, progress=downloading("s", percent))], 79, 9
        )
        return [line.plain.index("%"), line.plain.index("/2.1 GB"), line.plain.index("peers")]

    assert starts(1) == starts(45) == starts(100)


def test_a_bar_is_full_only_when_all_is_done() -> None:
    def bar(percent: int) -> str:
        progress = Progress("s", Stage.DOWNLOADING, bytes_done=percent, bytes_total=100)
        return live_lines([Row("s", Stage.DOWNLOADING, progress=progress)], 80, 9)[0].plain

    assert "─" in bar(99)
    assert "─" not in bar(100)
    assert "100%" in bar(250)


def test_too_many_subscriptions_show_the_busy_ones_first() -> None:
    idle = [Row(f"idle{index}", Stage.SEEDING) for index in range(30)]
    lines = live_lines([*idle, row("busy")], 80, 10)

    assert lines[0].plain.startswith("busy")
    assert lines[-1].plain == "and 22 more"
    assert len(lines) == 10


def test_nothing_active_shows_nothing() -> None:
    assert live_lines([], 80, 24) == []


def test_bars_are_drawn_and_cleared_and_the_cursor_comes_back() -> None:
    terminal = Terminal()
    terminal.renderer.event(StageStarted("skyrim", Stage.DOWNLOADING))
    terminal.renderer.event(downloading())
    terminal.renderer.draw()
    assert "45%" in terminal.text()
    terminal.renderer.close()
    terminal.renderer.close()

    raw = terminal.screen.getvalue()
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == 1
    assert raw.rstrip().endswith("\x1b[1A\x1b[2K")  # the bar's line was erased


def test_what_has_not_changed_is_not_drawn_again() -> None:
    terminal = Terminal()
    terminal.renderer.event(downloading())
    terminal.renderer.draw()
    drawn = len(terminal.screen.getvalue())
    terminal.renderer.event(downloading())
    terminal.renderer.draw()

    assert len(terminal.screen.getvalue()) == drawn
    terminal.renderer.event(downloading(percent=46))
    terminal.renderer.draw()
    assert len(terminal.screen.getvalue()) > drawn
    terminal.renderer.close()


def test_a_command_that_is_done_at_once_shows_no_bar() -> None:
    terminal = Terminal(refresh_s=600)
    terminal.renderer.event(StageStarted("skyrim", Stage.CHECKING_REMOTE))
    terminal.renderer.check(CheckReport("skyrim", release="r"))
    terminal.renderer.close()

    assert terminal.lines() == [
        "skyrim  in sync with r: nothing changed, no files (0 B) · checked in 0.00 s"
    ]


def test_bars_refresh_by_themselves() -> None:
    drawn = threading.Event()

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if "45%" in text:
                drawn.set()
            return super().write(text)

    console = Console(file=Screen(), width=80, height=24, force_terminal=True, _environ={})
    renderer = RichRenderer(console, refresh_s=0.001)
    renderer.event(downloading())

    assert drawn.wait(30)
    renderer.close()


def test_a_new_stage_starts_without_the_old_numbers() -> None:
    terminal = Terminal()
    terminal.renderer.event(downloading())
    terminal.renderer.event(StageStarted("skyrim", Stage.COMMITTING, "12 files"))
    terminal.renderer.draw()
    assert terminal.lines()[-1] == "skyrim committing 12 files"
    terminal.renderer.event(Progress("skyrim", Stage.HASHING, files_done=1, files_total=2))
    terminal.renderer.draw()
    assert "50% 1/2 files" in terminal.lines()[-1]
    terminal.renderer.close()


def test_notices_are_printed_above_the_bars() -> None:
    terminal = Terminal()
    terminal.renderer.event(downloading())
    terminal.renderer.draw()
    terminal.renderer.event(Notice("skyrim", Level.WARNING, "c", "look [here]", "do this"))
    terminal.renderer.event(Notice("skyrim", Level.INFO, "c", "by the way"))
    terminal.renderer.event(Notice("skyrim", Level.DEBUG, "c", "unseen"))

    warning = terminal.text().index("skyrim: warning: look [here]\nhint: do this\n")
    assert warning < terminal.text().index("45%", warning)
    assert "skyrim: by the way\n" in terminal.text()
    assert "unseen" not in terminal.text()
    terminal.renderer.close()


def test_a_check_is_summed_up_with_ten_paths_of_a_kind() -> None:
    terminal = Terminal(width=200)
    terminal.renderer.check(check_report())

    assert terminal.lines() == [
        (
            "skyrim  in sync with pack-1.3: 12 files fetched, 3 patched, 2 to the trash, 1,204 kept"
            " · 34.1 MB of 2.1 GB fetched in 3.20 s"
        ),
        "  fetched",
        *(f"    new/{index:02}.dds" for index in range(10)),
        "    and 2 more (-v: all)",
        "  patched",
        "    a.bsa",
        "    b.bsa",
        "    c.bsa",
        "  to the trash",
        "    old/1",
        "    old/2",
    ]


def test_a_plan_is_a_table_and_the_paths_with_their_reasons() -> None:
    terminal = Terminal()
    terminal.renderer.check(plan_report(), "plan")

    lines = terminal.lines()
    table = lines.index("  would   files     size")
    assert lines[table : table + 13] == [
        "  would   files     size",
        "  fetch      12    12 MB",
        "  patch       3    21 MB",
        "  copy        1     6 MB",
        "  move        1     5 MB",
        "  link        1      0 B",
        "  remove      2   1.5 kB",
        "  leave       1     10 B",
        "  skip        1     10 B",
        "  keep    1,204  2.06 GB",
        "  content: 34.1 MB to fetch",
        "  the old versions of 3 replaced files would go to the trash",
        "  space: 40 MB needed, 2 GB free",
    ]
    assert "    new/09.dds  not there" in lines
    assert "    and 2 more (-v: all)" in lines
    assert "    old/place → b/moved  its content is there" in lines
    assert "    old/2  no longer in the release" in lines


def test_a_plan_of_nothing_has_no_table() -> None:
    terminal = Terminal()
    terminal.renderer.check(CheckReport("s", dry_run=True, kept=3, bytes_total=5), "plan")

    assert terminal.lines() == [
        "s  in sync: nothing would change, 3 files kept (5 B) · checked in 0.00 s"
    ]


def test_a_plan_says_when_space_is_short_and_no_name_in_it_steers_the_terminal() -> None:
    terminal = Terminal()
    report = plan_report()
    report.space_free = 1000
    report.actions = [PlannedAction("move", HOSTILE, "old", 1, HOSTILE)]
    terminal.renderer.check(report)

    assert "  space: 40 MB needed, only 1 kB free" in terminal.lines()
    assert f"    old → {HOSTILE_SHOWN}  {HOSTILE_SHOWN}" in terminal.lines()


def test_verbose_lists_all_paths_and_the_exit_code() -> None:
    terminal = Terminal(verbose=True)
    terminal.renderer.check(check_report())
    terminal.renderer.result(ExitCode.OK, 1.0)

    assert "    new/11.dds" in terminal.lines()
    assert terminal.lines()[-1] == "exit code 0 after 1.00 s"


def test_a_verify_lists_each_problem_with_its_pieces() -> None:
    terminal = Terminal(width=200)
    terminal.renderer.verify(verify_report())

    assert terminal.lines()[1:4] == [
        "  damaged",
        "    data/b.bsa (pieces 3-5, 9)",
        "    data/c.bsa (piece 5)",
    ]


def test_status_is_a_table_where_there_is_room() -> None:
    terminal = Terminal()
    terminal.renderer.status(status_reports())

    assert terminal.lines() == [
        "name    state    release   files    size  checked       updated",
        "skyrim  seeding  pack-1.3  1,219  2.1 GB  3 m 20 s ago  2 d 7 h ago",
        "wiki    waiting  -             0     0 B  just now      never",
        "wiki: last error: wiki.example answered 503",
        "hint: torsync tries again by itself",
    ]


def test_status_is_a_paragraph_each_where_it_is_narrow() -> None:
    terminal = Terminal(width=40)
    terminal.renderer.status(status_reports())

    assert terminal.lines()[0] == "skyrim  seeding, at pack-1.3 (1,219"
    assert all(len(line) <= 40 for line in terminal.lines())


def test_status_of_nothing_says_so() -> None:
    terminal = Terminal()
    terminal.renderer.status([])

    assert terminal.lines() == ["no subscriptions"]


def test_an_error_is_followed_by_its_problems_and_the_hint() -> None:
    terminal = Terminal()
    terminal.renderer.error(ConfigError("2 problems", problems=("line 3: a",), hint="mend it"))
    terminal.renderer.error(RemoteUnreachableError("no answer"), "skyrim")

    assert terminal.lines() == [
        "error: 2 problems",
        "  line 3: a",
        "hint: mend it",
        "skyrim: error: no answer",
    ]


def test_a_hint_with_a_command_can_be_copied_whole() -> None:
    terminal = Terminal(width=20)
    hint = "run `torsync check-now skyrim --force` to override"
    terminal.renderer.error(RemoteUnreachableError("no", hint=hint))

    assert f"hint: {hint}" in terminal.lines()


def test_added_tells_what_comes_next() -> None:
    terminal = Terminal()
    terminal.renderer.added("skyrim", "https://x.example/a", "/games", "/c.toml")

    added, hint = terminal.lines()
    assert added == "skyrim  added: https://x.example/a into /games (in /c.toml)"
    assert hint.startswith("hint: `torsync check-now skyrim` fetches it; ")


def test_keys_come_with_the_lines_for_both_configurations() -> None:
    terminal = Terminal()
    terminal.renderer.key(KeyReport("0A1B", "RWQx", "/k.pub", "/k", encrypted=False))

    assert terminal.lines() == [
        "secret key  /k (for you alone: keep a copy safe)",
        "public key  RWQx (in /k.pub)",
        'in your [publications.NAME]  secret_key = "/k"',
        'in subscribers\' [subscriptions.NAME]  public_keys = ["RWQx"]',
    ]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_nothing_hostile_gets_through(width: int) -> None:
    terminal = Terminal(width, verbose=True)
    check, verify = check_report(), verify_report()
    check.name = check.release = verify.name = verify.release = HOSTILE
    check.fetched = verify.missing = verify.damaged = [HOSTILE]
    verify.damaged_pieces = {HOSTILE: [1]}
    renderer = terminal.renderer
    renderer.event(StageStarted(HOSTILE, Stage.DOWNLOADING, HOSTILE))
    renderer.draw()
    renderer.event(downloading(HOSTILE))
    renderer.draw()
    renderer.event(Notice(HOSTILE, Level.WARNING, "c", HOSTILE, HOSTILE))
    renderer.check(check)
    renderer.verify(verify)
    renderer.status([StatusReport(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, last_error=HOSTILE)])
    renderer.added(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    renderer.key(KeyReport("0A1B", "RWQx", HOSTILE, HOSTILE, encrypted=False))
    renderer.error(ConfigError(HOSTILE, problems=(HOSTILE,), hint=HOSTILE), HOSTILE)
    renderer.close()

    assert all(line.isprintable() for line in terminal.text().split("\n"))
    assert f"    {HOSTILE_SHOWN}" in terminal.lines()
    assert "owned\x07" not in terminal.screen.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, legacy_windows=False)
    RichRenderer(console).check(check_report())

    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", screen.getvalue())


def test_reports_go_to_a_redirected_standard_output_as_plain_lines() -> None:
    terminal = Terminal(plain_reports=True)
    terminal.renderer.check(check_report())
    terminal.renderer.verify(verify_report())
    terminal.renderer.status(status_reports())
    terminal.renderer.added("new", "u", "p", "c")
    terminal.renderer.key(KeyReport("0A1B", "RWQx", "/k.pub", "/k", encrypted=False))
    terminal.renderer.error(RemoteUnreachableError("no answer"))

    assert terminal.lines() == ["error: no answer"]
    assert terminal.stdout.getvalue().startswith("skyrim: in sync with pack-1.3: 12 files")
    assert "new: added: u into p (in c)\n" in terminal.stdout.getvalue()
    assert "public key: RWQx (in /k.pub)\n" in terminal.stdout.getvalue()


def test_messages_go_to_a_redirected_standard_error_as_plain_lines() -> None:
    terminal = Terminal(plain_messages=True, verbose=True)
    terminal.renderer.event(downloading())
    terminal.renderer.draw()
    terminal.renderer.event(Notice("skyrim", Level.WARNING, "c", "careful"))
    terminal.renderer.error(RemoteUnreachableError("no answer"), "skyrim")
    terminal.renderer.result(ExitCode.REMOTE, 1.0)
    terminal.renderer.close()

    assert terminal.stderr.getvalue().splitlines() == [
        "skyrim: warning: careful",
        "skyrim: error: no answer",
        "exit code 3 after 1.00 s",
    ]
    assert "careful" not in terminal.text()


def test_several_threads_may_report_at_once() -> None:
    terminal = Terminal(refresh_s=0.001)

    def work(name: str) -> None:
        for percent in range(100):
            terminal.renderer.event(downloading(name, percent))
            if percent % 10 == 0:
                terminal.renderer.event(Notice(name, Level.INFO, "c", f"at {percent}"))
        terminal.renderer.check(CheckReport(name))

    threads = [threading.Thread(target=work, args=(f"sub{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    terminal.renderer.close()

    lines = terminal.lines()
    assert sum("in sync" in line for line in lines) == 4
    assert sum(" at " in line or ": at" in line for line in lines) == 40


def test_a_terminal_that_went_away_does_not_stop_the_work() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

    console = Console(file=Gone(), width=80, height=24, force_terminal=True, _environ={})
    renderer = RichRenderer(console, refresh_s=None)
    renderer.event(downloading())
    renderer.draw()
    renderer.check(check_report())
    renderer.error(RemoteUnreachableError("no answer", hint="run torsync again"))
    renderer.close()


@pytest.mark.parametrize("is_stdout", [True, False])
def test_one_terminal_of_two_streams_is_enough_for_bars(
    is_stdout: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        encoding = "UTF-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    screen, log = Screen(), io.StringIO()
    renderer = make_renderer(
        json=False,
        quiet=False,
        verbose=False,
        stdout=screen if is_stdout else log,
        stderr=log if is_stdout else screen,
    )
    assert isinstance(renderer, RichRenderer)
    renderer.check(CheckReport("skyrim"))
    renderer.error(RemoteUnreachableError("no answer"))
    renderer.close()

    report, error = (screen, log) if is_stdout else (log, screen)
    assert "in sync" in report.getvalue()
    assert "no answer" in error.getvalue()


def test_the_trash_is_a_summary_and_a_line_for_each_file() -> None:
    terminal = Terminal(width=60)
    terminal.renderer.trash(trash_reports()[0])
    assert terminal.lines() == [
        "skyrim  2 files in the trash (1.2 MB): 1 edited, 1 of old",
        "releases",
        f"  2027-01-15T074320Z  edited         1.2 MB  {HOSTILE_SHOWN}",
        "  2027-01-15T074320Z  old release     900 B  a.bsa",
        "  unreadable: .torsync/trash/locked",
    ]


def test_the_trash_is_told_in_lines_where_standard_output_is_no_terminal() -> None:
    terminal = Terminal(plain_reports=True)
    terminal.renderer.trash(trash_reports()[1])
    assert terminal.text() == ""
    assert terminal.stdout.getvalue() == "wiki: nothing in the trash\n"
