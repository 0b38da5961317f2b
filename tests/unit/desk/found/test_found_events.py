# SPDX-License-Identifier: AGPL-3.0-or-later
"""Searching events: pages by key, filters, and searches that stop."""

from __future__ import annotations

import re
from html import unescape

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.found import found_events
from vision_line.desk.found.found_events import (
    EventFilter,
    Position,
    find_events,
    read_beside,
    read_event,
    read_events,
)
from vision_line.desk.record_reader import RecordReader
from vision_line.frames import Verdict
from vision_line.parts.lot_rows import LotRows
from vision_line.records.query import Selection


def pages(rows: DeskRecords, wanted: EventFilter, size: int) -> list[list[int]]:
    """Return the numbers of the events on each page."""
    found, after = [], Position()
    with RecordReader(rows.directory).open() as connection:
        while True:
            page = find_events(connection, wanted, after, size)
            found.append([event.event for event in page.events])
            if page.next is None:
                return found
            assert page.next != after
            after = page.next


def test_every_event_is_on_one_page_newest_first(rows: DeskRecords) -> None:
    """Also those of the same moment, as the boards of a panel have."""
    run = rows.run(0, 1000, "cam01")
    numbers = [rows.event(run, "cam01", at_s) for at_s in (1, 2, 2, 2, 2, 3, 9)]
    found = pages(rows, EventFilter(Selection()), 2)
    assert [number for page in found for number in page] == numbers[::-1]
    assert max(map(len, found)) == 2


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (EventFilter(Selection(cameras=("cam02",))), {2}),
        (EventFilter(Selection(classes=("short",))), {3}),
        (EventFilter(Selection(verdicts=(Verdict.WARN,))), {4}),
        (EventFilter(Selection(), ("line 2",)), {5}),
        (EventFilter(Selection(since_utc=BEGAN_UTC + 50, until_utc=BEGAN_UTC + 60)), {6}),
        (EventFilter(Selection(cameras=("cam01",), verdicts=(Verdict.REJECT,)), ("line 1",)), {1, 3, 6}),
        (EventFilter(Selection(cameras=("'; DROP TABLE events; --",))), set()),
    ],
)
def test_filters(rows: DeskRecords, wanted: EventFilter, fits: set[int]) -> None:
    run = rows.run(0, 1000, "cam01", "cam02")
    rows.event(run, "cam01", 1)
    rows.event(run, "cam02", 2)
    rows.event(run, "cam01", 3, class_name="short")
    rows.event(run, "cam01", 4, verdict="warn")
    rows.event(run, "cam01", 5, station="line 2")
    rows.event(run, "cam01", 50)
    assert {number for page in pages(rows, wanted, 50) for number in page} == fits


