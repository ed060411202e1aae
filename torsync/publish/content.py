"""What is in a folder that is to be published, and what of it cannot be.

Everything is published but ``.torsync`` and what is ignored; as with git, nothing of an ignored
folder comes back. Folders are not published by themselves (no torrent can tell of an empty one).

What cannot be published is a problem, and all of them are found at once:

* names that are not UTF-8, or that subscribers refuse (too long, too deep);
* names that meet: equal but for case or Unicode form. Every subscriber would give the second one
  another name;
* FIFOs, sockets, devices, and mount points: a subscriber cannot have those;
* what cannot be read;
* links that lead out of the folder, into ``.torsync`` or to what is ignored, absolute ones, and
  those that go up again behind another link. A link to what is not there is published if that
  would be in the folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torsync.model.errors import ManifestError
from torsync.model.names import (
    NameChecker,
    is_private,
    meeting_key,
    resolve_meeting_names,
)
from torsync.model.patterns import matcher
from torsync.model.tree_index import Kind
from torsync.publish.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torsync.disk.tree import Tree
    from torsync.model.tree_index import DiskEntry, DiskIndex, LedgerRow

_SURELY_SHORT = 63  # characters: no name in it is too long, whatever they are in UTF-8
_SURELY_SHORT_ASCII = 198  # neither are there too many
_NO_ROWS: Mapping[str, LedgerRow] = {}


@dataclass
class Content:
    """What a folder holds.

    Attributes:
        files: regular files, by path.
        links: symbolic links, by path, with the target's path relative to the folder (BEP 47).
        problems: what cannot be published, and is in neither.
        clock_ns: what the file system's clock said before anything was looked at.
    """

    files: dict[str, DiskEntry] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    clock_ns: int = 0


def look(
    tree: Tree,
    ignore: Iterable[str],
    on_entries: Callable[[int], None] = lambda _count: None,
    *,
    like: Mapping[str, LedgerRow] = _NO_ROWS,
) -> Content:
    """Look at everything in a folder, by stat alone.

    Args:
        tree: the folder.
        ignore: gitignore patterns of what is not published.
        on_entries: told now and then how many entries were found so far.
        like: what files may look like, by path; saves memory.
    """
    patterns = tuple(ignore)
    ignored = matcher(patterns)
    index = tree.scan(on_entries, like=like, leave_out=ignored if patterns else None)
    return sort_out(index, ignored)


def sort_out(index: DiskIndex, ignored: Callable[[str], bool]) -> Content:
    """Tell what can be published of what a scan found from what cannot.

    Args:
        index: the scan's; without what is ignored.
        ignored: whether a path is, which ends in a slash if it is a folder's.
    """
    content = Content(clock_ns=index.clock_ns)
    problems = content.problems
    wrong_names: set[str] = set()
    folders: list[str] = []
    checker = NameChecker(windows=False)
    files, plain = content.files, Kind.FILE
    for path, entry in index.entries.items():
        if not (
            path.isascii() and len(path) <= _SURELY_SHORT_ASCII
        ) and not _has_right_name(path, checker, wrong_names, problems):
            continue
        if entry.kind is plain:
            files[path] = entry
        elif entry.kind is Kind.FOLDER:
            folders.append(path)
        elif entry.kind is Kind.LINK:
            target = _link_target(path, entry.link_target, index, ignored)
            if isinstance(target, Problem):
                problems.append(target)
            else:
                content.links[path] = target
        elif entry.kind is Kind.MOUNT:
            problems.append(Problem(path, "is a mount point of another file system"))
        else:
            problems.append(Problem(path, "is no file, folder or link, but a special file"))
    for path, reason in index.problems.items():
        if not _is_below(path, wrong_names):
            problems.append(Problem(path or ".", f"could not be read: {reason}"))
    _leave_out_meeting(content, folders)
    return content


def _has_right_name(
    path: str, checker: NameChecker, wrong_names: set[str], problems: list[Problem]
) -> bool:
    """Whether subscribers take a name; of a folder that is wrong, nothing in it is named."""
    if wrong_names and _is_below(path, wrong_names):
        return False
    reason = ""
    try:
        raw = path.encode()
        if len(path) > _SURELY_SHORT:
            checker.path(raw.split(b"/"))
    except UnicodeEncodeError:
        reason = "has a name that is not UTF-8"
    except ManifestError as error:
        reason = f"has a name that subscribers refuse: {error.message.partition(': ')[2]}"
    if reason:
        wrong_names.add(path)
        problems.append(Problem(path, reason))
    return not reason


def _is_below(path: str, folders: set[str]) -> bool:
    """Whether a path is one of ``folders``, or in one."""
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False


def _link_target(
    path: str, text: str, index: DiskIndex, ignored: Callable[[str], bool]
) -> str | Problem:
    """Give the path that a link leads to, relative to the folder, or what is wrong with it."""
    shown = f"is a link to {text!r}, which"
    if text.startswith("/"):
        return Problem(path, f"{shown} is absolute: subscribers have other folders")
    names = path.split("/")[:-1]
    for name in text.split("/"):
        if name in {"", "."}:
            continue
        if name != "..":
            names.append(name)
            continue
        if not names:
            return Problem(path, f"{shown} is outside the folder")
        behind = index.entries.get("/".join(names))
        if behind is not None and behind.kind is Kind.LINK:
            return Problem(path, f"{shown} goes up again behind another link")
        names.pop()
    if not names:
        return Problem(path, f"{shown} is the folder that is published")
    if is_private(names[0]):
        return Problem(path, f"{shown} is torsync's own")
    target = "/".join(names)
    above = ["/".join(names[:count]) + "/" for count in range(1, len(names) + 1)]
    if any(map(ignored, [*above, target])):
        return Problem(path, f"{shown} is ignored")
    try:
        target.encode()
    except UnicodeEncodeError:
        return Problem(path, f"{shown} is not UTF-8")
    return target


def _leave_out_meeting(content: Content, folders: Iterable[str]) -> None:
    """Find names that meet; see ``torsync.model.names``."""
    paths = [*content.files, *content.links]
    keys = set(map(meeting_key, paths))
    if len(keys) == len(paths) and keys.isdisjoint(map(meeting_key, folders)):
        return
    paths.sort(key=lambda path: path.replace("/", "\0"))  # as in the torrent
    first = {meeting_key(path): path for path in reversed(paths)}
    for path, safe in zip(paths, resolve_meeting_names(paths), strict=True):
        if safe != path:
            other = first[meeting_key(path)]
            with_what = f"{other!r}" if other != path else "a folder"
            content.problems.append(
                Problem(
                    path,
                    f"has the same name as {with_what} but for case or Unicode form; subscribers "
                    f"would have it as {safe!r}",
                )
            )
            content.files.pop(path, None)
            content.links.pop(path, None)
