# SPDX-License-Identifier: AGPL-3.0-or-later
"""Charts of parts as pages, JSON and CSV; for the role quality the approval of baselines and their withdrawal."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.desk.charts.chart_geometry import chart_geometry, chart_marks
from vision_line.desk.charts.chart_periods import MOST_POINTS
from vision_line.desk.charts.phase_one import LONGEST_REASON, ChangedMeanwhileError, asked_exclusions
from vision_line.desk.local_time import ChosenTime, local
from vision_line.desk.part_charts.part_baselines import read_part_baselines
from vision_line.desk.part_charts.part_choice import AskedParts, PartChoices, read_part_choices
from vision_line.desk.part_charts.part_geometry import lane_drawing
from vision_line.desk.part_charts.part_links import part_links, parts_address
from vision_line.desk.part_charts.part_phase_one import approved_part_baseline, read_part_phase_one
from vision_line.desk.part_charts.part_silences import PartSilenceWatch, read_part_silences
from vision_line.desk.part_charts.shown_part_charts import ShownPartChart, ShownPartCharts, as_csv, read_part_charts
from vision_line.desk.rendering import page
from vision_line.desk.sent_fields import SentFields
from vision_line.desk.services import DeskServices, Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.quality import NELSON_TESTS
from vision_line.records.records import Records
from vision_line.records.side_journal import SideEntry
from vision_line.reviews import part_baseline_entries
from vision_line.reviews.part_baseline_entries import ApprovedPartBaseline, PartScope
from vision_line.reviews.reviews_file import reading, writing

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
Quality = Annotated[DeskSession, Depends(require(Role.QUALITY))]

#: Excluded periods of one baseline, each with a reason.
_MOST_EXCLUDED = 200
_Starts = Annotated[list[str], Query(max_length=_MOST_EXCLUDED, description="When excluded periods begin.")]
_Reasons = Annotated[list[str], Query(max_length=_MOST_EXCLUDED, description="Why, in the same order.")]


@dataclass(frozen=True, slots=True)
class _Both:
    """The parts and the records, open for one answer."""

    parts: Records
    records: Records


@router.get("/charts/parts", include_in_schema=False)
def part_charts_page(services: Services, session: Reader, wish: AskedParts) -> HTMLResponse:
    """Show the charts of each lane, or of the one that was chosen."""
    baselines = read_part_baselines(services.reader.directory)
    with _open(services) as both:
        if both is None:
            return page("part_charts.html", shown=None, wish=wish)
        shown = read_part_charts(both.parts, both.records, baselines, wish)
        choices: PartChoices = read_part_choices(both.parts)
    is_small = sum(len(one.series.periods) for one in shown.charts) <= MOST_POINTS
    return page(
        "part_charts.html",
        shown=shown,
        wish=wish,
        choices=choices,
        drawn=[(one, lane_drawing(one.series, one.chart, one.yields, shown.time)) for one in shown.charts],
        links={one.scope: part_links(one.scope, one.series.periods, wish.lot) for one in shown.charts if is_small},
        spans={one.scope: _signal_links(one, wish.lot) for one in shown.charts},
        marks=chart_marks(shown.time),
        silences=read_part_silences(services.reader.directory, baselines),
        nelson=NELSON_TESTS,
        may_approve=session.role.includes(Role.QUALITY) and not wish.lot,
        history=_history(services, shown.charts[0].scope) if len(shown.charts) == 1 else [],
    )


@router.get("/api/v1/part-charts")
def part_charts(services: Services, wish: AskedParts) -> ShownPartCharts:
    """Return p charts of rejected by inspected parts, with limits, signals and false alarms to expect, and yields."""
    baselines = read_part_baselines(services.reader.directory)
    with _open(services) as both:
        if both is None:
            return ShownPartCharts(wish.kind, ChosenTime(0.0, 1.0), (), 0.0, 0.0)
        return read_part_charts(both.parts, both.records, baselines, wish)


@router.get("/charts/parts/points.csv", include_in_schema=False)
def part_points(services: Services, wish: AskedParts) -> Response:
    """Return every period of the charts as a table for spreadsheets."""
    headers = {"Content-Disposition": 'attachment; filename="part-charts.csv"'}
    return Response(as_csv(part_charts(services, wish)), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/api/v1/part-silences")
def part_silences(services: Services) -> PartSilenceWatch:
    """Return for each approved baseline how many parts were inspected and none rejected, and if that is suspicious."""
    return read_part_silences(services.reader.directory, read_part_baselines(services.reader.directory))


@router.get("/api/v1/part-baselines")
def part_baselines_in_force(services: Services) -> list[ApprovedPartBaseline]:
    """Return the approved baselines in force."""
    return list(read_part_baselines(services.reader.directory).values())


@router.get("/charts/parts/baseline", include_in_schema=False)
def part_baseline_page(
    services: Services,
    _session: Quality,
    wish: AskedParts,
    excluded: _Starts = [],  # noqa: B006  FastAPI copies it
    reason: _Reasons = [],  # noqa: B006  the same
    also: Annotated[str, Query(max_length=40, description="When one more begins.")] = "",
    also_reason: Annotated[str, Query(max_length=1000, description="Why it is excluded.")] = "",
) -> HTMLResponse:
    """Show which limits a past time suggests, without what is excluded, to be approved."""
    if bool(also) != bool(also_reason.strip()):
        raise ConfigError("say which period is to be excluded, and why")
    more = ([also], [also_reason]) if also else ([], [])
    with _opened(services) as both:
        shown = read_part_phase_one(both.parts, wish, asked_exclusions([*excluded, *more[0]], [*reason, *more[1]]))
    periods = shown.series.periods
    time = ChosenTime(periods[0].since_utc, max(one.until_utc for one in periods))
    since, until = (local(utc).isoformat() for utc in (time.since_utc, time.until_utc))
    return page(
        "part_baseline.html",
        shown=shown,
        wish=replace(wish, period=shown.scope.period, days=0, since=since, until=until),
        reasons={one.since_utc: one.reason for one in shown.excluded},
        sums={one.since_utc: sums for one, sums in zip(periods, shown.series.sums, strict=True)},
        links=part_links(shown.scope, periods),
        drawing=chart_geometry(shown.chart, time) if shown.chart.points else None,
        marks=chart_marks(time),
        time=time,
        before=read_part_baselines(services.reader.directory).get(shown.scope),
        longest=LONGEST_REASON,
    )


@router.post("/charts/parts/baseline", include_in_schema=False)
def approve_part_baseline(services: Services, session: Quality, wish: AskedParts, sent: SentFields) -> Response:
    """Approve what was shown."""
    reasons = asked_exclusions(sent.getlist("excluded"), sent.getlist("reason"))
    with _opened(services) as both:
        shown = read_part_phase_one(both.parts, wish, reasons)
        now_utc = round(clock.time(), 3)
        try:
            approved = approved_part_baseline(
                both.parts, both.records, shown, sent.get("seen", ""), by=session.user, now_utc=now_utc
            )
        except ChangedMeanwhileError as exc:
            raise HTTPException(HTTPStatus.CONFLICT, str(exc)) from exc
    with writing(services.reader.directory) as reviews:
        part_baseline_entries.approve(reviews, approved)
    return _to_chart(shown.scope)


@router.post("/charts/parts/baseline/withdraw", include_in_schema=False)
def withdraw_part_baseline(services: Services, session: Quality, wish: AskedParts, sent: SentFields) -> Response:
    """Withdraw a baseline, with a reason."""
    reason = sent.get("reason", "").strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        raise ConfigError(f"say in up to {LONGEST_REASON} characters why the baseline is withdrawn")
    scope = PartScope(wish.kind, wish.lane, wish.recipe)
    with writing(services.reader.directory) as reviews:
        if not part_baseline_entries.withdraw(reviews, scope, session.user, reason):
            raise HTTPException(HTTPStatus.CONFLICT, "there is no approved baseline of this chart any more")
    return _to_chart(scope)


@contextmanager
def _open(services: DeskServices) -> Iterator[_Both | None]:
    """Yield parts and records; None: no lane has ever run."""
    with services.reader.open() as records, services.reader.open_parts() as parts:
        yield None if parts is None else _Both(parts, records)


@contextmanager
def _opened(services: DeskServices) -> Iterator[_Both]:
    """Yield parts and records, where a lane has run.

    Raises:
        ConfigError: none has.
    """
    with _open(services) as both:
        if both is None:
            raise ConfigError("no lane has decided a part yet")
        yield both


def _signal_links(of: ShownPartChart, lot: str) -> Sequence[str]:
    return [parts_address(of.scope, one, lot) for one in of.chart.signals]


def _to_chart(scope: PartScope) -> Response:
    return RedirectResponse(f"/charts/parts?{urlencode(scope.asked)}", HTTPStatus.SEE_OTHER)


def _history(services: DeskServices, scope: PartScope) -> list[SideEntry]:
    with reading(services.reader.directory) as reviews:
        return [] if reviews is None else part_baseline_entries.history(reviews, scope)
