"""The page of the manual about the control API says what there is."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.control import running_api
from torsync.model.orders import FOR_PUBLICATIONS, FOR_SUBSCRIPTIONS, Terms, order_from_json
from torsync.service.desk import ReloadReport

if TYPE_CHECKING:
    from torsync.model.orders import Order

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PAGE = README.partition("\n## Control API\n")[2].partition("\n## ")[0]


def rows() -> list[list[str]]:
    """The rows of its tables, cell by cell."""
    found = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in found]


@pytest.mark.parametrize("kind", [*FOR_SUBSCRIPTIONS, *FOR_PUBLICATIONS], ids=lambda k: k.command)
def test_every_order_and_option_is_there(kind: type[Order]) -> None:
    (row,) = [row for row in rows() if f"`{kind.command}`" in row[0]]
    options = {field.name for field in fields(kind)}
    assert set(re.findall(r"`([a-z_]+)`", row[1])) == options


def test_the_example_of_an_order_is_one() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    found = json.loads(text)
    assert order_from_json(found["order"]).command == "verify"
    assert Terms.from_json(found["terms"]).patience_s == 600


def test_every_term_is_there() -> None:
    for field in Terms().as_json():
        assert f"`{field}`" in PAGE


def test_the_routes_of_orders_are_there(tmp_path: Path) -> None:
    """Those that only tell something are tried by the examples."""
    named = [row[0].strip("`").split() for row in rows() if row[0].startswith(("`GET", "`POST"))]
    assert len(named) == 8
    with running_api(tmp_path) as api:
        for method, target in named:
            path = target.partition("?")[0].replace("NAME", "none")
            if path.rpartition("/")[2] in {"status", "history", "logs", "metrics", "events"}:
                continue
            body = {"order": {"command": "check-now"}} if method == "POST" else None
            api.desk.reloads.append(ReloadReport())
            answer = api.ask(method, path, body)
            assert "there is nothing at" not in answer.body.decode(), path
            assert answer.status != 405, path
