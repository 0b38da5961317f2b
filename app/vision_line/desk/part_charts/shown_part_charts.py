# SPDX-License-Identifier: AGPL-3.0-or-later
"""The charts of parts that a page, its JSON and its CSV show: one answer for all three."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from vision_line.desk.local_time import ChosenTime
from vision_line.desk.part_charts.part_baselines import PartBaselineInUse, PartBaselines, in_use
from vision_line.desk.part_charts.part_chart import PartChart, PartSeries, PartSums, fitted_share, part_chart
from vision_line.desk.part_charts.part_choice import PartPeriodKind, PartTime, PartWish, choose_part_time, scopes_of
from vision_line.desk.part_charts.part_series import read_lot_series, read_part_series
from vision_line.desk.part_charts.yield_points import YieldFigure, YieldPoint, yield_points
from vision_line.parts.parts_removal import removed_parts
from vision_line.parts.passed import PartsFilter
from vision_line.quality import Spread, spread_of
from vision_line.records.columns import ColumnType, ExportColumn, SqlValue
from vision_line.records.formats import write_csv
from vision_line.records.records import Records
from vision_line.reviews.part_baseline_entries import PartScope


@dataclass(frozen=True, slots=True)
class ShownPartChart:
    """A lane's parts; without `baseline` the limits are from the chart's own points, and nobody approved them."""

    scope: PartScope
    name: str
    series: PartSeries
    chart: PartChart
    yields: Sequence[YieldPoint]
    baseline: PartBaselineInUse | None

    @property
    def spread(self) -> Spread:
        """Whether the limits are Laney's."""
        return Spread.CHANCE if self.chart.limits is None else spread_of(self.chart.limits)

    @property
    def total(self) -> YieldFigure:
        """The yield of all periods."""
        return YieldFigure(self.series.total)


@dataclass(frozen=True, slots=True)
class ShownPartCharts:
    """All charts of an answer, with the false alarms a week that they cost together.

    Of what was up to `removed_until_utc` parts were removed; 0: nothing was of this time.
    """

    kind: PartPeriodKind
    time: ChosenTime
    charts: Sequence[ShownPartChart]
    false_alarms_a_week: float
    removed_until_utc: float


def read_part_charts(parts: Records, records: Records, baselines: PartBaselines, wish: PartWish) -> ShownPartCharts:
    """Return what is wanted.

    Raises:
        ConfigError: the wish is for nothing that there is.
        Error: the database's, as it comes.
    """
    chosen = choose_part_time(parts, wish)
    every = series_of(parts, chosen, PartsFilter(lane=wish.lane, lot=wish.lot, recipe=wish.recipe))
    charts = []
    for scope in scopes_of(parts, wish):
        series = every.get(scope.lane, PartSeries(chosen.periods, [PartSums()] * len(chosen.periods)))
        approved = baselines.get(scope)
        limits = fitted_share(series) if approved is None else approved.baseline.limits
        baseline = None if approved is None else in_use(parts, records, approved, clock.time())
        chart = part_chart(series, limits, wish.tests)
        charts.append(ShownPartChart(scope, scope.words, series, chart, yield_points(series), baseline))
    removed = removed_parts(parts)
    is_cut = removed.from_utc < chosen.time.until_utc and removed.to_utc >= chosen.time.since_utc
    return ShownPartCharts(
        chosen.kind,
        _whole(every) if chosen.kind is PartPeriodKind.LOT and every else chosen.time,
        charts,
        sum(one.chart.false_alarms_a_week for one in charts),
        removed.to_utc if is_cut else 0.0,
    )


def series_of(parts: Records, chosen: PartTime, wanted: PartsFilter) -> Mapping[str, PartSeries]:
    """Return the parts of the periods that are wanted, or of the lots, by lane.

    Raises:
        ConfigError: there are too many lots.
        Error: the database's, as it comes.
    """
    if chosen.kind is PartPeriodKind.LOT:
        return read_lot_series(parts, chosen.time, wanted)
    return read_part_series(parts, chosen.periods, wanted)


def _whole(every: Mapping[str, PartSeries]) -> ChosenTime:
    """Return the time from the first lot's first part to the last one's: lots are whole."""
    periods = [period for series in every.values() for period in series.periods]
    return ChosenTime(min(one.since_utc for one in periods), max(one.until_utc for one in periods))


_COLUMNS = tuple(
    ExportColumn(name, kind, meaning, "")
    for name, kind, meaning in (
        ("lane", ColumnType.TEXT, "the lane"),
        ("recipe", ColumnType.TEXT, "the recipe; empty: any"),
        ("period", ColumnType.TEXT, "what the period is called, or the lot"),
        ("since_utc", ColumnType.TIME, "from then on"),
        ("until_utc", ColumnType.TIME, "before then; of a lot when its last part came"),
        ("inspected", ColumnType.INTEGER, "inspected parts"),
        ("rejected", ColumnType.INTEGER, "rejected ones"),
        ("not_inspected", ColumnType.INTEGER, "parts that were not inspected, and are in no other number"),
        ("good", ColumnType.INTEGER, "let through, and no reject is known of them"),
        ("rejected_share", ColumnType.REAL, "rejected by inspected; empty: none was inspected"),
        ("center", ColumnType.REAL, "the mean"),
        ("lower", ColumnType.REAL, "lower limit"),
        ("upper", ColumnType.REAL, "upper limit"),
        ("tests", ColumnType.TEXT, "Nelson's tests that call it"),
        ("yield", ColumnType.REAL, "good by inspected"),
        ("yield_low", ColumnType.REAL, "its exact lower 95 % limit"),
        ("yield_high", ColumnType.REAL, "its exact upper 95 % limit"),
        ("baseline", ColumnType.INTEGER, "entry of the reviews' journal; empty: limits from this data, not approved"),
    )
)


def as_csv(shown: ShownPartCharts) -> bytes:
    """Return every period of the charts as a table for spreadsheets."""
    output = BytesIO()
    write_csv(output, _COLUMNS, [list(_rows(shown))])
    return output.getvalue()


def _rows(shown: ShownPartCharts) -> Iterator[Sequence[SqlValue]]:
    for one in shown.charts:
        points = {point.since_utc: point for point in one.chart.points}
        yields = {point.since_utc: point for point in one.yields}
        entry = None if one.baseline is None else one.baseline.approved.number
        center = None if one.chart.limits is None else one.chart.limits.center
        for period, sums in zip(one.series.periods, one.series.sums, strict=True):
            point, own = points.get(period.since_utc), yields.get(period.since_utc)
            yield (
                *(one.scope.lane, one.scope.recipe, period.name, period.since_utc, period.until_utc),
                *(sums.inspected, sums.rejected, sums.not_inspected, sums.good),
                sums.rejected / sums.inspected if sums.inspected else None,
                center,
                *((None, None, "") if point is None else (point.lower, point.upper, " ".join(map(str, point.tests)))),
                *((None, None, None) if own is None else (own.value, own.lower, own.upper)),
                entry,
            )
