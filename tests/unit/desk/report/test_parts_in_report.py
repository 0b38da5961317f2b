# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a report says of parts: sums that reconcile, yields with exact limits, and what was let through first of all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.fakes.chart_parts import BEGAN_UTC as PARTS_BEGAN_UTC
from tests.fakes.chart_parts import HourOfParts, pass_hours
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.passed_parts import make_part

from vision_line.desk.report.document import document
from vision_line.desk.report.passed_parts import LotTime
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.shift_report import ShiftReport, read_report
from vision_line.errors import ConfigError
from vision_line.parts.lot_spans import LotSpan
from vision_line.parts.orders import LOT, Asked, enter
from vision_line.parts.part import PartCause, PartVerdict
from vision_line.parts.part_entries import add_correction, add_part
from vision_line.parts.parts_file import writing
from vision_line.parts.parts_removal import remove_parts
from vision_line.quality import Baseline, ChartKind, ControlLimits, clopper_pearson
from vision_line.reviews import reviews_file
from vision_line.reviews.part_baseline_entries import ApprovedPartBaseline, PartScope, approve

BY = Asked("the shift", "desk")
HOUR = WantedPeriod(since="2h", timezone="UTC")
NOW_UTC = BEGAN_UTC + 3600.0
#: A whole hour, long behind all that is recorded.
DAY_AFTER_UTC = BEGAN_UTC + 86_400.0


@pytest.fixture
def parted(rows: DeskRecords) -> Path:
    """Return records with parts: lane a has 6 of lot L-1, 4 of them accepted and 1 of those defective; b has 1 part."""
    directory = rows.directory
    verdicts = [PartVerdict.ACCEPT] * 4 + [PartVerdict.REJECT, PartVerdict.NOT_INSPECTED]
    with writing(directory) as connection:
        for sequence, verdict in enumerate(verdicts, 1):
            cause = PartCause.GAP if verdict is PartVerdict.NOT_INSPECTED else PartCause.NONE
            part = make_part(sequence, BEGAN_UTC + 60 * sequence, verdict=verdict, cause=cause, lot="L-1")
            number = add_part(connection, part)
            if sequence in {2, 6}:
                add_correction(connection, part, number, PartVerdict.REJECT, ["late"])
        add_part(connection, make_part(1, BEGAN_UTC + 60, lane="b"))
        for lot, at_utc in (("L-1", BEGAN_UTC + 30), ("L-2", BEGAN_UTC + 900)):
            order = enter(connection, LOT, lot, BY, "*")
            connection.execute("UPDATE lots SET begun_utc = ? WHERE number = ?", (at_utc, order.number))
    return directory


def report_on(records: Path, wanted: WantedPeriod = HOUR) -> ShiftReport:
    """Return a report as it is made an hour later."""
    return read_report(records, wanted, NOW_UTC, 0)


def test_verdicts_and_causes_are_all_parts_and_the_yield_is_of_inspected_ones(parted: Path) -> None:
    parts = report_on(parted).parts
    first, second = parts.lanes
    assert (first.parts, first.accept, first.reject, dict(first.causes)) == (6, 4, 1, {"gap": 1})
    assert [(one.lane, one.part_id) for one in parts.escapes] == [("a", "P-2")]  # the diverted one escaped nobody
    own = parts.yields["a"]
    assert (own.good, own.inspected, own.share) == (3, 5, 0.6)
    assert tuple(round(limit, 4) for limit in own.limits) == (0.1466, 0.9473)
    assert (second.parts, parts.yields["b"].share) == (1, 1.0)


def test_what_was_let_through_is_said_before_all_figures(parted: Path) -> None:
    text = document(report_on(parted))
    assert text.index("1 part was") < text.index('aria-label="Figures"') < text.index("<h2>Parts</h2>")
    assert "let through, and found defective later" in text
    assert "for too long not inspected within their window" in text
    assert "<b>60.00 %</b>" in text


