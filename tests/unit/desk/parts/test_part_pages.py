# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages of parts and lots: what is searched, what one part shows, who begins a lot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.passed_parts import make_part
from tests.fakes.said_configuration import enter_configuration, named

from vision_line.desk.users.sessions import Role
from vision_line.parts.orders import LOT, order_in_force
from vision_line.parts.part import PartCause, PartVerdict
from vision_line.parts.part_entries import add_correction, add_part
from vision_line.parts.parts_file import writing
from vision_line.parts.parts_removal import remove_parts
from vision_line.parts.passed import PAGE_ROWS

HOUR = "since=2026-11-28T20:00Z&until=2026-11-28T21:00Z"


@pytest.fixture
def parted(rows: DeskRecords) -> DeskRecords:
    """Return records with an event, which a part at lane a has; one let through and defective, one not inspected."""
    run = rows.run(0, 600, "cam01")
    rows.event(run, "cam01", 30)
    event_id, run_id = rows.connection.execute(
        "SELECT event_id, run_id FROM events JOIN runs USING (run) WHERE event = 1"
    ).fetchone()
    with writing(rows.directory) as connection:
        at = BEGAN_UTC + 30
        rejected = make_part(1, at, verdict=PartVerdict.REJECT, events=(event_id,), run_id=run_id, lot="L & 1")
        add_part(connection, rejected)
        accepted = make_part(2, at + 1, lot="L & 1")
        add_correction(connection, accepted, add_part(connection, accepted), PartVerdict.REJECT, ["late"])
        missed = make_part(3, at + 2, verdict=PartVerdict.NOT_INSPECTED, cause=PartCause.CAMERA, part_id="")
        add_part(connection, missed)
        add_part(connection, make_part(1, at + 3, lane="b", part_id="<b>"))
    return rows


def found(client: TestClient, query: str) -> list[tuple[str, int]]:
    """Return lane and number of the parts that a search finds."""
    return [(one["lane"], one["sequence"]) for one in client.get(f"/api/v1/parts?{query}").json()["parts"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [("b", 1), ("a", 3), ("a", 2), ("a", 1)]),
        ("lane=b", [("b", 1)]),
        ("verdict=not_inspected", [("a", 3)]),
        ("verdict=", [("b", 1), ("a", 3), ("a", 2), ("a", 1)]),
        ("lot=L+%26+1", [("a", 2), ("a", 1)]),
        ("part_id=P-2", [("a", 2)]),
        ("challenges=only", []),
        ("challenges=without&lane=b", [("b", 1)]),
        ("since=2026-11-28T20:00:31Z&until=2026-11-28T20:00:32Z", [("a", 2)]),
        ("day=1970-01-01", []),
    ],
)
def test_filters(parted: DeskRecords, client: TestClient, query: str, expected: list[tuple[str, int]]) -> None:
    del parted
    assert found(client, query) == expected
    assert client.get(f"/parts?{query}").text.count('href="/parts/') == len(expected)


def test_what_was_removed_is_said(parted: DeskRecords, client: TestClient) -> None:
    """Where it would be shown, and not of a time behind it."""
    said = "removed for age"
    assert said not in client.get("/parts").text
    with writing(parted.directory) as connection:
        remove_parts(connection, 1, "keep_days")
    assert "1 part from" in client.get("/parts").text
    assert said not in client.get("/parts?since=2026-11-28T20:00:31Z").text
    with writing(parted.directory) as connection:
        connection.execute("INSERT INTO lots (number, lane, lot, begun_utc) VALUES (99, '*', 'L', ?)", (BEGAN_UTC,))
    assert said in client.get("/lots").text


def test_a_page_goes_on_where_the_one_before_ended(rows: DeskRecords, client: TestClient) -> None:
    with writing(rows.directory) as connection:
        for sequence in range(1, PAGE_ROWS + 3):
            add_part(connection, make_part(sequence, BEGAN_UTC))  # all at the same moment
    first = client.get("/api/v1/parts").json()
    after_utc, after = first["next"]
    assert len(first["parts"]) == PAGE_ROWS
    assert found(client, f"after_utc={after_utc}&after={after}") == [("a", 2), ("a", 1)]
    assert "older →" in client.get("/parts").text


def test_a_part_says_what_was_seen_when_it_was_decided_and_what_was_found_later(
    parted: DeskRecords, client: TestClient
) -> None:
    del parted
    rejected, accepted, missed = (client.get(f"/parts/{number}").text for number in (1, 2, 4))
    assert 'href="/events/1' in rejected
    assert "500 ms behind it, 500 ms before the deadline" in rejected
    assert "cam01</a> 4 times" in rejected
    assert "it was found to be <b>reject</b>" in accepted
    assert "late: not in the records any more" in accepted
    assert "Not inspected: a camera of the lane was not inspected" in missed
    assert client.get("/parts/99").status_code == 404
    assert client.get("/api/v1/parts/3").status_code == 404  # the entry of the correction


