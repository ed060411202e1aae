"""``python -m torsync``."""

from __future__ import annotations

import sys

from torsync.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
