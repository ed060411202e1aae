"""Trees in memory that stand before an update: what the pure decisions are tested on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from tests.support.releases import (
    LAYOUTS,
    PIECE_LENGTH,
    Content,
    Link,
    Release,
    make_release,
    read_piece,
)
from torsync.model.assess import assess, link_text
from torsync.model.config import CleanMode
from torsync.model.known import NEVER_SYNCED, Synced
from torsync.model.plan import NOT_OURS, Action, Plan, plan_update
from torsync.model.sharing import Sharing
from torsync.model.tree_index import (
    DiskEntry,
    DiskIndex,
    Kind,
    LedgerRow,
    ledger_row,
    row_as_found,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torsync.model.assess import Matcher
    from torsync.model.assessment import Assessment, Extent
    from torsync.model.manifest import FileEntry, Manifest


class Item(NamedTuple):
    """One directory entry; ``stamp`` stands for its times and inode."""

    kind: Kind = Kind.FILE
    content: bytes = b""
    target: str = ""
    stamp: int = 0

    def entry(self) -> DiskEntry:
        """What stat says of it."""
        size = len(self.target if self.kind is Kind.LINK else self.content)
        return DiskEntry(self.kind, size, self.stamp, self.stamp, self.stamp, 0o644, self.target)


def parents(path: str) -> list[str]:
    """The folders that a path lies in, the nearest first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(len(parts), 0, -1)]


def is_under(path: str, folder: str) -> bool:
    """Whether ``path`` lies in ``folder``, however deep."""
    return path.startswith(f"{folder}/")


def with_folders(items: Mapping[str, Item]) -> dict[str, Item]:
    """A possible tree: the folders on the way are there, and nothing lies in a file."""
    tree: dict[str, Item] = {}
    for path in sorted(items):
        above = [tree.get(folder, Item(Kind.FOLDER)) for folder in parents(path)]
        if all(item.kind is Kind.FOLDER for item in above):
            tree |= dict.fromkeys(parents(path), Item(Kind.FOLDER))
            tree[path] = items[path]
    return tree


class Hashed(NamedTuple):
    """What hashing the asked pieces found."""

    good: set[int]
    unreadable: set[int]