def test_what_was_let_through_while_a_camera_stood_still_is_said(
    parted: Path, rows: DeskRecords, client: TestClient
) -> None:
    """It was found out later. Of a camera that did not see the part, and of another cause, nothing is said."""
    run = rows.run(0, 3000, "cam01", "cam02", "cam03")
    rows.gap(run, "cam02", "camera:FROZEN", 170, 250)  # parts 3 and 4 at lane a
    rows.gap(run, "cam01", "camera:FROZEN", 235, 250)  # 4 once more
    rows.gap(run, "cam03", "camera:FROZEN", 55, 65)
    rows.gap(run, "cam01", "camera:STALE", 55, 65)
    rows.gap(run, "cam01", "camera:FROZEN", 299, 362)  # a reject and one that was not inspected
    report = report_on(parted)
    assert [(one.lane, one.part_id, one.camera) for one in report.parts.unseen] == [
        ("a", "P-3", "cam02"),
        ("a", "P-4", "cam01"),
    ]
    for text in (document(report), client.get("/?since=2026-11-28T20:00:00Z&until=2026-11-28T20:50:00Z").text):
        assert re.search(r"2 parts were\s+let through while a camera stood still", text)
    before = client.get("/?since=2026-11-28T20:00:00Z&until=2026-11-28T20:02:00Z").text
    assert "while a camera stood still" not in before


def test_without_parts_there_is_no_word_of_them(rows: DeskRecords) -> None:
    assert "<h2>Parts</h2>" not in document(report_on(rows.directory))


def test_a_lot_is_its_own_time_and_its_own_parts(parted: Path) -> None:
    report = report_on(parted, WantedPeriod(lot="L-1", timezone="UTC"))
    assert report.period.title == "Lot L-1"
    assert (report.period.time.since_utc, report.period.time.until_utc) == (BEGAN_UTC + 30, BEGAN_UTC + 900)
    assert [(lane.lane, lane.parts) for lane in report.parts.lanes] == [("a", 6)]
    assert "This lot was made" not in document(report)


def test_a_lot_that_was_interrupted_says_so_and_one_that_goes_on_ends_now(parted: Path) -> None:
    with writing(parted) as connection:
        order = enter(connection, LOT, "L-1", BY, "*")
        connection.execute("UPDATE lots SET begun_utc = ? WHERE number = ?", (BEGAN_UTC + 1800, order.number))
    report = report_on(parted, WantedPeriod(lot="L-1", timezone="UTC"))
    assert report.period.time.until_utc == NOW_UTC
    assert document(report).count("This lot was made everywhere from") == 1


def test_of_a_lot_that_was_interrupted_the_time_in_between_is_in_no_chart(rows: DeskRecords) -> None:
    """A for half an hour, B for two hours, A again; nothing was inspected, so that each hour is without a point."""
    orders = (("A", 600), ("B", 2400), ("A", 9600), ("C", 10_200))
    with writing(rows.directory) as connection:
        for lot, after_s in orders:
            order = enter(connection, LOT, lot, BY, "*")
            connection.execute(
                "UPDATE lots SET begun_utc = ? WHERE number = ?", (DAY_AFTER_UTC + after_s, order.number)
            )
    report = read_report(rows.directory, WantedPeriod(lot="A", timezone="UTC"), DAY_AFTER_UTC + 4 * 3600.0, 0)
    without = [(gap.since_utc - DAY_AFTER_UTC, gap.until_utc - DAY_AFTER_UTC) for gap in report.usual.chart.without]
    assert without == [(600.0, 2400.0), (9600.0, 10_200.0)]
    whole = read_report(rows.directory, WantedPeriod(since="4h", timezone="UTC"), DAY_AFTER_UTC + 4 * 3600.0, 0)
    assert [gap.periods for gap in whole.usual.chart.without] == [4]


def test_a_lot_that_overlaps_itself_at_lanes_is_charted_once() -> None:
    spans = [LotSpan("A", "left", 100.0, 300.0), LotSpan("A", "right", 200.0, 400.0), LotSpan("A", "*", 600.0, None)]
    times = LotTime("A", spans).active(900.0)
    assert [(time.since_utc, time.until_utc) for time in times] == [(100.0, 400.0), (600.0, 900.0)]


def test_an_unknown_lot_is_refused(parted: Path) -> None:
    with pytest.raises(ConfigError, match="nobody began a lot 'L-9'"):
        report_on(parted, WantedPeriod(lot="L-9"))
    with pytest.raises(ConfigError, match="give only one of"):
        report_on(parted, WantedPeriod(lot="L-1", last="2h"))


def test_a_time_whose_parts_were_removed_is_no_time_without_parts(parted: Path) -> None:
    assert report_on(parted).parts.removed_until_utc is None
    with writing(parted) as connection:
        remove_parts(connection, 1, "keep_days")
    report = report_on(parted)
    assert report.parts.removed_until_utc == BEGAN_UTC + 60
    assert report.parts.lanes[0].parts == 5
    assert "were removed for age" in document(report)


