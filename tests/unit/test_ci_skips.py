"""In continuous integration, a test that needs a program may not be skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """\
from tests.conftest import *  # noqa: F403
"""
TESTS = """\
import pytest

@pytest.mark.{marker}
def test_needy():
    pytest.skip("frobnicator is not installed")

@pytest.mark.{marker}
@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False

def test_fine():
    pass
"""


def run(folder: Path, marker: str, ci: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    programs\n    registry\n    other\n"
    )
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_sample.py").write_text(TESTS.format(marker=marker))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)],
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("marker", "workers"), [("programs", "0"), ("registry", "2")])
def test_a_skipped_test_fails_the_run_and_is_named(
    marker: str, workers: str, tmp_path: Path
) -> None:
    done = run(tmp_path, marker, "true", "-n", workers)
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stdout.partition("skipped, which CI=true does not allow")[2]
    assert "test_sample.py::test_needy" in told
    assert "frobnicator is not installed" in told
    assert "test_expected_to_fail" not in told


@pytest.mark.parametrize(("marker", "ci"), [("programs", ""), ("other", "true")])
def test_elsewhere_a_skipped_test_is_just_skipped(marker: str, ci: str, tmp_path: Path) -> None:
    done = run(tmp_path, marker, ci)
    assert done.returncode == 0, done.stdout + done.stderr
