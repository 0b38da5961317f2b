# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shifts or days that a time is made of, on the plant's clock."""

from __future__ import annotations

from datetime import timedelta

from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.reviews.figures.review_figures import Period


def periods_of(time: ChosenTime, clock: PlantClock) -> list[Period]:
    """Return the shifts of a time, or its days where no shifts are known; the first and last are cut at its ends.

    Raises:
        ConfigError: there is no such moment.
    """
    found: list[Period] = []
    at_utc = time.since_utc
    while at_utc < time.until_utc:
        period = _period_at(at_utc, clock)
        found.append((max(period[0], time.since_utc), min(period[1], time.until_utc)))
        at_utc = period[1]
    return found


def _period_at(utc: float, clock: PlantClock) -> Period:
    if clock.shifts is not None:
        shift = clock.shift_at(utc)
        return shift.start_utc, shift.end_utc
    date = clock.local(utc).date()
    day = clock.whole_day(date)
    if day.until_utc <= utc:  # where a day's begin is shown twice
        day = clock.whole_day(date + timedelta(days=1))
    return day.since_utc, day.until_utc
