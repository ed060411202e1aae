"""``torsync verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.context import allowances
from torsync.cli.each import order_jobs, run_jobs
from torsync.model.config import CleanMode
from torsync.model.errors import ExitCode
from torsync.model.orders import Verify
from torsync.model.reports import VerifyReport

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import Report

_FLAGS = ("quick", "repair", "clean", "dry_run")


def run_verify(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Hash everything, or stat it, and tell what differs; mend it if asked to."""
    config = context.load_config()
    chosen = context.chosen(config, arguments.names)

    flags = {name: getattr(arguments, name) for name in _FLAGS}
    order = Verify(**flags)

    def tell(config: SubscriptionConfig, report: Report) -> ExitCode:
        assert isinstance(report, VerifyReport)
        context.renderer.verify(report)
        nothing_unlisted = order.clean or config.clean is CleanMode.MIRROR
        mended = order.repair and not order.dry_run
        return verify_exit_code(report, mended=mended, nothing_unlisted=nothing_unlisted)

    again = [f"--{name}".replace("_", "-") for name, given in flags.items() if given]
    with context.surroundings(
        config.session,
        patience_s=arguments.timeout,
        allowed=allowances(arguments),
        again=("verify", *again),
        told=config,
    ) as around:
        return run_jobs(context, order_jobs(context, chosen, around, lambda _config: order, tell))


def verify_exit_code(report: VerifyReport, *, mended: bool, nothing_unlisted: bool) -> ExitCode:
    """Decide the exit code from what is left after repair and cleaning.

    Args:
        report: of the verify.
        mended: whether all that was wrong with the release's files has been repaired; what
            changed while it was hashed remains unknown.
        nothing_unlisted: whether a file that the manifest doesn't list is a difference.
    """
    if report.unreadable:
        return ExitCode.FAILED
    wrong = report.modified
    if not mended:
        wrong = [*wrong, *report.missing, *report.damaged, *report.wrong_size]
    unlisted = {*report.unlisted} - {*report.cleaned} if nothing_unlisted else set()
    return ExitCode.DIFFERS if wrong or unlisted else ExitCode.OK
