from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from torsync.model.errors import BusyError, ConfigError, UsageError
from torsync.service import config_file
from torsync.service.config_file import (
    default_config_path,
    default_state_dir,
    load_config,
    write_subscription,
)

URL = "https://mods.example/skyrim.torrent"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def path(home: Path) -> Path:
    folder = home / ".config" / "torsync"
    folder.mkdir(parents=True)
    return folder / "config.toml"


@pytest.fixture
def state_dir(home: Path) -> Path:
    return home / ".local" / "state" / "torsync"


def content(path: Path) -> dict[str, bytes]:
    """All files beside a path, but for the lock."""
    return {
        file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".lock"
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- where it is ---


def test_defaults_are_in_the_folders_of_the_user(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "conf"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    assert default_config_path().name == "config.toml"
    assert default_config_path().parent.name == "torsync"
    assert default_state_dir() != default_config_path().parent
    assert default_config_path().is_relative_to(home)
    assert default_state_dir().is_relative_to(home)


# --- reading ---


def test_file_is_read_with_home_and_environment(
    path: Path, state_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAME", "skyrim")
    path.write_text(f'[subscriptions.a]\nurl = "{URL}"\npath = "~/Games/$GAME"\n')
    config = load_config(path, state_dir=state_dir)
    assert config.subscriptions["a"].path == home / "Games" / "skyrim"


def test_missing_file_says_how_to_make_one(path: Path, state_dir: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file") as caught:
        load_config(path, state_dir=state_dir)
    assert str(path) in caught.value.message
    assert "torsync init URL PATH" in caught.value.hint


def test_file_that_cannot_be_read_is_named(path: Path, state_dir: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read") as caught:
        load_config(path, state_dir=state_dir)
    assert str(path) in caught.value.message


def test_file_that_is_not_utf_8_is_named_with_the_line(path: Path, state_dir: Path) -> None:
    path.write_bytes(b"[session]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        load_config(path, state_dir=state_dir)
    assert caught.value.problems[0].startswith(f"{path}:2: ")


def test_problems_begin_with_the_path_of_the_file(path: Path, state_dir: Path) -> None:
    path.write_text("\nx = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, state_dir=state_dir)
    assert caught.value.problems[0].startswith(f"{path}:2: x: ")


def test_settings_are_checked_where_their_types_are_given(path: Path, state_dir: Path) -> None:
    path.write_text("session.settings = { user_agent = 1 }\n")
    load_config(path, state_dir=state_dir)
    with pytest.raises(ConfigError):
        load_config(path, state_dir=state_dir, setting_types={"user_agent": str})


@pytest.mark.parametrize("tree", ["~", "~/.local", "~/.config", "~/link", "/"])
def test_tree_with_the_home_the_state_or_the_file_itself_is_refused(
    path: Path, state_dir: Path, home: Path, tree: str
) -> None:
    (home / "link").symlink_to(home / ".config")
    path.write_text(f'[subscriptions.a]\nurl = "{URL}"\npath = "{tree}"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path, state_dir=state_dir)
    assert caught.value.problems[0].startswith(f"{path}:3: subscriptions.a.path: ")


def test_tree_with_the_link_to_the_file_is_refused(path: Path, state_dir: Path, home: Path) -> None:
    real = home / "dotfiles.toml"
    real.write_text(f'[subscriptions.a]\nurl = "{URL}"\npath = "~/.config"\n')
    path.symlink_to(real)
    with pytest.raises(ConfigError) as caught:
        load_config(path, state_dir=state_dir)
    assert str(path.parent) in caught.value.problems[0]


# --- writing ---


def test_first_subscription_makes_a_private_file_and_its_folder(
    home: Path, state_dir: Path
) -> None:
    path = home / "new" / "folder" / "config.toml"
    config = write_subscription(path, "a", URL, "~/a", state_dir=state_dir)
    assert config.subscriptions["a"].path == home / "a"
    assert config == load_config(path, state_dir=state_dir)
    assert mode(path) == 0o600
    assert list(content(path)) == ["config.toml"]


def test_file_keeps_what_it_holds_its_line_ends_and_its_mode(path: Path, state_dir: Path) -> None:
    before = b"# mine\r\n[session]\r\ndht = false"
    path.write_bytes(before)
    path.chmod(0o640)
    config = write_subscription(path, "a", URL, "/srv/a", state_dir=state_dir)
    assert path.read_bytes().startswith(before + b"\r\n")
    assert mode(path) == 0o640
    assert config.session.dht is False
    assert list(config.subscriptions) == ["a"]


def test_link_stays_a_link_and_what_it_points_to_changes(
    path: Path, state_dir: Path, home: Path
) -> None:
    real = home / "dotfiles" / "torsync.toml"
    real.parent.mkdir()
    path.symlink_to(Path("../../dotfiles/torsync.toml"))
    write_subscription(path, "a", URL, "/srv/a", state_dir=state_dir)
    write_subscription(path, "b", URL, "/srv/b", state_dir=state_dir)
    assert path.is_symlink()
    assert not real.is_symlink()
    assert set(load_config(path, state_dir=state_dir).subscriptions) == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "url", "tree", "error"),
    [
        ("b", URL, "~/old/inside", ConfigError),
        ("b", URL, "~", ConfigError),
        ("b", URL, "relative", ConfigError),
        ("b", "ftp://h/x", "/srv/b", ConfigError),
        ("b c", URL, "/srv/b", ConfigError),
        ("old", URL, "/srv/b", UsageError),
        ("b", URL, "/srv/\udcff", UsageError),
    ],
)
def test_bad_addition_is_refused_and_the_file_stays_as_it_was(
    path: Path, state_dir: Path, name: str, url: str, tree: str, error: type[Exception]
) -> None:
    write_subscription(path, "old", URL, "~/old", state_dir=state_dir)
    before, status = content(path), path.stat()
    with pytest.raises(error):
        write_subscription(path, name, url, tree, state_dir=state_dir)
    assert content(path) == before
    assert path.stat().st_ino == status.st_ino


def test_a_bad_addition_is_told_as_such_and_not_as_a_bad_file(path: Path, state_dir: Path) -> None:
    path.write_text('[publications.maps]\npath = "/srv/maps"\ntorrent = "/srv/maps.torrent"\n')
    before = content(path)
    with pytest.raises(UsageError, match='a publication named "maps" already'):
        write_subscription(path, "maps", URL, "/srv/other", state_dir=state_dir)
    with pytest.raises(ConfigError, match="nothing was added") as caught:
        write_subscription(path, "inside", URL, "/srv/maps/inside", state_dir=state_dir)
    assert "/srv/maps" in caught.value.problems[0]
    assert content(path) == before


def test_bad_first_addition_makes_no_file(path: Path, state_dir: Path) -> None:
    with pytest.raises(ConfigError):
        write_subscription(path, "a", URL, "~", state_dir=state_dir)
    assert content(path) == {}


def test_file_that_is_wrong_already_is_refused_with_its_own_problems(
    path: Path, state_dir: Path
) -> None:
    path.write_text("[[subscriptions]]\n")
    with pytest.raises(ConfigError) as caught:
        write_subscription(path, "a", URL, "/srv/a", state_dir=state_dir)
    assert caught.value.problems[0].startswith(f"{path}:1: subscriptions: ")
    assert path.read_text() == "[[subscriptions]]\n"


@pytest.mark.parametrize("step", ["replace", "fsync", "fchmod"])
def test_failed_write_leaves_the_file_and_nothing_beside_it(
    path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path.write_text("[session]\n")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(config_file.os, step, fail)
    with pytest.raises(ConfigError, match=r"cannot write .* No space left") as caught:
        write_subscription(path, "a", URL, "/srv/a", state_dir=state_dir)
    assert str(path) in caught.value.message
    assert content(path) == {"config.toml": b"[session]\n"}


def test_content_and_folder_are_on_disk_before_success_is_told(
    path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("fsync folder" if is_folder else "fsync file")
        fsync(descriptor)

    def record_replace(source: str, target: Path) -> None:
        assert b"[subscriptions.a]" in Path(source).read_bytes()
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(config_file.os, "fsync", record_fsync)
    monkeypatch.setattr(config_file.os, "replace", record_replace)
    write_subscription(path, "a", URL, "/srv/a", state_dir=state_dir)
    assert steps == ["fsync file", "replace", "fsync folder"]


def test_other_owner_is_kept(path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("")
    status = path.stat()
    changed = []
    real_fstat = os.fstat

    def as_root(descriptor: int) -> os.stat_result:
        found = list(real_fstat(descriptor))
        found[stat.ST_UID] = status.st_uid + 1
        return os.stat_result(found)

    monkeypatch.setattr(config_file.os, "fstat", as_root)
    monkeypatch.setattr(config_file.os, "fchown", lambda _, uid, gid: changed.append((uid, gid)))
    write_subscription(path, "a", URL, "/srv/a", state_dir=state_dir)
    assert changed == [(status.st_uid, status.st_gid)]


def test_file_that_another_process_is_changing_is_busy(
    path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_file, "_LOCK_TIMEOUT_S", 0.0)
    with FileLock(f"{path}.lock"), pytest.raises(BusyError, match="another process"):
        write_subscription(path, "a", URL, "/srv/a", state_dir=state_dir)
    assert content(path) == {}


def test_additions_at_the_same_time_are_all_kept(path: Path, state_dir: Path) -> None:
    def add(number: int) -> None:
        write_subscription(path, f"n{number}", URL, f"/srv/{number}", state_dir=state_dir)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(16)))
    assert set(load_config(path, state_dir=state_dir).subscriptions) == {f"n{n}" for n in range(16)}