@dataclass(frozen=True)
class Situation:
    """Everything that a plan is decided from.

    Attributes:
        release: that is wanted.
        disk: the tree.
        ledger: what torsync remembers, by path.
        keep: the paths that ``keep`` matches.
        clean: what is removed.
        problems: what could not be looked at.
        unreadable: files of the tree that stat sees, and that cannot be read.
        before: the synced release.
        unselected: the paths that ``select`` does not match.
    """

    release: Release
    disk: Mapping[str, Item] = field(default_factory=dict)
    ledger: Mapping[str, LedgerRow] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    clean: CleanMode = CleanMode.MANAGED
    problems: Mapping[str, str] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    before: Release | None = None
    unselected: frozenset[str] = frozenset()

    @property
    def manifest(self) -> Manifest:
        return self.release.manifest

    @property
    def index(self) -> DiskIndex:
        entries = {path: item.entry() for path, item in self.disk.items()}
        return DiskIndex(entries, dict(self.problems))

    @property
    def select(self) -> Matcher | None:
        """Matches what is selected; None where that is everything."""
        return (lambda path: path not in self.unselected) if self.unselected else None

    def assess(self) -> Assessment:
        """Assess as ``check-now`` does."""
        index = self.index
        while True:
            found = self._assess(index)
            blocked = found.sources_to_read() & self.unreadable
            if not blocked:
                return found
            index = index.without(dict.fromkeys(blocked, "Permission denied"))

    def _assess(self, index: DiskIndex) -> Assessment:
        before = self.before
        return assess(
            self.manifest,
            index,
            self.ledger,
            keep=self.keep.__contains__,
            select=self.select,
            synced=Synced(lambda: before.manifest) if before is not None else NEVER_SYNCED,
        )

    def read(self, path: str) -> bytes | None:
        """What can be read at a path."""
        item = self.disk.get(path)
        readable = item is not None and item.kind is Kind.FILE and path not in self.unreadable
        return item.content if item is not None and readable else None

    def content(self, index: int) -> bytes | None:
        """What can be read at the path of a wanted file."""
        return self.read(self.manifest.files[index].path)

    def has_piece(self, piece: int, sources: Mapping[int, str] | None = None) -> bool:
        """Whether the disk holds the right bytes of a piece, at files' sources or own paths."""

        def content(index: int) -> bytes | None:
            return self.read((sources or {}).get(index) or self.manifest.files[index].path)

        return read_piece(self.manifest, piece, content) == self.release.piece(piece)

    def hash(self, pieces: Iterable[int], assessment: Assessment | None = None) -> Hashed:
        """Hash as ``hash_pieces`` does: by comparing with the right content."""
        hashed = Hashed(set(), set())
        for piece in pieces:
            if self.has_piece(piece, assessment.sources if assessment is not None else None):
                hashed.good.add(piece)
            for index in self.manifest.files_in(piece):
                own = self.manifest.files[index].path
                source = assessment.source(index) if assessment is not None else own
                if source in self.unreadable and source == own:
                    hashed.unreadable.add(index)
        return hashed

    def look(self) -> tuple[Assessment, Hashed]:
        """Assess, hash and share as ``check-now`` does."""
        assessment = self.assess()
        hashed = self.hash(assessment.doubtful_pieces(), assessment)
        shared = self.share(assessment, hashed)
        again = self.hash(shared.doubtful_pieces(), shared)
        return shared, Hashed(hashed.good | again.good, hashed.unreadable | again.unreadable)

    def plan(self) -> Plan:
        """Look and plan as ``check-now`` does."""
        assessment, hashed = self.look()
        return plan_update(
            assessment,
            hashed.good,
            self.ledger,
            keep=self.keep.__contains__,
            clean=self.clean,
            unreadable=hashed.unreadable,
        )

    def share(self, assessment: Assessment, hashed: Hashed) -> Assessment:
        """Share what hashing found, as ``look_further`` does."""
        sharing = Sharing(assessment, hashed.good, hashed.unreadable)
        identified = {
            path: digest
            for path in sharing.to_identify(self.ledger)
            if (digest := self.identify(path))
        }
        barred: set[str] = set()
        while True:
            found = sharing.share(identified, keep=self.keep.__contains__, barred=barred)
            blocked = sharing.new_sources(found) & self.unreadable
            if not blocked:
                return replace(found, index=found.index.without(dict.fromkeys(barred, "EACCES")))
            barred |= blocked

    def identify(self, path: str) -> str:
        """The digest of what is at a path; empty if that cannot be read."""
        content, contents = self.read(path), self.release.contents
        if content in contents:
            return self.manifest.digest(contents.index(content))
        return "" if content is None else f"of {content!r}"

    def staged(self, plan: Plan, index: int, *, pieces: Iterable[int]) -> bytes:
        """What the stage holds of a file: its clone, what is copied, and the fetched pieces."""
        size = self.manifest.files[index].size
        source = plan.files[index].source
        data = bytearray(((self.read(source) if source else None) or b"")[:size])
        for piece in sorted({*pieces, *plan.copies}):
            copied = self.at(plan.copies.get(piece, ()))
            at = 0
            for file_index, offset, length in self.manifest.segments(piece):
                if file_index == index:
                    data.extend(bytes(max(0, offset + length - len(data))))
                    right = self.release.contents[index][offset : offset + length]
                    data[offset : offset + length] = copied[at : at + length] if copied else right
                at += length
        return bytes(data)

    def at(self, extents: Iterable[Extent]) -> bytes:
        """The bytes at some places of the tree."""
        return b"".join(
            (self.disk[path].content if path else bytes(offset + length))[offset : offset + length]
            for path, offset, length in extents
        )

    def after(self, plan: Plan, *, stamp: int = 10_000) -> Situation:
        """The situation once the plan has been carried out and its ledger recorded."""
        disk = dict(self.disk)
        for path in plan.moved:
            assert disk.pop(path).kind is Kind.FILE
        for removal in plan.in_the_way:
            if removal.path not in plan.moved:
                assert disk.pop(removal.path).kind not in {Kind.FOLDER, Kind.MOUNT}
        rows = {}
        for index, (file, planned) in enumerate(zip(self.manifest.files, plan.files, strict=True)):
            if planned.action is Action.UNSELECTED and file.path in self.ledger:
                row = row_as_found(self.ledger[file.path], plan.index.entries.get(file.path))
                if file.path in disk and row is not None:
                    rows[file.path] = row
            if planned.action in NOT_OURS:
                continue
            if planned.action is not Action.KEEP:
                _make_room(disk, file.path)
                disk[file.path] = self._built(plan, index, stamp + index)
            rows[file.path] = ledger_row(disk[file.path].entry(), self.manifest.digest(index))
        gone = {removal.path for removal in plan.in_the_way}
        for removal in plan.removals:
            assert removal.path not in plan.moved
            if removal.path not in gone:
                assert disk.pop(removal.path).kind not in {Kind.FOLDER, Kind.MOUNT}
        assert with_folders(disk).keys() >= disk.keys(), "something lies in a file"
        return Situation(
            self.release,
            with_folders(disk),
            rows,
            self.keep,
            self.clean,
            self.problems,
            self.unreadable - {path for path in self.disk if disk.get(path) != self.disk[path]},
            self.release,
            self.unselected,
        )

    def _built(self, plan: Plan, index: int, stamp: int) -> Item:
        file = self.manifest.files[index]
        if plan.files[index].action is Action.LINK:
            assert file.link_target is not None
            return Item(Kind.LINK, target=link_text(file.path, file.link_target), stamp=stamp)
        return Item(content=self.staged(plan, index, pieces=plan.needed), stamp=stamp)


