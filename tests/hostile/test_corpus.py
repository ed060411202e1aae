"""What the fuzzers found once, or begin with; and a few of what they would try from there.

The long form is coverage-guided: see ``tests/hostile/fuzz``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.fuzz.targets import CORPUS, NAMES, corpus_of, load_target
from tests.hostile.inputs.mutations import near

_LONG_S = 60
_MOST_CORPUS_BYTES = 200_000
each_target = pytest.mark.parametrize("name", NAMES)


@each_target
def test_what_was_once_worth_trying_does_no_harm(name: str) -> None:
    target, files = load_target(name), corpus_of(name)
    assert files
    for file in files:
        print(file)
        target.try_one(file.read_bytes())


@each_target
@given(st.data())
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_what_is_nearly_that_does_no_harm_either(name: str, data: st.DataObject) -> None:
    examples = [file.read_bytes() for file in corpus_of(name)]
    target = load_target(name)
    given_bytes = data.draw(near(examples))
    if hasattr(target, "mutate") and data.draw(st.booleans()):
        example = data.draw(st.sampled_from(examples))
        changed = target.mutate(example, target.MAX_BYTES, data.draw(st.integers(0, 2**32)))
        given_bytes = given_bytes if changed is None else changed
    target.try_one(given_bytes)


def test_the_corpus_is_small_and_has_a_part_for_each_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(NAMES)
    assert sum(file.stat().st_size for file in CORPUS.rglob("*")) < _MOST_CORPUS_BYTES


@pytest.mark.long
@pytest.mark.timeout(1200)
@each_target
def test_coverage_guided_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tests.hostile.fuzz", name),
            *("--seconds", str(_LONG_S), "--crashes", str(tmp_path / "crashes")),
        ],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=1000,
    )
    assert ended.returncode == 0, ended.stderr[-5000:].decode(errors="replace")
    assert not list((tmp_path / "crashes").iterdir())
