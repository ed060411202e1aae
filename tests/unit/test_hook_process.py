"""Commands of the configuration as processes: what they get, and how they end or are ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import wait_until
from torsync.service.hooks.process import run_command

if TYPE_CHECKING:
    from torsync.service.hooks.outcome import HookOutcome

PYTHON = (sys.executable, "-ISc")
LONG_S = 60.0


def run(*command: str, folder: Path | str = os.sep, **options: Any) -> HookOutcome:
    given: dict[str, Any] = {
        "details": {"event": "on_update"},
        "environment": dict(os.environ),
        "timeout_s": LONG_S,
        "stopping": lambda: False,
    }
    return run_command(command, folder=str(folder), **{**given, **options})


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_it_gets_its_details_its_folder_and_its_variables(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdin.read().strip(), os.getcwd(), os.environ['A'])"
    outcome = run(
        *PYTHON, code, folder=tmp_path, details={"x": "ü"}, environment={"A": "b"}, timeout_s=LONG_S
    )
    assert outcome.last_line == f"{json.dumps({'x': 'ü'})} {tmp_path} b"
    assert outcome.is_good


def test_a_folder_that_is_not_there_is_replaced_by_the_root(tmp_path: Path) -> None:
    assert run("pwd", folder=tmp_path / "gone").last_line == "/"


def test_arguments_are_not_taken_apart_by_a_shell() -> None:
    assert run(*PYTHON, "import sys; print(sys.argv[1])", "$HOME; echo *").last_line == (
        "$HOME; echo *"
    )


@pytest.mark.parametrize(
    ("code", "exit_code", "line"),
    [
        ("print('said'); print(); raise SystemExit(3)", 3, "said"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import sys; sys.stderr.write('broken\\x1b[31m')", 0, r"broken\x1b[31m"),
        ("import os; os.write(1, b'\\xff\\xfe')", 0, "��"),
        ("print('x' * 10_000_000)", 0, "x" * 300 + "…"),
    ],
)
def test_how_it_ended_and_its_last_line_are_told(code: str, exit_code: int, line: str) -> None:
    outcome = run(*PYTHON, code)
    assert (outcome.exit_code, outcome.last_line, outcome.problem) == (exit_code, line, "")


def test_one_that_does_not_read_its_input_is_no_worse() -> None:
    details = {"paths": ["x" * 100] * 50_000}
    assert run("true", details=details).is_good
    assert run(*PYTHON, "import os; os.close(0)", details=details).is_good


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("/no such program",), "No such file or directory"),
        (("no-such-program-on-the-path",), "No such file or directory"),
        (("/",), "Permission denied"),
    ],
)
def test_one_that_cannot_be_begun_says_why(command: tuple[str, ...], problem: str) -> None:
    outcome = run(*command)
    assert outcome.exit_code is None
    assert problem in outcome.problem


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Also where they do not heed SIGTERM."""
    script = (
        "import os, pathlib, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-ISc', sys.argv[2]])\n"
        "pathlib.Path(sys.argv[1] + '.new').write_text(f'{os.getpid()} {child.pid}')\n"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "print('hangs', flush=True)\n"
        "time.sleep(600)\n"
    )
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('hangs', flush=True); time.sleep(600)"
    )
    pids = tmp_path / "pids"
    now = [0.0]

    def clock() -> float:
        """Time is up once both have begun."""
        if pids.exists():
            now[0] += 1.0
        return now[0]

    outcome = run(*PYTHON, script, str(pids), child, timeout_s=5, clock=clock)
    assert outcome.exit_code is None
    assert (outcome.problem, outcome.last_line) == ("was ended as it took longer than 5 s", "hangs")
    for pid in pids.read_text().split():
        wait_until(lambda pid=int(pid): not is_there(pid), f"process {pid} is gone")


def test_one_that_closes_its_output_and_goes_on_is_waited_for() -> None:
    code = "import os, time\nos.close(1); os.close(2); time.sleep(0.2); os._exit(4)"
    assert run(*PYTHON, code).exit_code == 4


def test_one_is_ended_when_the_work_shall_stop(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    outcome = run(*PYTHON, code, str(begun), stopping=begun.exists)
    assert outcome.is_cut_off
    assert not outcome.is_good


def test_what_it_leaves_running_is_left_alone(tmp_path: Path) -> None:
    """Also if that holds its output open, and does not end."""
    pid_file = tmp_path / "pid"
    code = (
        "import os, pathlib, sys, time\n"
        "if os.fork() == 0:\n"
        "    time.sleep(600)\n"
        "    os._exit(0)\n"
        "print('started')\n"
    ).replace("if os.fork() == 0:", "pid = os.fork()\nif pid == 0:")
    code += "pathlib.Path(sys.argv[1]).write_text(str(pid))\n"
    outcome = run(*PYTHON, code, str(pid_file))
    pid = int(pid_file.read_text())
    try:
        assert outcome.is_good
        assert outcome.last_line == "started"
        assert is_there(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_output_without_end_is_no_trouble() -> None:
    code = "import sys\nwhile True: sys.stdout.write('y\\n')"
    reads = iter(range(1000))
    outcome = run(*PYTHON, code, stopping=lambda: next(reads) > 100)
    assert (outcome.is_cut_off, outcome.last_line) == (True, "y")


def test_signals_are_to_it_as_to_any_program() -> None:
    """Even if the thread that runs it has blocked some; and Python ignores SIGPIPE."""
    code = (
        "import signal\n"
        "blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "import re\n"
        "status = open('/proc/self/status').read()\n"
        "ignored = int(re.search('SigIgn:\\\\s*(\\\\w+)', status)[1], 16)\n"
        "print(sorted(blocked), ignored >> (signal.SIGTERM - 1) & 1)\n"
    )
    found: list[str] = []
    piped = "yes | head -n 1 >/dev/null; echo ${PIPESTATUS[0]}"

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        found.append(run(*PYTHON, code).last_line)
        found.append(run("bash", "-c", piped).last_line)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["[] 0", str(128 + signal.SIGPIPE)]


def test_no_file_of_this_process_is_open_in_it(tmp_path: Path) -> None:
    with (tmp_path / "open").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:5])"
        numbers = json.loads(run(*PYTHON, code).last_line)
    assert set(numbers) - {3} == {0, 1, 2}, "3 is that of the folder that is listed"


def test_where_the_system_has_no_waitid_one_is_waited_for_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "waitid")
    assert run(*PYTHON, "print('x'); raise SystemExit(3)").exit_code == 3


def test_without_a_pipe_it_says_that_it_could_not_be_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", none_left)
    outcome = run("true")
    assert not outcome.is_good
    assert "could not be begun" in outcome.problem
    assert "Too many open files" in outcome.problem
