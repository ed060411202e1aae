"""``python -m tests.swarms``: have real swarms in network namespaces, and print what they cost."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.swarms.scenarios import SCENARIOS, Terms

_HEADINGS = ("scenario", "seconds", "ideal s", "times", "MB sent", "copies", "note")
_FORMAT = "{:17} {:>8} {:>8} {:>6} {:>8} {:>7}  {}"


def main() -> None:
    """Run the scenarios one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.swarms", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--subscribers", type=int, default=Terms.subscribers)
    parser.add_argument("--mb", type=float, default=Terms.size_bytes / 1e6, help="of a release")
    parser.add_argument("--uplink", type=float, default=Terms.uplink_mbit, help="Mbit/s")
    parser.add_argument("--line", type=float, default=Terms.line_mbit, help="Mbit/s, of others")
    parser.add_argument("--no-tracker", action="store_true", help="the feed alone")
    parser.add_argument("--rtt", type=float, default=0, help="round-trip time in ms")
    parser.add_argument("--loss", type=float, default=0, help="part of all packets, with --rtt")
    parser.add_argument("--congestion-control", default="", help="of TCP, with --rtt")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=JSON")
    parser.add_argument("--publication", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--dir", type=Path, help="where everything is written")
    given = parser.parse_args()
    unknown = set(given.names) - set(SCENARIOS)
    if unknown:
        parser.error(f"there is no scenario {min(unknown)!r}; there are {', '.join(SCENARIOS)}")
    # Networks and processes end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    terms = replace(
        Terms(),
        subscribers=given.subscribers,
        size_bytes=round(given.mb * 1e6),
        uplink_mbit=given.uplink,
        line_mbit=given.line,
        tracker=not given.no_tracker,
        settings=_pairs(given.set),
        publication=_pairs(given.publication),
        rtt_ms=given.rtt,
        loss=given.loss,
        congestion_control=given.congestion_control,
    )
    print(_FORMAT.format(*_HEADINGS), flush=True)
    for name in given.names or SCENARIOS:
        for _ in range(given.repeat):
            with tempfile.TemporaryDirectory(prefix="swarm-", dir=given.dir) as folder:
                found = SCENARIOS[name](Path(folder), terms)
            cells = (
                name,
                f"{found.seconds:.1f}",
                f"{found.ideal_s:.1f}",
                f"{found.times_ideal:.2f}",
                f"{found.sent_bytes / 1e6:.1f}",
                f"{found.copies:.2f}",
                found.note,
            )
            print(_FORMAT.format(*cells).rstrip(), flush=True)


def _pairs(given: list[str]) -> tuple[tuple[str, object], ...]:
    pairs = [one.partition("=") for one in given]
    return tuple((name, json.loads(value)) for name, _, value in pairs)


if __name__ == "__main__":
    main()
