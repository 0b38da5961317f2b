# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which time a report is about: shifts of 7 to 9 hours, and moments on the plant's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from tests.fakes.desk_records import DeskRecords

from vision_line.desk.report.period import ReportPeriod, WantedPeriod, choose_period
from vision_line.errors import ConfigError, RunError
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction

BERLIN = ZoneInfo("Europe/Berlin")
NOW_UTC = datetime(2026, 11, 28, 6, 10, tzinfo=BERLIN).timestamp()
THREE = {"timezone": "Europe/Berlin", "start": ["06:00", "14:00", "22:00"], "names": []}


@pytest.fixture
def chosen(rows: DeskRecords) -> Callable[..., ReportPeriod]:
    """Return what chooses a time from records that say shifts (None: they say none)."""

    def choose(wanted: WantedPeriod, said: object = THREE) -> ReportPeriod:
        if said is not None:
            with transaction(rows.connection):
                body = {"before": None, "after": said, "why": "start"}
                rows.connection.journal.append(Kind.CONFIGURATION, "section/shifts", body, 1)
        return choose_period(rows.connection, wanted, NOW_UTC)

    return choose


def test_by_default_it_is_the_last_shift_that_has_ended(chosen: Callable[..., ReportPeriod]) -> None:
    """Ten past six: the night shift, which began on the day before."""
    found = chosen(WantedPeriod())
    assert found.title == "Shift 2026-11-27/night"
    assert found.time.until_utc == datetime(2026, 11, 28, 6, tzinfo=BERLIN).timestamp()
    assert found.zone_from == "[shifts] in the records"


@pytest.mark.parametrize(
    ("shift", "hours", "shown"),
    [
        ("2026-03-28/night", 7, "Sat 28 Mar 2026 22:00 (UTC+01:00) – Sun 29 Mar 2026 06:00 (UTC+02:00)"),
        ("2026-10-24/night", 9, "Sat 24 Oct 2026 22:00 (UTC+02:00) – Sun 25 Oct 2026 06:00 (UTC+01:00)"),
        ("2026-10-25/early", 8, "Sun 25 Oct 2026 06:00 (UTC+01:00) – Sun 25 Oct 2026 14:00 (UTC+01:00)"),
    ],
)
def test_a_night_in_which_the_clock_changes(
    chosen: Callable[..., ReportPeriod], shift: str, hours: int, shown: str
) -> None:
    found = chosen(WantedPeriod(shift=shift))
    assert found.time.length_s == hours * 3600.0
    assert found.clock.span(found.time) == shown


@pytest.mark.parametrize(
    ("day", "after", "hours"), [("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25)]
)
def test_days_have_23_and_25_hours(chosen: Callable[..., ReportPeriod], day: str, after: str, hours: int) -> None:
    assert chosen(WantedPeriod(since=day, until=after)).time.length_s == hours * 3600.0


def test_a_time_without_an_offset_is_on_the_plants_clock(chosen: Callable[..., ReportPeriod]) -> None:
    found = chosen(WantedPeriod(since="2026-11-27T06:00", until="2026-11-27T13:00Z"))
    assert found.time.length_s == 8 * 3600.0
    assert found.shift is None
    assert chosen(WantedPeriod(last="90m")).time.since_utc == NOW_UTC - 5400.0


def test_what_is_given_goes_before_what_is_recorded(chosen: Callable[..., ReportPeriod]) -> None:
    found = chosen(WantedPeriod(shift="2026-11-27/late", shifts="05:00,17:00", timezone="Asia/Tokyo"))
    assert found.time.since_utc == datetime(2026, 11, 27, 17, tzinfo=ZoneInfo("Asia/Tokyo")).timestamp()
    assert found.zone_from == "--timezone"


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (WantedPeriod(shift="2026-11-27/noon"), "one of early, late, night"),
        (WantedPeriod(shift="2026-11-31/early"), "2026-11-31/early"),
        (WantedPeriod(shift="early"), "DAY/NAME"),
        (WantedPeriod(shift="2026-11-28/late"), "has not begun"),
        (WantedPeriod(shift="2026-11-27/early", last="8h"), r"give only one of --shift, --since \(with"),
        (WantedPeriod(until="now"), "--since too"),
        (WantedPeriod(since="now"), "ends after it begins"),
        (WantedPeriod(last="40d"), "32 days"),
        (WantedPeriod(last="soon"), "soon"),
        (WantedPeriod(since="2026-99-99"), "2026-99-99"),
        (WantedPeriod(timezone="Mars/Base"), "Mars/Base"),
        (WantedPeriod(timezone="../etc/passwd"), "no time zone"),
    ],
)
def test_what_is_no_time_is_refused(chosen: Callable[..., ReportPeriod], wanted: WantedPeriod, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        chosen(wanted)


def test_records_without_shifts_say_so(chosen: Callable[..., ReportPeriod]) -> None:
    with pytest.raises(ConfigError, match=r"\[shifts\] in streams.toml"):
        chosen(WantedPeriod(shift="2026-11-27/early"), None)
    assert chosen(WantedPeriod(last="1h"), None).clock.zone_name == "UTC"


def test_shifts_that_nobody_wrote_are_named(chosen: Callable[..., ReportPeriod]) -> None:
    with pytest.raises(RunError, match="shifts in these records"):
        chosen(WantedPeriod(), {"timezone": 7})
