"""The configuration file and the state directory: there, right, and private where they must be."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torsync.model.checkup import CONFIGURATION, Finding, failed, ok, skipped, warning
from torsync.service.doctor.space import judge_state_space, measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torsync.model.config import Config
    from torsync.model.errors import ConfigError


def tell_problems(error: ConfigError, path: Path) -> list[Finding]:
    """Tell what is wrong with a configuration: every problem, with its line."""
    if not error.problems:
        hint = error.hint or f"correct {path}"
        return [failed(CONFIGURATION, error.message, hint)]
    hint = f"correct {path}; until then a running service keeps what it has"
    return [failed(CONFIGURATION, problem, hint) for problem in error.problems]


def check_configuration(config: Config, path: Path) -> list[Finding]:
    """Tell what a configuration that is right has, and whether its secrets are."""
    has = " and ".join(
        f"{len(names)} {noun}{'s' * (len(names) != 1)}"
        for noun, names in (
            ("subscription", config.subscriptions),
            ("publication", config.publications),
        )
        if names
    )
    secrets = list(secrets_in(config))
    mode = stat.S_IMODE(path.stat().st_mode)
    return [ok(CONFIGURATION, f"{str(path)!r} is right: {has}"), judge_mode(path, mode, secrets)]


def secrets_in(config: Config) -> Iterator[str]:
    """Which keys of a configuration hold something that others should not read."""
    for name, one in config.subscriptions.items():
        if any(not value.startswith("env:") for value in one.headers.values()):
            yield f"headers of {name}"
        if urlsplit(one.url).password:
            yield f"url of {name}"
    if config.notify.urls:
        yield "urls of [notify]"


def judge_mode(path: Path, mode: int, secrets: list[str]) -> Finding:
    """Decide whether others may read a configuration file.

    Args:
        path: of the file.
        mode: its permissions.
        secrets: keys in it that others should not read.
    """
    check = "configuration.private"
    if not secrets:
        return ok(check, f"it holds no secrets; its mode is {mode:04o}")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        said = f"everybody can read {', '.join(secrets)} (mode {mode:04o})"
        return warning(
            check, said, f"run `chmod 600 {path}`, or write env:NAME where it is allowed"
        )
    return ok(check, f"it holds secrets, and others cannot read it (mode {mode:04o})")


def check_state_dir(state_dir: Path) -> list[Finding]:
    """See that torsync can remember things."""
    check = "state_dir.access"
    if not state_dir.exists():
        parent = next(one for one in state_dir.parents if one.exists())
        if not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            said = f"{str(state_dir)!r} is not there, and cannot be made in {str(parent)!r}"
            return [failed(check, said, "name another with --state-dir")]
        return [skipped(check, f"{str(state_dir)!r} is made at the first check")]
    if not state_dir.is_dir():
        said = f"{str(state_dir)!r} is no folder"
        return [failed(check, said, "name another with --state-dir")]
    return [judge_access(state_dir), judge_state_space(state_dir, measure(state_dir))]


def judge_access(state_dir: Path) -> Finding:
    """See whether this user may use a state directory, and others may not."""
    check = "state_dir.access"
    user = os.geteuid()
    status = state_dir.stat()
    if os.statvfs(state_dir).f_flag & os.ST_RDONLY:
        said = f"the file system of {str(state_dir)!r} is mounted read-only"
        return failed(check, said, f"see `findmnt -T {state_dir}`, or use another: --state-dir")
    for folder in (state_dir, state_dir / "trees", state_dir / "publications"):
        if folder.is_dir() and not os.access(
            folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True
        ):
            said = f"user {user} may not write in {str(folder)!r}, which is user {status.st_uid}'s"
            hint = f"run torsync as that user, or `chown -R {user} {state_dir}`"
            return failed(check, said, hint)
    if status.st_uid != user:
        said = f"{str(state_dir)!r} is user {status.st_uid}'s, and this is user {user}"
        return warning(check, said, "run every torsync command as the user that the service has")
    return ok(check, f"{str(state_dir)!r} can be used (mode {stat.S_IMODE(status.st_mode):04o})")
