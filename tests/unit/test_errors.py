"""Exit codes and errors: what scripts and people get to see."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from torsync.model import errors
from torsync.model.errors import (
    ConfigError,
    ExitCode,
    ManifestError,
    RelayedError,
    TorsyncError,
    TreeError,
)
from torsync.model.errors import most_severe as worst

ORDER = [130, 2, 1, 3, 5, 6, 4, 0]


def all_errors(base: type[TorsyncError] = TorsyncError) -> list[type[TorsyncError]]:
    return [base, *(found for sub in base.__subclasses__() for found in all_errors(sub))]


class TestMostSevere:
    def test_no_subscriptions_are_in_sync(self) -> None:
        assert worst([]) is ExitCode.OK

    @pytest.mark.parametrize("code", list(ExitCode))
    def test_one_code_is_its_own_worst(self, code: ExitCode) -> None:
        assert worst([code]) is code
        assert worst(iter([code, code])) is code

    @pytest.mark.parametrize(("worse", "better"), list(combinations(ORDER, 2)))
    def test_the_order_is_as_documented(self, worse: int, better: int) -> None:
        codes = [ExitCode(worse), ExitCode(better)]
        assert worst(codes) == worst(reversed(codes)) == worse

    def test_every_code_has_a_place_in_the_order(self) -> None:
        assert sorted(ORDER) == sorted(ExitCode)
        assert {worst(some) for some in permutations(ExitCode, 2)} <= set(ExitCode)


class TestErrors:
    def test_codes_are_unique_and_fit_for_scripts(self) -> None:
        codes = [error.code for error in all_errors() if "code" in vars(error)]
        assert len(codes) == len(set(codes))
        assert all(code.replace("_", "").isalpha() and code == code.lower() for code in codes)

    def test_no_error_ends_with_success(self) -> None:
        assert all(error.exit_code is not ExitCode.OK for error in all_errors())

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("TorsyncError", 1),
            ("UsageError", 2),
            ("ConfigError", 2),
            ("RemoteUnreachableError", 3),
            ("RemoteInvalidError", 3),
            ("ManifestError", 3),
            ("UntrustedError", 3),
            ("NoPeersError", 3),
            ("NotSyncedError", 4),
            ("BusyError", 6),
            ("NotPolledError", 1),
            ("InterruptedByUserError", 130),
            ("SwarmError", 1),
            ("TreeError", 1),
            ("DiskFullError", 1),
            ("StateError", 1),
        ],
    )
    def test_exit_codes_are_as_documented(self, name: str, code: int) -> None:
        assert getattr(errors, name).exit_code == code

    def test_message_and_hint_are_kept(self) -> None:
        error = TorsyncError("it broke", hint="mend it")
        assert (str(error), error.message, error.hint) == ("it broke", "it broke", "mend it")
        assert TorsyncError("it broke").hint == ""

    def test_a_config_error_carries_every_problem(self) -> None:
        error = ConfigError("2 problems", problems=("line 1: x", "line 2: y"), hint="mend both")
        assert error.problems == ("line 1: x", "line 2: y")
        assert (error.message, error.hint) == ("2 problems", "mend both")
        assert ConfigError("none").problems == ()

    def test_a_manifest_error_says_who_has_to_mend_it(self) -> None:
        error = ManifestError("it has no files")
        assert error.message == "the .torrent cannot be used: it has no files"
        assert "publisher" in error.hint
        assert ManifestError("x", hint="do this").hint == "do this"

    def test_what_another_torsync_failed_with_is_told_as_its_own(self) -> None:
        error = RelayedError("no_peers", 3, "nobody is there", "wait")
        assert (error.code, error.exit_code) == ("no_peers", ExitCode.REMOTE)
        assert (error.message, error.hint) == ("nobody is there", "wait")
        assert TorsyncError.code == "failed"

    def test_a_tree_error_names_its_path(self) -> None:
        error = TreeError("could not read 'a/b'", path="a/b", hint="chmod")
        assert (error.path, error.hint) == ("a/b", "chmod")
        assert TreeError("no path").path == ""
