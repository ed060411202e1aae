"""All checks of a configuration, in the order in which they are told."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, named, skipped
from torsync.model.errors import ConfigError
from torsync.publish.state import publication_folder
from torsync.service.doctor.abilities import check_abilities
from torsync.service.doctor.bounded import Job, side_by_side
from torsync.service.doctor.configuration import (
    check_configuration,
    check_state_dir,
    tell_problems,
)
from torsync.service.doctor.dht import check_dht
from torsync.service.doctor.hints import check_hints
from torsync.service.doctor.listening import check_listening
from torsync.service.doctor.programs import check_hooks, check_notify
from torsync.service.doctor.publications import (
    check_feed,
    check_folder,
    check_key,
    check_torrent,
    recall_publication,
)
from torsync.service.doctor.remembered import Remembered, recall
from torsync.service.doctor.running import check_service, check_unit, find_holders
from torsync.service.doctor.space import check_space
from torsync.service.doctor.tree import check_tree
from torsync.subscribe.state import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torsync.model.config import Config, PublicationConfig, SubscriptionConfig
    from torsync.model.manifest import Manifest

_AT_ONCE = 32
_ALL_S = 90.0  # each check in it has a limit of its own


def examine(
    config_path: Path,
    state_dir: Path,
    load: Callable[[], Config],
    choose: Callable[[Config], tuple[Sequence[SubscriptionConfig], Sequence[PublicationConfig]]],
    stopping: Callable[[], bool],
) -> list[Finding]:
    """Look at everything; nothing is held or changed, and a service may go on meanwhile.

    Args:
        config_path: of the configuration.
        state_dir: the state directory.
        load: reads the configuration.
        choose: of a configuration, what is to be looked at.
        stopping: asked several times a second.

    Raises:
        InterruptedByUserError: ``stopping`` said so.
        UsageError: of ``choose``.
    """
    try:
        config = load()
    except ConfigError as error:
        return [*tell_problems(error, config_path), *check_state_dir(state_dir)]
    subscriptions, publications = choose(config)
    holders = find_holders(
        state_dir,
        [
            *(state_folder(state_dir, one.path) for one in config.subscriptions.values()),
            *(publication_folder(state_dir, one.path) for one in config.publications.values()),
        ],
    )
    jobs = [
        Job("configuration.file", partial(check_configuration, config, config_path)),
        Job("state_dir.access", partial(check_state_dir, state_dir)),
        Job(
            "service.running", partial(check_service, config.service, state_dir, holders, stopping)
        ),
        Job("service.unit", check_unit),
        Job("listen.port", partial(check_listening, config.session, holders.service)),
        Job("dht.nodes", partial(check_dht, config.session, stopping)),
        Job("notify.urls", partial(check_notify, config.notify)),
    ]
    if config.publications:
        feed = partial(check_feed, config.feed, tuple(config.publications), holders.service)
        jobs.append(Job("feed.listen", feed))
    each = [
        Job(
            "subscription",
            partial(_examine_subscription, one, config, state_dir, stopping),
            limit_s=_ALL_S,
        )
        for one in subscriptions
    ]
    each += [
        Job(
            "publication",
            partial(_examine_publication, one, config, state_dir, stopping),
            limit_s=_ALL_S,
        )
        for one in publications
    ]
    found = side_by_side([*jobs, *each[:_AT_ONCE]], stopping)
    for at in range(_AT_ONCE, len(each), _AT_ONCE):
        found += side_by_side(each[at : at + _AT_ONCE], stopping)
    return found


def _examine_subscription(
    config: SubscriptionConfig, everything: Config, state_dir: Path, stopping: Callable[[], bool]
) -> list[Finding]:
    folder = state_folder(state_dir, config.path)
    known = recall(config, folder, time.time())
    jobs = [
        Job("url", partial(_examine_remote, config, everything, folder, known, stopping), _ALL_S),
        Job("tree.folder", partial(check_tree, config.name, config.path, known)),
        Job("disk.abilities", partial(check_abilities, config.path, state_dir, known.manifest)),
        Job("hooks", partial(_check_hooks_of_subscription, config)),
    ]
    return named(config.name, [*known.findings, *side_by_side(jobs, stopping)])


def _check_hooks_of_subscription(config: SubscriptionConfig) -> list[Finding]:
    hooks = {
        "before_update": config.before_update,
        "on_update": config.on_update,
        "on_error": config.on_error,
    }
    return check_hooks(hooks, config.path)


def _examine_remote(
    config: SubscriptionConfig,
    everything: Config,
    folder: Path,
    known: Remembered,
    stopping: Callable[[], bool],
) -> list[Finding]:
    from torsync.service.doctor.signature import check_signature  # noqa: PLC0415 - not for publishers
    from torsync.service.doctor.sources import check_sources, places_of  # noqa: PLC0415 - the same
    from torsync.service.doctor.url import check_remote  # noqa: PLC0415 - the same

    remote = check_remote(config)
    manifest = remote.manifest or known.manifest
    newest = remote.fetched.sha256 if remote.fetched is not None else ""
    jobs = [
        Job("signature", partial(check_signature, config, remote.fetched, known.vouched)),
        Job("disk.space", partial(check_space, config, folder, known, manifest, newest)),
    ]
    if manifest is None:
        why = "no release is known whose sources could be asked"
        jobs.append(Job("sources.all", lambda: [skipped("sources.all", why, "see url above")]))
    else:
        is_synced = bool(known.synced) and (newest or known.polled) == known.synced
        places = places_of(manifest, web_seeds=config.web_seeds, peers=config.peers)
        asking = partial(
            check_sources, manifest, places, everything.session, stopping, is_synced=is_synced
        )
        jobs.append(Job("sources.all", asking, _ALL_S))
        jobs.append(Job("hints.file", partial(check_hints, config, manifest)))
    return [*remote.findings, *side_by_side(jobs, stopping)]


def _examine_publication(
    config: PublicationConfig, everything: Config, state_dir: Path, stopping: Callable[[], bool]
) -> list[Finding]:
    folder = publication_folder(state_dir, config.path)
    findings, manifest = recall_publication(config, folder)
    hooks = {"on_release": config.on_release, "on_error": config.on_error}
    jobs = [
        Job("tree.folder", partial(check_folder, config)),
        Job("publication.key", partial(check_key, config)),
        Job("publication.torrent", partial(check_torrent, config)),
        Job("hooks", partial(check_hooks, hooks, config.path)),
    ]
    if manifest is not None:
        jobs.append(Job("sources.all", partial(_ask_about, manifest, everything, stopping), _ALL_S))
    return named(config.name, [*findings, *side_by_side(jobs, stopping)])


def _ask_about(
    manifest: Manifest, everything: Config, stopping: Callable[[], bool]
) -> list[Finding]:
    from torsync.service.doctor.sources import check_sources, places_of  # noqa: PLC0415 - slow

    places = places_of(manifest)
    return check_sources(manifest, places, everything.session, stopping, is_own=True)
