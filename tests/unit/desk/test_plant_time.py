# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages show and read times on the plant's clock, by its shifts: also in nights in which the clock is set."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.local_time import ChosenTime, PlantClock, local, plant_clock, shown_by
from vision_line.desk.record_reader import RecordReader
from vision_line.desk.recorded_clock import RecordedClock
from vision_line.quality.shifts import shift_plan
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction

BERLIN = shift_plan("Europe/Berlin", ["06:00", "14:00", "22:00"])
CLOCK = PlantClock(BERLIN.zone, BERLIN)
THREE = {"timezone": "Europe/Berlin", "start": ["06:00", "14:00", "22:00"], "names": []}


@pytest.fixture
def say_shifts(rows: DeskRecords) -> Callable[..., None]:
    """Return what enters `[shifts]` into the journal."""

    def say(said: object = THREE) -> None:
        with transaction(rows.connection):
            body = {"before": None, "after": said, "why": "start"}
            rows.connection.journal.append(Kind.CONFIGURATION, "section/shifts", body, 1)

    return say


@pytest.fixture
def shifts(say_shifts: Callable[..., None]) -> None:
    """Have the records name three shifts in Berlin before the desk reads them."""
    say_shifts()


def _between(since: str, until: str) -> ChosenTime:
    return ChosenTime(CLOCK.parse(since), CLOCK.parse(until))


@pytest.mark.parametrize(
    ("since", "until", "hours", "title"),
    [
        ("2026-11-28T06:00", "2026-11-28T14:00", 8, "Shift early, Sat 28 Nov 2026, 06:00 – 14:00"),
        ("2026-11-28T22:00", "2026-11-29T06:00", 8, "Shift night, Sat 28 Nov 2026, 22:00 – Sun 29 Nov 2026, 06:00"),
        (
            "2026-10-24T22:00",
            "2026-10-25T06:00",
            9,
            "Shift night, Sat 24 Oct 2026 22:00 (UTC+02:00) – Sun 25 Oct 2026 06:00 (UTC+01:00)",
        ),
        ("2026-10-25", "2026-10-26", 25, "Sun 25 Oct 2026"),
        ("2026-03-29", "2026-03-30", 23, "Sun 29 Mar 2026"),
        ("2026-11-28T06:00", "2026-11-28T07:30", 1.5, "Sat 28 Nov 2026, 06:00 – 07:30"),
    ],
)
def test_a_time_is_called_what_people_call_it(since: str, until: str, hours: float, title: str) -> None:
    chosen = _between(since, until)
    assert chosen.length_s == hours * 3600.0
    assert CLOCK.title(chosen) == title


@pytest.mark.parametrize(
    ("since", "until", "shown"),
    [
        ("2026-11-28T22:00", "2026-11-29T06:00", "23:30:00"),
        ("2026-11-28", "2026-11-29", "23:30:00"),
        ("2026-11-27T12:00", "2026-11-29T06:00", "2026-11-28 23:30:00"),
        ("2026-11-29T06:00", "2026-11-29T14:00", "2026-11-28 23:30:00"),  # what goes on since then
    ],
)
def test_a_moment_has_its_day_where_the_time_is_longer(since: str, until: str, shown: str) -> None:
    assert CLOCK.within(CLOCK.parse("2026-11-28T23:30"), _between(since, until)) == shown


def test_the_hour_that_the_clock_shows_twice_has_its_offset() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN.zone).timestamp()
    assert CLOCK.clock(first) == "02:30:00 (UTC+02:00)"
    assert CLOCK.moment(first + 3600) == "2026-10-25 02:30:00 (UTC+01:00)"
    assert CLOCK.clock(first + 7200) == "03:30:00"
    assert CLOCK.parse(CLOCK.iso(first + 3600)) == first + 3600


