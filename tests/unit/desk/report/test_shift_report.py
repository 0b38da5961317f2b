# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a report says: the figures of an export to the last digit, and nothing that asks a network."""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.shift_records import BERLIN, SHIFT_HOURS, SHIFT_S, made_shift

from vision_line.desk.cases.record_check import CheckedRecord
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.record_reader import RecordReader
from vision_line.desk.report.document import css_text, document
from vision_line.desk.report.journal_proof import JournalCheck
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.report_pages import checked_journal
from vision_line.desk.report.shift_report import ShiftReport, check_journal_of, read_report
from vision_line.records.columns import Table
from vision_line.records.journal import Kind
from vision_line.records.query import Selection
from vision_line.records.schema import transaction
from vision_line.records.seal import Sealer
from vision_line.records.table_export import Format, export

EARLY = WantedPeriod(shift="2026-11-28/early")
NOW_UTC = datetime(2026, 11, 28, 14, 10, tzinfo=BERLIN).timestamp()
TIME = ChosenTime(BEGAN_UTC + SHIFT_S, BEGAN_UTC + SHIFT_S + SHIFT_HOURS * 3600.0)


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the records of a shift of three cameras."""
    folder = tmp_path_factory.mktemp("shift")
    made_shift(folder, cameras=3, events=40)
    return folder


def report_on(
    records: Path, wanted: WantedPeriod = EARLY, images: int = 5, check: JournalCheck | None = None
) -> ShiftReport:
    return read_report(records, wanted, NOW_UTC, images, check)


def _iso(utc: float) -> str:
    return datetime.fromtimestamp(utc, BERLIN).isoformat()


def exported(records: Path, table: Table, output: Path) -> list[dict[str, Any]]:
    export(records, table, Format.JSONL, Selection(TIME.since_utc, TIME.until_utc), output)
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


class _Addresses(HTMLParser):
    """Collects what a page would load, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        loads = {"src", "href", "srcset", "data", "poster", "action", "xlink:href", "background"}
        self.found += [value or "" for name, value in attrs if name in loads or name.startswith("on")]
        self.found += [tag] * (tag in {"script", "iframe", "object", "embed", "base"})


def test_the_figures_are_those_of_an_export(shift: Path, tmp_path: Path) -> None:
    """Counts by camera, class and verdict; seconds of intervals that lie in the shift; as the page shows them."""
    report = report_on(shift)
    events = Counter(
        (row["camera"], row["class"], row["verdict"]) for row in exported(shift, Table.EVENTS, tmp_path / "events")
    )
    shown = Counter[tuple[str, str, str]]()
    for one in report.found.counts:
        shown.update({(one.camera, one.class_name, name): getattr(one, name) for name in ("reject", "warn", "accept")})
    assert +shown == events
    seconds = defaultdict[str, float](float)
    for row in exported(shift, Table.NOT_INSPECTED, tmp_path / "gaps"):
        is_whole = row["started_s"] >= SHIFT_S
        seconds[row["cause"]] += row["ended_s"] - (row["started_s"] if is_whole else SHIFT_S)
    assert dict(report.inspected.total.not_inspected_s) == pytest.approx(seconds, abs=1e-6)
    assert report.inspected.total.not_inspected_s["camera:STALE"] == 600.125
    text = document(report)
    assert ">600.125<" in text
    assert ">12.500<" in text
    assert f"<b>{sum(n for (*_, verdict), n in events.items() if verdict == 'reject')} ■</b>" in text


def test_it_asks_nobody(shift: Path) -> None:
    """No script, and every address is data in the file itself."""
    text = document(report_on(shift))
    page = _Addresses()
    page.feed(text)
    assert sum(address.startswith("data:image/jpeg") for address in page.found) == 5
    assert [address for address in page.found if not address.startswith("data:")] == []
    urls = re.findall(r"url\(([^)]*)\)", text)
    assert urls
    assert all(url.startswith("#") for url in urls)
    assert "@import" not in text


def test_of_more_rejects_than_are_shown_it_says_how_many(shift: Path) -> None:
    report = report_on(shift)
    assert [one.first_seen_utc for one in report.found.rejects] == sorted(
        (one.first_seen_utc for one in report.found.rejects), reverse=True
    )
    assert report.found.unshown == report.found.total.reject - 5 > 0
    assert f"{report.found.unshown} older ones are not shown" in document(report)


