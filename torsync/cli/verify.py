"""``torsync verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.context import allowances
from torsync.cli.each import for_each
from torsync.model.config import CleanMode
from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.model.reports import VerifyReport
    from torsync.subscribe.subscription import Subscription


def run_verify(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Hash everything, or stat it, and tell what differs; mend it if asked to."""
    config = context.load_config()
    chosen = context.chosen(config, arguments.names)

    def verify(subscription: Subscription) -> ExitCode:
        report = subscription.verify(
            quick=arguments.quick,
            repair=arguments.repair,
            clean=arguments.clean,
            dry_run=arguments.dry_run,
        )
        context.renderer.verify(report)
        nothing_unlisted = arguments.clean or subscription.config.clean is CleanMode.MIRROR
        mended = arguments.repair and not arguments.dry_run
        return verify_exit_code(report, mended=mended, nothing_unlisted=nothing_unlisted)

    flags = ("quick", "repair", "clean", "dry_run")
    again = [f"--{flag}".replace("_", "-") for flag in flags if getattr(arguments, flag)]
    with context.surroundings(
        config.session,
        patience_s=arguments.timeout,
        allowed=allowances(arguments),
        again=("verify", *again),
        notify=config.notify,
    ) as around:
        return for_each(context, chosen, around, "torsync verify", verify)


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
