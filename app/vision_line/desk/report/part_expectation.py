# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether so many rejected parts are usual: a p chart of each lane's hours, with its yield and what was not inspected.

What is usual is what an approved baseline says; without one it is what the week before showed, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.desk.charts.chart_periods import PeriodKind
from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.desk.part_charts.part_baselines import PartBaselineInUse, PartBaselines, in_use
from vision_line.desk.part_charts.part_chart import PartChart, PartSeries, fitted_share, part_chart
from vision_line.desk.part_charts.part_series import read_part_series
from vision_line.desk.part_charts.yield_points import YieldPoint, yield_points
from vision_line.desk.record_reader import RecordReader
from vision_line.desk.report.expectation import hours_of, week_before
from vision_line.parts.passed import PartsFilter
from vision_line.quality import ControlLimits
from vision_line.records.records import Records
from vision_line.reviews.part_baseline_entries import PartScope

#: The parts of a week are counted hour by hour; a statement that takes longer than this ends the report, in seconds.
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class ReportedLane:
    """A lane's hours; without `baseline` its limits are from `usual_hours` hours of the week before."""

    lane: str
    series: PartSeries
    chart: PartChart
    yields: Sequence[YieldPoint]
    baseline: PartBaselineInUse | None
    usual_hours: int


def read_lanes(
    directory: Path,
    records: Records,
    time: ChosenTime,
    clock: PlantClock,
    baselines: PartBaselines,
    *,
    lot: str,
    now_utc: float,
) -> list[ReportedLane]:
    """Return the charts of each lane of which parts passed in a time, or those of a lot.

    Raises:
        RunError: the parts cannot be read.
        Error: the database's, as it comes.
    """
    known = ChosenTime(time.since_utc, min(time.until_utc, now_utc))
    with RecordReader(directory, _LIMIT_S).open_parts() as parts:
        if parts is None:
            return []
        every = read_part_series(parts, hours_of(known, clock), PartsFilter(lot=lot))
        approved = {lane: baselines.get(PartScope(PeriodKind.HOUR, lane)) for lane in sorted(every)}
        usual: Mapping[str, PartSeries] = {}
        if None in approved.values():
            usual = read_part_series(parts, hours_of(week_before(time), clock), PartsFilter())
        found = []
        for lane, baseline in approved.items():
            used = None if baseline is None else in_use(parts, records, baseline, now_utc)
            before = usual.get(lane, PartSeries((), ()))
            limits = _usual(before) if baseline is None else baseline.baseline.limits
            hours = len(before.kept) if baseline is None else 0
            series = every[lane]
            found.append(
                ReportedLane(lane, series, part_chart(series, limits), yield_points(series), used, usual_hours=hours)
            )
    return found


def _usual(before: PartSeries) -> ControlLimits | str:
    limits = fitted_share(before)
    return f"of the hours of the 7 days before, {limits}" if isinstance(limits, str) else limits
