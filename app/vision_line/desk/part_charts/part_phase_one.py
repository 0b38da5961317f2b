# SPDX-License-Identifier: AGPL-3.0-or-later
"""Phase I of a p chart: the limits that a past time suggests, without the periods that somebody excludes.

Who approves sends back what they saw (`seen`): where the parts say something else by then, nothing is approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from vision_line.desk.charts.chart_periods import ChartPeriod
from vision_line.desk.charts.phase_one import MOST_OFFERED, ChangedMeanwhileError, excluded_periods
from vision_line.desk.part_charts.part_baselines import read_lane_state
from vision_line.desk.part_charts.part_chart import PartChart, PartSeries, fitted_share, part_chart
from vision_line.desk.part_charts.part_choice import PartPeriodKind, PartWish, choose_part_time
from vision_line.desk.part_charts.part_series import goes_on
from vision_line.desk.part_charts.shown_part_charts import series_of
from vision_line.errors import ConfigError
from vision_line.parts.passed import PartsFilter
from vision_line.quality import Baseline
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ExcludedPeriod
from vision_line.reviews.part_baseline_entries import ApprovedPartBaseline, PartScope


@dataclass(frozen=True, slots=True)
class PartPhaseOne:
    """A past time with the limits that it suggests. `seen` names these; "" where there are none."""

    scope: PartScope
    series: PartSeries
    chart: PartChart
    excluded: Sequence[ExcludedPeriod]
    seen: str

    @property
    def offered(self) -> list[ChartPeriod]:
        """The newest periods that a test calls, and those that are excluded already."""
        called = [point.since_utc for point in self.chart.points if point.tests][-MOST_OFFERED:]
        starts = {*called, *(one.since_utc for one in self.excluded)}
        return [one for one in self.series.periods if one.since_utc in starts]


def read_part_phase_one(connection: Records, wish: PartWish, reasons: Mapping[float, str]) -> PartPhaseOne:
    """Return what periods or lots that are over suggest. `reasons`: why to exclude some, by when they begin.

    Raises:
        ConfigError: no lane is named, a reason is missing, or is for no period of these.
        Error: the database's, as it comes.
    """
    if not wish.lane or wish.lot:
        raise ConfigError("a baseline is of one lane, and not of one lot alone")
    scope = PartScope(wish.kind, wish.lane, wish.recipe)
    chosen = choose_part_time(connection, wish)
    found = series_of(connection, chosen, PartsFilter(lane=wish.lane, recipe=wish.recipe)).get(wish.lane)
    newest = goes_on(connection, wish.lane) if chosen.kind is PartPeriodKind.LOT else None
    over = _over(found, chosen.known_utc, newest)
    if not over.periods:
        raise ConfigError("none of these periods is over yet")
    excluded = excluded_periods(over.periods, reasons)
    left_out = frozenset(n for n, one in enumerate(over.periods) if one.since_utc in reasons)
    series = replace(over, left_out=left_out)
    chart = part_chart(series, fitted_share(series))
    shown = PartPhaseOne(scope, series, chart, excluded, "")
    return shown if chart.limits is None else replace(shown, seen=_seen(shown))


def approved_part_baseline(
    parts: Records, records: Records, shown: PartPhaseOne, seen: str, by: str, now_utc: float
) -> ApprovedPartBaseline:
    """Return the baseline that somebody approves who saw `seen`.

    Raises:
        ChangedMeanwhileError: the parts say something else by now.
        ConfigError: there are no limits to approve.
        Error: the database's, as it comes.
    """
    if shown.chart.limits is None:
        raise ConfigError(f"there are no limits to approve: {shown.chart.refused}")
    if seen != shown.seen:
        raise ChangedMeanwhileError("what you saw has changed since: look again before you approve")
    last_utc = max(one.until_utc for one in shown.series.periods)
    if last_utc > now_utc:
        raise ConfigError("these records end later than this machine's clock shows: set it first")
    state = read_lane_state(parts, records, shown.scope.lane, last_utc)
    kept = shown.series.kept_total
    return ApprovedPartBaseline(
        scope=shown.scope,
        baseline=Baseline(
            limits=shown.chart.limits,
            periods=len(shown.series.kept),
            first_utc=shown.series.periods[0].since_utc,
            last_utc=last_utc,
            approved_by=by,
            approved_utc=now_utc,
        ),
        rejected=kept.rejected,
        inspected=kept.inspected,
        not_inspected=kept.not_inspected,
        excluded=shown.excluded,
        model_sha256=state.model_sha256,
        settings_sha256=state.settings_sha256,
    )


def _over(series: PartSeries | None, known_utc: float, newest: str | None) -> PartSeries:
    """Return the periods that a later part has followed; of lots all but the one that the newest part is of."""
    if series is None:
        return PartSeries((), ())
    kept = [
        n
        for n, one in enumerate(series.periods)
        if (one.until_utc <= known_utc if newest is None else one.name != newest)
    ]
    return PartSeries([series.periods[n] for n in kept], [series.sums[n] for n in kept])


def _seen(shown: PartPhaseOne) -> str:
    """Return a digest of all that an approval would enter, beside who and when."""
    said = (shown.scope, shown.chart.limits, shown.series, tuple(shown.excluded))
    return sha256(repr(said).encode()).hexdigest()[:32]
