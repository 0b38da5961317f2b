# SPDX-License-Identifier: AGPL-3.0-or-later
"""How templates show moments, of pages and of the report: on the present clock. Pure."""

from __future__ import annotations

from collections.abc import Callable

from vision_line.desk.local_time import PlantClock, plant_clock


def time_filters() -> dict[str, Callable[..., str]]:
    """Return the filters that show times, each by the clock that is the present one when it is used."""

    def by_clock(method: Callable[..., str]) -> Callable[..., str]:
        return lambda utc, *more: method(plant_clock(), utc, *more)

    return {
        "day": by_clock(PlantClock.day),
        "clock": by_clock(PlantClock.clock),
        "moment": by_clock(PlantClock.moment),
        "within": by_clock(PlantClock.within),
        "field": by_clock(PlantClock.field_text),
        "iso": by_clock(PlantClock.iso),
        "mark": by_clock(PlantClock.mark),
        "date_before": by_clock(PlantClock.date_before),
    }
