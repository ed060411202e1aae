"""What ``torsync verify`` ends with follows from what is left after it."""

from __future__ import annotations

import pytest

from torsync.cli.verify import verify_exit_code
from torsync.model.errors import ExitCode
from torsync.model.reports import VerifyReport

OK, DIFFERS, FAILED = ExitCode.OK, ExitCode.DIFFERS, ExitCode.FAILED


@pytest.mark.parametrize(
    ("found", "at_once", "after_repair"),
    [
        ("missing", DIFFERS, OK),
        ("damaged", DIFFERS, OK),
        ("wrong_size", DIFFERS, OK),
        ("modified", DIFFERS, DIFFERS),
        ("unreadable", FAILED, FAILED),
        ("kept_local", OK, OK),
        ("unlisted", OK, OK),
    ],
)
def test_each_kind_of_difference_has_its_exit_code(
    found: str, at_once: ExitCode, after_repair: ExitCode
) -> None:
    report = VerifyReport("pack", **{found: ["path"]})  # type: ignore[arg-type]
    assert verify_exit_code(report, mended=False, nothing_unlisted=False) is at_once
    assert verify_exit_code(report, mended=True, nothing_unlisted=False) is after_repair


def test_unlisted_files_differ_in_a_mirror_until_they_are_cleaned() -> None:
    report = VerifyReport("pack", unlisted=["mine"])
    assert verify_exit_code(report, mended=True, nothing_unlisted=True) is DIFFERS
    report.cleaned = ["mine"]
    assert verify_exit_code(report, mended=True, nothing_unlisted=True) is OK
