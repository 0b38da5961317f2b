# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the desk's pages take over a year's records: a million events of 16 cameras, with the rows of their images.

Each page is asked for in turns with the others, after each was asked for once. The time is the whole answer's, as a
browser of this machine waits for it. Aims: 500 ms for a page of 50 events, 1 s for a chart of a year; for a shift
report of 16 cameras with 500 events and their images, which has records of its own, 5 s and 6 MB.

Run: python -m benchmarks.desk_pages [EVENTS] [ROUNDS]; filling takes half a minute a million events.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient
from tests.fakes.chart_records import DAY_S, YEAR_BEGINS_UTC, ChartLine, made_line
from tests.fakes.desk import desk_over
from tests.fakes.desk_records import writing
from tests.fakes.shift_records import made_shift

from benchmarks.rounds import Report, interleave
from vision_line.records.schema import transaction

CAMERAS, DAYS = 16, 365
PAGE_MS, CHART_MS, REPORT_MS, REPORT_MB = 500.0, 1000.0, 5000.0, 6.0
_IMAGES = """INSERT INTO evidence (run, event_id, path, crop_path, sha256, crop_sha256, bytes, created_utc)
    SELECT run, event_id, 'evidence/' || event || '.jpg', 'evidence/' || event || '.crop.jpg', event, event, 9e4,
    last_seen_utc FROM events"""


def filled(directory: Path, events: int) -> int:
    """Write a year of a line, and return how many events it has."""
    names = {f"cam{number:02}": f"line {1 + number % 4}" for number in range(1, CAMERAS + 1)}
    rate_per_h = events / CAMERAS / DAYS / 24
    made_line(directory, ChartLine(DAYS, names, lambda at_s: 0 * at_s + rate_per_h))
    with writing(directory) as rows:
        with transaction(rows.connection):
            rows.connection.execute(_IMAGES)
        return int(rows.connection.execute("SELECT count(*) FROM events").fetchone()[0])


def pages(events: int) -> dict[str, tuple[str, float]]:
    """Return what is asked of so many events, and the aim in milliseconds."""
    middle = f"after_utc={YEAR_BEGINS_UTC + DAYS / 2 * DAY_S}&after=400000000"
    filters = {
        "newest 50 events": "",
        "50 in the middle of the year": middle,
        "a camera and a class": "camera=cam07&class=short",
        "a station's warnings": "station=line+3&verdict=warn",
        "a class that there is not": "class=spur",
        "reviewed ones, of none": "reviewed=reviewed",
        "a day of half a year ago": "day=2026-05-28",
    }
    found = {name: (f"/events?{asked}", PAGE_MS) for name, asked in filters.items()}
    found["an event with its neighbours"] = (f"/events/{events // 2}", PAGE_MS)
    found["the same, found by a camera"] = (f"/events/{events // 2}?within=1&camera=cam07", PAGE_MS)
    found["first page, a shift"] = ("/?since=2026-05-28T06:00&until=2026-05-28T14:00", PAGE_MS)
    found["chart of a year of shifts"] = (f"/charts?together=1&period=shift&days={DAYS}", CHART_MS)
    return found


@contextmanager
def opened(directory: Path) -> Iterator[TestClient]:
    """Yield a client that is signed in; no answer takes too long for the desk itself."""
    with desk_over(directory, limit_s=60.0) as desk:
        desk.sign_in()
        yield desk.client


def asked_ms(client: TestClient, address: str) -> float:
    """Return how long an answer takes, in milliseconds.

    Raises:
        RuntimeError: it was refused.
    """
    began_s = time.perf_counter()
    answer = client.get(address)
    took_ms = 1000 * (time.perf_counter() - began_s)
    if answer.status_code != 200:
        raise RuntimeError(f"{address}: {answer.status_code} {answer.text[-300:]}")
    return took_ms


def report_pages(events: int, rounds: int) -> None:
    """Measure pages of many events."""
    report = Report("desk_pages")
    with tempfile.TemporaryDirectory() as folder:
        report.facts["events"] = found_events = filled(Path(folder), events)
        with opened(Path(folder)) as client:
            asked = pages(found_events)
            for address, _ in asked.values():
                asked_ms(client, address)
            contenders = {name: (lambda at=address: asked_ms(client, at)) for name, (address, _) in asked.items()}
            found = interleave(contenders, rounds, "ms")
    for name, (_, aim_ms) in asked.items():
        values = found.values[name]
        report.add(page=name, median_ms=round(found.median(name)), slowest_ms=round(max(values)), aim_ms=aim_ms)
    report.publish()


def report_report(rounds: int) -> None:
    """Measure the report of a shift."""
    report = Report("desk_report")
    with tempfile.TemporaryDirectory() as folder:
        made_shift(Path(folder))
        with opened(Path(folder)) as client:
            address = "/report/file?since=2026-11-28T06:00&until=2026-11-28T14:00"
            size_mb = len(client.get(address).content) / 1e6
            found = interleave({"report": lambda: asked_ms(client, address)}, rounds, "ms")
    slowest_ms = round(max(found.values["report"]))
    report.add(median_ms=round(found.median("report")), slowest_ms=slowest_ms, aim_ms=REPORT_MS)
    report.facts |= {"mb": round(size_mb, 2), "aim_mb": REPORT_MB}
    report.publish()


def main() -> None:
    """Measure and publish."""
    events, rounds = int((*sys.argv[1:2], "1000000")[0]), int((*sys.argv[2:3], "5")[0])
    report_pages(events, rounds)
    report_report(rounds)


if __name__ == "__main__":
    main()
