"""``schema.json`` describes what ``--json`` prints, field by field."""

from __future__ import annotations

import copy
import io
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from tests.cli.render_samples import (
    HOSTILE,
    check_report,
    downloading,
    findings,
    history_reports,
    live_status,
    log_records,
    plan_report,
    publication_statuses,
    publish_reports,
    status_reports,
    trash_reports,
    verify_report,
)
from torsync.cli.render.json_lines import JsonRenderer
from torsync.model.checkup import Verdict
from torsync.model.errors import ConfigError, ExitCode, RemoteUnreachableError
from torsync.model.events import Level, Notice, Stage, StageStarted
from torsync.model.key_report import KeyReport
from torsync.model.publish_reports import PublicationStatus
from torsync.model.reports import CheckReport, PauseReport, StatusReport, VerifyReport
from torsync.model.service_report import ServiceReport
from torsync.service.desk import ReloadReport

SCHEMA: dict[str, Any] = json.loads(
    files("torsync.cli").joinpath("schema.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
LINE_TYPES = (
    *("progress", "notice", "check", "plan", "verify", "status", "added", "result", "error"),
    *("trash_list", "trash_restore", "trash_empty", "release", "publication_status"),
    *("key", "history", "publication_history", "log"),
    *("service", "paused", "reload", "api_stage", "api_begun", "api_report", "api_error"),
    *("doctor_check",),
)


def samples() -> list[dict[str, Any]]:
    stdout, stderr = io.StringIO(), io.StringIO()
    renderer = JsonRenderer(stdout, stderr, verbose=True)
    for stage in Stage:
        renderer.event(StageStarted("skyrim", stage, HOSTILE))
    renderer.event(downloading())
    for level in Level:
        renderer.event(Notice("skyrim", level, "a_code", "a message", "a hint"))
    renderer.check(check_report())
    renderer.check(CheckReport("empty"))
    renderer.check(plan_report(), "plan")
    renderer.check(CheckReport("empty", dry_run=True))
    renderer.check(check_report(), "apply")
    renderer.verify(verify_report())
    renderer.verify(VerifyReport("empty"))
    renderer.status(
        [*status_reports(), live_status(), StatusReport("empty", "", "", "")],
        [*publication_statuses(), PublicationStatus("empty", "", "")],
    )
    for published in publish_reports():
        for command in ("publish", "check-now", "plan", "run"):
            renderer.publication(published, command)
    for report in trash_reports():
        renderer.trash(report)
    for kind_of in ("subscription", "publication"):
        for paused in (True, False):
            renderer.paused(PauseReport("skyrim", paused, changed=paused), kind_of)
    renderer.reloaded(ReloadReport(("new",), ("gone",), ("other",), ("same", "too")))
    for history in history_reports():
        renderer.history(history)
    renderer.log(log_records()[0])
    renderer.added("skyrim", "https://x.example/a.torrent", "/games", "/c.toml")
    renderer.checkup(findings())
    renderer.key(KeyReport("0A1B", "RWQ", "/k.pub", "/k", encrypted=False))
    for command in ("service install", "service uninstall"):
        renderer.service(ServiceReport(command, "torsync.service", "user", written_paths=("/u",)))
    renderer.service(ServiceReport("service install", example="@reboot torsync run"))
    renderer.error(RemoteUnreachableError("no answer", hint="try later"), "skyrim")
    renderer.error(ConfigError("1 problem", problems=("line 3: a",)))
    for code in ExitCode:
        renderer.result(code, 1.5)
    renderer.close()
    return [json.loads(line) for line in (stdout.getvalue() + stderr.getvalue()).splitlines()]


def kind(sample: dict[str, Any]) -> str:
    return f"{sample['type']} {sample.get('command', '')}".strip()


FIRST_OF_EACH_KIND = list({kind(sample): sample for sample in reversed(samples())}.values())


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("sample", samples(), ids=kind)
def test_every_line_is_valid(sample: dict[str, Any]) -> None:
    VALIDATOR.validate(sample)


def test_the_samples_hold_every_kind_of_line() -> None:
    assert {kind(sample) for sample in FIRST_OF_EACH_KIND} == {
        "progress",
        "notice",
        "subscription apply",
        "subscription check-now",
        "subscription plan",
        "subscription verify",
        "subscription status",
        "subscription history",
        "publication history",
        "log",
        "subscription init",
        "publication publish",
        "publication check-now",
        "publication plan",
        "publication run",
        "publication status",
        "subscription trash list",
        "subscription trash restore",
        "subscription trash empty",
        *("subscription pause", "subscription resume"),
        *("publication pause", "publication resume"),
        "reload",
        "check doctor",
        "key keygen",
        "service service install",
        "service service uninstall",
        "result",
        "error",
    }


@pytest.mark.parametrize("sample", FIRST_OF_EACH_KIND, ids=kind)
def test_a_missing_field_is_refused(sample: dict[str, Any]) -> None:
    for name in sample:
        if name == "problems":
            continue
        less = {key: value for key, value in sample.items() if key != name}
        assert not VALIDATOR.is_valid(less), name


@pytest.mark.parametrize("sample", FIRST_OF_EACH_KIND, ids=kind)
def test_an_extra_field_is_refused(sample: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**sample, "surprise": 1})


@pytest.mark.parametrize("sample", FIRST_OF_EACH_KIND, ids=kind)
def test_a_field_of_another_type_is_refused(sample: dict[str, Any]) -> None:
    for name in sample:
        changed = copy.deepcopy(sample)
        changed[name] = {"neither": "text nor number"}
        assert not VALIDATOR.is_valid(changed), name


@pytest.mark.parametrize("line_type", LINE_TYPES)
def test_every_field_is_required_described_and_nothing_else_allowed(line_type: str) -> None:
    definition = SCHEMA["$defs"][line_type]

    assert definition["description"]
    assert definition["additionalProperties"] is False
    assert set(definition["properties"]) - set(definition["required"]) <= {"problems"}
    for name, field in definition["properties"].items():
        assert field.get("description", "").endswith("."), name


@pytest.mark.parametrize(
    ("line_type", "fields"),
    [
        ("check", check_report().as_json()),
        ("plan", plan_report().as_json()),
        ("verify", verify_report().as_json()),
        ("status", status_reports()[0].as_json()),
        ("doctor_check", findings()[0].as_json()),
        ("release", publish_reports()[0].as_json()),
        ("publication_status", publication_statuses()[0].as_json()),
        ("history", history_reports()[0].as_json()),
        ("publication_history", history_reports()[1].as_json()),
        *((report.command.replace(" ", "_"), report.as_json()) for report in trash_reports()),
    ],
)
def test_every_field_of_the_reports_is_in_the_schema(
    line_type: str, fields: dict[str, Any]
) -> None:
    assert set(SCHEMA["$defs"][line_type]["properties"]) == {"type", "command", *fields}


def test_stages_levels_and_exit_codes_are_those_of_the_code() -> None:
    definitions = SCHEMA["$defs"]

    assert definitions["progress"]["properties"]["stage"]["enum"] == [s.value for s in Stage]
    assert definitions["notice"]["properties"]["level"]["enum"] == [n.value for n in Level]
    assert definitions["doctor_check"]["properties"]["verdict"]["enum"] == [
        v.value for v in Verdict
    ]
    assert definitions["result"]["properties"]["exit_code"]["enum"] == [int(c) for c in ExitCode]
