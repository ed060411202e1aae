"""The service as a whole, in a few words."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.config import Config
    from torsync.service.hub import Hub


def what_runs(config: Config) -> str:
    """Count what a service works on, and name its process."""
    numbers = {"subscription": len(config.subscriptions), "publication": len(config.publications)}
    said = [f"{n:,} {what}{'' if n == 1 else 's'}" for what, n in numbers.items() if n]
    return f"{', '.join(said)}, as process {os.getpid()}"


def summary_of(names: Iterable[str], hub: Hub) -> str:
    """Count what subscriptions and publications are doing, for ``systemctl status``."""
    stages = (hub.live(name).stage for name in names)
    told = Counter("starting" if stage is None else stage.value for stage in stages)
    return ", ".join(f"{count} {said}" for said, count in sorted(told.items()))
