# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events and inspected time of the periods of a chart, from the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vision_line.challenges.challenge_windows import OF_PRODUCTS
from vision_line.desk.boxes import each_box
from vision_line.desk.charts.chart_periods import ChartPeriod, edges_of
from vision_line.desk.charts.rate_chart import RateSeries
from vision_line.desk.inspected.inspected_time import HeldTime
from vision_line.desk.inspected.opportunity import Floats, Opportunity, read_opportunity
from vision_line.desk.local_time import ChosenTime
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ChartScope

#: The database counts, period by period: a million rows in Python would take five times as long.
_COUNTS = """SELECT {n}, {station} AS station, count(*) FROM events t INDEXED BY events_by_time
    WHERE t.first_seen_utc >= ? AND t.first_seen_utc < ? AND t.verdict <> 'accept' {also} GROUP BY 2"""
#: Periods of one statement.
_AT_ONCE = 100
_LASTS = f"""SELECT t.camera, t.station, t.class, max(t.first_seen_utc) FROM events t INDEXED BY events_by_time
    WHERE t.first_seen_utc >= ? AND t.first_seen_utc < ? AND t.verdict <> 'accept' AND {OF_PRODUCTS}
    GROUP BY t.camera, t.station, t.class"""  # noqa: S608  ours
#: Where events are looked for first: the newest records, in seconds, and then a time so many times as long.
_LOOKED_AT_S, _LONGER = 86_400.0, 8.0


def read_series(connection: Records, scopes: Sequence[ChartScope], periods: Sequence[ChartPeriod]) -> list[RateSeries]:
    """Return what was rejected or warned of in each period, and how much was inspected.

    The scopes differ in their station only. What was before the records of a box are known is in neither.

    Raises:
        Error: the database's, as it comes.
    """
    edges = edges_of(periods)
    opportunity = read_opportunity(connection, ChosenTime(periods[0].since_utc, periods[-1].until_utc))
    events = _counted(connection, scopes, edges)
    for box, records in each_box(connection):
        if (known_utc := opportunity.known_utc[box]) > edges[0]:
            events -= _counted(records, scopes, np.minimum(edges, known_utc))
    return [
        RateSeries(periods, own.tolist(), inspected_s(opportunity, scope, edges).tolist())
        for scope, own in zip(scopes, events, strict=True)
    ]


def inspected_s(opportunity: Opportunity, scope: ChartScope, edges: Floats) -> Floats:
    """Return the inspected seconds (n,) of a scope's cameras between neighbours of `edges` (n + 1,)."""
    return opportunity.seconds(edges, _wanted(scope))


def _counted(connection: Records, scopes: Sequence[ChartScope], edges: Floats) -> NDArray[np.int64]:
    """Return the events of scopes (m,) that were first seen between neighbours of `edges` (n + 1,): (m, n)."""
    is_one = len(scopes) == 1
    also, values = _conditions(scopes[0] if is_one else replace(scopes[0], station=""))
    station = "''" if is_one else "t.station"
    found = np.zeros((len(scopes), len(edges) - 1), np.int64)
    every = list(enumerate(pairwise(edges.tolist())))
    for first in range(0, len(every), _AT_ONCE):
        group = every[first : first + _AT_ONCE]
        sql = " UNION ALL ".join(_COUNTS.format(n=n, station=station, also=also) for n, _ in group)
        asked = [value for _, bounds in group for value in (*bounds, *values)]
        for n, name, count in connection.execute(sql, asked).fetchall():
            for place, scope in enumerate(scopes):
                if is_one or scope.station == name:
                    found[place, n] += count
    return found


def read_last_events(
    connection: Records, since_utc: Mapping[ChartScope, float], until_utc: float
) -> dict[ChartScope, float]:
    """Return when the last event of each scope was first seen, of those that have any since then and before a moment.

    All scopes share each look at the events, and most are found in the newest: a rare class costs one look at all.

    Raises:
        Error: the database's, as it comes.
    """
    found: dict[ChartScope, float] = {}
    ends_utc, length_s = until_utc, _LOOKED_AT_S
    while missing := [scope for scope, begins_utc in since_utc.items() if scope not in found and begins_utc < ends_utc]:
        begins_utc = max(ends_utc - length_s, min(since_utc[scope] for scope in missing))
        rows = connection.execute(_LASTS, (begins_utc, ends_utc)).fetchall()
        for scope in missing:
            own = [utc for *of, utc in rows if _counts(scope, *of) and utc >= since_utc[scope]]
            found |= {scope: max(own)} if own else {}
        ends_utc, length_s = begins_utc, length_s * _LONGER
    return found


def _counts(scope: ChartScope, camera: str, station: str, class_name: str) -> bool:
    """Return whether a scope has the events of a camera, a station and a class."""
    return scope.camera in ("", camera) and scope.station in ("", station) and scope.class_name in ("", class_name)


def _conditions(scope: ChartScope) -> tuple[str, list[str]]:
    wanted = {"camera": scope.camera, "station": scope.station, "class": scope.class_name}
    chosen = {name: value for name, value in wanted.items() if value}
    return " ".join([*(f"AND t.{name} = ?" for name in chosen), f"AND {OF_PRODUCTS}"]), list(chosen.values())


def _wanted(scope: ChartScope) -> Callable[[HeldTime], bool]:
    if scope.camera:
        return lambda span: span.camera == scope.camera
    if scope.station:
        return lambda span: span.station == scope.station
    return lambda _: True