def test_hours_in_which_the_rate_jumps_are_called(shift: Path) -> None:
    """The week had an event an hour and camera: a blind one and many events are named, and where limits come from."""
    report = report_on(shift)
    chart = report.usual.chart
    assert len(chart.points) == SHIFT_HOURS
    assert chart.limits is not None
    assert chart.limits.center == pytest.approx(1.0, abs=0.01)
    assert sum(point.events for point in chart.points) == report.found.total.called
    assert report.usual.usual_hours == 168
    assert [low.camera for low in report.shortages.suspicious] == ["cam03"]
    assert report.shortages.compared == 3
    text = document(report)
    assert "cam03 found suspiciously little" in text
    assert "nobody has approved them" in text
    assert "times a week" in text


def test_without_a_week_before_there_is_no_chart(rows: DeskRecords) -> None:
    rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    report = report_on(rows.directory, WantedPeriod(since="2026-11-28T05:00Z", until="2026-11-28T13:00Z"))
    assert not report.usual.chart.points
    assert report.shortages.compared == 0
    text = document(report)
    assert "of the 7 days before, 0 periods have a point" in text
    assert "no camera has 20 inspected hours" in text


def test_a_time_without_a_run_says_so(rows: DeskRecords) -> None:
    rows.run(SHIFT_S + 3600, SHIFT_S + 7200, "cam01")
    rows.run(SHIFT_S + 5400, SHIFT_S + 9000, "cam02")
    report = report_on(
        rows.directory, WantedPeriod(shift="2026-11-28/early", timezone="Europe/Berlin", shifts="06:00,14:00")
    )
    assert report.inspected.without_run_s == SHIFT_HOURS * 3600 - 5400.0
    assert "in 6 h 30 min of it no program ran" in document(report)


def test_nothing_recorded_is_no_proof_of_anything(rows: DeskRecords) -> None:
    text = document(report_on(rows.directory, WantedPeriod(last="1h")))
    assert "Nothing is recorded of this time" in text
    assert "Nothing was due: no run had a camera in this time." in text
    assert "Nothing is missing" not in text
    assert "<b>nothing</b>" not in text
    assert "<b>none</b>" not in text
    assert text.count("<b>–</b>") == 5
    assert "100 %" not in text


def test_a_run_that_goes_on_and_time_to_come_are_not_without_a_program(rows: DeskRecords) -> None:
    """The last sign of life is 2 s old, and the shift goes on for 2 hours."""
    rows.run(SHIFT_S, None, "cam01", alive_s=SHIFT_S + 6 * 3600 - 2.0)
    started_utc = BEGAN_UTC + SHIFT_S
    now_utc = started_utc + 6 * 3600
    wanted = WantedPeriod(since=_iso(started_utc), until=_iso(now_utc + 7200))
    assert read_report(rows.directory, wanted, now_utc, 0).inspected.without_run_s == 0.0
    assert read_report(rows.directory, wanted, now_utc + 3600, 0).inspected.without_run_s == 3602.0


def test_shares_of_counts_are_rounded(rows: DeskRecords) -> None:
    run = rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    for n in range(29):
        rows.event(run, "cam01", SHIFT_S + n, class_name="ABCDEF"[n % 6] if n < 24 else "ABCDA"[n - 24])
    text = document(report_on(rows.directory, WantedPeriod(last="12h")))
    assert '<td class="right">20.7 %</td>' in text  # 6 of 29


def test_figures_of_all_cameras_say_so(shift: Path) -> None:
    text = document(report_on(shift))
    assert "not inspected, all cameras together" in text
    assert "rejects, all cameras together" in text


@pytest.mark.parametrize(
    ("clocks", "said"),
    [
        ([(False, 16.0)], "▲ followed no time server at 1 of 1 seals: how far it was off is not known<"),
        ([(True, 0.02), (True, 0.25)], "followed a time server at each of 2 seals, at most 0.250 s off<"),
        (
            [(True, 0.25), (False, 16.0)],
            "▲ followed no time server at 1 of 2 seals: how far it was off is not known; "
            "at the others at most 0.250 s off<",
        ),
        ([(None, None)], "no seal says whether it followed a time server<"),
    ],
)
def test_a_clock_without_a_time_server_has_no_bound(
    rows: DeskRecords, clocks: list[tuple[bool | None, float | None]], said: str
) -> None:
    """Where it follows none, the kernel says 16 s, whatever it is."""
    rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    for synchronised, max_error_s in clocks:
        body = {"entries": 1, "head": "", "clock": {"synchronised": synchronised, "max_error_s": max_error_s}}
        with transaction(rows.connection):
            rows.connection.journal.append(Kind.SEAL, "", body, 1)
    assert said in document(read_report(rows.directory, WantedPeriod(last="1h"), time.time() + 1.0, 0))