def test_a_search_that_fits_little_stops_and_goes_on(rows: DeskRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that fits nothing must not read a file of years at once; the page says how far it went."""
    monkeypatch.setattr(found_events, "MOST_SCANNED", 3)
    run = rows.run(0, 1000, "cam01", "cam02")
    wanted = rows.event(run, "cam02", 0)
    for at_s in range(1, 10):
        rows.event(run, "cam01", at_s)
    found = pages(rows, EventFilter(Selection(cameras=("cam02",))), 50)
    assert len(found) == 3
    assert [number for page in found for number in page] == [wanted]


@pytest.mark.parametrize(
    "wanted",
    [
        EventFilter(Selection(cameras=("cam02",), until_utc=BEGAN_UTC + 1)),
        EventFilter(Selection(), lot="L", lot_rows=LotRows(own=(1,), first_utc=BEGAN_UTC, last_utc=BEGAN_UTC)),
    ],
)
def test_a_search_of_an_older_time_begins_there(
    rows: DeskRecords, monkeypatch: pytest.MonkeyPatch, wanted: EventFilter
) -> None:
    """However many events there were since: a page without events would be taken for "nothing was found"."""
    monkeypatch.setattr(found_events, "MOST_SCANNED", 3)
    run = rows.run(0, 1000, "cam01", "cam02")
    rows.event(run, "cam02", 0)
    for at_s in range(1, 10):
        rows.event(run, "cam01", at_s)
    assert pages(rows, wanted, 50) == [[1]]


def test_an_event_knows_its_neighbours_settings_and_journal(rows: DeskRecords) -> None:
    run = rows.run(0, 1000, "cam01", "cam02")
    first, middle, last = (rows.event(run, "cam01", at_s) for at_s in (1, 2, 3))
    rows.event(run, "cam02", 2)
    with RecordReader(rows.directory).open() as connection:
        detail = read_event(connection, middle)
        assert read_event(connection, 999) is None
    assert detail is not None
    assert [event.event for event in (*detail.earlier, *detail.later)] == [first, last]
    assert detail.settings == {"url": "rtsp://***@10.0.0.1/1", "reject_threshold": 0.5}
    assert detail.entries == 1
    assert detail.first_entry == detail.last_entry
    assert detail.run["model_name"] == "pcb"


def test_pages_lead_through_all_events(rows: DeskRecords, client: TestClient) -> None:
    """The address of the next page has the filters in it."""
    run = rows.run(0, 1000, "cam01", "cam02")
    for at_s in range(120):
        rows.event(run, f"cam0{1 + at_s % 2}", at_s)
    first = client.get("/api/v1/events?camera=cam01").json()
    second = client.get(
        "/api/v1/events",
        params={"camera": "cam01", "after_utc": first["next"]["first_seen_utc"], "after": first["next"]["event"]},
    ).json()
    assert (len(first["events"]), len(second["events"]), second["next"]) == (50, 10, None)
    shown = client.get("/events?camera=cam01").text
    assert shown.count('class="tile"') == 50
    assert "/events?camera=cam01&amp;after_utc=" in shown


@pytest.fixture
def mixed(rows: DeskRecords) -> DeskRecords:
    """Return six events of two cameras, of which two pairs are of the same moment; the odd ones are of cam02."""
    run = rows.run(0, 1000, "cam01", "cam02")
    for number, at_s in enumerate((1, 1, 2, 3, 3, 4)):
        rows.event(run, ("cam01", "cam02")[number % 2], at_s)
    return rows


def beside(rows: DeskRecords, wanted: EventFilter, number: int) -> tuple[int | None, int | None]:
    """Return the numbers of the events beside one."""
    with RecordReader(rows.directory).open() as connection:
        (event,) = read_events(connection, [number])
        earlier, later = read_beside(connection, wanted, event)
    return (None if earlier is None else earlier.event, None if later is None else later.event)


def test_beside_an_event_stand_those_of_the_search(mixed: DeskRecords) -> None:
    """In time, and of one moment by number: going on reaches each, and ends."""
    everything, one_camera = EventFilter(Selection()), EventFilter(Selection(cameras=("cam01",)))
    assert [beside(mixed, everything, number) for number in range(1, 7)] == [
        (None, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
        (5, None),
    ]
    assert [beside(mixed, one_camera, number) for number in (1, 3, 5)] == [(None, 3), (1, 5), (3, None)]
    assert beside(mixed, one_camera, 4) == (3, 5)  # one that the search does not find has a place in it as well
    until = EventFilter(Selection(until_utc=BEGAN_UTC + 3))
    assert beside(mixed, until, 3) == (2, None)
    assert beside(mixed, EventFilter(Selection(), ("elsewhere",)), 3) == (None, None)


def test_beside_nothing_near_is_found_nothing(mixed: DeskRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that fits nothing reads no file of years, in neither direction."""
    monkeypatch.setattr(found_events, "MOST_SCANNED", 1)
    assert beside(mixed, EventFilter(Selection(), ("elsewhere",)), 4) == (None, None)
    assert beside(mixed, EventFilter(Selection(cameras=("cam01",))), 4) == (3, 5)
    monkeypatch.setattr(found_events, "MOST_SCANNED", 0)
    assert beside(mixed, EventFilter(Selection(cameras=("cam02",))), 4) == (None, None)  # 2 and 6 are one row further


def test_an_event_page_goes_on_in_the_search_one_came_from(mixed: DeskRecords, client: TestClient) -> None:
    del mixed
    shown = client.get("/events", params={"camera": "cam01"}).text
    (link,) = [unescape(found) for found in re.findall(r'href="(/events/3[^"]*)"', shown)]
    page = client.get(link).text
    beside = {way: unescape(found) for found, way in re.findall(r'href="(/events/[^"]*)"[^>]*rel="(\w+)"', page)}
    assert beside["prev"].startswith("/events/1?within=true&camera=cam01")
    assert beside["next"].startswith("/events/5?within=true&camera=cam01")
    assert "later among those found" in page
    assert 'href="/events?camera=cam01"' in page
    assert "later on this camera" in client.get("/events/3").text
    assert "at best in all frames: that one decides the verdict" in page
    assert "pixels, from" in page
    assert client.get("/events/3?within=true&since=never").status_code == 400


def test_the_lasting_address_leads_to_the_event(mixed: DeskRecords, client: TestClient) -> None:
    """Also where its row has another number, as in a copy; and says so where it is gone."""
    (copied,) = re.findall(r'data-copies="([^"]+)"', client.get("/events/3").text)
    address = unescape(copied)
    assert client.get(address).url.path == "/events/3"
    mixed.connection.execute("UPDATE events SET event = 99 WHERE event = 3")
    assert client.get(address).url.path == "/events/99"
    mixed.connection.execute("DELETE FROM events WHERE event = 99")
    gone = client.get(address)
    assert gone.status_code == 404
    assert "or was removed" in gone.text
    for wrong in ("", "?run=a", f"?run=a&event={'x' * 201}"):
        assert client.get(f"/events/by-id{wrong}").status_code == 400


def test_an_event_is_put_in_a_case_from_its_page(mixed: DeskRecords, client: TestClient) -> None:
    assert 'name="event" value="3"' in client.get("/events/3").text
    fields = {"event": "3", "case": "", "name": "Claim 7"}
    assert client.post("/cases", data=fields, headers=ORIGIN, follow_redirects=False).status_code == 303
    assert "1: Claim 7" in client.get("/events/3").text


def test_an_event_says_which_model_found_it(rows: DeskRecords) -> None:
    """What ran of a recipe's model is in the journal: precision and form of the run's own would be another's."""
    run = rows.run(0, 1000, "cam01")
    rows.camera(run, "cam01", 100, recipe="caps", model=("caps", "2" * 64))
    numbers = [rows.event(run, "cam01", 50), rows.event(run, "cam01", 150, recipe="caps")]
    with RecordReader(rows.directory).open() as connection:
        details = [read_event(connection, number) for number in numbers]
    said = [(one.run["model_name"], one.run["model_sha256"], one.run["precision"]) for one in details if one]
    assert said == [("pcb", "1" * 64, "int8"), ("caps", "2" * 64, "")]
