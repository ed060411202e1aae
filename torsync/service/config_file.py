"""The configuration file: where it is, reading it, and adding to it without ever breaking it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from torsync.model.config_edit import add_subscription
from torsync.model.config_parse import parse_config
from torsync.model.errors import BusyError, ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torsync.model.config import Config

_LOCK_TIMEOUT_S = 10.0


def default_config_path() -> Path:
    """Where the configuration is, unless ``--config`` says otherwise."""
    from platformdirs import user_config_path  # noqa: PLC0415 - costs start-up time

    return user_config_path("torsync") / "config.toml"


def default_state_dir() -> Path:
    """Where torsync keeps its state, unless ``--state-dir`` says otherwise."""
    from platformdirs import user_state_path  # noqa: PLC0415 - costs start-up time

    return user_state_path("torsync")


class LibtorrentSettings(Mapping[str, type]):
    """libtorrent's settings and their types; it is imported when the first one is looked up."""

    def __getitem__(self, name: str) -> type:
        return _setting_types()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_setting_types())

    def __len__(self) -> int:
        return len(_setting_types())


@cache
def _setting_types() -> dict[str, type]:
    from torsync.swarm.settings import setting_types  # noqa: PLC0415 - costs start-up time

    return setting_types()


def load_config(
    path: Path, *, state_dir: Path, setting_types: Mapping[str, type] | None = None
) -> Config:
    """Read a configuration file.

    Args:
        path: of the file.
        state_dir: the state directory: no tree may contain it, nor the file itself.
        setting_types: libtorrent's settings by name, with their types; None leaves them unchecked.

    Raises:
        ConfigError: the file is missing, unreadable or wrong; see :func:`parse_config`.
    """
    text = _read_text(path)
    if text is None:
        raise ConfigError(
            f"there is no configuration file {path}",
            hint="run `torsync init URL PATH` to make one with a first subscription",
        )
    return _parse(text, path, state_dir, setting_types)


def write_subscription(
    path: Path,
    name: str,
    url: str,
    tree: str,
    *,
    state_dir: Path,
    public_keys: Sequence[str] = (),
) -> Config:
    """Add a subscription to a configuration file, which is made if it does not exist.

    The file changes in one atomic step, and only if the result is a valid configuration. A
    symbolic link stays one: the file that it points to changes.

    Args:
        path: of the file.
        name: of the new subscription.
        url: of its ``.torrent``.
        tree: its folder, as it is to stand in the file.
        state_dir: the state directory: no tree may contain it, nor the file itself.
        public_keys: that its releases must be signed with; none: they need no signature.

    Returns:
        The configuration with the new subscription.

    Raises:
        UsageError: there is a subscription of that name, or TOML cannot hold what is given.
        ConfigError: the file cannot be read or written, or is or would be wrong.
        BusyError: another process has been changing the file for ten seconds.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - costs start-up time

    target = Path(os.path.realpath(path))
    lock = FileLock(f"{target}.lock", timeout=_LOCK_TIMEOUT_S)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock:
            text = _read_text(path) or ""
            before = _parse(text, path, state_dir, None)
            if name in before.publications:
                raise UsageError(
                    f'there is a publication named "{name}" already',
                    hint="choose another name with --name",
                )
            extended = add_subscription(text, name, url, tree, public_keys)
            try:
                config = _parse(extended, path, state_dir, None)
            except ConfigError as error:
                raise ConfigError(
                    f"nothing was added to {path}: it would be wrong then",
                    problems=error.problems,
                    hint="choose another folder, URL or name",
                ) from None
            _replace(target, extended.encode())
    except Timeout:
        raise BusyError(
            f"another process is changing the configuration file {path}",
            hint=f"wait until it is done; the lock is {lock.lock_file}",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot write the configuration file {path}: {error.strerror or error}",
            hint="check the permissions of the file and its folder",
        ) from error
    return config


def _parse(
    text: str, path: Path, state_dir: Path, setting_types: Mapping[str, type] | None
) -> Config:
    protected = [str(state_dir), str(path)]
    if path.is_symlink():
        protected.append(str(path.parent))  # the link itself counts, besides what it points to
    return parse_config(
        text,
        source=str(path),
        home=os.path.expanduser("~"),
        environ=os.environ,
        setting_types=setting_types,
        resolve=os.path.realpath,
        protected=tuple(protected),
    )


def _read_text(path: Path) -> str | None:
    """Read the file as it is, line ends included; None if there is none."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration file {path}: {error.strerror or error}",
            hint="check that it is a file that you may read",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"the configuration file {path} is not UTF-8: line {line} has other bytes",
            problems=(
                f"{path}:{line}: encoding: expected UTF-8, found other bytes; save it as UTF-8",
            ),
            hint="save the file with the encoding UTF-8",
        ) from error


def _replace(target: Path, content: bytes) -> None:
    """Give a file new content in one step that survives a crash; it keeps its mode and owner."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _copy_mode_and_owner(target, descriptor)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _copy_mode_and_owner(source: Path, descriptor: int) -> None:
    """Make a new file like the one it replaces; where there is none, it stays private."""
    try:
        status = source.stat()
    except FileNotFoundError:
        return
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