def test_the_machines_clock_stands_in_where_no_zone_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        clock = PlantClock()
        assert clock.clock(BEGAN_UTC) == "05:00:00"
        assert clock.parse("2026-11-29T05:00") == BEGAN_UTC
        assert clock.zone_name == "this machine's, now JST"
        assert clock.shift_of(ChosenTime(0, 28_800)) is None
    finally:
        monkeypatch.undo()
        time.tzset()


def test_times_are_shown_by_another_clock_only_within() -> None:
    before = plant_clock()
    with shown_by(CLOCK):
        assert local(BEGAN_UTC).tzinfo == ZoneInfo("Europe/Berlin")
    assert plant_clock() is before


@pytest.mark.usefixtures("shifts")
def test_pages_are_in_the_plants_zone_and_name_it(rows: DeskRecords, client: TestClient) -> None:
    """Of the errors too; the records began at 20:00 in UTC."""
    run = rows.run(0, 600, "cam01")
    rows.event(run, "cam01", 30)
    rows.state(run, "cam01", "RUNNING", 10)
    for page in ("/", "/events", "/events/1", "/cameras", "/cameras/cam01", "/trail", "/events/99"):
        assert "times are Europe/Berlin" in client.get(page).text, page
    assert "21:00:30" in client.get("/events").text
    assert "2026-11-28 21:10:00" in client.get("/cameras").text


@pytest.mark.usefixtures("shifts")
def test_json_has_seconds_of_utc_whatever_the_zone(rows: DeskRecords, client: TestClient) -> None:
    rows.run(0, 600, "cam01")
    answer = client.get("/api/v1/coverage?day=2026-11-28").json()
    assert answer["time"] == {"since_utc": BEGAN_UTC - 21 * 3600, "until_utc": BEGAN_UTC + 3 * 3600}


@pytest.mark.usefixtures("shifts")
@pytest.mark.parametrize(
    ("asked", "since"),
    [
        ("shift=2026-11-28/late", "2026-11-28T14:00"),
        ("day=2026-11-28&shift=late", "2026-11-28T14:00"),
        ("day=2026-11-28&shift=", "2026-11-28T00:00"),
        ("since=2026-11-28T14:00&until=2026-11-28T22:00", "2026-11-28T14:00"),
        ("", "2026-11-28T14:00"),  # the newest records' shift
        ("last=1h", "2026-11-28T20:10"),
    ],
)
def test_a_time_can_be_chosen_by_shift(rows: DeskRecords, client: TestClient, asked: str, since: str) -> None:
    rows.run(0, 600, "cam01")
    assert client.get(f"/api/v1/coverage?{asked}").json()["time"]["since_utc"] == CLOCK.parse(since)


@pytest.mark.usefixtures("shifts")
def test_this_shift_and_the_last_one_are_those_of_now(client: TestClient) -> None:
    this, last = (client.get(f"/api/v1/coverage?shift={which}").json()["time"] for which in ("this", "last"))
    assert this["since_utc"] <= time.time() < this["until_utc"]
    assert last["until_utc"] == this["since_utc"]


@pytest.mark.usefixtures("shifts")
def test_earlier_and_later_of_a_shift_are_shifts(rows: DeskRecords, client: TestClient) -> None:
    rows.run(0, 600, "cam01")
    shown = client.get("/?shift=2026-11-28/night").text
    assert "<h1>Shift night, Sat 28 Nov 2026, 22:00 – Sun 29 Nov 2026, 06:00</h1>" in shown
    for key in ("2026-11-28/late", "2026-11-29/early"):
        assert f'href="/?shift={quote(key, safe="")}"' in shown
    assert 'href="/?shift=this" data-key="s"' in shown


