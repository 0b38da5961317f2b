# SPDX-License-Identifier: AGPL-3.0-or-later
"""Phase I: the limits that a past time suggests, without the periods that somebody excludes, for approval.

Who approves sends back what they saw (`seen`): where the records say something else by then, nothing is approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from vision_line.desk.charts.chart_periods import ChartPeriod
from vision_line.desk.charts.line_state import cameras_of, read_line_state
from vision_line.desk.charts.rate_chart import RateChart, RateSeries, fitted, rate_chart
from vision_line.desk.charts.rate_series import read_series
from vision_line.errors import ConfigError
from vision_line.quality import Baseline
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ApprovedBaseline, ChartScope, ExcludedPeriod

LONGEST_REASON = 200
#: Called periods that a page offers to exclude.
MOST_OFFERED = 60


class ChangedMeanwhileError(ConfigError):
    """What somebody approved is no longer what the records say."""


@dataclass(frozen=True, slots=True)
class PhaseOne:
    """A past time with the limits that it suggests. `seen` names these; "" where there are none."""

    scope: ChartScope
    series: RateSeries
    chart: RateChart
    excluded: Sequence[ExcludedPeriod]
    seen: str

    @property
    def events(self) -> int:
        """Events of the kept periods."""
        return sum(self.series.events[n] for n in self.series.kept)

    @property
    def inspected_s(self) -> float:
        """Inspected seconds of the kept periods, whole milliseconds."""
        return round(sum(self.series.inspected_s[n] for n in self.series.kept), 3)

    @property
    def offered(self) -> list[ChartPeriod]:
        """The newest periods that a test calls, and those that are excluded already."""
        called = [point.since_utc for point in self.chart.points if point.tests][-MOST_OFFERED:]
        starts = {*called, *(one.since_utc for one in self.excluded)}
        return [one for one in self.series.periods if one.since_utc in starts]


def read_phase_one(
    connection: Records,
    scope: ChartScope,
    periods: Sequence[ChartPeriod],
    reasons: Mapping[float, str],
    known_utc: float,
) -> PhaseOne:
    """Return what periods that are over suggest. `reasons`: why to exclude some, by when they begin.

    Raises:
        ConfigError: a reason is missing, or is for no period of these.
        Error: the database's, as it comes.
    """
    over = [one for one in periods if one.until_utc <= known_utc]
    if not over:
        raise ConfigError("none of these periods is over yet")
    excluded = excluded_periods(over, reasons)
    left_out = frozenset(n for n, one in enumerate(over) if one.since_utc in reasons)
    (series,) = read_series(connection, [scope], over)
    series = replace(series, left_out=left_out)
    chart = rate_chart(series, fitted(series))
    found = PhaseOne(scope, series, chart, excluded, "")
    return found if chart.limits is None else replace(found, seen=_seen(found))


def approved_baseline(connection: Records, shown: PhaseOne, seen: str, by: str, now_utc: float) -> ApprovedBaseline:
    """Return the baseline that somebody approves who saw `seen`.

    Raises:
        ChangedMeanwhileError: the records say something else by now.
        ConfigError: there are no limits to approve.
        Error: the database's, as it comes.
    """
    if shown.chart.limits is None:
        raise ConfigError(f"there are no limits to approve: {shown.chart.refused}")
    if seen != shown.seen:
        raise ChangedMeanwhileError("what you saw has changed since: look again before you approve")
    kept = shown.series.kept
    last_utc = shown.series.periods[-1].until_utc
    if last_utc > now_utc:
        raise ConfigError("these records end later than this machine's clock shows: set it first")
    state = read_line_state(connection, cameras_of(shown.scope), last_utc)
    return ApprovedBaseline(
        scope=shown.scope,
        baseline=Baseline(
            limits=shown.chart.limits,
            periods=len(kept),
            first_utc=shown.series.periods[0].since_utc,
            last_utc=last_utc,
            approved_by=by,
            approved_utc=now_utc,
        ),
        events=shown.events,
        inspected_s=shown.inspected_s,
        excluded=shown.excluded,
        model_sha256=state.model_sha256,
        settings_sha256=state.settings_sha256,
    )


def asked_exclusions(starts: Sequence[str], reasons: Sequence[str]) -> dict[float, str]:
    """Return why each period is excluded, by when it begins, as a form sends it; one without a reason is not.

    Raises:
        ConfigError: there is not a reason for each, or a start is no number.
    """
    try:
        pairs = [(float(start), reason) for start, reason in zip(starts, reasons, strict=True) if reason.strip()]
    except ValueError as exc:
        raise ConfigError("expected when each excluded period begins, and a reason for each") from exc
    return dict(pairs)


def excluded_periods(periods: Sequence[ChartPeriod], reasons: Mapping[float, str]) -> list[ExcludedPeriod]:
    """Return what is excluded of these periods, by when each begins.

    Raises:
        ConfigError: a reason is missing, or is for no period of these.
    """
    by_start = {one.since_utc: one for one in periods}
    if not reasons.keys() <= by_start.keys():
        raise ConfigError("a period that is to be excluded is none of these")
    if any(not reason.strip() or len(reason) > LONGEST_REASON for reason in reasons.values()):
        raise ConfigError(f"say in up to {LONGEST_REASON} characters why a period is excluded")
    return [
        ExcludedPeriod(since_utc, by_start[since_utc].until_utc, reason.strip())
        for since_utc, reason in sorted(reasons.items())
    ]


def _seen(shown: PhaseOne) -> str:
    """Return a digest of all that an approval would enter, beside who and when."""
    said = (shown.scope, shown.chart.limits, shown.series, tuple(shown.excluded))
    return sha256(repr(said).encode()).hexdigest()[:32]
