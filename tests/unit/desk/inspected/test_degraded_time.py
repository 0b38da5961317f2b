# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera in the dark is inspected, and its time is told beside the share that says so."""

from __future__ import annotations

from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.inspected.degraded_time import DegradedTime, degraded_words, read_degraded
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.record_reader import RecordReader


def in_the_dark(rows: DeskRecords) -> None:
    """Add a run in which the light of a camera goes out twice, and that of another at its end."""
    run = rows.run(0, 1000, "cam01", "cam02", "cam03")
    for at_s, state in ((10, "RUNNING"), (100, "DEGRADED"), (160, "RUNNING"), (300, "DEGRADED"), (400, "STALE")):
        rows.state(run, "cam01", state, at_s)
    rows.state(run, "cam02", "DEGRADED", 990)
    rows.state(run, "cam03", "RUNNING", 10)


def test_each_camera_has_its_time_in_the_dark(rows: DeskRecords) -> None:
    """As far as it lies in the time that is asked for, and until the run ended."""
    in_the_dark(rows)
    with RecordReader(rows.directory).open() as connection:
        whole = read_degraded(connection, ChosenTime(BEGAN_UTC, BEGAN_UTC + 5000))
        part = read_degraded(connection, ChosenTime(BEGAN_UTC + 120, BEGAN_UTC + 350))
        none = read_degraded(connection, ChosenTime(BEGAN_UTC + 410, BEGAN_UTC + 900))
    assert whole == [DegradedTime("cam01", 160.0), DegradedTime("cam02", 10.0)]
    assert part == [DegradedTime("cam01", 90.0)]
    assert none == []


def test_many_cameras_are_a_sentence() -> None:
    assert degraded_words([]) == ""
    words = degraded_words([DegradedTime(f"cam{number:02}", 65.0) for number in range(14)])
    assert words.startswith("cam00 for 1 min 5 s, cam01 for")
    assert words.endswith("cam11 for 1 min 5 s, 2 more")


def test_the_first_page_and_the_report_say_it(rows: DeskRecords, client: TestClient) -> None:
    """All of it was inspected, by the ledger."""
    in_the_dark(rows)
    asked = "since=2026-11-28T20:00:00Z&until=2026-11-28T20:16:40Z"
    for page in ("/", "/report/file"):
        text = client.get(f"{page}?{asked}").text
        assert "cam01 for 2 min 40 s" in text, page
        assert "DEGRADED" in text, page
        assert "cam03 for" not in text, page
