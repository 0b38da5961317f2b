# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parts of the periods of a chart, or of its lots, by lane, as lists and reports count them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from vision_line.desk.charts.chart_periods import MOST_POINTS, ChartPeriod, edges_of
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.part_charts.part_chart import PartSeries, PartSums
from vision_line.desk.report.passed_parts import find_escapes
from vision_line.errors import ConfigError
from vision_line.parts.passed import LaneCounts, PartsFilter, count_parts, count_parts_between
from vision_line.records.records import Records

#: Lots of which some part is wanted, each whole, at each lane by its first part.
_LOTS = """SELECT lane, lot, min(triggered_utc), max(triggered_utc) FROM parts
    WHERE lot <> '' AND lot IN (SELECT DISTINCT lot FROM parts WHERE triggered_utc >= ? AND triggered_utc < ?)
    GROUP BY lane, lot ORDER BY 3"""
_NEWEST_LOT = "SELECT lot FROM parts WHERE lane = ? ORDER BY sequence DESC LIMIT 1"
#: A lot of one part has a length too.
_SHORTEST_S = 0.001


def read_part_series(
    connection: Records, periods: Sequence[ChartPeriod], wanted: PartsFilter
) -> Mapping[str, PartSeries]:
    """Return what passed in each of these periods, one after the other, by lane; `wanted` says nothing of time.

    Raises:
        Error: the database's, as it comes.
    """
    whole = replace(wanted, since_utc=periods[0].since_utc, until_utc=periods[-1].until_utc)
    begins = [one.since_utc for one in periods]
    escaped: Counter[tuple[str, int]] = Counter(
        (one.lane, bisect_right(begins, one.triggered_utc) - 1) for one in find_escapes(connection, whole)
    )
    found: defaultdict[str, list[PartSums]] = defaultdict(lambda: [PartSums()] * len(periods))
    for n, lanes in enumerate(count_parts_between(connection, wanted, edges_of(periods).tolist())):
        for counts in lanes:
            found[counts.lane][n] = _sums(counts, escaped[counts.lane, n])
    return {lane: PartSeries(periods, sums) for lane, sums in found.items()}


def read_lot_series(connection: Records, time: ChosenTime, wanted: PartsFilter) -> Mapping[str, PartSeries]:
    """Return what passed of each lot of which a part passed in `time`, by lane.

    Raises:
        ConfigError: there are too many.
        Error: the database's, as it comes.
    """
    rows = connection.execute(_LOTS, (time.since_utc, time.until_utc)).fetchall()
    chosen = [row for row in rows if wanted.lane in ("", row[0]) and wanted.lot in ("", row[1])]
    if len(chosen) > MOST_POINTS:
        raise ConfigError(f"a chart has at most {MOST_POINTS} points: choose less time, or periods")
    sums = {lot: _of_lot(connection, replace(wanted, lot=lot)) for lot in {lot for _, lot, *_ in chosen}}
    found: defaultdict[str, list[tuple[ChartPeriod, PartSums]]] = defaultdict(list)
    for lane, lot, first_utc, last_utc in chosen:
        period = ChartPeriod(first_utc, max(last_utc, first_utc + _SHORTEST_S), f"lot {lot}")
        found[lane].append((period, sums[lot].get(lane, PartSums())))
    return {lane: _series(own) for lane, own in found.items()}


def goes_on(connection: Records, lane: str) -> str:
    """Return the name of the period that the lane's newest part is of, where periods are lots: it may not be over.

    Raises:
        Error: the database's, as it comes.
    """
    (lot,) = connection.execute(_NEWEST_LOT, (lane,)).fetchone() or ("",)
    return f"lot {lot}"


def _series(of: Iterable[tuple[ChartPeriod, PartSums]]) -> PartSeries:
    periods, sums = zip(*of, strict=True)
    return PartSeries(periods, sums)


def _of_lot(connection: Records, wanted: PartsFilter) -> dict[str, PartSums]:
    """Return a lot's parts by lane."""
    escaped = Counter(one.lane for one in find_escapes(connection, wanted))
    return {counts.lane: _sums(counts, escaped[counts.lane]) for counts in count_parts(connection, wanted)}


def _sums(counts: LaneCounts, escaped: int) -> PartSums:
    return PartSums(counts.inspected, counts.reject, counts.not_inspected, counts.good - escaped)
