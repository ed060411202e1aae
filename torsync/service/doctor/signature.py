"""Whether releases are signed, by the right key, and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, failure, ok, skipped
from torsync.model.errors import ConfigError, RemoteError
from torsync.model.trust import key_id
from torsync.service.doctor.url import TIMEOUTS

if TYPE_CHECKING:
    from torsync.model.config import SubscriptionConfig
    from torsync.subscribe.remote.poll import Fetched

_UNSIGNED = (
    "if the publisher signs releases, put their key into public_keys: then nobody else can "
    "publish, whoever has the server"
)


class _Known:
    """What was accepted before, without a way to change it."""

    def __init__(self, vouched: str) -> None:
        self._vouched = vouched

    def get(self, key: str) -> str:
        return self._vouched if key == "vouched" else ""

    def put(self, **facts: str) -> None:
        raise AssertionError(facts)  # nothing is changed by looking


def _do_not_wait(_seconds: float) -> bool:
    return True


def check_signature(
    config: SubscriptionConfig, fetched: Fetched | None, vouched: str
) -> list[Finding]:
    """Fetch the signature of a release, and judge it as a poll does.

    Args:
        config: of the subscription.
        fetched: the release; None if it could not be had.
        vouched: what the state says was accepted last; empty if nothing was.
    """
    if not config.public_keys:
        why = "public_keys is empty: releases need no signature"
        return [skipped("signature.release", why, _UNSIGNED)]
    if fetched is None:
        return [skipped("signature.release", "there is no .torrent whose signature to check")]
    from torsync.subscribe.trust import Patience, Trust  # noqa: PLC0415 - costs start-up time

    trust = Trust(
        config.url,
        config.public_keys,
        _Known(vouched),
        Patience(_do_not_wait),
        headers=config.headers,
    )
    try:
        _, found = trust.accept(fetched, timeouts=TIMEOUTS, again=None, force=True)
    except (RemoteError, ConfigError) as error:
        return [failure("signature.release", error, "ask the publisher")]
    order = f", as release {found.order.number}" if found.order.number else ""
    newest = trust.newest
    since = " and not older than the one before" if newest is not None else ""
    return [ok("signature.release", f"signed by key {key_id(found.key)}{order}{since}")]
