"""What an update of a subscription would do, found out without a trace in its tree."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from torsync.disk.scan import NO_ROWS
from torsync.disk.tree import Tree
from torsync.model.events import Stage
from torsync.model.known import NEVER_SYNCED
from torsync.model.past import name_of
from torsync.model.patterns import matcher, selector
from torsync.model.tree_index import DiskIndex
from torsync.subscribe.admission import Admission, is_there
from torsync.subscribe.foresight import foresee
from torsync.subscribe.guarding import Guard
from torsync.subscribe.look import look_further, take_look
from torsync.subscribe.override import Override
from torsync.subscribe.release import Release, Releases, not_polled, open_releases
from torsync.subscribe.remote.rules import mask_url
from torsync.subscribe.room import free_bytes
from torsync.subscribe.shifts.finder import ShiftFinder
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Surroundings, Voice, noting_stages
from torsync.subscribe.trash_content import room_in_trash
from torsync.subscribe.unchanged import find_unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.reports import CheckReport
    from torsync.model.tree_index import LedgerRow


class AbsentTree(Tree):
    """A folder that is not there yet, and is not made: it looks empty."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def forget_folders(self) -> None:
        """Do nothing: nothing is open."""

    def folder_fd(self, folder: str, *, create: bool = False) -> int:  # noqa: ARG002
        """Find no folder.

        Raises:
            FileNotFoundError: always.
        """
        raise FileNotFoundError(folder)

    def scan(
        self,
        on_entries: Callable[[int], None] = lambda _count: None,
        *,
        like: Mapping[str, LedgerRow] = NO_ROWS,  # noqa: ARG002 - overrides
        leave_out: Callable[[str], bool] | None = None,  # noqa: ARG002 - the same
    ) -> DiskIndex:
        """Find nothing."""
        on_entries(0)
        return DiskIndex({})


def poll_and_preview(
    config: SubscriptionConfig, folder: Path, around: Surroundings, *, force: bool
) -> CheckReport:
    """Poll, and tell what an update to the newest release would do.

    What the poll got is stored. The state's lock is held by the caller; the tree needs none.

    Args:
        config: of the subscription.
        folder: of its state.
        around: what it needs.
        force: ignore what the last poll left.

    Raises:
        TorsyncError: the remote, the state or the tree cannot be used.
    """
    started = time.monotonic()
    with ExitStack() as opened:
        state = TreeState(folder)
        opened.callback(state.close)
        around = replace(around, sink=noting_stages(state, around.sink))
        voice = Voice(config.name, around.sink)
        voice.stage(Stage.CHECKING_REMOTE, mask_url(config.url))
        releases = open_releases(config, around.wait, state, voice, stopping=around.stopping)
        release = releases.poll(force=force)
        tree, admission = opened.enter_context(_open_tree(config, state, around))
        if not force and not isinstance(tree, AbsentTree) and not admission.is_foreign:
            keep = matcher(config.keep)
            report = find_unchanged(tree, state, release.digest, config, keep, voice)
            if report is not None:
                report.dry_run = True
                report.space_free = free_bytes(tree.root)
                report.seconds = time.monotonic() - started
                return report
        return _preview(config, release, releases, state, tree, admission, around, started)


def preview(config: SubscriptionConfig, folder: Path, around: Surroundings) -> CheckReport:
    """Tell what an update to the release that the last poll got would do.

    Nothing is written, and no lock needed: it can be asked while the service works.

    Raises:
        NotPolledError: there was no poll of the URL yet.
        UntrustedError: what it got was not checked with the keys that are configured now.
        TorsyncError: the state or the tree cannot be used.
    """
    started = time.monotonic()
    if not (folder / "state.sqlite").exists():
        raise not_polled(config.name)
    with ExitStack() as opened:
        state = TreeState(folder, read_only=True)
        opened.callback(state.close)
        voice = Voice(config.name, around.sink)
        releases = open_releases(config, around.wait, state, voice, stopping=around.stopping)
        release = releases.polled()
        if release is None:
            raise not_polled(config.name)
        release = releases.trusted(release, config.name)
        tree, admission = opened.enter_context(_open_tree(config, state, around))
        return _preview(config, release, releases, state, tree, admission, around, started)


@contextmanager
def _open_tree(
    config: SubscriptionConfig, state: TreeState, around: Surroundings
) -> Iterator[tuple[Tree, Admission]]:
    admission = Admission(config.path, state, Override(config.name, state, around))
    there = os.path.lexists(config.path) or is_there(config.path)
    tree = Tree(config.path.resolve()) if there else AbsentTree(config.path)
    try:
        admission.admit(tree if there else None)
        yield tree, admission
    finally:
        tree.close()


def _preview(
    config: SubscriptionConfig,
    release: Release,
    releases: Releases,
    state: TreeState,
    tree: Tree,
    admission: Admission,
    around: Surroundings,
    started: float,
) -> CheckReport:
    keep, voice = matcher(config.keep), Voice(config.name, around.sink)
    synced = NEVER_SYNCED if admission.is_foreign else releases.synced_manifest()
    look = take_look(
        tree,
        release.manifest,
        {} if admission.is_foreign else state.load_ledger(),
        voice,
        keep=keep,
        select=selector(config.select),
        synced=synced,
        trust_ledger=True,
        stopping=around.stopping,
        trash=state.load_trash,
    )
    look = look_further(tree, look, voice, keep=keep, stopping=around.stopping)
    look = replace(look, begun=state.between()[1])
    override = Override(config.name, state, around)
    spare = partial(room_in_trash, tree)
    guard = Guard(config, admission, override, keep=keep, spare=spare)
    plan, report = foresee(
        config,
        look,
        keep=keep,
        find=ShiftFinder(config, tree, state, voice, around.stopping).find,
        fits=partial(guard.fits, tree),
        from_release="" if admission.is_foreign else name_of(state.past_releases(), state.synced),
        dry_run=True,
    )
    guard.foretell(tree, release, plan, look, synced, report, voice)
    report.seconds = time.monotonic() - started
    return report