@pytest.mark.usefixtures("shifts")
def test_events_of_a_shift_keep_the_other_filters(rows: DeskRecords, client: TestClient) -> None:
    run = rows.run(-40_000, 600, "cam01")
    rows.event(run, "cam01", 30)
    rows.event(run, "cam01", -8 * 3600)
    asked = "camera=cam01&day=2026-11-28&shift=late"
    found = client.get(f"/api/v1/events?{asked}").json()["events"]
    assert [event["first_seen_utc"] for event in found] == [BEGAN_UTC + 30]
    shown = client.get(f"/events?{asked}").text
    assert "Shift late, Sat 28 Nov 2026, 14:00 – 22:00" in shown
    assert 'href="/events?camera=cam01&shift=last"' in shown.replace("&amp;", "&")
    assert "<option selected>late</option>" in shown


@pytest.mark.usefixtures("shifts")
@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("shift=early", "DAY/NAME"),
        ("shift=2026-11-28/noon", "no shift"),
        ("shift=9999-12-31/night", "shift 9999-12-31/night"),
        ("day=0001-01-01&shift=early", "is no moment"),
    ],
)
@pytest.mark.parametrize("page", ["/", "/events", "/cameras/cam01"])
def test_what_is_no_shift_is_refused(
    rows: DeskRecords, client: TestClient, page: str, asked: str, problem: str
) -> None:
    rows.run(0, 600, "cam01")
    answer = client.get(f"{page}?{asked}")
    assert answer.status_code == 400
    assert problem in answer.text


@pytest.mark.usefixtures("shifts")
@pytest.mark.parametrize("page", ["/", "/review", "/figures", "/charts", "/charts/parts", "/parts", "/events"])
def test_every_page_of_a_time_is_there_for_a_shift(rows: DeskRecords, client: TestClient, page: str) -> None:
    rows.run(0, 600, "cam01")
    assert client.get(page, params={"shift": "2026-11-28/late"}).status_code == 200


@pytest.mark.usefixtures("shifts")
def test_the_review_of_a_shift_asks_for_its_time(client: TestClient) -> None:
    shown = client.get("/review", params={"shift": "2026-11-28/late"}).text
    assert 'data-since="2026-11-28T14:00:00+01:00" data-until="2026-11-28T22:00:00+01:00"' in shown


def test_without_shifts_there_is_no_choice_of_them(rows: DeskRecords, client: TestClient) -> None:
    rows.run(0, 600, "cam01")
    assert "this shift" not in client.get("/").text.lower()
    assert "name no shifts" in client.get("/?shift=this").text


def test_a_changed_zone_is_seen_after_a_while_and_a_wrong_one_keeps_the_last(
    rows: DeskRecords, records: Path, say_shifts: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    clock = RecordedClock(RecordReader(records), lambda: now[0])
    say_shifts()
    assert clock.read().zone_name == "Europe/Berlin"
    say_shifts({**THREE, "timezone": "Asia/Tokyo"})
    assert clock.read().zone_name == "Europe/Berlin"
    now[0] = 11.0
    assert clock.read().zone_name == "Asia/Tokyo"
    say_shifts({"timezone": 7})
    for now[0] in (30.0, 60.0):
        assert clock.read().zone_name == "Asia/Tokyo"
    assert caplog.text.count("times are shown in Asia/Tokyo") == 1
    del rows


def test_where_there_are_no_records_the_clock_is_the_machines(tmp_path: Path) -> None:
    assert RecordedClock(RecordReader(tmp_path)).read() == PlantClock()


_TEXTS = st.one_of(
    st.text(max_size=12), st.dates().map(str), st.datetimes().map(str), st.sampled_from(["this", "late"])
)
_ASKED = st.dictionaries(st.sampled_from(["day", "shift", "since", "until", "last"]), _TEXTS)


@pytest.mark.usefixtures("shifts")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=_ASKED, page=st.sampled_from(["/", "/events", "/api/v1/coverage", "/api/v1/events"]))
def test_whatever_time_is_asked_for_it_is_answered(client: TestClient, asked: dict[str, str], page: str) -> None:
    assert client.get(page, params=asked).status_code in {200, 400}
