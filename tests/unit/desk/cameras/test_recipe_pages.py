# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recipe in force at the desk: what the records say, who may change over, and what waits for a run."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN, DeskUnderTest
from tests.fakes.desk_records import DeskRecords

from vision_line.desk.users.sessions import Role
from vision_line.parts.known_names import LANES
from vision_line.parts.orders import RECIPE, Asked, ask_recipe, order_in_force
from vision_line.parts.recorded_recipes import IN_FORCE, RECIPES, REFUSED, recorded_wish
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction


def enter(rows: DeskRecords, key: str, after: object) -> None:
    """Enter what is in force as a run does."""
    with transaction(rows.connection):
        rows.connection.journal.append(Kind.CONFIGURATION, key, {"before": None, "after": after}, 1)


@pytest.fixture
def line(rows: DeskRecords) -> DeskRecords:
    """Return records of a run that knows two recipes."""
    rows.run(0, 6000, "cam01")
    enter(rows, RECIPES, {"7": {"min_hits": 2}, "8": {}})
    return rows


def test_records_without_recipes_show_none(rows: DeskRecords, client: TestClient) -> None:
    rows.run(0, 6000, "cam01")
    assert 'aria-label="Recipe"' not in client.get("/cameras").text
    assert client.get("/api/v1/recipe").json() == {
        "names": [],
        "in_force": {},
        "refused": {},
        "waits": None,
        "note": "",
    }


def test_what_is_in_force_and_refused_is_shown(line: DeskRecords, client: TestClient) -> None:
    seven = ask_recipe(line.directory, "7", Asked("anna", "mqtt"))
    enter(line, f"{IN_FORCE}*", recorded_wish(seven))
    enter(
        line,
        f"{REFUSED}left",
        recorded_wish(ask_recipe(line.directory, "9", Asked("plc", "modbus"), "left"), "no such"),
    )
    shown = client.get("/cameras").text
    assert "In force: recipe <b>7</b>" in shown
    assert "Asked for by anna" in shown
    assert "Lane left: recipe <b>9</b> is not in force: no such. Asked for by plc" in shown
    found = client.get("/api/v1/recipe").json()
    assert (found["names"], found["in_force"]["*"]["recipe"], found["waits"]) == (["7", "8"], "7", None)


def test_who_asks_stands_in_the_wish_and_the_answer_says_whether_it_is_taken_up(
    line: DeskRecords, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vision_line.desk.cameras.recipe_pages._WAITS_S", 0.05)
    answer = client.post("/api/v1/recipe", json={"recipe": "8"}, headers=ORIGIN)
    order = order_in_force(line.directory, RECIPE)
    assert order is not None
    assert (answer.status_code, answer.json()["waits"], order.value, order.asked.door) == (200, "8", "8", "desk")
    assert "was asked for; no run has taken it up yet" in client.get("/cameras").text

    enter(line, f"{IN_FORCE}*", recorded_wish(order) | {"wish": order.number + 1})  # the next one
    sent = client.post("/cameras/recipe", data={"recipe": ""}, headers=ORIGIN, follow_redirects=False)
    newest = order_in_force(line.directory, RECIPE)
    assert newest is not None
    assert (sent.status_code, newest.value, newest.number) == (303, "", order.number + 1)
    assert client.get("/api/v1/recipe").json()["waits"] is None


def test_what_the_line_does_not_know_is_refused(line: DeskRecords, client: TestClient) -> None:
    refused = client.post("/api/v1/recipe", json={"recipe": "9"}, headers=ORIGIN)
    assert refused.status_code == 409
    assert refused.json()["error"] == "recipe: found '9', expected one of 7, 8, or \"\" for none"
    assert client.post("/cameras/recipe", data={"recipe": "9"}, headers=ORIGIN).status_code == 409
    assert client.post("/api/v1/recipe", json={"recipe": "7" * 65}, headers=ORIGIN).status_code in {400, 422}
    assert order_in_force(line.directory, RECIPE) is None


def test_a_recipe_can_be_asked_for_at_a_lane_that_the_line_has(
    line: DeskRecords, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody knows which lanes there are, the answer says so."""
    monkeypatch.setattr("vision_line.desk.cameras.recipe_pages._WAITS_S", 0.05)
    unknown = client.post("/api/v1/recipe", json={"recipe": "7", "lane": "left"}, headers=ORIGIN)
    enter(line, LANES, {"left": {}})
    known = client.post("/api/v1/recipe", json={"recipe": "7", "lane": "left"}, headers=ORIGIN)
    refused = client.post("/api/v1/recipe", json={"recipe": "7", "lane": "lfet"}, headers=ORIGIN)

    assert unknown.json()["note"] == "not checked: the records do not say which lanes there are"
    assert (known.status_code, known.json()["note"]) == (200, "")
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        "lane: found 'lfet', expected one of left, or * for all",
    )


def test_only_quality_may(line: DeskRecords, desk: DeskUnderTest, client: TestClient) -> None:
    desk.accounts.add("vera", Role.REVIEWER, "correct horse battery", by="test")
    client.cookies.clear()
    assert desk.sign_in_as("vera", "correct horse battery").status_code == 303
    assert 'action="/cameras/recipe"' not in client.get("/cameras").text
    assert client.post("/api/v1/recipe", json={"recipe": "7"}, headers=ORIGIN).status_code == 403
    assert client.post("/cameras/recipe", data={"recipe": "7"}, headers=ORIGIN).status_code == 403
    assert order_in_force(line.directory, RECIPE) is None
