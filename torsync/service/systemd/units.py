"""The texts that systemd is given: units, the account, folders, and a drop-in for trees.

Pure, and their one source: ``packaging/generate.py`` writes those of packages, ``torsync service
install`` those of this installation. Restart rules name the exit codes of ``model.errors``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ACCOUNT = "torsync"


class Scope(str, Enum):
    """Whose manager runs the service."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Unit:
    """What differs from one unit to the next.

    Attributes:
        scope: whose manager runs it.
        program: what starts torsync, and its first arguments.
        config: the configuration file, as the unit names it.
        state_dir: the state directory, as the unit names it.
        account: that a system unit runs as.
        state_name: of the folder in /var/lib that systemd makes for the account; "" where the
            state is elsewhere.
        specifiers: whether paths have systemd's (``%h``), which then stay as they are.
    """

    scope: Scope
    program: Sequence[str]
    config: str
    state_dir: str
    account: str = ACCOUNT
    state_name: str = ""
    specifiers: bool = False


PACKAGED_SYSTEM = Unit(
    Scope.SYSTEM,
    ("/usr/bin/torsync",),
    "/etc/torsync/config.toml",
    "/var/lib/torsync",
    state_name="torsync",
)
PACKAGED_USER = Unit(
    Scope.USER,
    ("/usr/bin/torsync",),
    "%E/torsync/config.toml",
    "%h/.local/state/torsync",
    specifiers=True,
)


def unit_text(unit: Unit) -> str:
    """Write a unit file."""
    parts = [_HEAD]
    if unit.scope is Scope.SYSTEM:
        parts.append(_AFTER_NETWORK)
    parts.append(_command(unit))
    parts.append(_RULES.format(usage=ExitCode.USAGE.value, interrupted=ExitCode.INTERRUPTED.value))
    if unit.scope is Scope.SYSTEM:
        parts.append(_system_part(unit))
    parts.append(_HARDENING)
    if unit.scope is Scope.SYSTEM:
        parts.append(_SYSTEM_HARDENING)
    target = "multi-user.target" if unit.scope is Scope.SYSTEM else "default.target"
    parts.append(f"[Install]\nWantedBy={target}\n")
    return "\n".join(parts)


def trees_text(paths: Iterable[str]) -> str:
    """Write the drop-in that lets a system unit write to folders."""
    lines = [f"ReadWritePaths=-{quoted(path)}" for path in paths]
    return "\n".join([_TREES, *(lines or [_NO_TREES]), ""])


def sysusers_text(account: str = ACCOUNT, home: str = PACKAGED_SYSTEM.state_dir) -> str:
    """Write the account's line for sysusers.d(5)."""
    return (
        "# The account that the service runs as; no password, no shell.\n"
        f'u {account} - "torsync, folders kept equal to remote torrents" {quoted(home)}\n'
    )


def tmpfiles_text() -> str:
    """Write the lines for tmpfiles.d(5)."""
    return (
        "# The configuration may hold secrets: root writes it, the service reads it.\n"
        f"z /etc/torsync             0750 root {ACCOUNT} -\n"
        f"z /etc/torsync/config.toml 0640 root {ACCOUNT} -\n"
        "z /etc/torsync/environment 0600 root root -\n"
        "# The state, with the token of the control API.\n"
        f"d /var/lib/torsync         0700 {ACCOUNT} {ACCOUNT} -\n"
    )


