# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events of challenge parts are no products: marked, filtered, and left out of the report, which says how many."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.fakes.challenge_plans import begun, enter_act, enter_begun, planned
from tests.fakes.challenge_plans import challenged as challenged_between
from tests.fakes.desk import ORIGIN, desk_over
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.reviewed_records import answer, drawn_image, export, reviewed_records

from vision_line.challenges.entry_bodies import ChallengeAct
from vision_line.desk.charts.chart_periods import ChartPeriod
from vision_line.desk.charts.event_links import events_address
from vision_line.desk.charts.rate_series import read_series
from vision_line.desk.record_reader import RecordReader
from vision_line.desk.report.document import document
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.shift_report import ShiftReport, read_report
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.baseline_entries import ChartScope
from vision_line.reviews.reviews_file import writing


@pytest.fixture
def challenged(rows: DeskRecords) -> DeskRecords:
    """Return records with four events, of which the second and third are of challenge parts."""
    run = rows.run(0, 600, "cam01", "cam02")
    rows.event(run, "cam01", 99)  # and lasts until the part's turn has begun
    rows.event(run, "cam01", 100)
    rows.event(run, "cam01", 119)
    rows.event(run, "cam02", 110)
    with writing(rows.directory) as connection:
        body = begun(("cam01",), planned("A:open B:open"), BEGAN_UTC + 90)
        number = enter_begun(connection, "cam01", body)
        for kind, at_s in ((ChallengeAct.PART, 100), (ChallengeAct.PART, 110), (ChallengeAct.ABORTED, 120)):
            enter_act(connection, "cam01", kind, number, BEGAN_UTC + at_s)
    return rows


def report(records: Path) -> ShiftReport:
    return read_report(records, WantedPeriod(last="1h"), BEGAN_UTC + 700, 50)


def test_the_gallery_marks_and_filters_them(challenged: DeskRecords, client: TestClient) -> None:
    del challenged

    def shown(choice: str) -> set[str]:
        return set(re.findall(r'href="/events/(\d)[?"]', client.get("/events", params={"challenges": choice}).text))

    assert client.get("/events").text.count("◇ challenge") == 2
    assert "2 of the 4 events here are of challenge parts" in client.get("/events").text
    assert shown("") == {"1", "2", "3", "4"}
    assert shown("without") == {"1", "4"}
    assert shown("only") == {"2", "3"}


def test_the_page_of_an_event_says_so(challenged: DeskRecords, client: TestClient) -> None:
    del challenged
    assert ["◇ challenge" in client.get(f"/events/{n}").text for n in (1, 2, 3, 4)] == [False, True, True, False]


def test_the_report_leaves_them_out_and_says_how_many(challenged: DeskRecords) -> None:
    found = report(challenged.directory).found
    assert {(one.camera, one.reject) for one in found.counts} == {("cam01", 1), ("cam02", 1)}
    assert len(found.rejects) == 2
    assert "Left out of all figures and charts: 2 events of challenge parts." in document(report(challenged.directory))


def test_charts_leave_them_out_and_say_how_many(challenged: DeskRecords, client: TestClient) -> None:
    asked = {"since": "2026-11-28T19:00Z", "until": "2026-11-28T21:00Z", "period": "hour"}
    assert "2 events of challenge parts left out" in client.get("/charts", params=asked).text
    with RecordReader(challenged.directory).open() as connection:
        (series,) = read_series(connection, [ChartScope("hour")], [ChartPeriod(BEGAN_UTC, BEGAN_UTC + 600, "it")])
        assert series.events == [2]


@pytest.mark.parametrize(("page", "each"), [("/", {2}), ("/report/open", {0, 1, 2})])
def test_a_figure_leads_to_what_it_counts(
    challenged: DeskRecords, client: TestClient, page: str, each: set[int]
) -> None:
    """Neither to events of challenge parts nor to accepted ones."""
    challenged.event(1, "cam01", 300, verdict="accept")
    asked = {"since": "2026-11-28T20:00Z", "until": "2026-11-28T21:00Z"}
    shown = client.get(page, params=asked).text
    found = [
        client.get(f"/api/v1/events?{unescape(query)}").json()["events"]
        for query in re.findall(r'href="/events\?([^"]+)"', shown)
    ]
    assert {len(events) for events in found} == each
    assert {event["event"] for events in found for event in events} == {1, 4}


def test_a_point_of_a_chart_leads_to_what_it_counts(challenged: DeskRecords, client: TestClient) -> None:
    challenged.event(1, "cam01", 300, verdict="accept")
    address = events_address(ChartScope("hour"), BEGAN_UTC, BEGAN_UTC + 600)
    found = client.get(f"/api/v1{address}").json()["events"]
    assert {event["event"] for event in found} == {1, 4}


def test_without_challenges_nothing_is_left_out(rows: DeskRecords) -> None:
    rows.event(rows.run(0, 600, "cam01"), "cam01", 100)
    assert report(rows.directory).found.challenged == 0
    assert "Left out" not in document(report(rows.directory))


def test_reviews_and_data_sets_leave_them_out_and_say_how_many(tmp_path: Path) -> None:
    """Events, near misses and audited frames of a part's time: not offered, not answered, in no figure, in no set."""
    with reviewed_records(tmp_path / "records") as made:
        directory = made.records.directory
        product = made.event(1, 10, image=drawn_image(1), top_score=0.5)  # at a threshold: it surely comes to review
        parts = [
            made.event(2, 101, image=drawn_image(2), top_score=0.5),
            made.near_miss(3, 102, image=drawn_image(3)),
            made.audit(4, 103, image=drawn_image(4)),
        ]
        for item in (product, *parts):
            answer(directory, item, boxes=[] if item.kind is ItemKind.AUDIT else None)
        challenged_between(directory, "cam", BEGAN_UTC + 100, BEGAN_UTC + 110)
        with desk_over(directory) as desk:
            desk.sign_in()
            time = {"since": "2026-11-28T20:00Z", "until": "2026-11-28T21:00Z"}
            progress = desk.client.get("/api/v1/review/queue", params=time).json()["progress"]
            sent = {"item": str(parts[0]), "verdict": "confirmed"}
            refused = desk.client.post("/api/v1/review/answers", json=sent, headers=ORIGIN)
            counts = desk.client.get("/api/v1/figures", params=time).json()["counts"]
        exported = export(made, tmp_path / "set", "--format=coco")
    assert (progress["of"], progress["skipped"]) == (1, {"of a challenge part": 3})
    assert (refused.status_code, "of a challenge part" in refused.text) == (400, True), refused.text
    assert (counts["items"], counts["challenge_items"]) == (1, 3)
    assert "1 images" in exported.output
    assert "left out: 3: it is of a challenge part, which no model may learn" in exported.output
