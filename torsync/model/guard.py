"""What an update is refused for until a person says that it is meant. Values in, refusals out."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.config import CleanMode, MaxDelete
from torsync.model.names import in_private
from torsync.model.tree_index import Kind
from torsync.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from torsync.model.assess import Matcher
    from torsync.model.manifest import Manifest
    from torsync.model.plan import Plan
    from torsync.model.tree_index import DiskIndex, LedgerRow

_NAMED = 3
_MARKER_ID = re.compile(r"[0-9a-f]{32}")
_FOR_PEOPLE = """\
torsync keeps the folder that this lies in. By this file it knows the folder from another one at
the same path, such as the empty mount point of a disk. Leave it here.
"""


class Allowance(Enum):
    """What a person may say is meant; the value is what they say it with."""

    DELETES = "--allow deletes"
    SPACE = "--allow space"
    MARKER = "--allow marker"
    EMPTY = "--allow empty"
    ADOPT = "--adopt"


ALLOWABLE = {allowance.name.lower(): allowance for allowance in Allowance}
"""Allowances by the names that they have in the state and, but for ``adopt``, after ``--allow``."""


class Refusal(NamedTuple):
    """One reason not to do something: what was seen, and what allows it."""

    allowance: Allowance
    message: str


def override_command(again: tuple[str, ...], name: str, allowances: Iterable[Allowance]) -> str:
    """The command that does in spite of refusals what was refused.

    Args:
        again: the command, and the options that it had.
        name: of the subscription.
        allowances: all that it takes.
    """
    command, *options = again
    given = set(allowances)
    flags = [allowance.value for allowance in Allowance if allowance in given]
    return " ".join(["torsync", command, name, *options, *flags])


# --- the marker -----------------------------------------------------------------------------


class Standing(Enum):
    """What the marker in a folder says about whose folder it is."""

    OURS = "it has the id that the state knows"
    FOUND = "the state knows no id, and takes over that of the folder"
    OLDER = "synced before there were markers"
    NEW = "nothing was synced, and there is no marker"
    MISSING = "the state knows an id, and there is no marker"
    FOREIGN = "it has another id than the state knows"

    @property
    def is_refused(self) -> bool:
        """Whether nothing is done with the folder until a person says that it is meant."""
        return self in {Standing.MISSING, Standing.FOREIGN}

    @property
    def is_first(self) -> bool:
        """Whether what is done now is the first sync of this folder."""
        return self is Standing.NEW or self.is_refused


def judge_marker(known: str, found: str | None, *, synced: bool) -> Standing:
    """Decide whether a folder is the one that a state is about.

    Args:
        known: the id in the state; empty if there is none.
        found: the id in the folder; None if it has no marker, or there is no folder; empty if
            its marker holds no id.
        synced: whether the state knows a synced manifest.
    """
    if known:
        if found is None:
            return Standing.MISSING
        return Standing.OURS if found == known else Standing.FOREIGN
    if found:
        return Standing.FOUND
    return Standing.OLDER if synced else Standing.NEW


def refuse_marker(standing: Standing, path: str) -> Refusal:
    """Say why a folder is not touched whose standing ``is_refused``."""
    if standing is Standing.FOREIGN:
        said = f"the marker in {path!r} is that of another folder; is the right disk mounted there?"
    else:
        said = (
            f"{path!r} was kept in sync, and its marker '.torsync/marker' is not there; is its "
            "disk not mounted?"
        )
    return Refusal(Allowance.MARKER, said)


def marker_text(marker_id: str) -> str:
    """What the marker file of a tree holds."""
    return f"{marker_id}\n\n{_FOR_PEOPLE}"


def marker_id_in(text: str) -> str:
    """The id that a marker file holds; empty if it holds none."""
    first = text.partition("\n")[0].strip()
    return first if _MARKER_ID.fullmatch(first) else ""


# --- the plan -------------------------------------------------------------------------------


def refuse_deletes(
    plan: Plan, ledger: Mapping[str, LedgerRow], limit: MaxDelete, *, mirror: bool
) -> Refusal | None:
    """Refuse a plan that removes more than ``limit`` allows; what is replaced does not count.

    Args:
        plan: to judge.
        ledger: what torsync manages, by path.
        limit: the ``max_delete`` of the subscription.
        mirror: whether files count that torsync does not manage: the limit is then a part of all
            files in the tree, and otherwise of those that torsync manages there.
    """
    going = {removal.path for removal in (*plan.removals, *plan.in_the_way)} - plan.moved
    going -= {plan.files[index].source for index in plan.acting}  # patched under another name
    if not going:
        return None
    entries = plan.index.entries
    if mirror:
        total, whose = len(_files(plan.index)), "in the folder"
    else:
        total, whose = sum(path in entries for path in ledger), "that torsync put there"
    if not limit.is_exceeded(len(going), total):
        return None
    percent = -(-100 * len(going) // total)  # rounded up: a little above the limit shows
    return Refusal(
        Allowance.DELETES,
        f"it would remove {len(going):,} of {_count(total, 'file')} {whose} ({percent} %), more "
        f"than max_delete = {str(limit)!r}: {_named(going)}",
    )


def refuse_empty(wanted: Manifest, synced_bytes: int) -> Refusal | None:
    """Refuse a release without any content, if the synced one had some (``synced_bytes``)."""
    if wanted.total_size or not synced_bytes:
        return None
    files = _count(len(wanted.files), "file") if wanted.files else "no files"
    return Refusal(
        Allowance.EMPTY,
        f"the release {wanted.name!r} is empty ({files}, no bytes), where the last one had "
        f"{format_size(synced_bytes)} (a mistake of the publisher?)",
    )


def refuse_unrelated(plan: Plan, path: str, *, keep: Matcher, clean: CleanMode) -> Refusal | None:
    """Refuse a first sync into a folder that holds files which the release does not list.

    Args:
        plan: to judge.
        path: of the folder.
        keep: what the user said is theirs, and may be there.
        clean: what happens to such files.
    """
    listed = plan.wanted.by_path
    unrelated = [found for found in _files(plan.index) if found not in listed and not keep(found)]
    if not unrelated:
        return None
    are, they = ("file that is", "it") if len(unrelated) == 1 else ("files that are", "they")
    fate = (
        f'{they} would go to the trash, as clean = "mirror" says'
        if clean is CleanMode.MIRROR
        else f'{they} would stay, unless clean = "mirror" is set'
    )
    return Refusal(
        Allowance.ADOPT,
        f"this would be the first sync of {path!r}, which holds {len(unrelated):,} {are} not in "
        f"the release: {_named(unrelated)}; {fate}",
    )


def refuse_space(path: str, needed: int, free: int, needed_in_place: int) -> Refusal | None:
    """Refuse an update that does not fit beside the tree.

    Args:
        path: of the folder.
        needed: bytes that staging takes.
        free: bytes that may be written there.
        needed_in_place: bytes that it takes where files are patched where they are.
    """
    if needed <= free:
        return None
    said = f"it needs {format_size(needed)} in {path!r}, where {format_size(free)} are free"
    if needed_in_place <= free:
        said += (
            f'; with apply = "in-place" it would fit, as it needs {format_size(needed_in_place)}'
        )
    return Refusal(Allowance.SPACE, said)


def _files(index: DiskIndex) -> list[str]:
    folders = {Kind.FOLDER, Kind.MOUNT}
    return [
        path
        for path, entry in index.entries.items()
        if entry.kind not in folders and not in_private(path)
    ]


def _named(paths: Collection[str]) -> str:
    """The first few of some paths, in words."""
    first = ", ".join(repr(path) for path in sorted(paths)[:_NAMED])
    return first if len(paths) <= _NAMED else f"{first} and {len(paths) - _NAMED:,} more"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
