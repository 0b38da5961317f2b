# SPDX-License-Identifier: AGPL-3.0-or-later
"""The first page as a shift lead opens it: what needs somebody now, this shift, the one before, and each of a day."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.records.journal import Kind
from vision_line.records.schema import transaction

#: The late shift ends at 22:00 in Berlin, an hour after the records of `DeskRecords` begin.
BORDER_S = 3600.0


@pytest.fixture(autouse=True)
def _three_shifts(rows: DeskRecords) -> None:
    said = {"timezone": "Europe/Berlin", "start": ["06:00", "14:00", "22:00"], "names": []}
    with transaction(rows.connection):
        body = {"before": None, "after": said, "why": "start"}
        rows.connection.journal.append(Kind.CONFIGURATION, "section/shifts", body, 1)


def now_s() -> float:
    return time.time() - BEGAN_UTC


def shown_now(client: TestClient) -> str:
    """Return what the first page says of now."""
    return client.get("/").text.partition('aria-label="Now"')[2].partition("</section>")[0]


def coverage(client: TestClient, asked: str) -> Any:
    return client.get(f"/api/v1/coverage?{asked}").json()


def test_cameras_that_are_not_inspected_now_stand_on_top(rows: DeskRecords, client: TestClient) -> None:
    """By cause, with since when; a gap that has ended is none of them."""
    run = rows.run(now_s() - 600, None, "cam01", "cam02", "cam03", alive_s=now_s())
    rows.gap(run, "cam01", "camera:RECONNECTING", now_s() - 60, None)
    rows.gap(run, "cam02", "camera:RECONNECTING", now_s() - 30, None)
    rows.gap(run, "cam03", "camera:STALE", now_s() - 60, now_s() - 50)
    shown = shown_now(client)
    assert 'class="alarm-line" role="alert"' in shown
    assert shown.count("alarm-line") == 1
    assert ">cam01</a>" in shown
    assert ">cam02</a>" in shown
    assert "cam03" not in shown
    assert "not inspected: the connection was lost" in shown


def test_a_camera_in_trouble_that_is_inspected_is_a_notice(rows: DeskRecords, client: TestClient) -> None:
    """Its newest state counts."""
    run = rows.run(now_s() - 600, None, "cam01", "cam02", alive_s=now_s())
    rows.state(run, "cam01", "DEGRADED", now_s() - 500, "CORRUPT")
    rows.state(run, "cam02", "DEGRADED", now_s() - 500, "CORRUPT")
    rows.state(run, "cam02", "RUNNING", now_s() - 400)
    shown = shown_now(client)
    assert "in trouble: CORRUPT" in shown
    assert "warn-line" in shown
    assert "alarm-line" not in shown
    assert "cam02" not in shown


def test_results_that_cannot_be_recorded_are_said(rows: DeskRecords, client: TestClient) -> None:
    rows.gap(rows.run(now_s() - 600, None, "cam01", alive_s=now_s()), "cam01", "log", now_s() - 60, None)
    assert "Results cannot be recorded" in shown_now(client)


def test_a_program_that_fell_silent_is_an_alarm_and_one_that_ended_is_not(
    rows: DeskRecords, client: TestClient
) -> None:
    rows.run(0, 60, "cam01")
    assert "No program runs" in shown_now(client)
    assert "alarm-line" not in shown_now(client)
    rows.run(70, None, "cam01", alive_s=80)
    assert "it has died or hangs, or cannot write" in shown_now(client)
    assert "alarm-line" in shown_now(client)


def test_where_all_is_well_it_says_so(rows: DeskRecords, client: TestClient) -> None:
    rows.run(now_s() - 600, None, "cam01", alive_s=now_s())
    assert "Every camera of the run is inspected now" in shown_now(client)


def test_who_takes_over_sees_the_shift_before(rows: DeskRecords, client: TestClient) -> None:
    """An hour of the late shift with 36 s missing, and some of the night shift, which is shown."""
    run = rows.run(0, BORDER_S + 600, "cam01")
    rows.gap(run, "cam01", "capacity", 100, 136)
    shown = client.get("/").text
    assert "<h1>Shift night, Sat 28 Nov 2026" in shown
    assert "Shift before, late:</a> 99.00 % inspected, 36 s not inspected" in shown


def test_a_time_of_several_shifts_is_cut_at_their_borders(rows: DeskRecords, client: TestClient) -> None:
    """A gap across the border counts in both, each with its own seconds; the sums stay those of the whole time."""
    run = rows.run(0, 2 * BORDER_S, "cam01")
    rows.gap(run, "cam01", "capacity", BORDER_S - 30, BORDER_S + 12.5)
    for minute in range(120):
        rows.minute(run, "cam01", 60 * minute, inspected=90)
    found = coverage(client, "day=2026-11-28")
    parts = {shift["key"]: shift for shift in found["shifts"]}
    assert list(parts) == ["2026-11-27/night", "2026-11-28/early", "2026-11-28/late", "2026-11-28/night"]
    assert [shift["is_whole"] for shift in parts.values()] == [False, True, True, False]
    late, night = parts["2026-11-28/late"], parts["2026-11-28/night"]
    assert (late["total"]["due_s"], late["total"]["not_inspected_s"]) == (3600, {"capacity": 30})
    assert (night["total"]["due_s"], night["total"]["not_inspected_s"]) == (3600, {"capacity": 12.5})
    assert late["cameras"][0]["bar"][-1]["until_utc"] == BEGAN_UTC + BORDER_S
    assert found["total"] == {"due_s": 7200, "not_inspected_s": {"capacity": 42.5}}
    shown = client.get("/?day=2026-11-28").text
    assert shown.count('<svg class="bar"') == 2
    assert "2026-11-28/night</a>, 22:00 – 00:00 of it" in shown


def test_gaps_of_many_days_have_their_day(rows: DeskRecords, client: TestClient) -> None:
    """In lists, in the figure and in the bars, and on the camera's page its states too."""
    run = rows.run(0, 3 * 86_400, "cam01")
    rows.gap(run, "cam01", "capacity", 86_400, 86_460)
    rows.state(run, "cam01", "DEGRADED", 86_400, "CORRUPT")
    asked = {"since": "2026-11-28T21:00", "until": "2026-12-01T21:00"}
    for page, times in (("/", 3), ("/cameras/cam01", 3)):
        assert client.get(page, params=asked).text.count("2026-11-29 21:00:00") == times
        assert "2026-11-29 21:00:00" not in client.get(page, params={"day": "2026-11-29"}).text


