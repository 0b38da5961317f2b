# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a report says of parts: sums that reconcile, yields with exact limits, and what was let through first of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.passed_parts import make_part

from vision_line.desk.report.document import document
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.shift_report import ShiftReport, read_report
from vision_line.errors import ConfigError
from vision_line.parts.orders import LOT, Asked, enter
from vision_line.parts.part import PartCause, PartVerdict
from vision_line.parts.part_entries import add_correction, add_part
from vision_line.parts.parts_file import writing
from vision_line.parts.parts_removal import remove_parts

BY = Asked("the shift", "desk")
HOUR = WantedPeriod(since="2h", timezone="UTC")
NOW_UTC = BEGAN_UTC + 3600.0


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
