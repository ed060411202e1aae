"""Puts together what brings one tree to a release; not imported where nothing has changed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torsync.model.patterns import selector
from torsync.subscribe.guarding import Guard
from torsync.subscribe.syncing import Syncing
from torsync.subscribe.trash_content import make_room, room_in_trash

if TYPE_CHECKING:
    from torsync.disk.tree import Tree
    from torsync.model.assess import Matcher
    from torsync.model.config import SubscriptionConfig
    from torsync.subscribe.admission import Admission
    from torsync.subscribe.consent import Consent
    from torsync.subscribe.override import Override
    from torsync.subscribe.presence import Presence
    from torsync.subscribe.release import Releases
    from torsync.subscribe.seeding import Seeding
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings, Voice
    from torsync.subscribe.trash_keeper import TrashKeeper


def make_syncing(
    config: SubscriptionConfig,
    keep: Matcher,
    tree: Tree,
    state: TreeState,
    admission: Admission,
    presence: Presence,
    override: Override,
    releases: Releases,
    seeding: Seeding,
    consent: Consent,
    around: Surroundings,
    voice: Voice,
    keeper: TrashKeeper,
) -> Syncing:
    """Give what brings a tree to a release, with its guards."""
    guard = Guard(
        config,
        admission,
        override,
        keep=keep,
        make_room=partial(make_room, tree),
        spare=partial(room_in_trash, tree),
    )
    return Syncing(
        config,
        keep,
        selector(config.select),
        tree,
        state,
        admission,
        presence,
        guard,
        consent,
        releases,
        seeding,
        around,
        voice,
        keeper,
    )