def test_removed_rows_are_named(rows: DeskRecords) -> None:
    rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    rows.insert(
        "removals", at_utc=NOW_UTC, removed_from="events", rows=77, from_utc=0.0, to_utc=TIME.until_utc, why="keep_days"
    )
    assert "77 rows of events" in document(report_on(rows.directory, WantedPeriod(last="8h")))


def test_an_image_that_is_not_the_recorded_one_is_not_shown(rows: DeskRecords) -> None:
    run = rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    event = rows.event(run, "cam01", SHIFT_S + 60)
    rows.images(event, b"other", path="evidence/none.jpg")
    (rows.directory / "evidence").mkdir()
    (rows.directory / "evidence" / "none.jpg").write_bytes(b"forged")
    (found,) = report_on(rows.directory, WantedPeriod(last="12h")).found.rejects
    assert found.image == ""
    assert found.without == "the image is not the one that was recorded"


def test_names_are_text_and_never_markup(rows: DeskRecords) -> None:
    run = rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    rows.event(run, "cam01", SHIFT_S + 60, class_name="<script>alert(1)</script>", station='"><img src=x>')
    text = document(report_on(rows.directory, WantedPeriod(last="12h")))
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert css_text('x"; } </style>') == "x\\22 \\3b  \\7d  \\3c \\2f style\\3e "


def test_a_checked_journal_says_its_head_and_a_broken_one_what_is_wrong(rows: DeskRecords) -> None:
    """The range of entries is that of the time in which they were made."""
    rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    held = JournalCheck(holds=True, said="entries 1 to 7")
    assert "✔ journal and tables hold" in document(report_on(rows.directory, WantedPeriod(last="1h"), check=held))
    with transaction(rows.connection):
        rows.connection.execute("UPDATE journal SET body = '{}' WHERE number = 1")
    found = check_journal_of(rows.directory, lambda _done, _total: None)
    assert not found.holds
    assert "These records are not what was written" in document(
        report_on(rows.directory, WantedPeriod(last="1h"), check=found)
    )


def test_a_check_that_could_not_be_made_is_said_with_its_reason(rows: DeskRecords) -> None:
    """It is neither one that nobody asked for nor one that found something."""
    rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    check = checked_journal(CheckedRecord(None, "it could not be checked: the disk was full", NOW_UTC))
    text = document(report_on(rows.directory, WantedPeriod(last="1h"), check=check))
    assert text.count("it could not be checked: the disk was full") == 2
    assert "it was not asked for when this report was made" not in text
    assert "are not what was written" not in text


def test_seals_over_the_time_are_counted(shift: Path) -> None:
    """The journal's entries are dated by when they were written."""
    with RecordReader(shift).open() as connection:
        first, last, head = connection.execute("SELECT min(at_utc), max(at_utc), max(number) FROM journal").fetchone()
    wanted = WantedPeriod(since=datetime.fromtimestamp(first - 1, BERLIN).isoformat(), until="now")
    journal = read_report(shift, wanted, last + 1.0, 0).journal
    assert (journal.first, journal.last, journal.head) == (1, head, head)
    assert journal.last_digest == journal.head_digest
    assert journal.seals == 1
    assert not journal.signed


def test_who_signed_is_named(rows: DeskRecords) -> None:
    rows.run(SHIFT_S, SHIFT_S + 3600, "cam01")
    key = Ed25519PrivateKey.generate()
    with transaction(rows.connection):
        Sealer(key).seal(rows.connection.journal, 1)
    report = read_report(rows.directory, WantedPeriod(last="1h"), time.time() + 1.0, 0)
    public = key.public_key().public_bytes_raw().hex()
    assert report.journal.signed == {public: 1}
    assert f'1 signed by key <span class="hash">{public}</span>' in document(report)
