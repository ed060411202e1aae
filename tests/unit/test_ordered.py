"""Orders that are carried out: each does what it says, and what makes no sense is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from torsync.model.config import PublicationConfig, SubscriptionConfig
from torsync.model.errors import UsageError
from torsync.model.orders import (
    Apply,
    Check,
    EmptyTrash,
    MakeRelease,
    Order,
    Pause,
    Restore,
    Resume,
    Rollback,
    Verify,
)
from torsync.model.reports import PauseReport
from torsync.publish import ordered as publish_ordered
from torsync.subscribe import ordered as subscribe_ordered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Recorder:
    """Notes what is called, and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values, **options: self.calls.append((name, *values, options))


RESTORE, EMPTY = Restore("a"), EmptyTrash(5.0)


@pytest.mark.parametrize(
    ("order", "call"),
    [
        (Check(force=True), ("check_now", {"force": True})),
        (Check(dry_run=True), ("foretell", {"force": False})),
        (Apply(), ("apply", {"lasting": True})),
        (Rollback("pack-1"), ("rollback", "pack-1", {})),
        (
            Verify(quick=True),
            ("verify", {"quick": True, "repair": False, "clean": False, "dry_run": False}),
        ),
        (RESTORE, ("see_to_trash", RESTORE, {})),
        (EMPTY, ("see_to_trash", EMPTY, {})),
    ],
)
def test_an_order_for_a_subscription_does_what_it_says(
    order: Order, call: tuple[object, ...]
) -> None:
    subscription = Recorder()
    subscribe_ordered.carry_out(order, cast("Any", subscription))
    assert subscription.calls == [call]


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_order_for_a_publication_does_what_it_says(dry_run: bool) -> None:
    publication = Recorder()
    publish_ordered.carry_out(MakeRelease(dry_run=dry_run), cast("Any", publication))
    assert publication.calls == [("release_now", {"dry_run": dry_run, "unsettled": False})]


@pytest.mark.parametrize(
    ("module", "order"),
    [
        (subscribe_ordered, MakeRelease()),
        (subscribe_ordered, Pause()),
        (publish_ordered, Check()),
        (publish_ordered, Resume()),
    ],
)
def test_an_order_that_is_for_something_else_is_refused(module: Any, order: Order) -> None:
    with pytest.raises(UsageError, match=f"'{order.command}' is nothing that is done"):
        module.carry_out(order, Recorder())


@pytest.mark.parametrize("module", [subscribe_ordered, publish_ordered])
def test_to_pause_what_is_paused_changes_nothing(module: Any, tmp_path: Path) -> None:
    config = (
        SubscriptionConfig("pack", "http://h/", tmp_path / "pack")
        if module is subscribe_ordered
        else PublicationConfig("pack", tmp_path / "pack")
    )
    orders = [Pause(), Pause(), Resume(), Resume()]
    found = [module.carry_out_alone(order, config, tmp_path / "state", None) for order in orders]
    assert found == [
        PauseReport("pack", paused, changed)
        for paused in (True, False)
        for changed in (True, False)
    ]
    assert not (tmp_path / "pack").exists(), "the tree is not touched for it"
