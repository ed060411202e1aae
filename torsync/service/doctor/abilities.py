"""What a tree's file system can do, and what that means for updates."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.copying import share_blocks
from torsync.disk.syscalls import exchange
from torsync.model.checkup import Finding, ok, warning
from torsync.model.names import PRIVATE_FOLDER
from torsync.service.doctor.clock import check_disk_clock
from torsync.service.doctor.tree import nothing_to_try

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.manifest import Manifest

_MOMENT_NS = 1_234_567_890_123_456_789
_LONGEST_NAME = 255
_SECOND_NS = 1_000_000_000


class Abilities(NamedTuple):
    """What was tried on a file system.

    Attributes:
        hard_links: one file may have two names.
        reflinks: files may share their blocks.
        exchange: two paths may change places in one step.
        links: there are symbolic links.
        modes: a file may be executable or not.
        has_case: names that differ in case only are two.
        longest_name: bytes that a name may have; 0 if not even the shortest tried was taken.
        time_step_ns: times are multiples of it, as far as that was seen.
    """

    hard_links: bool
    reflinks: bool
    exchange: bool
    links: bool
    modes: bool
    has_case: bool
    longest_name: int
    time_step_ns: int


def probe_folder(tree: Path, state_dir: Path) -> Path | None:
    """Decide where something may be tried on a tree's file system; None if nowhere."""
    private = tree / PRIVATE_FOLDER
    with suppress(OSError):
        if private.is_dir():
            return private
        there = next(one for one in (tree, *tree.parents) if one.exists())
        if state_dir.is_dir() and os.stat(state_dir).st_dev == os.stat(there).st_dev:
            return state_dir
    return None


def check_abilities(tree: Path, state_dir: Path, manifest: Manifest | None) -> list[Finding]:
    """Try what an update needs, in a folder that is made for it and removed again."""
    folder = probe_folder(tree, state_dir)
    if folder is None:
        return [nothing_to_try("disk.abilities")]
    try:
        place = tempfile.mkdtemp(prefix="doctor-", dir=folder)
    except OSError as error:
        said = f"nothing can be written in {str(folder)!r}: {error.strerror}"
        return [warning("disk.abilities", said, f"see `findmnt -T {folder}` and its permissions")]
    try:
        found = try_all(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return [*judge_abilities(found, manifest), *check_disk_clock(folder)]


def try_all(place: str) -> Abilities:
    """Try everything in a folder that is empty; files are left there.

    Raises:
        OSError: not even a file can be written.
    """
    one, other = os.path.join(place, "one"), os.path.join(place, "other")
    for path, content in ((one, b"1" * 4096), (other, b"")):
        with open(path, "xb") as file:
            file.write(content)
    return Abilities(
        hard_links=_works(lambda: os.link(one, os.path.join(place, "linked"))),
        reflinks=_clones(one, other),
        exchange=_exchanges(place),
        links=_works(lambda: os.symlink("one", os.path.join(place, "symbolic"))),
        modes=_keeps_modes(one),
        has_case=not os.path.exists(os.path.join(place, "ONE")),
        longest_name=_longest_name(place),
        time_step_ns=_time_step_ns(one),
    )


def _works(act: Callable[[], None]) -> bool:
    try:
        act()
    except OSError:
        return False
    return True


def _clones(source: str, target: str) -> bool:
    with open(source, "rb") as there, open(target, "r+b") as here:
        try:
            return share_blocks(there.fileno(), here.fileno())
        except OSError:
            return False


def _exchanges(place: str) -> bool:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return exchange("one", "other", fd, fd) and exchange("one", "other", fd, fd)
    except OSError:
        return False
    finally:
        os.close(fd)


def _keeps_modes(path: str) -> bool:
    def mode_after(wanted: int) -> int:
        os.chmod(path, wanted)
        return os.stat(path).st_mode & 0o700

    try:
        return (mode_after(0o700), mode_after(0o600)) == (0o700, 0o600)
    except OSError:
        return False


def _longest_name(place: str) -> int:
    for length in (_LONGEST_NAME, 143, 100):
        name = os.path.join(place, "n" * length)
        with suppress(OSError), open(name, "xb"):
            return length
    return 0


def _time_step_ns(path: str) -> int:
    """The coarsest step that explains what has become of a time with all its digits."""
    os.utime(path, ns=(_MOMENT_NS, _MOMENT_NS))
    kept_ns = os.stat(path).st_mtime_ns
    if kept_ns == _MOMENT_NS:
        return 1
    steps = (2 * _SECOND_NS, _SECOND_NS, *(10**power for power in range(8, 0, -1)))
    return next((step for step in steps if kept_ns % step == 0), 1)


def judge_abilities(found: Abilities, manifest: Manifest | None) -> list[Finding]:
    """Decide what abilities mean for updates.

    Args:
        found: what was tried.
        manifest: of the newest release; None if none is known.
    """
    return [
        _judge_replacing(found),
        _judge_clones(found),
        _judge_names(found, manifest),
        _judge_kinds(found, manifest),
        _judge_times(found.time_step_ns),
    ]


def _judge_replacing(found: Abilities) -> Finding:
    check = "disk.replacing"
    if found.hard_links:
        return ok(check, "hard links: each path changes in one step, and the old file is kept")
    if found.exchange:
        return ok(check, "no hard links, but RENAME_EXCHANGE: each path changes in one step")
    return warning(
        check,
        "neither hard links nor RENAME_EXCHANGE: a path is absent for a moment while it changes",
        "readers that must not see that need a file system such as ext4, xfs or btrfs",
    )


def _judge_clones(found: Abilities) -> Finding:
    if found.reflinks:
        return ok("disk.clones", "reflinks: a file that changes is cloned without taking space")
    return ok(
        "disk.clones",
        "no reflinks: a file that changes is copied, and takes its size twice until the commit "
        '(btrfs and xfs have them; apply = "in-place" does without the copy)',
    )


def _judge_names(found: Abilities, manifest: Manifest | None) -> Finding:
    names = (
        {name for file in manifest.files for name in file.path.split("/")} if manifest else set()
    )
    longest = max((len(os.fsencode(name)) for name in names), default=0)
    if longest > found.longest_name:
        return warning(
            "disk.names",
            f"the release has names of {longest} bytes, and names here end before that",
            "use another file system, or leave those files out with select",
        )
    if found.has_case:
        return ok("disk.names", f"names may have {found.longest_name} bytes, and case tells apart")
    return ok("disk.names", "case tells no names apart; releases avoid such names")


def _judge_kinds(found: Abilities, manifest: Manifest | None) -> Finding:
    files = manifest.files if manifest else ()
    if not found.links and any(file.link_target is not None for file in files):
        return warning(
            "disk.kinds",
            "the release has symbolic links, and this file system has none",
            "leave them out with select, or use another file system",
        )
    if not found.modes and any(file.executable for file in files):
        return warning(
            "disk.kinds",
            "the release has executable files, and this file system does not keep modes",
            "mount it with an option for it (`-o exec,umask=022`), or use another file system",
        )
    kinds = [name for name, has in (("links", found.links), ("modes", found.modes)) if has]
    return ok("disk.kinds", f"it keeps {' and '.join(kinds) or 'neither links nor modes'}")


def _judge_times(step_ns: int) -> Finding:
    if step_ns < _SECOND_NS:
        return ok("disk.times", f"times are exact to {step_ns:,} ns")
    return warning(
        "disk.times",
        f"times are exact to {step_ns // _SECOND_NS} s: an edit of the same size within that is "
        "not seen by stat",
        "run `torsync verify` now and then, which reads the content",
    )
