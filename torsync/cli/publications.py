"""Releases of publications, for ``check-now``, ``plan`` and ``publish``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.each import Job
from torsync.model.errors import BusyError, ExitCode
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.cli.context import Context
    from torsync.model.config import PublicationConfig
    from torsync.model.publish_reports import PublishReport
    from torsync.subscribe.surroundings import Surroundings

SERVICE = "torsync run"


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

    def job(config: PublicationConfig) -> Job:
        def release() -> ExitCode:
            report = _release(context, config, around, command, dry_run=dry_run)
            context.renderer.publication(report, command)
            return ExitCode.DIFFERS if report.dry_run and report.changed else ExitCode.OK

        return Job(config.name, release)

    return [job(config) for config in publications]


def _not_seeded(name: str) -> Notice:
    said = "the service does not run, so nobody seeds the new release yet"
    return Notice(name, Level.INFO, "not_seeded", said, "`torsync run` seeds it")


def _release(
    context: Context,
    config: PublicationConfig,
    around: Surroundings,
    command: str,
    *,
    dry_run: bool,
) -> PublishReport:
    from torsync.disk.lock import hold_tree, holder_command
    from torsync.publish.publication import Publication
    from torsync.publish.request import request_and_wait
    from torsync.publish.state import publication_folder

    folder = publication_folder(context.state_dir, config.path)
    while True:
        try:
            with hold_tree(folder, name=config.name, command=f"torsync {command}"):
                publication = Publication(config, folder, around)
                try:
                    report = publication.release_now(dry_run=dry_run)
                finally:
                    publication.close()
        except BusyError:
            if command == "publish" or holder_command(folder) != SERVICE:
                raise
        else:
            if command == "check-now" and report.changed and not report.dry_run:
                around.sink(_not_seeded(config.name))
            return report
        said = "the service does it; waiting for that"
        around.sink(Notice(config.name, Level.INFO, "left_to_service", said))
        answer = request_and_wait(folder, around, dry_run=dry_run)
        if answer is not None:
            return answer
