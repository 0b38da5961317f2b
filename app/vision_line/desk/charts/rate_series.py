# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events and inspected time of the periods of a chart, from the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from vision_line.challenges.challenge_windows import OF_PRODUCTS
from vision_line.desk.charts.chart_periods import ChartPeriod, edges_of
from vision_line.desk.charts.rate_chart import RateSeries
from vision_line.desk.inspected.inspected_time import HeldTime
from vision_line.desk.inspected.opportunity import Floats, Opportunity, read_opportunity
from vision_line.desk.local_time import ChosenTime
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ChartScope

#: SQLite counts, period by period: a million rows in Python would take five times as long.
_COUNTS = """SELECT {} FROM events INDEXED BY events_by_time
    WHERE first_seen_utc >= ? AND first_seen_utc < ? AND verdict <> 'accept'"""
_LASTS = f"""{_COUNTS.format("camera, station, class, max(first_seen_utc)")} AND {OF_PRODUCTS}
    GROUP BY camera, station, class"""
#: Where events are looked for first: the newest records, in seconds, and then a time so many times as long.
_LOOKED_AT_S, _LONGER = 86_400.0, 8.0


def read_series(connection: Records, scope: ChartScope, periods: Sequence[ChartPeriod]) -> RateSeries:
    """Return what was rejected or warned of in each period, and how much was inspected.

    Raises:
        Error: the database's, as it comes.
    """
    edges = edges_of(periods)
    opportunity = read_opportunity(connection, ChosenTime(periods[0].since_utc, periods[-1].until_utc))
    counts = read_counts_of(connection, scope, edges)
    return RateSeries(periods, counts, inspected_s(opportunity, scope, edges).tolist())


def read_station_series(
    connection: Records, scopes: Sequence[ChartScope], periods: Sequence[ChartPeriod]
) -> list[RateSeries]:
    """Return the same for scopes that differ in their station only, of one look at events and ledger.

    Raises:
        Error: the database's, as it comes.
    """
    edges = edges_of(periods)
    sums = ", ".join("count(CASE WHEN station = ? THEN 1 END)" for _ in scopes)
    also, values = _conditions(replace(scopes[0], station=""))
    named = tuple(scope.station for scope in scopes)
    rows = [
        connection.execute(f"{_COUNTS.format(sums)} {also}", (*named, *bounds, *values)).fetchone()
        for bounds in pairwise(edges.tolist())
    ]
    opportunity = read_opportunity(connection, ChosenTime(periods[0].since_utc, periods[-1].until_utc))
    return [
        RateSeries(periods, [row[n] for row in rows], inspected_s(opportunity, scope, edges).tolist())
        for n, scope in enumerate(scopes)
    ]


def inspected_s(opportunity: Opportunity, scope: ChartScope, edges: Floats) -> Floats:
    """Return the inspected seconds (n,) of a scope's cameras between neighbours of `edges` (n + 1,)."""
    return opportunity.seconds(edges, _wanted(scope))


def read_counts_of(connection: Records, scope: ChartScope, edges: Floats) -> list[int]:
    """Return the events of a scope that were first seen between neighbours of `edges` (n + 1,): n numbers.

    Raises:
        Error: the database's, as it comes.
    """
    also, values = _conditions(scope)
    sql = f"{_COUNTS.format('count(*)')} {also}"
    return [connection.execute(sql, (*bounds, *values)).fetchone()[0] for bounds in pairwise(edges.tolist())]


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
    return " ".join([*(f"AND {name} = ?" for name in chosen), f"AND {OF_PRODUCTS}"]), list(chosen.values())


def _wanted(scope: ChartScope) -> Callable[[HeldTime], bool]:
    if scope.camera:
        return lambda span: span.camera == scope.camera
    if scope.station:
        return lambda span: span.station == scope.station
    return lambda _: True
