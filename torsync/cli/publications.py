"""Releases of publications, for ``check-now``, ``plan`` and ``publish``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.each import Job, have_done, publication_target
from torsync.model.errors import ExitCode
from torsync.model.events import Level, Notice
from torsync.model.orders import MakeRelease
from torsync.model.publish_reports import PublishReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.cli.context import Context
    from torsync.model.config import PublicationConfig
    from torsync.model.orders import Order, Report
    from torsync.subscribe.surroundings import Surroundings


def release_jobs(
    context: Context,
    publications: Iterable[PublicationConfig],
    around: Surroundings,
    command: str,
    *,
    dry_run: bool,
) -> list[Job]:
    """Make a release of a publication, if anything changed: a job for each.

    If the service has the publication, it makes the release.

    Args:
        context: of the command.
        publications: in the order of the jobs.
        around: what publications need.
        command: that the report is of.
        dry_run: only tell what would be done.
    """
    order = MakeRelease(dry_run)

    def job(config: PublicationConfig) -> Job:
        target = publication_target(context, config, around)

        def alone(order: Order) -> Report:
            report = target.alone(order)
            assert isinstance(report, PublishReport)
            if command == "check-now" and report.changed and not report.dry_run:
                around.sink(_not_seeded(config.name))
            return report

        def release() -> ExitCode:
            by_itself = target._replace(alone=alone)
            # What `publish` writes has options of its own, and is none of the service's business.
            may = command != "publish"
            report = have_done(context, by_itself, order, around, command=command, by_service=may)
            assert isinstance(report, PublishReport)
            context.renderer.publication(report, command)
            return ExitCode.DIFFERS if report.dry_run and report.changed else ExitCode.OK

        return Job(config.name, release)

    return [job(config) for config in publications]


def _not_seeded(name: str) -> Notice:
    said = "the service does not run, so nobody seeds the new release yet"
    return Notice(name, Level.INFO, "not_seeded", said, "`torsync run` seeds it")