def pass_hour(directory: Path, hour: int, rejected: int, missed: int = 0, inspected: int = 30, lot: str = "") -> None:
    """Enter an hour of lane a, so many hours after the records."""
    begins = hour - round((PARTS_BEGAN_UTC - BEGAN_UTC) / 3600)
    pass_hours(directory, [HourOfParts(begins, inspected, rejected, missed, lot=lot)])


def of_week(directory: Path, hours: int = 24) -> WantedPeriod:
    """Enter a day of usual hours, then one with many rejects and one without an inspected part; ask for these two."""
    for n in range(hours):
        pass_hour(directory, n - 30, 1 + n % 2)
    pass_hour(directory, 0, 15, missed=10, lot="L-1")
    pass_hour(directory, 1, 0, missed=7, inspected=0, lot="L-1")
    return WantedPeriod(since="2026-11-28T20:00", until="2026-11-28T22:00", timezone="UTC")


def report_then(records: Path, wanted: WantedPeriod) -> ShiftReport:
    return read_report(records, wanted, BEGAN_UTC + 3 * 3600.0, 0)


def test_a_lane_has_its_chart_its_yield_and_what_was_not_inspected(rows: DeskRecords) -> None:
    """By the limits of the week before, which nobody approved."""
    report = report_then(rows.directory, of_week(rows.directory))
    (lane,) = report.lanes
    (point,) = lane.chart.points
    assert (point.rejected, point.inspected, point.not_inspected, list(point.tests)) == (15, 30, 10, [1])
    assert lane.chart.limits is not None
    assert lane.chart.limits.center == 0.05
    (own,) = lane.yields
    assert (own.good, own.inspected) == (15, 30)
    assert (own.lower, own.upper) == clopper_pearson(15, 30)
    text = document(report)
    assert "Not inspected: 17 of 47 parts (36.2 %), in no share and no yield" in text
    assert "test 1, a point beyond 3 sigma, above the mean; 15 of 30 parts" in text
    assert "no point, because none of 7 parts was inspected" in text
    assert "Both are from 24 hours of the 7 days before; nobody has approved them." in text
    assert text.count('<svg class="rate-chart"') == 3
    assert not re.search(r'(?:src|href)="(?!data:|#)', text), "the file asks for nothing"


def test_with_few_hours_before_there_is_a_yield_and_no_limit(rows: DeskRecords) -> None:
    report = report_then(rows.directory, of_week(rows.directory, hours=19))
    text = document(report)
    assert "No chart of rejected parts: of the hours of the 7 days before, 19 points; limits need 20 or more" in text
    assert "First-pass yield, with exact 95 % limits" in text


def test_a_lots_chart_is_of_its_parts_alone(rows: DeskRecords) -> None:
    of_week(rows.directory)
    pass_hour(rows.directory, 2, 0, inspected=9, lot="L-2")
    with writing(rows.directory) as connection:
        order = enter(connection, LOT, "L-1", BY, "*")
        connection.execute("UPDATE lots SET begun_utc = ? WHERE number = ?", (BEGAN_UTC, order.number))
    report = report_then(rows.directory, WantedPeriod(lot="L-1", timezone="UTC"))
    (lane,) = report.lanes
    assert [point.inspected for point in lane.chart.points] == [30]
    assert lane.series.total.not_inspected == 17
    assert "Lane a, hour by hour" in document(report)


def test_an_approved_baseline_and_a_silence_are_in_the_report(rows: DeskRecords) -> None:
    wanted = of_week(rows.directory)
    limits = ControlLimits(ChartKind.SHARE, 0.2)
    made = Baseline(limits, 24, BEGAN_UTC - 9e5, BEGAN_UTC - 8e5, "anna", BEGAN_UTC - 7e5)
    approved = ApprovedPartBaseline(PartScope("hour", "a"), made, 20, 100, 0, (), "1" * 64, "2" * 64)
    with reviews_file.writing(rows.directory) as connection:
        approve(connection, approved)
    text = document(report_then(rows.directory, wanted))
    assert "Both are an approved baseline's: anna approved them on" in text
    assert "0 of 1 approved baselines" in text
    for hour in (2, 3):
        pass_hour(rows.directory, hour, 0)
    later = WantedPeriod(since="2026-11-28T22:00", until="2026-11-29T00:00", timezone="UTC")
    report = read_report(rows.directory, later, BEGAN_UTC + 5 * 3600.0, 0)
    (silence,) = report.part_silences.called
    assert silence.inspected == 75
    assert document(report).index("Suspiciously low: lane a") < document(report).index('aria-label="Figures"')