def _make_room(disk: dict[str, Item], path: str) -> None:
    for folder in parents(path):
        assert disk.setdefault(folder, Item(Kind.FOLDER)).kind is Kind.FOLDER
    inside = [found for found in disk if is_under(found, path)]
    assert all(disk[found].kind is Kind.FOLDER for found in inside)
    for found in inside:
        del disk[found]
    if path in disk:
        assert disk[path].kind is not Kind.MOUNT


# --- what hypothesis draws from -------------------------------------------------------------

_PATHS = ("a", "b", "c", "d", "d/x", "d/y", "e/f/g", "e/f/h", "e/i", "z")
_STRAY = ("a/user", "d/user", "d/x/user", "e/f/user", "user")
_CONTENT = st.one_of(
    st.sampled_from([b"", b"A" * 5, b"A" * 8, b"A" * 16, b"AAAAAAAABBBBBBBBCCC"]),
    st.binary(max_size=PIECE_LENGTH),
    st.binary(min_size=PIECE_LENGTH, max_size=4 * PIECE_LENGTH),
)
_CHANGES = (
    *(["untouched"] * 8),
    *("touched", "unknown", "edited", "truncated", "extended", "emptied", "missing", "wanted"),
)
_OBSTACLES = ("folder", "full folder", "link", "special", "mount", "unreadable", "problem")


@st.composite
def situations(
    draw: st.DrawFn,
    *,
    obstacles: bool = True,
    rot: bool = False,
    layouts: tuple[str, ...] = LAYOUTS,
) -> Situation:
    """An older release on disk, changed in every way that a disk can be, and the one wanted.

    The ledger is honest: a row vouches only for the content that its digest names.

    Args:
        draw: by hypothesis.
        obstacles: folders, links, mount points, special files where files should be, and what
            cannot be looked at or read.
        rot: content may have changed under a row that vouches for it.
        layouts: of the releases.
    """
    wanted = draw(_release_contents())
    old = draw(_older_contents(wanted))
    layout = draw(st.sampled_from(layouts))
    digests = draw(st.sampled_from(["", "root", "sha1"]))
    release = make_release(wanted, layout=layout, digests=digests)
    if draw(st.integers(0, 3)) == 0:
        layout = draw(st.sampled_from(layouts))
        digests = draw(st.sampled_from(["", "root", "sha1"]))
    before = make_release(old, layout=layout, digests=digests, name="before")
    changes = _CHANGES + (_OBSTACLES if obstacles else ()) + (("rotten",) if rot else ())
    items: dict[str, Item] = {}
    ledger: dict[str, LedgerRow] = {}
    problems = {}
    unreadable = set()
    for index, file in enumerate(before.manifest.files):
        change = draw(st.sampled_from(changes))
        item = _item(file, before.contents[index], stamp=index)
        if change == "problem":
            problems[file.path] = "Permission denied"
        if change == "unreadable":
            unreadable.add(file.path)
        if change != "unknown":
            ledger[file.path] = ledger_row(item.entry(), before.manifest.digest(index))
        items |= _changed(draw, change, file.path, item, wanted.get(file.path, b""))
    for path in draw(st.lists(st.sampled_from([*_PATHS, *_STRAY]), max_size=2)):
        items.setdefault(path, Item(content=draw(_CONTENT), stamp=900))
    tree = with_folders(items)
    if obstacles and draw(st.integers(0, 9)) == 0:
        folder = draw(st.sampled_from(["", *tree]))
        if not folder or tree[folder].kind is Kind.FOLDER:
            problems[folder] = "Permission denied"
            tree = {
                path: item for path, item in tree.items() if folder and not is_under(path, folder)
            }
    return Situation(
        release,
        tree,
        ledger,
        draw(st.frozensets(st.sampled_from([*_PATHS, *_STRAY]), max_size=2)),
        draw(st.sampled_from(CleanMode)),
        {path: problem for path, problem in problems.items() if _is_problem(path, tree)},
        frozenset(path for path in unreadable if tree.get(path, Item(Kind.LINK)).kind is Kind.FILE),
        before if before.manifest.files else None,
        draw(st.just(frozenset()) | st.frozensets(st.sampled_from(_PATHS), max_size=6)),
    )


