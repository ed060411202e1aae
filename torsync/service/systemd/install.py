"""``torsync service install`` and ``uninstall``: a unit for this installation of torsync."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torsync.model.errors import TorsyncError, UsageError
from torsync.model.service_report import ServiceReport
from torsync.service.systemd.sealed import check_unedited, is_sealed, write_sealed
from torsync.service.systemd.units import (
    ACCOUNT,
    Scope,
    Unit,
    sysusers_text,
    trees_text,
    unit_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torsync.model.config import Config
    from torsync.service.systemd.machine import Account, Machine

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ETC = "/etc/torsync"
_LIB = "/var/lib"
_PACKAGED = ("/usr/lib/systemd/system", "/lib/systemd/system")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The service to install.

    Attributes:
        scope: whose manager runs it; None: the system's for root, else the user's.
        name: of the unit, without ``.service``.
        program: what starts this installation of torsync.
        config: the configuration file; None: the usual one for the scope and name.
        state_dir: the same of the state directory.
        account: that a system service runs as; "": one of its own.
        force: overwrite, or remove, a unit that somebody else wrote or edited.
        start: run it, if there is a configuration.
    """

    program: Sequence[str]
    scope: Scope | None = None
    name: str = "torsync"
    config: Path | None = None
    state_dir: Path | None = None
    account: str = ""
    force: bool = False
    start: bool = True


