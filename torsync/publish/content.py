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

from torsync.model.authoring.content import PublishedFile
from torsync.model.authoring.names import find_unpublishable
from torsync.model.names import is_private, meeting_key
from torsync.model.patterns import matcher
from torsync.model.tree_index import Kind
from torsync.publish.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torsync.disk.tree import Tree
    from torsync.model.tree_index import DiskEntry, DiskIndex

_SURELY_SHORT = 198  # characters of ASCII: no name in it is too long, nor is it too deep


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
) -> Content:
    """Look at everything in a folder, by stat alone.

    Args:
        tree: the folder.
        ignore: gitignore patterns of what is not published.
        on_entries: told now and then how many entries were found so far.
    """
    patterns = tuple(ignore)
    ignored = matcher(patterns)
    index = tree.scan(on_entries, leave_out=ignored if patterns else None)
    return sort_out(index, ignored)


def sort_out(index: DiskIndex, ignored: Callable[[str], bool]) -> Content:
    """Tell what can be published of what a scan found from what cannot.

    Args:
        index: the scan's; without what is ignored.
        ignored: whether a path is, which ends in a slash if it is a folder's.
    """
    content = Content(clock_ns=index.clock_ns)
    problems = content.problems
    wrong: set[str] = set()  # names that are not UTF-8
    folders: list[str] = []
    are_plain = True
    files, file = content.files, Kind.FILE
    for path, entry in index.entries.items():
        if not path.isascii() or len(path) > _SURELY_SHORT:
            are_plain = False
            if not _is_unicode(path):
                if not _is_below(path, wrong):
                    wrong.add(path)
                    problems.append(Problem(path, "has a name that is not UTF-8"))
                continue
        kind = entry.kind
        if kind is file:
            files[path] = entry
        elif kind is Kind.FOLDER:
            folders.append(path)
        elif kind is Kind.LINK:
            target = _link_target(path, entry.link_target, index, ignored)
            if isinstance(target, Problem):
                problems.append(target)
            else:
                content.links[path] = target
        elif kind is Kind.MOUNT:
            problems.append(Problem(path, "is a mount point of another file system"))
        else:
            problems.append(Problem(path, "is no file, folder or link, but a special file"))
    for path, reason in index.problems.items():
        if not _is_below(path, wrong):
            problems.append(Problem(path or ".", f"could not be read: {reason}"))
    if not are_plain or _may_meet(content, folders):
        _leave_out_wrong_names(content)
    return content


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_below(path: str, folders: set[str]) -> bool:
    """Whether a path is one of ``folders``, or in one."""
    while folders and path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False


def _may_meet(content: Content, folders: Iterable[str]) -> bool:
    """Whether some names may be the same on some system."""
    keys = set(map(meeting_key, content.files))
    keys.update(map(meeting_key, content.links))
    is_each_once = len(keys) == len(content.files) + len(content.links)
    return not is_each_once or not keys.isdisjoint(map(meeting_key, folders))


def _leave_out_wrong_names(content: Content) -> None:
    """Find names that subscribers would refuse or change."""
    files, links = content.files, content.links
    found = [PublishedFile(path, entry.size) for path, entry in files.items()]
    found += [PublishedFile(path, 0, link_target=target) for path, target in links.items()]
    for path, reason in find_unpublishable(found).items():
        content.problems.append(Problem(path, f"is refused by subscribers: {reason}"))
        files.pop(path, None)
        links.pop(path, None)


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
    return target if _is_unicode(target) else Problem(path, f"{shown} is not UTF-8")
