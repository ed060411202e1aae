"""Lines for pipes, logs and journald, and the words that the terminal shares with them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata

import pytest

from tests.cli.render_samples import (
    HOSTILE,
    HOSTILE_SHOWN,
    NOW_S,
    Clock,
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
from torsync.cli.render.summaries import summarise_check, summarise_verify
from torsync.cli.render.text import (
    describe_progress,
    piece_ranges,
    printable,
    printable_url,
    shortened,
)
from torsync.model.errors import ConfigError, ExitCode, RemoteUnreachableError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted
from torsync.model.key_report import KeyReport
from torsync.model.reports import CheckReport, PlannedAction, VerifyReport


class Output:
    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.stdout, self.stderr, self.clock = io.StringIO(), io.StringIO(), Clock()
        self.renderer = PlainRenderer(
            self.stdout,
            self.stderr,
            quiet=quiet,
            verbose=verbose,
            clock=self.clock,
            wall_clock=lambda: NOW_S,
        )

    def lines(self) -> list[str]:
        return self.stdout.getvalue().splitlines()

    def messages(self) -> list[str]:
        return self.stderr.getvalue().splitlines()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("Größe 日本 👩\u200d🚀 a\u00a0b", "Größe 日本 👩\u200d🚀 a\u00a0b"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("C:\\new", "C:\\new"),
        (HOSTILE, HOSTILE_SHOWN),
        ("\u2028\u2066\ufeff", "\\u2028\\u2066\\ufeff"),
    ],
)
def test_printable_keeps_what_is_harmless_and_escapes_the_rest(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_printable_leaves_no_control_or_bidirectional_character() -> None:
    everything = printable("".join(map(chr, range(0x3000))))
    categories = {unicodedata.category(char) for char in everything} - {"Cn"}

    assert not categories & {"Cc", "Cs", "Co", "Zl", "Zp"}
    assert {char for char in everything if unicodedata.category(char) == "Cf"} == {
        "\u200c",
        "\u200d",
    }


def test_a_long_name_is_shortened() -> None:
    assert shortened("a" * 10_000, 10) == "aaaaaaaaa…"
    assert shortened("a" * 10, 10) == "a" * 10


def test_a_password_in_a_url_is_not_shown() -> None:
    assert printable_url("https://me:secret@x.example/a") == "https://me:…@x.example/a"
    assert printable_url("https://x.example:8080/a@b") == "https://x.example:8080/a@b"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([3], "piece 3"),
        ([4, 3], "pieces 3-4"),
        ([12, 3, 4, 5, 6, 7], "pieces 3-7, 12"),
        ([0, 2, 4, 5, 6, 9], "pieces 0, 2 and 4 more"),
    ],
)
def test_piece_indexes_are_condensed_into_ranges(pieces: list[int], shown: str) -> None:
    assert piece_ranges(pieces, limit=2) == shown


def test_progress_is_described_in_one_line() -> None:
    assert describe_progress(downloading()) == (
        "45%, 945 MB of 2.1 GB, 12 of 345 files, 12.3 MB/s down, 120 kB/s up, 8 peers,"
        " 1 m 34 s left"
    )
    assert describe_progress(hashing("a/b.bsa")) == (
        "47%, 1 GB of 2.1 GB, 12 of 345 files, 2.9 GB/s, 0 s left"
    )
    assert describe_progress(Progress("skyrim", Stage.SEEDING, peers=1)) == "1 peer"
    assert (
        describe_progress(
            Progress("skyrim", Stage.VERIFYING, files_done=1, files_total=1, eta_s=float("inf"))
        )
        == "100%, 1 of 1 file"
    )


@pytest.mark.parametrize(
    ("report", "summary"),
    [
        (
            check_report(),
            (
                "in sync with pack-1.3: 12 files fetched, 3 patched, 2 to the trash, 1,204 kept"
                " · 34.1 MB of 2.1 GB fetched in 3.20 s"
            ),
        ),
        (
            CheckReport("s", release="r", kept=1204, bytes_total=2_100_000_000, seconds=0.3),
            "in sync with r: nothing changed, 1,204 files kept (2.1 GB) · checked in 0.30 s",
        ),
        (
            CheckReport("s", kept=4, unselected=9, bytes_total=2, seconds=0.3),
            "in sync: nothing changed, 4 files kept, 9 not selected (2 B) · checked in 0.30 s",
        ),
        (
            CheckReport("s", dry_run=True, kept_local=["a"], bytes_total=5, seconds=0.3),
            "in sync: nothing would change, 1 file left as edited here (5 B) · checked in 0.30 s",
        ),
        (
            CheckReport("s"),
            "in sync: nothing changed, no files (0 B) · checked in 0.00 s",
        ),
        (
            CheckReport(
                "s",
                release="r",
                dry_run=True,
                fetched=["a"],
                moved=["b"],
                trashed=["c", "d"],
                kept=1,
                kept_local=["e"],
                bytes_to_fetch=4000,
                bytes_total=9000,
            ),
            (
                "not in sync with r: would fetch 1 file, move 1, trash 2, keep 1,"
                " leave 1 as edited here · 4 kB of 9 kB to fetch"
            ),
        ),
        (
            CheckReport("s", release="r", changed=True, copied=["a"], bytes_total=9000),
            "in sync with r: 1 file copied · nothing of 9 kB fetched in 0.00 s",
        ),
        (
            CheckReport("s", fetched=["a"], bytes_fetched=9500, bytes_total=9000),
            "in sync: 1 file fetched · 9.5 kB fetched for 9 kB in 0.00 s",
        ),
        (
            CheckReport("s", changed=True, kept=3, bytes_total=9000),
            "in sync: attributes updated, 3 files kept · nothing of 9 kB fetched in 0.00 s",
        ),
        (
            CheckReport("s", dry_run=True, changed=True, bytes_total=9000),
            "not in sync: would update attributes · 0 B of 9 kB to fetch",
        ),
        (
            CheckReport("s", release="r", kept=3, unreadable=["a"], bytes_total=9000),
            (
                "not in sync with r: nothing changed, 3 files kept, 1 unreadable (9 kB)"
                " · checked in 0.00 s"
            ),
        ),
        (
            CheckReport("s", dry_run=True, fetched=["b"], unreadable=["a"], bytes_total=9000),
            "not in sync: would fetch 1 file, skip 1 unreadable · 0 B of 9 kB to fetch",
        ),
    ],
)
def test_a_check_is_summarised_in_good_english(report: CheckReport, summary: str) -> None:
    assert summarise_check(report) == summary


@pytest.mark.parametrize(
    ("report", "summary"),
    [
        (
            verify_report(),
            (
                "not in sync with pack-1.3: 1,204 files OK, 1 missing, 2 damaged,"
                " 1 of the wrong size, 1 unreadable, 1 unlisted · 2.1 GB hashed in 12 s"
            ),
        ),
        (
            VerifyReport("s", release="r", ok=1, bytes_hashed=5, seconds=1),
            "in sync with r: 1 file OK · 5 B hashed in 1.00 s",
        ),
        (
            VerifyReport("s", release="r", ok=2, unlisted=["x"], seconds=1),
            (
                "in sync with r, apart from unlisted files: 2 files OK, 1 unlisted"
                " · 0 B hashed in 1.00 s"
            ),
        ),
        (
            VerifyReport(
                "s",
                ok=2,
                missing=["m"],
                unlisted=["x"],
                repaired=["m"],
                cleaned=["x"],
                bytes_fetched=7,
                seconds=1,
            ),
            (
                "in sync: 2 files OK, 1 missing, 1 unlisted, 1 repaired, 1 to the trash"
                " · 7 B fetched, 0 B hashed in 1.00 s"
            ),
        ),
        (
            VerifyReport(
                "s", missing=["m"], repaired=["m"], unlisted=["x"], cleaned=["x"], dry_run=True
            ),
            (
                "not in sync: 1 file missing, 1 unlisted, 1 would be repaired,"
                " 1 would go to the trash · 0 B hashed in 0.00 s"
            ),
        ),
        (VerifyReport("s"), "in sync: no files · 0 B hashed in 0.00 s"),
        (
            VerifyReport("s", quick=True, ok=7, modified=["a", "b", "c"], seconds=1),
            (
                "perhaps not in sync: 7 files OK, 3 touched since"
                " · sizes and times compared in 1.00 s"
            ),
        ),
        (
            VerifyReport("s", quick=True, missing=["m"], modified=["a"], seconds=1),
            ("not in sync: 1 file missing, 1 touched since · sizes and times compared in 1.00 s"),
        ),
        (
            VerifyReport("s", quick=True, ok=2, bytes_hashed=5, seconds=1),
            "in sync: 2 files OK · 5 B hashed in 1.00 s",
        ),
        (
            VerifyReport("s", ok=2, modified=["a"], seconds=1),
            "perhaps not in sync: 2 files OK, 1 changed meanwhile · 0 B hashed in 1.00 s",
        ),
    ],
)
def test_a_verify_is_summarised_in_good_english(report: VerifyReport, summary: str) -> None:
    assert summarise_verify(report) == summary


def test_stages_worth_knowing_get_a_line_and_routine_polls_do_not() -> None:
    output = Output()
    for stage in (Stage.WAITING, Stage.CHECKING_REMOTE, Stage.LOOKING, Stage.DOWNLOADING):
        output.renderer.event(StageStarted("skyrim", stage))
    for _ in range(3):  # polls that find nothing
        output.renderer.event(StageStarted("skyrim", Stage.SEEDING, "12 files"))
        output.renderer.event(StageStarted("skyrim", Stage.CHECKING_REMOTE))

    assert output.messages() == ["skyrim: downloading", "skyrim: seeding: 12 files"]
    assert output.lines() == []


def test_verbose_tells_every_stage() -> None:
    output = Output(verbose=True)
    for stage in Stage:
        output.renderer.event(StageStarted("skyrim", stage))

    assert output.messages() == [f"skyrim: {stage.value}" for stage in Stage]


def test_progress_gets_a_line_every_ten_seconds_of_a_stage() -> None:
    output = Output()
    output.renderer.event(StageStarted("skyrim", Stage.DOWNLOADING))
    for second in range(25):
        output.clock.now_s = 1000.0 + second
        output.renderer.event(downloading(percent=second))

    assert [line[:25] for line in output.messages()] == [
        "skyrim: downloading",
        "skyrim: downloading: 10%,",
        "skyrim: downloading: 20%,",
    ]


def test_seeding_that_never_ends_does_not_fill_the_log() -> None:
    output = Output()
    for _ in range(100):
        output.clock.now_s += 60
        output.renderer.event(Progress("skyrim", Stage.SEEDING, upload_rate=1, peers=2))

    assert output.messages() == []


def test_notices_carry_level_name_and_hint() -> None:
    output = Output()
    output.renderer.event(Notice("skyrim", Level.WARNING, "c", "something", "do this"))
    output.renderer.event(Notice("skyrim", Level.INFO, "c", "by the way"))
    output.renderer.event(Notice("", Level.ERROR, "c", "all is lost"))
    output.renderer.event(Notice("skyrim", Level.DEBUG, "c", "details"))

    assert output.messages() == [
        "skyrim: warning: something",
        "skyrim: hint: do this",
        "skyrim: by the way",
        "error: all is lost",
    ]


def test_quiet_leaves_warnings_and_errors_only() -> None:
    output = Output(quiet=True)
    for level in Level:
        output.renderer.event(Notice("skyrim", level, "c", "message"))
    output.renderer.event(StageStarted("skyrim", Stage.DOWNLOADING))
    output.clock.now_s += 60
    output.renderer.event(downloading())
    output.renderer.check(check_report())
    output.renderer.verify(verify_report())
    output.renderer.status(status_reports())
    output.renderer.added("skyrim", "u", "p", "c")
    output.renderer.key(KeyReport("0A1B", "RWQx", "/k.pub", "/k", encrypted=False))
    output.renderer.error(RemoteUnreachableError("no answer"))
    output.renderer.result(ExitCode.REMOTE, 1.0)

    assert output.lines() == []
    assert output.messages() == [
        "skyrim: warning: message",
        "skyrim: error: message",
        "error: no answer",
    ]


def test_a_check_is_one_line() -> None:
    output = Output()
    output.renderer.check(check_report())

    assert output.lines() == [f"skyrim: {summarise_check(check_report())}"]


def test_a_file_that_could_not_be_read_is_named() -> None:
    output = Output()
    report = check_report()
    report.unreadable = ["locked"]
    output.renderer.check(report)

    assert output.lines()[1:] == ["skyrim: unreadable: locked"]


def test_a_plan_is_a_line_per_action_and_ten_paths_of_each() -> None:
    output = Output()
    output.renderer.check(plan_report())

    assert output.lines() == [
        f"skyrim: {summarise_check(plan_report())}",
        "skyrim: would fetch: 12 files, 12 MB",
        "skyrim: would patch: 3 files, 21 MB",
        "skyrim: would copy: 1 file, 6 MB",
        "skyrim: would move: 1 file, 5 MB",
        "skyrim: would link: 1 file, 0 B",
        "skyrim: would remove: 2 files, 1.5 kB",
        "skyrim: would leave: 1 file, 10 B",
        "skyrim: would skip: 1 file, 10 B",
        "skyrim: would keep: 1,204 files, 2.06 GB",
        *(f"skyrim: fetch: new/{index:02}.dds (not there)" for index in range(10)),
        "skyrim: fetch: and 2 more (-v: all)",
        *(f"skyrim: patch: {name}.bsa (3 of 9 right)" for name in "abc"),
        "skyrim: copy: a.bsa → z/copied (its content is there)",
        "skyrim: move: old/place → b/moved (its content is there)",
        "skyrim: link: newest (a link to b/moved)",
        "skyrim: remove: old/1 (no longer in the release)",
        "skyrim: remove: old/2 (no longer in the release)",
        "skyrim: leave: my.ini (matches a keep pattern)",
        "skyrim: skip: locked (it could not be read)",
        "skyrim: content: 34.1 MB to fetch",
        "skyrim: the old versions of 3 replaced files would go to the trash",
        "skyrim: space: 40 MB needed, 2 GB free",
    ]


def test_a_plan_lists_every_path_with_verbose_and_none_with_quiet() -> None:
    loud, quiet = Output(verbose=True), Output(quiet=True)
    loud.renderer.check(plan_report())
    quiet.renderer.check(plan_report())

    assert "skyrim: fetch: new/11.dds (not there)" in loud.lines()
    assert not [line for line in loud.lines() if "-v: all" in line]
    assert quiet.lines() == []


def test_a_plan_of_nothing_is_one_line() -> None:
    output = Output()
    output.renderer.check(CheckReport("skyrim", dry_run=True, kept=3, bytes_total=5))

    assert len(output.lines()) == 1


def test_a_plan_says_when_space_is_short_and_no_name_steers_the_terminal() -> None:
    output = Output()
    report = plan_report()
    report.space_free = 1000
    report.actions = [PlannedAction("move", HOSTILE, HOSTILE, 1, HOSTILE)]
    output.renderer.check(report)

    assert output.lines()[-1] == "skyrim: space: 40 MB needed, only 1 kB free"
    moved = f"skyrim: move: {HOSTILE_SHOWN} ({HOSTILE_SHOWN})"
    assert moved in output.lines()


def test_verbose_lists_every_path_and_the_exit_code() -> None:
    output = Output(verbose=True)
    output.renderer.check(check_report())
    output.renderer.result(ExitCode.DIFFERS, 2.0)

    assert output.lines()[12:] == [
        "skyrim: fetched: new/11.dds",
        "skyrim: patched: a.bsa",
        "skyrim: patched: b.bsa",
        "skyrim: patched: c.bsa",
        "skyrim: to the trash: old/1",
        "skyrim: to the trash: old/2",
    ]
    assert output.messages() == ["exit code 4 after 2.00 s"]


def test_a_verify_lists_each_problem_with_its_pieces() -> None:
    output = Output()
    output.renderer.verify(verify_report())

    assert output.lines()[1:] == [
        "skyrim: damaged: data/b.bsa (pieces 3-5, 9)",
        "skyrim: damaged: data/c.bsa (piece 5)",
        "skyrim: missing: gone",
        "skyrim: wrong size: short",
        "skyrim: unreadable: locked",
        "skyrim: unlisted: extra",
    ]


@pytest.mark.parametrize(
    ("quick", "label", "hint"),
    [
        (
            True,
            "touched since",
            "`torsync verify 'my pack'` reads them and tells whether they are right",
        ),
        (
            False,
            "changed meanwhile",
            "run `torsync verify 'my pack'` again when nothing writes to them",
        ),
    ],
)
def test_files_of_unknown_content_are_listed_with_what_to_do(
    quick: bool, label: str, hint: str
) -> None:
    output = Output()
    output.renderer.verify(VerifyReport("my pack", quick=quick, ok=1, modified=["a", "b"]))

    assert output.lines()[1:] == [
        f"my pack: {label}: a",
        f"my pack: {label}: b",
        f"my pack: hint: {hint}",
    ]


def test_status_is_a_line_each_with_the_last_error() -> None:
    output = Output()
    output.renderer.status(status_reports())

    assert output.lines() == [
        (
            "skyrim: seeding, at pack-1.3 (1,219 files, 2.1 GB) · checked 3 m 20 s ago"
            " · updated 2 d 7 h ago · held by process 4711"
        ),
        "wiki: waiting, never synced · checked just now",
        "wiki: last error: wiki.example answered 503",
        "wiki: hint: torsync tries again by itself",
    ]


def test_added_tells_what_comes_next() -> None:
    output = Output()
    output.renderer.added("my pack", "https://x.example/a.torrent", "/games", "/c.toml")

    added, hint = output.lines()
    assert added == "my pack: added: https://x.example/a.torrent into /games (in /c.toml)"
    assert hint.startswith("my pack: hint: `torsync check-now 'my pack'` fetches it; ")


def test_keys_come_with_the_lines_for_both_configurations() -> None:
    output = Output()
    output.renderer.key(KeyReport("0A1B", "RWQx", '/a $"b".pub', '/a $"b"', encrypted=True))

    assert output.lines() == [
        'secret key: /a $"b" (encrypted; for you alone: keep a copy safe)',
        'public key: RWQx (in /a $"b".pub)',
        r'in your [publications.NAME]: secret_key = "/a $$\"b\""',
        'in subscribers\' [subscriptions.NAME]: public_keys = ["RWQx"]',
    ]


def test_an_error_is_followed_by_its_problems_and_the_hint() -> None:
    output = Output()
    output.renderer.error(
        ConfigError("c.toml has 2 problems", problems=("line 3: a", "line 9: b"), hint="mend it")
    )
    output.renderer.error(RemoteUnreachableError("no answer", hint="try later"), "skyrim")

    assert output.messages() == [
        "error: c.toml has 2 problems",
        "  line 3: a",
        "  line 9: b",
        "hint: mend it",
        "skyrim: error: no answer",
        "skyrim: hint: try later",
    ]


def test_nothing_hostile_gets_through() -> None:
    output = Output(verbose=True)
    check, verify, status = check_report(), verify_report(), status_reports()[:1]
    check.name = check.release = verify.name = verify.release = HOSTILE
    check.fetched = verify.missing = verify.damaged = [HOSTILE]
    verify.damaged_pieces = {HOSTILE: [1]}
    for field in ("name", "url", "path", "stage", "release", "last_error", "last_error_hint"):
        setattr(status[0], field, HOSTILE)
    output.renderer.check(check)
    output.renderer.verify(verify)
    output.renderer.status(status)
    output.renderer.added(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    output.renderer.key(KeyReport("0A1B", "RWQx", HOSTILE, HOSTILE, encrypted=False))
    output.renderer.event(StageStarted(HOSTILE, Stage.DOWNLOADING, HOSTILE))
    output.clock.now_s += 60
    output.renderer.event(downloading(HOSTILE))
    output.renderer.event(Notice(HOSTILE, Level.WARNING, "c", HOSTILE, HOSTILE))
    output.renderer.error(ConfigError(HOSTILE, problems=(HOSTILE,), hint=HOSTILE), HOSTILE)

    text = output.stdout.getvalue() + output.stderr.getvalue()
    assert all(line.isprintable() for line in text.split("\n"))
    assert HOSTILE_SHOWN in text


def test_a_stream_that_cannot_encode_a_name_gets_it_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    renderer = PlainRenderer(stream, stream)
    renderer.added("日本", "u", "p", "c")

    assert raw.getvalue().startswith(b"\\u65e5\\u672c: added: u into p (in c)")


def test_rich_is_not_imported_for_pipes_and_logs() -> None:
    script = (
        "import sys\n"
        "from torsync.cli.render import make_renderer\n"
        "from torsync.model.reports import CheckReport\n"
        "for quiet in (False, True):\n"
        "    renderer = make_renderer(json=False, quiet=quiet, verbose=False,\n"
        "                             stdout=sys.stdout, stderr=sys.stderr)\n"
        "    renderer.check(CheckReport('skyrim'))\n"
        "    renderer.close()\n"
        "print('rich' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )

    assert done.stdout.splitlines()[-1] == "False"
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(("term", "encoding"), [("dumb", "utf-8"), ("xterm", "latin-1")])
def test_a_terminal_that_cannot_draw_gets_plain_lines(
    term: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(Terminal, "encoding", encoding, raising=False)
    monkeypatch.setenv("TERM", term)
    renderer = make_renderer(
        json=False, quiet=False, verbose=False, stdout=Terminal(), stderr=Terminal()
    )

    assert isinstance(renderer, PlainRenderer)


def test_the_trash_is_told_in_lines() -> None:
    output = Output()
    for report in trash_reports():
        output.renderer.trash(report)
    assert output.lines() == [
        "skyrim: 2 files in the trash (1.2 MB): 1 edited, 1 of old releases",
        f"skyrim: 2027-01-15T074320Z  edited         1.2 MB  {HOSTILE_SHOWN}",
        "skyrim: 2027-01-15T074320Z  old release     900 B  a.bsa",
        "skyrim: unreadable: .torsync/trash/locked",
        "wiki: nothing in the trash",
        "skyrim: 2 files restored from 2027-01-15T074320Z · 1 to the trash instead",
        "skyrim: a",
        f"skyrim: {HOSTILE_SHOWN}",
        "wiki: 1 file restored from mine",
        "wiki: b",
        "skyrim: 1,204 files removed from the trash, 2.1 GB freed · 12 could not be removed",
        *(["skyrim: left: x"] * 10),
        "skyrim: left: and 2 more (-v: all)",
        "wiki: 0 files removed from the trash, 0 B freed",
    ]


def test_quiet_tells_nothing_of_the_trash_and_verbose_every_path() -> None:
    quiet, verbose = Output(quiet=True), Output(verbose=True)
    for report in trash_reports():
        quiet.renderer.trash(report)
        verbose.renderer.trash(report)
    assert quiet.lines() == []
    assert verbose.lines().count("skyrim: left: x") == 12


def test_a_move_is_told_once() -> None:
    output = Output()
    report = plan_report()
    report.actions = [
        PlannedAction("move", "new/place", "old/place", 5, "the content of old/place")
    ]
    output.renderer.check(report)

    assert "skyrim: move: old/place → new/place" in output.lines()