def test_an_event_leads_to_its_part_and_the_first_page_to_what_was_missed(
    parted: DeskRecords, client: TestClient
) -> None:
    del parted
    assert 'href="/parts/1">P-1</a> at a, reject, lot <a href="/parts?lot=L+%26+1">' in client.get("/events/1").text
    home = client.get(f"/?{HOUR}").text
    assert "1 part was let through and found defective later" in home
    assert "</a> of 4 <a" in home


def test_text_of_the_plant_is_text(parted: DeskRecords, client: TestClient) -> None:
    del parted
    assert "<b>&lt;b&gt;" not in (shown := client.get("/parts").text)
    assert "<td>&lt;b&gt;</td>" in shown


def test_a_lot_is_begun_and_ended_and_counts_its_parts(parted: DeskRecords, client: TestClient) -> None:
    begun = client.post("/api/v1/lots", json={"lot": "L & 1"}, headers=ORIGIN).json()["lots"]
    assert [(one["lot"], one["lane"], one["until_utc"]) for one in begun] == [("L & 1", "*", None)]
    one = begun[0]
    assert (one["parts"], one["inspected"], one["good"], one["rejected"], one["found_later"]) == (2, 2, 0, 1, 1)
    assert 'href="/report/open?lot=L+%26+1"' in client.get("/lots").text
    assert "<title>Lot L &amp; 1" in client.get("/report/open?lot=L+%26+1").text
    assert client.get("/report/file?lot=none").status_code == 400
    sent = {"lot": "", "lane": "*", "act": "end"}
    assert client.post("/lots", data=sent, headers=ORIGIN, follow_redirects=False).status_code == 303
    order = order_in_force(parted.directory, LOT)
    assert order is not None
    assert (order.value, order.asked.door) == ("", "desk")
    assert client.get("/api/v1/lots").json()[0]["until_utc"] == order.at_utc


def test_a_lot_at_a_lane_counts_that_lanes_parts_alone(parted: DeskRecords, client: TestClient) -> None:
    del parted
    for lane in ("a", "nowhere"):
        client.post("/api/v1/lots", json={"lot": "L & 1", "lane": lane}, headers=ORIGIN)
    assert {one["lane"]: one["parts"] for one in client.get("/api/v1/lots").json()} == {"a": 2, "nowhere": 0}


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/lots", {"data": {"lot": " ", "act": "begin"}}, 400),
        ("/lots", {"data": {"lot": "a\nb", "act": "begin"}}, 400),
        ("/api/v1/lots", {"json": {"lot": "x" * 65}}, 400),
        ("/api/v1/lots", {"json": {"lot": "a\x1bb"}}, 400),
        ("/api/v1/lots", {"json": {"lot": "L", "lane": ""}}, 400),
        ("/api/v1/lots", {"json": {"lot": "L", "lane": "a\x07"}}, 400),
    ],
)
def test_what_is_no_lot_is_refused(
    records: Path, client: TestClient, path: str, sent: dict[str, Any], status: int
) -> None:
    assert client.post(path, **sent, headers=ORIGIN).status_code == status
    assert order_in_force(records, LOT) is None


def test_only_quality_begins_a_lot(records: Path, desk: DeskUnderTest) -> None:
    del desk
    with desk_over(records) as found:
        found.accounts.add("vera", Role.REVIEWER, "a long password", by="test")
        found.sign_in_as("vera", "a long password")
        assert found.client.post("/api/v1/lots", json={"lot": "L"}, headers=ORIGIN).status_code == 403
        assert "Begin it now" not in found.client.get("/lots").text


def test_a_lot_is_begun_at_lanes_that_the_line_has(rows: DeskRecords, client: TestClient) -> None:
    """By the program's door and by the page; what nobody could check is said, and recorded."""
    rows.run(0, 6000, "cam01")
    before = client.post("/api/v1/lots", json={"lot": "L", "lane": "left"}, headers=ORIGIN).json()
    page = client.post("/lots", data={"lot": "L", "lane": "left", "act": "begin"}, headers=ORIGIN)
    enter_configuration(rows.connection, named(["left"], []))
    known = client.post("/api/v1/lots", json={"lot": "L", "lane": "left"}, headers=ORIGIN).json()
    refused = client.post("/api/v1/lots", json={"lot": "L", "lane": "lfet"}, headers=ORIGIN)
    shown = client.post("/lots", data={"lot": "L", "lane": "lfet", "act": "begin"}, headers=ORIGIN)

    note = "recorded; not checked: the records do not say which lanes there are"
    assert (before["checked"], before["note"]) == (False, note)
    assert note in page.text
    assert (known["checked"], known["note"]) == (True, "")
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        "lane: found 'lfet', expected one of left, or * for all",
    )
    assert shown.status_code == 400
    assert "expected one of left" in shown.text