class Installer:
    """Installs and uninstalls one unit."""

    def __init__(
        self,
        wanted: Wanted,
        machine: Machine,
        *,
        user_config: Path,
        user_state: Path,
        load: Callable[[Path, Path], Config],
    ) -> None:
        """Prepare.

        Args:
            wanted: the service.
            machine: to install it on.
            user_config: the usual configuration file of a user.
            user_state: the usual state directory of a user.
            load: reads a configuration file, given a state directory.

        Raises:
            UsageError: the name cannot be a unit's, or only root may do that.
        """
        self._wanted = wanted
        self._machine = machine
        self._load = load
        self._scope = wanted.scope or (Scope.USER if machine.uid else Scope.SYSTEM)
        if self._is_system and machine.uid:
            raise UsageError(
                "a system service is for root to install",
                hint="use sudo, or --user for a service of your own",
            )
        if not self._is_system and wanted.account:
            raise UsageError(
                "--run-as is for a system service; one of --user runs as that user",
                hint="leave it out, or give --system",
            )
        if not _NAME.fullmatch(wanted.name) or wanted.name.endswith(".service"):
            raise UsageError(
                f"a unit cannot be called {wanted.name!r}",
                hint='choose a name of letters, digits, "_", "." and "-", without ".service"',
            )
        self._unit = f"{wanted.name}.service"
        usual = wanted.name == "torsync"
        if self._is_system:
            config = Path(_ETC, "config.toml" if usual else f"{wanted.name}.toml")
            state = Path(_LIB, wanted.name)
        else:
            config = user_config if usual else user_config.with_name(f"{wanted.name}.toml")
            state = user_state if usual else user_state.with_name(wanted.name)
        self._config = (wanted.config or config).absolute()
        self._state_dir = (wanted.state_dir or state).absolute()
        self._next_steps: list[str] = []

    @property
    def _is_system(self) -> bool:
        return self._scope is Scope.SYSTEM

    @property
    def _folder(self) -> Path:
        """Where this manager's units are that no package brings."""
        if self._is_system:
            return self._machine.path("/etc/systemd/system")
        home = self._machine.environ.get("XDG_CONFIG_HOME") or str(
            Path(self._machine.environ.get("HOME", "~")).expanduser() / ".config"
        )
        return self._machine.path(home) / "systemd/user"

    @property
    def _unit_file(self) -> Path:
        return self._folder / self._unit

    @property
    def _trees_file(self) -> Path:
        return self._folder / f"{self._unit}.d" / "trees.conf"

    def install(self) -> ServiceReport:
        """Write the unit, enable it, and start it if there is a configuration.

        Raises:
            ConfigError: there is a configuration, and it is wrong; nothing was done.
            RefusedError: the unit is not torsync's to overwrite; nothing was done.
            UsageError: the service could not run like that; nothing was done.
            CommandError: systemd did not take it; what was written stays.
        """
        force = self._wanted.force
        self._check_no_package()
        check_unedited(self._unit_file, force=force, unit=self._unit)
        check_unedited(self._trees_file, force=force, unit=self._unit)
        config = self._read_config()
        account = self._find_account() if self._is_system else None
        if account is not None:
            self._check_access(account, config)
        files = {self._unit_file: unit_text(self._unit_values())}
        if self._is_system:
            files[self._trees_file] = trees_text(_written_folders(config) if config else ())
        written = [str(path) for path, text in files.items() if write_sealed(path, text)]
        if account is not None:
            self._make_places(account)
        self._systemctl("daemon-reload")
        self._systemctl("enable", self._unit)
        starts = config is not None and self._wanted.start
        if starts:
            self._systemctl("restart" if written else "start", self._unit, hint=self._log_hint())
        self._add_next_steps(has_config=config is not None)
        return ServiceReport(
            "service install",
            self._unit,
            self._scope.value,
            changed=bool(written),
            started=starts,
            written_paths=tuple(written),
            commands=tuple(self._machine.commands),
            next_steps=tuple(self._next_steps),
        )

    def uninstall(self) -> ServiceReport:
        """Stop and disable the unit, and remove its files; configuration, state and trees stay.

        Raises:
            RefusedError: the unit is not torsync's to remove; nothing was done.
            CommandError: systemd did not stop it; nothing was removed.
        """
        check_unedited(self._unit_file, force=self._wanted.force, unit=self._unit)
        removed = []
        if self._unit_file.exists():
            self._systemctl("disable", "--now", self._unit)
            self._unit_file.unlink()
            removed.append(str(self._unit_file))
            if self._trees_file.exists() and is_sealed(
                self._trees_file.read_text(encoding="utf-8", errors="replace")
            ):
                self._trees_file.unlink()
                removed.append(str(self._trees_file))
                if not any(self._trees_file.parent.iterdir()):
                    self._trees_file.parent.rmdir()
            self._systemctl("daemon-reload")
            kept = f"{self._config}, {self._state_dir} and the folders stay as they are"
            self._next_steps.append(kept)
        return ServiceReport(
            "service uninstall",
            self._unit,
            self._scope.value,
            changed=bool(removed),
            removed_paths=tuple(removed),
            commands=tuple(self._machine.commands),
            next_steps=tuple(self._next_steps),
        )

    def _check_no_package(self) -> None:
        if not self._is_system or self._wanted.force:
            return
        for folder in _PACKAGED:
            if (self._machine.path(folder) / self._unit).exists():
                raise UsageError(
                    f"a package has brought {folder}/{self._unit} already",
                    hint=f"use it with `systemctl enable --now {self._unit}`, or choose another "
                    "name with --name",
                )

    def _read_config(self) -> Config | None:
        if not self._machine.path(self._config).exists():
            return None
        config = self._load(self._machine.path(self._config), self._state_dir)
        if not (config.subscriptions or config.publications):
            return None
        return config

    def _find_account(self) -> Account:
        name = self._wanted.account or ACCOUNT
        found = self._machine.account(name)
        if found is None and self._wanted.account:
            raise UsageError(f"there is no account {name!r}", hint="make it, or leave --run-as out")
        if found is None:
            line = sysusers_text(home=str(self._state_dir)).splitlines()[1]
            self._machine.do(
                ["systemd-sysusers", "--inline", line],
                hint=f"make the account {name} by other means, then try again",
            )
            found = self._machine.account(name)
        if found is None:
            raise TorsyncError(
                f"systemd-sysusers has not made the account {name!r}",
                hint="make it by other means, then try again",
            )
        return found

    def _check_access(self, account: Account, config: Config | None) -> None:
        """Make sure that the account can start torsync, and say what it cannot write to."""
        for path, want in ((self._wanted.program[0], 1), (__file__, 4)):
            closed = self._machine.first_closed(path, account, want=want)
            if closed:
                raise UsageError(
                    f"{account.name!r} may not use this installation: {closed} is closed to it",
                    hint="install torsync where all may read it, such as /opt/torsync, or give "
                    "--run-as with the account that it belongs to",
                )
        if config is None:
            return
        closed = self._machine.first_closed(str(self._config), account, want=4)
        if closed:
            raise UsageError(
                f"{account.name!r} may not read the configuration: {closed} is closed to it",
                hint=f"run `{shlex.join(['chgrp', account.group, closed])} && "
                f"{shlex.join(['chmod', 'g+rX', closed])}`",
            )
        for folder in _written_folders(config):
            if not self._machine.path(folder).is_dir():
                make = shlex.join(["install", "-d", "-o", account.name, folder])
                self._next_steps.append(
                    f"make {folder}: `{make}`, then `systemctl restart {self._unit}`"
                )
            elif closed := self._machine.first_closed(folder, account, want=3):
                self._next_steps.append(f"let {account.name} write to {folder}: {closed} is closed")

    def _unit_values(self) -> Unit:
        state_name = ""
        name = self._state_dir.name
        if self._is_system and self._state_dir.parent == Path(_LIB) and _NAME.fullmatch(name):
            state_name = name  # others have a meaning in StateDirectory=: spaces, colons
        return Unit(
            self._scope,
            self._wanted.program,
            str(self._config),
            str(self._state_dir),
            account=self._wanted.account or ACCOUNT,
            state_name=state_name,
        )

    def _make_places(self, account: Account) -> None:
        """Make what the account needs and systemd does not make; an empty configuration, too.

        Made here, it is one that the account may read, and stays so when ``init`` adds to it.
        """
        if not self._machine.path(self._config).exists():
            mode = ("-m", "640", "-g", account.group)
            self._machine.do(["install", "-D", *mode, "/dev/null", str(self._config)])
        if not (self._unit_values().state_name or self._machine.path(self._state_dir).exists()):
            mode = ("-m", "700", "-o", account.name)
            self._machine.do(["install", "-d", *mode, str(self._state_dir)])

    def _add_next_steps(self, *, has_config: bool) -> None:
        if not has_config:
            files = ["--config", str(self._config), "--state-dir", str(self._state_dir)]
            init = f"torsync {shlex.join(files)} init URL PATH"
            self._next_steps.append(f"add a subscription: `{init}`")
            self._next_steps.append("then run `service install` again, which starts it")
        elif self._is_system:
            self._next_steps.append(
                "run it again after adding a folder to the configuration: the unit may write "
                "only to those that it knows"
            )
        if not self._is_system:
            self._add_linger()

    def _add_linger(self) -> None:
        user = str(self._machine.uid)  # who has one need not have a name here: LDAP may be away
        ended = self._machine.run(["loginctl", "show-user", user, "-p", "Linger", "--value"])
        if ended.output != "yes":
            self._next_steps.append(
                "it runs while you are logged in; `loginctl enable-linger` lets it run from boot on"
            )

    def _log_hint(self) -> str:
        of_user = "" if self._is_system else "--user "
        return f"see `journalctl {of_user}-u {self._unit} -n 20`"

    def _systemctl(self, *words: str, hint: str = "") -> None:
        of_user = () if self._is_system else ("--user",)
        if not hint and of_user:
            hint = "log in as this user (not with su or sudo), or use `machinectl shell USER@`"
        self._machine.do(["systemctl", *of_user, *words], hint=hint)


def _written_folders(config: Config) -> list[str]:
    """The folders that the service writes to, besides its own."""
    found = [str(one.path) for one in config.subscriptions.values()]
    for publication in config.publications.values():
        found.append(str(publication.path))
        if publication.torrent is not None:
            found.append(str(publication.torrent.parent))
    return list(dict.fromkeys(found))
