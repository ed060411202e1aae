"""``python -m torsync``."""

from __future__ import annotations

from torsync.cli.main import run

if __name__ == "__main__":
    run()
