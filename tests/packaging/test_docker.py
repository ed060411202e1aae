"""The container: what its files say is there, and its health check asks the real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.cli import Torsync
from tests.support.processes import wait_until
from torsync.cli.parser import make_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "packaging" / "docker"


@pytest.fixture
def torsync(tmp_path: Path) -> Iterator[Torsync]:
    with Torsync(tmp_path) as program:
        yield program


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile with its text, continued lines joined."""
    lines = (DOCKER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = text.replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined if line.strip()]


def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = [
        word
        for name, text in instructions()
        if name == "COPY" and "--from" not in text
        for word in text.split()[:-1]
        if not word.startswith("--")
    ]
    assert copied
    assert [word for word in copied if not (ROOT / word).exists()] == []
    assert [word for word in copied if word not in allowed] == []


def test_the_command_is_one_that_torsync_understands() -> None:
    last = dict(instructions())
    words = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    parsed = make_parser().parse_args(words[1:])
    assert (words[0], parsed.command) == ("torsync", "run")
    folders = json.loads(last["VOLUME"])
    assert {str(parsed.config.parent), str(parsed.state_dir)} < set(folders)
    assert {volume.split(":")[1] for volume in compose()["torsync"]["volumes"]} == set(folders)


def test_it_is_not_root_s() -> None:
    assert dict(instructions())["USER"] == "1000:1000"
    assert compose()["torsync"]["user"] == "1000:1000"


def test_compose_builds_from_where_the_dockerfile_expects() -> None:
    build = compose()["torsync"]["build"]
    context = (DOCKER / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).samefile(DOCKER / "Dockerfile")


def health(torsync: Torsync) -> int:
    return subprocess.run(
        [sys.executable, "-I", str(DOCKER / "health.py"), str(torsync.state_dir)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "http_proxy": "http://127.0.0.1:9"},
        timeout=60,
    ).returncode


def test_health_is_that_the_service_answers(tmp_path: Path, torsync: Torsync) -> None:
    torsync.subscribe(url=(tmp_path / "nothing.torrent").as_uri())
    assert health(torsync) != 0
    running = torsync.start("run")
    address = torsync.state_dir / "control" / "address"
    wait_until(address.exists, "the control API is up", deadline_s=60)
    assert health(torsync) == 0
    assert running.stop(signal.SIGTERM, within_s=60).exit_code == 0
    assert health(torsync) != 0
