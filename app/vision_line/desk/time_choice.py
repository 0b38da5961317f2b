# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which time a page is about: a shift or a day of the plant's clock, or from and until; else the newest records."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Query

from vision_line.desk.local_time import ChosenTime, local, parse_day, parse_local, plant_clock
from vision_line.desk.run_times import BEGAN, KNOWN, newest_utc
from vision_line.errors import ConfigError
from vision_line.quality.shifts import WorkShift
from vision_line.records.records import Records

#: Longer times are asked of an export: minutes of all cameras are read for a page.
LONGEST_S = 32 * 86_400.0

#: What the shift that goes on is called, and the one before it.
THIS, LAST = "this", "last"
_NOW = (THIS, LAST)
#: Times that end with the newest records, in seconds.
_LASTS = {"1h": 3600.0, "8h": 28_800.0}

_DAY = timedelta(days=1)
_FIRST_OF = f"SELECT min({BEGAN}) FROM runs r WHERE {KNOWN} >= ?"  # noqa: S608  columns


@dataclass(frozen=True, slots=True)
class WantedTime:
    """What a request asks for; "" is not asked for."""

    day: str = ""
    since: str = ""
    until: str = ""
    last: str = ""
    shift: str = ""


def wanted_time(
    day: Annotated[str, Query(max_length=10, description="A day of the plant's clock, such as 2026-01-31.")] = "",
    since: Annotated[
        str, Query(max_length=40, description="From this ISO 8601 time; the plant's without offset.")
    ] = "",
    until: Annotated[str, Query(max_length=40, description="Before this time.")] = "",
    last: Annotated[str, Query(max_length=3, description="The newest `1h` or `8h` of the records.")] = "",
    shift: Annotated[
        str, Query(max_length=80, description="`this`, `last`, `2026-01-31/early`; with `day` its name alone.")
    ] = "",
) -> WantedTime:
    """Return what a request asks for."""
    return WantedTime(day, since, until, last, shift)


AskedTime = Annotated[WantedTime, Depends(wanted_time)]


def choose_time(connection: Records, wanted: WantedTime) -> ChosenTime:
    """Return the time that was asked for: where nothing was, the shift of the newest records, or their newest hours.

    Raises:
        ConfigError: it is no time, ends before it begins, or is too long.
        Error: the database's, as it comes.
    """
    if (named := named_time(wanted)) is not None:
        return named
    if wanted.last and wanted.last not in _LASTS:
        raise ConfigError(f"expected {' or '.join(_LASTS)}, found {wanted.last!r}")
    if not wanted.since and not wanted.until:
        return _newest(connection, _LASTS.get(wanted.last))
    if not wanted.since or not wanted.until:
        raise ConfigError("choose both from and until")
    return bounded(ChosenTime(parse_local(wanted.since), parse_local(wanted.until)))


def named_time(wanted: WantedTime) -> ChosenTime | None:
    """Return the shift or the day that was asked for, None where another time was.

    Raises:
        ConfigError: there is none.
    """
    if not wanted.shift:
        return plant_clock().whole_day(parse_day(wanted.day)) if wanted.day else None
    shift = _shift(wanted)
    if shift.end_utc <= shift.start_utc:
        raise ConfigError(f"the clock was put forward over all of the shift {shift.key}")
    return ChosenTime(shift.start_utc, shift.end_utc)


def _shift(wanted: WantedTime) -> WorkShift:
    clock = plant_clock()
    if wanted.day:
        return clock.shift(f"{wanted.day}/{wanted.shift}")
    if wanted.shift not in _NOW:
        return clock.shift(wanted.shift)
    this = clock.shift_at(time.time())
    return this if wanted.shift == THIS else clock.shift_at(this.start_utc - 1.0)


def bounded(chosen: ChosenTime) -> ChosenTime:
    """Return a time that somebody made up, if a page can be about it.

    Raises:
        ConfigError: it ends before it begins, or is too long.
    """
    if not 0 < chosen.length_s <= LONGEST_S:
        raise ConfigError("choose a time that ends after it begins and has at most 32 days")
    return chosen


def last_days(connection: Records, days: int) -> ChosenTime:
    """Return the time of so many times 24 hours that ends with the newest records.

    Raises:
        Error: the database's, as it comes.
    """
    ends_utc = -(newest_utc(connection) // -60) * 60.0
    return ChosenTime(ends_utc - days * 86_400.0, ends_utc)


def _newest(connection: Records, length_s: float | None) -> ChosenTime:
    """Return the newest records' time of this length.

    None: their shift; where no shifts are known the shortest of an hour, eight and a day that has them all.

    Raises:
        Error: the database's, as it comes.
    """
    known_utc = newest_utc(connection)
    clock = plant_clock()
    if length_s is None and clock.shifts is not None:
        shift = clock.shift_at(known_utc)
        return ChosenTime(shift.start_utc, shift.end_utc)
    day = clock.whole_day(local(known_utc).date())
    first_utc = connection.execute(_FIRST_OF, (day.since_utc,)).fetchone()[0] or 0.0
    ends_utc = -(known_utc // -60) * 60.0  # the minute that is under way is shown as a whole
    for fits_s in _LASTS.values() if length_s is None else (length_s,):
        if length_s is not None or ends_utc - first_utc <= fits_s:
            return ChosenTime(ends_utc - fits_s, ends_utc)
    return day


def neighbours(chosen: ChosenTime) -> tuple[dict[str, str], dict[str, str]]:
    """Return what to ask for to see the time before and the one after: of a shift shifts, of a day days."""
    clock = plant_clock()
    if clock.shift_of(chosen) is not None:
        return asked(_shift_at(chosen.since_utc - 1.0)), asked(_shift_at(chosen.until_utc))
    if (day := clock.day_of(chosen)) is not None:
        return {"day": str(day - _DAY)}, {"day": str(day + _DAY)}
    before = ChosenTime(chosen.since_utc - chosen.length_s, chosen.since_utc)
    after = ChosenTime(chosen.until_utc, chosen.until_utc + chosen.length_s)
    return asked(before), asked(after)


def asked(chosen: ChosenTime) -> dict[str, str]:
    """Return the parameters of an address that ask for this time: a shift by its name."""
    clock = plant_clock()
    shift = clock.shift_of(chosen)
    if shift is not None:
        return {"shift": shift.key}
    return {"since": clock.iso(chosen.since_utc), "until": clock.iso(chosen.until_utc)}


def _shift_at(utc: float) -> ChosenTime:
    shift = plant_clock().shift_at(utc)
    return ChosenTime(shift.start_utc, shift.end_utc)
