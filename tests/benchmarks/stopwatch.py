"""Run a command and tell, in one JSON line, how long it took and what it used.

It is run by path with ``LOG TIMEOUT_S COMMAND…``, in an interpreter without anything else in
it: Linux counts what the process that starts a command occupies as part of that command's
peak, so that process has to be a small one.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main() -> None:
    """Run the command with its output going to the log, and wait for it."""
    log, timeout_s, *command = sys.argv[1:]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    to_log = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=to_log)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, float(timeout_s))
    _, status, used = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    exit_code = os.waitstatus_to_exitcode(status)
    print(
        f'{{"exit_code": {exit_code}, "seconds": {seconds}, "user_s": {used.ru_utime}, '
        f'"system_s": {used.ru_stime}, "peak_bytes": {used.ru_maxrss * unit}}}'
    )


if __name__ == "__main__":
    main()
