"""The folder of a subscription: whether it is there, is the right one, and can be worked on."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.tree import Tree
from torsync.model.checkup import Finding, failed, failure, ok, skipped, warning
from torsync.model.errors import TorsyncError, TreeError
from torsync.model.guard import judge_marker, refuse_marker
from torsync.model.names import PRIVATE_FOLDER
from torsync.subscribe.admission import is_there
from torsync.subscribe.marker import read_marker

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.service.doctor.remembered import Remembered

_MOST_ENTRIES = 50_000
_MOST_SECONDS = 5.0
_MOST_NAMED = 3
_LOOK = "check the path in the configuration, and the disk"


class Access(NamedTuple):
    """What a user may not do in a folder, by path; and whose the folder is.

    Attributes:
        closed: folders that cannot be listed, or in which nothing can be replaced.
        unreadable: files whose content cannot be read.
        foreign: how many files belong to another user.
        looked_at: how many entries there were.
        is_all: whether every entry was looked at.
    """

    closed: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    foreign: int = 0
    looked_at: int = 0
    is_all: bool = True


def check_tree(name: str, path: Path, known: Remembered) -> list[Finding]:
    """See that the folder of a subscription is there, is its own, and can be written.

    Nothing is changed in it.
    """
    try:
        there = os.path.lexists(path) or is_there(path)
    except TreeError as error:
        return [failure("tree.folder", error, _LOOK)]
    if not there:
        return [_judge_absent(path, known)]
    if not path.is_dir():
        said = f"{str(path)!r} is no folder" + (": a link to nowhere" if path.is_symlink() else "")
        return [failed("tree.folder", said, "mount its disk, or correct path in the configuration")]
    try:
        tree = Tree(path.resolve())
        try:
            marker = read_marker(tree)
        finally:
            tree.close()
    except TorsyncError as error:
        return [failure("tree.folder", error, _LOOK)]
    standing = judge_marker(known.marker, marker, synced=bool(known.synced))
    if standing.is_refused:
        refusal = refuse_marker(standing, str(path))
        hint = "mount the right disk; if this is the folder all the same: "
        return [
            failed(
                "tree.folder", refusal.message, f"{hint}`torsync check-now {name} --allow marker`"
            )
        ]
    return [ok("tree.folder", f"{str(path)!r} is there"), *check_access(path)]


def _judge_absent(path: Path, known: Remembered) -> Finding:
    if known.synced:
        said = f"{str(path)!r} was kept in sync, and is not there"
        return failed("tree.folder", said, "mount its disk, or correct path in the configuration")
    parent = next(one for one in path.parents if one.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        said = f"{str(path)!r} is not there, and cannot be made in {str(parent)!r}"
        return failed("tree.folder", said, _mend(parent))
    return ok("tree.folder", f"{str(path)!r} is made at the first update, in {str(parent)!r}")


def check_access(path: Path) -> list[Finding]:
    """See what this user may do in a tree, and whose its files are; by stat alone."""
    status = path.stat()
    mounted = os.statvfs(path).f_flag
    if mounted & os.ST_RDONLY:
        said = f"the file system of {str(path)!r} is mounted read-only"
        return [
            failed(
                "tree.access",
                said,
                f"see why with `dmesg` and `findmnt -T {path}`; then `mount -o remount,rw`",
            )
        ]
    findings = [judge_access(path, look_around(path), status.st_uid, os.geteuid())]
    private = path / PRIVATE_FOLDER
    if private.is_dir() and not os.access(private, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        said = f"user {os.geteuid()} may not use {str(private)!r}"
        findings.append(failed("tree.owner", said, _mend(private)))
    elif private.is_dir() and private.stat().st_uid != status.st_uid:
        owner, other = private.stat().st_uid, status.st_uid
        said = f"{str(private)!r} belongs to user {owner}, the folder around it to user {other}"
        fix = f"run torsync as one user always, and mend it: `chown -R {other} {private}`"
        findings.append(warning("tree.owner", said, fix))
    return findings


def look_around(path: Path) -> Access:
    """Walk through a tree, but for so many entries and seconds at most."""
    ends_s = time.monotonic() + _MOST_SECONDS
    closed: list[str] = []
    unreadable: list[str] = []
    foreign = looked_at = 0
    waiting = [str(path)]
    own = os.geteuid()
    while waiting:
        folder = waiting.pop()
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            closed.append(folder)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    looked_at += 1
                    status = entry.stat(follow_symlinks=False)
                    foreign += status.st_uid != own
                    if stat.S_ISDIR(status.st_mode) and entry.name != PRIVATE_FOLDER:
                        waiting.append(entry.path)
                    elif stat.S_ISREG(status.st_mode) and not os.access(
                        entry.path, os.R_OK, effective_ids=True
                    ):
                        unreadable.append(entry.path)
                    if looked_at >= _MOST_ENTRIES or time.monotonic() > ends_s:
                        return Access(tuple(closed), tuple(unreadable), foreign, looked_at, False)
        except OSError:
            if folder not in closed:
                closed.append(folder)
    return Access(tuple(closed), tuple(unreadable), foreign, looked_at)


def judge_access(path: Path, found: Access, owner: int, user: int) -> Finding:
    """Decide what access to a tree says.

    Args:
        path: of the tree.
        found: in it.
        owner: of the folder, a user's number.
        user: that torsync runs as now.
    """
    if found.closed:
        said = f"user {user} may not replace files in {_some(found.closed)}"
        return failed("tree.access", said, _mend(path))
    if found.unreadable:
        said = f"user {user} may not read {_some(found.unreadable)}"
        return failed("tree.access", said, _mend(path))
    looked = f"{found.looked_at:,} files and folders" + ("" if found.is_all else ", not all")
    if user == 0 and owner != 0:
        said = f"the folder belongs to user {owner}, and torsync runs as root: new files are root's"
        return warning("tree.access", said, f"run it as that user: `sudo -u '#{owner}' torsync …`")
    if found.foreign and user != 0:
        said = f"{found.foreign:,} of {looked} belong to others; new ones become user {user}'s"
        return ok("tree.access", said)
    return ok("tree.access", f"user {user} may read and replace all of {looked}")


def _mend(path: Path) -> str:
    user = os.geteuid()
    rights = f"`chown -R {user} {path}` and `chmod -R u+rwX {path}`"
    return f"give it to the user that torsync runs as: {rights}"


def _some(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _MOST_NAMED:,} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(map(repr, paths[:_MOST_NAMED])) + more


def nothing_to_try(check: str) -> Finding:
    """Say that a check needs a folder of torsync's own, and there is none yet."""
    why = "torsync has no folder of its own on that file system yet to try it in"
    return skipped(check, why, "run `torsync check-now`, and then this again")