def test_many_shifts_are_a_table(rows: DeskRecords, client: TestClient) -> None:
    rows.run(0, 600, "cam01")
    asked = "since=2026-11-25T06:00&until=2026-11-29T06:00"
    found = coverage(client, asked)["shifts"]
    assert len(found) == 12
    assert not any(shift["cameras"] for shift in found)
    shown = client.get("/", params=asked).text
    assert "<h2>Each shift</h2>" in shown
    assert shown.count('<svg class="bar"') == 1


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", [5, 8, 8, 2]), ("2026-10-25", [7, 8, 8, 2])])
def test_days_on_which_the_clock_is_set_are_whole(client: TestClient, day: str, hours: list[int]) -> None:
    spans = [shift["time"] for shift in coverage(client, f"day={day}")["shifts"]]
    assert [(span["until_utc"] - span["since_utc"]) / 3600 for span in spans] == hours


def test_what_was_found_stands_beside_and_leads_to_its_events(rows: DeskRecords, client: TestClient) -> None:
    run = rows.run(0, 600, "cam01")
    for at_s, verdict in ((10, "reject"), (20, "reject"), (30, "warn"), (-9 * 3600, "reject")):
        rows.event(run, "cam01", at_s, verdict=verdict)
    shown = client.get("/?shift=2026-11-28/late").text
    assert '<b>2 ■ 1 ▲</b><span><a href="/events?shift=2026-11-28%2Flate&amp;verdict=reject&amp;verdict=warn' in shown
