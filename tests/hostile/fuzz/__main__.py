"""Fuzz one target with atheris; exits with 0 if nothing was found."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.hostile.fuzz.targets import CORPUS, NAMES

_SLOWEST_S = 60  # for one input; a target itself has a closer bound of processor time
_MOST_MIB = 2048


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument(
        "--crashes",
        type=Path,
        default=Path("crashes"),
        help="folder for inputs that a fault was found with (default: crashes)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; 0: any")
    parser.add_argument("--keep", type=Path, help="folder for inputs that reach new code")
    return parser.parse_args()


def main() -> None:
    """Run; atheris ends the process."""
    given = _arguments()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is needed: pip install 'torsync[fuzz]'")
    from tests.hostile.fuzz.targets import load_target

    with atheris.instrument_imports(include=["torsync", "minisign"]):
        target = load_target(given.target)
    given.crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="torsync-fuzz-") as scratch:
        kept = given.keep or Path(scratch) / "found"
        kept.mkdir(parents=True, exist_ok=True)
        options = [
            sys.argv[0],
            f"-max_total_time={given.seconds}",
            f"-max_len={target.MAX_BYTES}",
            f"-timeout={_SLOWEST_S}",
            f"-rss_limit_mb={_MOST_MIB}",
            f"-artifact_prefix={given.crashes}{os.sep}{given.target}-",
            f"-seed={given.seed}",
            "-print_final_stats=1",
            str(kept),
            str(CORPUS / given.target),
        ]
        mutate = getattr(target, "mutate", None)

        def mutator(data: bytes, most_bytes: int, seed: int) -> bytes:
            found = mutate(data, most_bytes, seed) if seed % 3 else None
            return atheris.Mutate(data, most_bytes) if found is None else found

        extra = {"custom_mutator": mutator} if mutate is not None else {}
        atheris.Setup(options, target.try_one, **extra)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