def quoted(text: str, *, command: bool = False) -> str:
    """Write a word as systemd.syntax(7) has it; nothing in it is expanded.

    Args:
        text: the word.
        command: whether it is for a command line, where "$" has a meaning, too.
    """
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    for char, escape in (("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(char, escape)
    if command:
        text = text.replace("$", "$$")
    is_plain = text and not any(char in " \\\"';" for char in text)
    return text if is_plain else f'"{text}"'


def _command(unit: Unit) -> str:
    def word(text: str) -> str:
        return text if unit.specifiers else quoted(text, command=True)

    words = [
        *(quoted(part, command=True) for part in unit.program),
        "--config",
        word(unit.config),
        "--state-dir",
        word(unit.state_dir),
        "run",
    ]
    return f"[Service]\nExecStart={' '.join(words)}"


def _system_part(unit: Unit) -> str:
    text = _SYSTEM.format(account=unit.account)
    if unit.state_name:
        text += _STATE_DIRECTORY.format(name=unit.state_name)
    else:
        text += f"# The state directory.\nReadWritePaths={quoted(unit.state_dir)}\n"
    return text


_HEAD = """\
[Unit]
Description=torsync: folders kept equal to what remote .torrent files describe
Documentation=man:torsync(1)
# No limit to restarts: they are RestartSec apart, and what no restart mends is not restarted.
StartLimitIntervalSec=0
"""

_AFTER_NETWORK = """\
# The feed may listen on an address that is there once the network is. Nothing else waits for it:
# polls and peers that cannot be reached are tried again.
Wants=network-online.target
After=network-online.target nss-lookup.target
"""

_RULES = """\
# The service tells when it is ready, reloads and stops. (`notify-reload` would let `systemctl
# reload` wait for the end of a reload. It needs systemd 253; older ones take it for `simple`.)
Type=notify
NotifyAccess=main
# Read the configuration anew. A broken one is refused, and the running one kept.
ExecReload=/bin/kill -HUP $MAINPID
# A crash, a hang or a failure: start again, after a while. Exit code {usage} is a mistake in the
# configuration or the command line, which only a person can mend: that is not started again.
# {interrupted} is SIGINT by hand, and an end like that by SIGTERM (0).
Restart=on-failure
RestartSec=15s
RestartPreventExitStatus={usage}
SuccessExitStatus={interrupted}
# Its main loop tells all the time that it is alive. When that is silent for so long, the service
# hangs (or the machine does), and is killed and started again.
WatchdogSec=3min
# It is ready when the configuration is right, and the feed and the control API answer. What is
# slow (hashing, finishing an update that was cut off) comes after that.
TimeoutStartSec=2min
# At SIGTERM it tells trackers, saves its state and ends; its workers end with it. What is left
# then is killed: every moment can be the last one, nothing is lost.
KillMode=mixed
TimeoutStopSec=1min
# A hook that runs out of memory is not the end of the service.
OOMPolicy=continue
# Each peer, file and request takes a descriptor; libtorrent sizes its cache of files by this.
LimitNOFILE=65536
"""

_SYSTEM = """\
# An account of its own: it writes where that account may, and in ReadWritePaths only.
User={account}
# What it installs is for others to read.
UMask=0022
# Secrets for `headers = {{ … = "env:NAME" }}` and TORSYNC_KEY_PASSWORD; systemd reads it as root.
EnvironmentFile=-/etc/torsync/environment
"""

_STATE_DIRECTORY = """\
# The state directory, /var/lib/{name}: for the account alone.
StateDirectory={name}
StateDirectoryMode=0700
"""

_HARDENING = """\
# Hooks run under all of what follows, too.
# No program that it starts gains rights by a setuid bit (sudo in a hook does not work).
NoNewPrivileges=yes
# No setuid or setgid bits on files that come from a release.
RestrictSUIDSGID=yes
# It never needs real-time priority, with which a bug could stall the machine.
RestrictRealtime=yes
# No switch to an old kernel's behaviour, with which exploits begin.
LockPersonality=yes
# Only this machine's own system calls: the 32-bit ones are less well guarded.
SystemCallArchitectures=native
"""

_SYSTEM_HARDENING = """\
# Everything is read-only but the state directory and ReadWritePaths: see torsync.service.d.
ProtectSystem=strict
# Home folders can be published, and be written where ReadWritePaths says so.
ProtectHome=read-only
# /tmp and /var/tmp of its own: names in them cannot be guessed or taken by others.
PrivateTmp=yes
# No disks, no consoles, no cameras: only /dev/null and the like.
PrivateDevices=yes
# No right of root's. (Ports below 1024 for the feed: add CAP_NET_BIND_SERVICE here and to
# AmbientCapabilities.)
CapabilityBoundingSet=
AmbientCapabilities=
# Other accounts' processes, and all of /proc that is not about processes, are not its business.
# (A `before_update` that looks for one of them takes ProtectProc=default and ProcSubset=all.)
ProtectProc=invisible
ProcSubset=pid
# The kernel's settings, modules, log, control groups, host name and clock are others' to change.
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectClock=yes
# Peers and web servers; the journal and systemd; and the kernel's list of network interfaces.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
# No namespaces: it has no use for containers, and exploits do.
RestrictNamespaces=yes
# Memory is never both written and run, so that what a peer sends cannot become a program.
MemoryDenyWriteExecute=yes
# What services need, without what only root may. A call that is not allowed fails; it does not
# kill the service.
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
# Nothing of the account's is left in shared memory or the keyring after the service's end.
RemoveIPC=yes
KeyringMode=private
"""

_TREES = """\
# Where the service may write, besides its state directory: the folders of subscriptions, and of
# publications (for TREE/.torsync) and their `torrent`. One line each; "-": it may be missing
# at the start. Its parent must be writable for a folder that the service is to make.
# For a tree on a disk that may be unplugged, name the mount point: a folder inside it would
# keep the disk in use.
# After a change: systemctl daemon-reload && systemctl restart torsync
[Service]"""

_NO_TREES = "# ReadWritePaths=-/srv/skyrim"
