# SPDX-License-Identifier: AGPL-3.0-or-later
"""The charts that a page, its JSON and its CSV show: one answer for all three."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from vision_line.desk.charts.baselines import BaselineInUse, Baselines, in_use
from vision_line.desk.charts.chart_choice import ChartTime, ChartWish, choose_chart_time, scopes_of
from vision_line.desk.charts.rate_chart import RateChart, RateSeries, fitted, rate_chart
from vision_line.desk.charts.rate_series import read_series
from vision_line.desk.inspected.inspected_time import known_of_boxes, read_spans
from vision_line.desk.local_time import ChosenTime
from vision_line.quality import Spread, spread_of
from vision_line.records.columns import ColumnType, ExportColumn, SqlValue, Table
from vision_line.records.formats import write_csv
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ChartScope


@dataclass(frozen=True, slots=True)
class ShownChart:
    """One chart; without `baseline` its limits are from its own points, and nobody approved them."""

    scope: ChartScope
    name: str
    series: RateSeries
    chart: RateChart
    baseline: BaselineInUse | None

    @property
    def spread(self) -> Spread:
        """Whether the limits are Laney's."""
        return Spread.CHANCE if self.chart.limits is None else spread_of(self.chart.limits)

    @property
    def events(self) -> int:
        """Events of all periods."""
        return sum(self.series.events)

    @property
    def inspected_s(self) -> float:
        """Inspected seconds of all periods, whole milliseconds."""
        return round(sum(self.series.inspected_s), 3)


@dataclass(frozen=True, slots=True)
class ShownCharts:
    """All charts of an answer, with the false alarms a week that they cost together.

    Of what was before `known_since_utc` rows were removed, so that it has no point; 0: nothing was. Of many boxes it
    is the latest of them, and `cut` has each box of which a part of the time is not in the charts, with since when it
    is. `left_out` are cameras that had no station, where the charts are of stations.
    """

    time: ChartTime
    charts: Sequence[ShownChart]
    false_alarms_a_week: float
    known_since_utc: float
    cut: Mapping[str, float]
    left_out: Sequence[str]


def read_charts(connection: Records, baselines: Baselines, wish: ChartWish) -> ShownCharts:
    """Return what is wanted.

    Raises:
        ConfigError: the wish is for nothing that there is.
        Error: the database's, as it comes.
    """
    time = choose_chart_time(connection, wish)
    scopes = scopes_of(connection, wish)
    every = read_series(connection, scopes, time.periods)
    charts = [
        _shown(connection, baselines, scope, series, wish.tests) for scope, series in zip(scopes, every, strict=True)
    ]
    known_utc = known_of_boxes(connection, Table.EVENTS, Table.NOT_INSPECTED)
    left_out = [] if wish.is_one or not scopes[0].station else _without_station(connection, time.time)
    cut = {box: utc for box, utc in known_utc.items() if utc > time.time.since_utc}
    alarms = sum(one.chart.false_alarms_a_week for one in charts)
    return ShownCharts(time, charts, alarms, max(known_utc.values(), default=0.0), cut, left_out)


def _without_station(connection: Records, time: ChosenTime) -> list[str]:
    return sorted({span.camera for span in read_spans(connection, time) if not span.station})


def _shown(
    connection: Records,
    baselines: Baselines,
    scope: ChartScope,
    series: RateSeries,
    tests: Sequence[int],
) -> ShownChart:
    approved = baselines.get(scope)
    limits = fitted(series) if approved is None else approved.baseline.limits
    baseline = None if approved is None else in_use(connection, approved, clock.time())
    return ShownChart(scope, scope.words, series, rate_chart(series, limits, tests), baseline)


_COLUMNS = tuple(
    ExportColumn(name, kind, meaning, "")
    for name, kind, meaning in (
        ("camera", ColumnType.TEXT, "the camera; empty: any"),
        ("station", ColumnType.TEXT, "the station; empty: any"),
        ("class", ColumnType.TEXT, "the class; empty: any"),
        ("period", ColumnType.TEXT, "what the period is called"),
        ("since_utc", ColumnType.TIME, "from then on"),
        ("until_utc", ColumnType.TIME, "before then"),
        ("events", ColumnType.INTEGER, "rejects and warnings first seen in it"),
        ("inspected_s", ColumnType.REAL, "inspected seconds of all its cameras together"),
        ("per_hour", ColumnType.REAL, "events per inspected hour; empty: the period has no point"),
        ("center", ColumnType.REAL, "the mean"),
        ("lower", ColumnType.REAL, "lower limit"),
        ("upper", ColumnType.REAL, "upper limit"),
        ("tests", ColumnType.TEXT, "Nelson's tests that call it"),
        ("baseline", ColumnType.INTEGER, "entry of the reviews' journal; empty: limits from this data, not approved"),
    )
)


def as_csv(shown: ShownCharts) -> bytes:
    """Return every period of the charts as a table for spreadsheets."""
    output = BytesIO()
    write_csv(output, _COLUMNS, [list(_rows(shown))])
    return output.getvalue()


def _rows(shown: ShownCharts) -> Iterator[Sequence[SqlValue]]:
    for one in shown.charts:
        points = {point.since_utc: point for point in one.chart.points}
        entry = None if one.baseline is None else one.baseline.approved.number
        center = None if one.chart.limits is None else one.chart.limits.center
        for n, period in enumerate(one.series.periods):
            point = points.get(period.since_utc)
            figures: Sequence[SqlValue] = (
                (None, center, None, None, "")
                if point is None
                else (point.value, center, point.lower, point.upper, " ".join(map(str, point.tests)))
            )
            yield (
                *(one.scope.camera, one.scope.station, one.scope.class_name, period.name),
                *(period.since_utc, period.until_utc, one.series.events[n], one.series.inspected_s[n]),
                *figures,
                entry,
            )
