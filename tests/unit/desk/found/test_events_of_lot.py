# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events are searched by the lot that was made when they were first seen, at the cameras that saw it."""

from __future__ import annotations

from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.passed_parts import make_part

from vision_line.parts.orders import LOT, Asked, enter
from vision_line.parts.part_entries import add_part
from vision_line.parts.parts_file import writing


def begin(records: DeskRecords, at_s: float, lot: str, lane: str = "*") -> None:
    """Begin a lot so many seconds after the records."""
    with writing(records.directory) as connection:
        order = enter(connection, LOT, lot, Asked("the shift", "desk"), lane)
        connection.execute("UPDATE lots SET begun_utc = ? WHERE number = ?", (BEGAN_UTC + at_s, order.number))


def found(client: TestClient, lot: str, **more: str) -> list[int]:
    """Return the numbers of the events that a search finds."""
    answer = client.get("/api/v1/events", params={"lot": lot, **more})
    assert answer.status_code == 200, answer.text
    return [event["event"] for event in answer.json()["events"]]


def test_a_lot_of_everywhere_is_a_time_of_all_cameras_and_may_have_several(
    rows: DeskRecords, client: TestClient
) -> None:
    run = rows.run(0, 600, "cam01", "cam02")
    for at_s in (10, 20, 30, 40):
        rows.event(run, "cam01", at_s)
    assert found(client, "A") == []  # nobody has begun it
    for at_s, lot in ((15, "A"), (25, "B"), (35, "A")):
        begin(rows, at_s, lot)
    assert found(client, "A") == [4, 2]
    assert found(client, "B") == [3]
    assert found(client, "C") == []
    assert found(client, "A", camera="cam02") == []


def test_a_lot_of_a_lane_is_of_its_cameras(rows: DeskRecords, client: TestClient) -> None:
    run = rows.run(0, 600, "cam01", "cam02")
    rows.event(run, "cam01", 20)
    rows.event(run, "cam02", 20)
    begin(rows, 10, "A", lane="a")
    assert found(client, "A") == []  # which cameras it has its first part says
    with writing(rows.directory) as connection:
        add_part(connection, make_part(1, BEGAN_UTC + 12, inspections={"cam01": 3}))
    assert found(client, "A") == [1]


def test_the_search_goes_on_with_the_lot(rows: DeskRecords, client: TestClient) -> None:
    run = rows.run(0, 600, "cam01")
    for at_s in range(60):
        rows.event(run, "cam01", at_s)
    begin(rows, 0, "A & B")
    assert "lot=A+%26+B&after_utc=" in client.get("/events", params={"lot": "A & B"}).text.replace("&amp;", "&")
