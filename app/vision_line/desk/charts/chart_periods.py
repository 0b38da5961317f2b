# SPDX-License-Identifier: AGPL-3.0-or-later
"""The periods of a chart on the plant's clock: hours, shifts, or days, which have 23 to 25 hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.errors import ConfigError

#: More points than this are narrower than a dot on a wide screen: a year of four shifts a day.
MOST_POINTS = 1500
_HOUR_S = 3600.0
_DAY = timedelta(days=1)


class PeriodKind(StrEnum):
    """What a point is the rate of."""

    HOUR = "hour"
    SHIFT = "shift"
    DAY = "day"


#: How much a chart shows unless somebody chooses: days.
USUAL_DAYS = {PeriodKind.HOUR: 7, PeriodKind.SHIFT: 30, PeriodKind.DAY: 90}


@dataclass(frozen=True, slots=True)
class ChartPeriod:
    """One period, and what people call it."""

    since_utc: float
    until_utc: float
    name: str


def chart_periods(kind: PeriodKind, time: ChosenTime, clock: PlantClock) -> list[ChartPeriod]:
    """Return the periods, one after the other, of which some lies in `time`.

    Raises:
        ConfigError: there are too many, or the records name no shifts.
    """
    found: list[ChartPeriod] = []
    for period in _PERIODS[kind](time, clock):
        if period.until_utc > period.since_utc:  # a shift that the clock jumps over has no time
            found.append(period)
        if len(found) > MOST_POINTS:
            raise ConfigError(f"a chart has at most {MOST_POINTS} points: choose less time, or longer periods")
    return found


def edges_of(periods: Sequence[ChartPeriod]) -> NDArray[np.float64]:
    """Return where periods, one after the other, begin, and where the last ends: (n + 1,)."""
    return np.array([*(one.since_utc for one in periods), periods[-1].until_utc])


def _shifts(time: ChosenTime, clock: PlantClock) -> Iterator[ChartPeriod]:
    shift = clock.shift_at(time.since_utc)
    while shift.start_utc < time.until_utc:
        yield ChartPeriod(shift.start_utc, shift.end_utc, shift.key)
        shift = clock.shift_at(shift.end_utc)


def _days(time: ChosenTime, clock: PlantClock) -> Iterator[ChartPeriod]:
    for day in _dates(time, clock):
        whole = clock.whole_day(day)
        yield ChartPeriod(whole.since_utc, whole.until_utc, clock.day(whole.since_utc))


def _hours(time: ChosenTime, clock: PlantClock) -> Iterator[ChartPeriod]:
    """Yield full hours from each day's midnight on; a clock put by half an hour leaves half an hour at a day's end."""
    for day in _dates(time, clock):
        whole = clock.whole_day(day)
        begins = whole.since_utc
        while begins < min(whole.until_utc, time.until_utc):
            ends = min(begins + _HOUR_S, whole.until_utc)
            if ends > time.since_utc:
                shown = clock.moment(begins)
                yield ChartPeriod(begins, ends, shown[:16] + shown[19:])  # without seconds; an offset where it has one
            begins = ends


def _dates(time: ChosenTime, clock: PlantClock) -> Iterator[date]:
    day, last = (clock.local(utc).date() for utc in (time.since_utc, time.until_utc))
    while day <= last and clock.whole_day(day).since_utc < time.until_utc:
        yield day
        day += _DAY


_PERIODS = {PeriodKind.HOUR: _hours, PeriodKind.SHIFT: _shifts, PeriodKind.DAY: _days}
