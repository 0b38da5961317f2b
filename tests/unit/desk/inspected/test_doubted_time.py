# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an engine inspected that is found to be wrong later counts as inspected, and is said to be doubtful."""

from __future__ import annotations

from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.inspected.doubted_time import DoubtedTime, read_doubts
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.record_reader import RecordReader
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction

WHY = "cpu: int8 at 640x640, which was right before, computes wrongly now"


def doubt(rows: DeskRecords, run: int, body: dict[str, object]) -> None:
    """Enter that what was inspected may be wrong."""
    with transaction(rows.connection):
        rows.connection.journal.append(Kind.DOUBT, "engine", body, run)


def read(rows: DeskRecords, since_s: float, until_s: float) -> list[DoubtedTime]:
    """Return what touches a time."""
    with RecordReader(rows.directory).open() as connection:
        return read_doubts(connection, ChosenTime(BEGAN_UTC + since_s, BEGAN_UTC + until_s))


def test_it_is_found_by_every_time_that_it_touches(rows: DeskRecords) -> None:
    run = rows.run(0, 1000, "cam01")
    doubt(rows, run, {"since_utc": BEGAN_UTC + 300, "until_utc": BEGAN_UTC + 900, "why": WHY})
    found = DoubtedTime(BEGAN_UTC + 300, BEGAN_UTC + 900, WHY)
    assert [read(rows, *span) for span in ((0, 1000), (0, 301), (899, 1000), (400, 500))] == [[found]] * 4
    assert [read(rows, *span) for span in ((0, 300), (901, 1000))] == [[]] * 2


def test_one_that_somebody_changed_is_no_reason_to_say_nothing(rows: DeskRecords) -> None:
    run = rows.run(0, 1000, "cam01")
    doubt(rows, run, {"since_utc": "never"})
    assert "vision-line verify" in read(rows, 0, 1000)[0].why


def test_the_first_page_the_report_and_the_trail_say_it(rows: DeskRecords, client: TestClient) -> None:
    """Of its time, and of no other."""
    run = rows.run(0, 1000, "cam01")
    doubt(rows, run, {"since_utc": BEGAN_UTC + 300, "until_utc": BEGAN_UTC + 900, "why": WHY})
    asked = "since=2026-11-28T20:00:00Z&until=2026-11-28T20:16:40Z"
    for page in ("/", "/report/file"):
        text = client.get(f"{page}?{asked}").text
        assert WHY in text, page
        assert "may be wrong" in text, page
    assert "/parts?verdict=accept&amp;since=2026-11-28T20%3A05" in client.get(f"/?{asked}").text
    assert WHY not in client.get("/?since=2026-11-28T20:00:00Z&until=2026-11-28T20:04:00Z").text
    assert "what was inspected may be wrong (engine)" in client.get("/trail").text
    (said,) = client.get(f"/api/v1/coverage?{asked}").json()["doubts"]
    assert said == {"since_utc": BEGAN_UTC + 300, "until_utc": BEGAN_UTC + 900, "why": WHY}
    assert client.get("/parts?verdict=accept&since=2026-11-28T20:05:00Z&until=2026-11-28T20:15:00Z").status_code == 200
