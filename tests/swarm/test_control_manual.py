"""The examples of the manual's page about the control API, as they are printed there."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.programs import require
from tests.support.torrents import make_libtorrent
from tests.support.trees import write_tree

if TYPE_CHECKING:
    from tests.support.cli import Publisher, Torsync

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
_TIMED_OUT = 28  # curl's, by --max-time


@pytest.mark.programs
def test_the_examples_work(tmp_path: Path, torsync: Torsync, publisher: Publisher) -> None:
    require("curl")
    page = README.partition("\n## Control API\n")[2].partition("\n## ")[0]
    (script,) = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    folder = write_tree(tmp_path / "release", {"a": 100})
    publisher.publish(make_libtorrent(folder), folder)
    torsync.subscribe("skyrim", **torsync.subscriptions.pop("pack"))
    service = torsync.start("run")
    service.wait_for_stage("skyrim", "waiting")
    home = tmp_path / "someone"
    (home / ".local" / "state").mkdir(parents=True)
    (home / ".local" / "state" / "torsync").symlink_to(torsync.state_dir)
    script = re.sub(r"^api ", "echo; echo =; api ", script, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**torsync.environment(), "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == _TIMED_OUT, done.stderr
    said = [one.strip() for one in done.stdout.split("\n=\n")[1:]]
    status, history, plan, check, verify, reload, metrics, events = said
    assert json.loads(status)["subscriptions"][0]["name"] == "skyrim"
    assert json.loads(history)["publications"] == []
    for text in (plan, check, verify):
        last = json.loads(text.splitlines()[-1])
        assert (last["type"], last["report"]["name"]) == ("report", "skyrim")
    assert json.loads(reload)["unchanged"] == ["skyrim"]
    assert list(text_string_to_metric_families(metrics))
    assert events.startswith(": listening")
    token = (torsync.state_dir / "control" / "token").read_text().strip()
    assert token not in done.stdout + done.stderr
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0
    assert token not in str(service.objects()) + str(service.errors())
