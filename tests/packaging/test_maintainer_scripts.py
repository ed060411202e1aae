"""The Debian package's scripts: what is left after ``dpkg --purge``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.programs import require
from tests.support.trees import write_tree
from torsync.publish.state import publication_folder
from torsync.service.control.credentials import control_folder
from torsync.service.logbook import log_folder
from torsync.subscribe.state import state_folder

ROOT = Path(__file__).parents[2]


def purge(root: Path) -> None:
    script = (ROOT / "packaging/debian/postrm").read_text(encoding="utf-8")
    for folder in ("/var/lib/torsync", "/etc/torsync"):
        assert folder in script
        script = script.replace(folder, f"{root}{folder}")
    subprocess.run([require("sh"), "-c", script, "postrm", "purge"], check=True, timeout=60)


def test_purge_removes_what_torsync_can_find_out_again(tmp_path: Path) -> None:
    state = tmp_path / "var/lib/torsync"
    tree = Path("/srv/pack")
    for folder in (
        state_folder(state, tree),
        publication_folder(state, tree),
        control_folder(state),
        log_folder(state),
        state / "service",
    ):
        write_tree(folder, {"file": b"known"})
    (tmp_path / "etc/torsync").mkdir(parents=True)
    purge(tmp_path)
    assert not state.exists()
    assert not (tmp_path / "etc/torsync").exists()
    purge(tmp_path)  # dpkg does so again after it failed elsewhere


def test_purge_leaves_trees_and_keys_that_nobody_could_bring_back(tmp_path: Path) -> None:
    key = tmp_path / "etc/torsync/minisign.key"
    save = tmp_path / "var/lib/torsync/skyrim/save.ini"
    write_tree(key.parent, {key.name: b"secret"})
    write_tree(save.parent, {save.name: b"of the user"})
    purge(tmp_path)
    assert (key.read_bytes(), save.read_bytes()) == (b"secret", b"of the user")