@st.composite
def _release_contents(
    draw: st.DrawFn, *, min_size: int = 1, max_size: int = 6
) -> dict[str, Content]:
    paths = st.lists(st.sampled_from(_PATHS), min_size=min_size, max_size=max_size, unique=True)
    return _possible(
        {
            path: Link("a") if draw(st.integers(0, 9)) == 9 else draw(_CONTENT)
            for path in draw(paths)
        }
    )


@st.composite
def _older_contents(draw: st.DrawFn, newer: Mapping[str, Content]) -> dict[str, Content]:
    """A release before ``newer``: some files are the same, some changed, some new, some gone."""
    older = draw(_release_contents(min_size=0, max_size=3))
    for path, content in newer.items():
        change = draw(
            st.sampled_from(["same", "same", "renamed", "shifted", "edited", "replaced", "added"])
        )
        if change == "same":
            older[path] = content
        elif change == "renamed" and not isinstance(content, Link):
            older[draw(st.sampled_from(_PATHS))] = draw(st.sampled_from([content, content[:16]]))
        elif change == "shifted" and not isinstance(content, Link):
            older[path] = content[PIECE_LENGTH:] + content[:PIECE_LENGTH]
        elif change == "edited" and not isinstance(content, Link):
            older[path] = _edited(draw, content)
        elif change == "replaced":
            older[path] = draw(_CONTENT)
    return _possible(older)


def _possible(contents: Mapping[str, Content]) -> dict[str, Content]:
    return {
        path: content
        for path, content in contents.items()
        if not any(is_under(other, path) for other in contents)
    }


def _edited(draw: st.DrawFn, content: bytes) -> bytes:
    at = draw(st.integers(0, len(content) - 1)) if content else 0
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if content else b""


def _is_problem(path: str, tree: Mapping[str, Item]) -> bool:
    """Whether a scan could have met it: a folder it lists, or an entry it could not stat."""
    there = tree.get(path, Item(Kind.FOLDER)).kind is Kind.FOLDER
    return there and all(
        folder in tree and tree[folder].kind is Kind.FOLDER for folder in parents(path)
    )


def _item(file: FileEntry, content: bytes, *, stamp: int) -> Item:
    if file.link_target is not None:
        return Item(Kind.LINK, target=link_text(file.path, file.link_target), stamp=stamp)
    return Item(content=content, stamp=stamp)


def _changed(
    draw: st.DrawFn, change: str, path: str, item: Item, wanted: Content
) -> dict[str, Item]:
    """What is on disk instead of ``item``; everything but rot leaves a trace in stat."""
    content = item.content
    edited = _edited(draw, content)
    at = draw(st.integers(0, max(0, len(content) - 1)))
    right = b"" if isinstance(wanted, Link) else wanted
    stamp = item.stamp + 100
    changed = {
        "touched": {path: item._replace(stamp=stamp)},
        "edited": {path: item._replace(content=edited, stamp=stamp)},
        "rotten": {path: item._replace(content=edited)},
        "truncated": {path: item._replace(content=content[:at], stamp=stamp)},
        "extended": {path: item._replace(content=content + b"more", stamp=stamp)},
        "emptied": {path: item._replace(content=b"", stamp=stamp)},
        "wanted": {path: Item(content=right, stamp=stamp)},
        "missing": {},
        "problem": {},
        "folder": {path: Item(Kind.FOLDER), f"{path}/sub": Item(Kind.FOLDER)},
        "full folder": {f"{path}/user": Item(content=b"mine", stamp=stamp)},
        "link": {path: Item(Kind.LINK, target="elsewhere", stamp=stamp)},
        "special": {path: Item(Kind.OTHER, stamp=stamp)},
        "mount": {path: Item(Kind.MOUNT, stamp=stamp)},
    }
    return changed.get(change, {path: item})
