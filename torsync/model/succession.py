"""How the releases of a publication follow one another; pure."""

from __future__ import annotations

from torsync.model.trust import Order, read_order

_TRUSTED = "trusted comment: "


def next_order(before: Order | None, now_s: float) -> Order:
    """Decide number and time of a release: both grow, whatever the clock says.

    Args:
        before: those of the release before; None if there is none.
        now_s: the time in Unix seconds.
    """
    if before is None:
        return Order(int(now_s), 1)
    return Order(max(before.time_s + 1, int(now_s)), before.number + 1)


def order_in_signature(signature: bytes | None) -> Order | None:
    """Read number and time out of a minisign file; None if it does not say.

    It is the publisher's own file, so that nothing is verified.
    """
    text = (signature or b"").decode(errors="replace")
    comments = [line for line in text.splitlines() if line.startswith(_TRUSTED)]
    return read_order(comments[0][len(_TRUSTED) :]) if comments else None
