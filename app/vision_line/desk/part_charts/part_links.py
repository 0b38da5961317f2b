# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the parts behind a point or a signal are: addresses of the list of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from vision_line.desk.charts.chart_geometry import DrawnPeriod
from vision_line.desk.local_time import local
from vision_line.reviews.part_baseline_entries import PartScope

#: The list's times are before their end; a lot ends with its last part.
_BEHIND_S = 1.0


def part_links(scope: PartScope, periods: Sequence[DrawnPeriod], lot: str = "") -> Mapping[float, str]:
    """Return the address of each period's parts, by when it begins."""
    return {one.since_utc: parts_address(scope, one, lot) for one in periods}


def parts_address(scope: PartScope, period: DrawnPeriod, lot: str = "") -> str:
    """Return where the parts of a time are that a chart of `scope` counts."""
    until_utc = period.until_utc + (_BEHIND_S if scope.period == "lot" else 0.0)
    times = {"since": local(period.since_utc).isoformat(), "until": local(until_utc).isoformat()}
    asked = {"lane": scope.lane, "recipe": scope.recipe, "lot": lot, **times}
    return f"/parts?{urlencode({name: value for name, value in asked.items() if value})}"
