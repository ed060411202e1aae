#!/usr/bin/env python3
"""Ends with 0 if the service that works with a state directory answers.

health.py STATE_DIR
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

_TIMEOUT_S = 8
_SERVER_ERROR = 500


def main(state_dir: Path) -> None:
    """Ask the control API for the status; a service that does not answer is an exception."""
    control = state_dir / "control"
    address = (control / "address").read_text(encoding="utf-8").strip()
    token = (control / "token").read_text(encoding="utf-8").strip()
    request = Request(  # noqa: S310 - the service wrote the address
        f"{address}/api/v1/status", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT_S) as answer:
            answer.read()
    except HTTPError as error:
        if error.code >= _SERVER_ERROR:
            raise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
