# SPDX-License-Identifier: AGPL-3.0-or-later
"""Charts as pages, JSON and CSV; and for the role quality the approval of baselines and their withdrawal."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.challenges.challenge_windows import count_challenged
from vision_line.desk.boxes import of_camera, present_boxes
from vision_line.desk.charts.baselines import read_baselines
from vision_line.desk.charts.chart_choice import ChartWish, Wish, choose_chart_time, period_kinds
from vision_line.desk.charts.chart_geometry import chart_geometry, chart_marks
from vision_line.desk.charts.chart_periods import MOST_POINTS
from vision_line.desk.charts.event_links import point_links, signal_links
from vision_line.desk.charts.phase_one import (
    LONGEST_REASON,
    ChangedMeanwhileError,
    PhaseOne,
    approved_baseline,
    asked_exclusions,
    read_phase_one,
)
from vision_line.desk.charts.shown_charts import ShownCharts, as_csv, read_charts
from vision_line.desk.charts.silences import SilenceWatch, read_silences
from vision_line.desk.found.found_events import read_choices
from vision_line.desk.local_time import ChosenTime, local
from vision_line.desk.rendering import page
from vision_line.desk.sent_fields import SentFields
from vision_line.desk.services import DeskServices, Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.quality import NELSON_TESTS
from vision_line.records.records import Records
from vision_line.records.side_journal import SideEntry
from vision_line.reviews import baseline_entries
from vision_line.reviews.baseline_entries import ApprovedBaseline, ChartScope
from vision_line.reviews.reviews_file import reading, writing

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
Quality = Annotated[DeskSession, Depends(require(Role.QUALITY))]

#: Excluded periods of one baseline, each with a reason.
_MOST_EXCLUDED = 200
_Starts = Annotated[list[str], Query(max_length=_MOST_EXCLUDED, description="When excluded periods begin.")]
_Reasons = Annotated[list[str], Query(max_length=_MOST_EXCLUDED, description="Why, in the same order.")]


@router.get("/charts", include_in_schema=False)
def charts_page(services: Services, session: Reader, wish: Wish) -> HTMLResponse:
    """Show the charts: of each station in all, or of what was chosen."""
    baselines = read_baselines(services.reader.directory)
    with of_camera(wish.camera), services.reader.open() as connection:
        shown = read_charts(connection, baselines, wish)
        challenged = count_challenged(connection, shown.time.time.since_utc, shown.time.time.until_utc)
        silences = read_silences(connection, baselines)
    with services.reader.open() as connection:
        choices = read_choices(connection)
    is_small = sum(len(one.chart.points) for one in shown.charts) <= MOST_POINTS
    return page(
        "charts.html",
        shown=shown,
        challenged=challenged,
        wish=wish,
        links={one.scope: point_links(one.scope, one.chart) for one in shown.charts if is_small},
        spans={one.scope: signal_links(one.scope, one.chart) for one in shown.charts},
        drawn=[(one, chart_geometry(one.chart, shown.time.time) if one.chart.points else None) for one in shown.charts],
        marks=chart_marks(shown.time.time),
        silences=silences,
        choices=choices,
        kinds=period_kinds(),
        nelson=NELSON_TESTS,
        may_approve=session.role.includes(Role.QUALITY) and not present_boxes().is_central,
        history=_history(services, shown.charts[0].scope) if len(shown.charts) == 1 else [],
    )


@router.get("/api/v1/charts")
def charts(services: Services, wish: Wish) -> ShownCharts:
    """Return u charts of rejects and warnings per inspected hour, with limits, signals and false alarms to expect."""
    baselines = read_baselines(services.reader.directory)
    with of_camera(wish.camera), services.reader.open() as connection:
        return read_charts(connection, baselines, wish)


@router.get("/charts/points.csv", include_in_schema=False)
def points(services: Services, wish: Wish) -> Response:
    """Return every period of the charts as a table for spreadsheets."""
    headers = {"Content-Disposition": 'attachment; filename="charts.csv"'}
    return Response(as_csv(charts(services, wish)), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/api/v1/silences")
def silences(services: Services) -> SilenceWatch:
    """Return for each approved baseline how long nothing was found, and whether that is suspicious."""
    baselines = read_baselines(services.reader.directory)
    with services.reader.open() as connection:
        return read_silences(connection, baselines)


@router.get("/api/v1/baselines")
def baselines_in_force(services: Services) -> list[ApprovedBaseline]:
    """Return the approved baselines in force."""
    return list(read_baselines(services.reader.directory).values())


@router.get("/charts/baseline", include_in_schema=False)
def baseline_page(
    services: Services,
    _session: Quality,
    wish: Wish,
    excluded: _Starts = [],  # noqa: B006  FastAPI copies it
    reason: _Reasons = [],  # noqa: B006  the same
    also: Annotated[str, Query(max_length=40, description="When one more begins.")] = "",
    also_reason: Annotated[str, Query(max_length=1000, description="Why it is excluded.")] = "",
) -> HTMLResponse:
    """Show which limits a past time suggests, without what is excluded, to be approved."""
    if bool(also) != bool(also_reason.strip()):
        raise ConfigError("say which period is to be excluded, and why")
    more = ([also], [also_reason]) if also else ([], [])
    with services.reader.open() as connection:
        shown = _phase_one(connection, wish, [*excluded, *more[0]], [*reason, *more[1]])
    periods = shown.series.periods
    time = ChosenTime(periods[0].since_utc, periods[-1].until_utc)
    since, until = (local(utc).isoformat() for utc in (time.since_utc, time.until_utc))
    return page(
        "baseline.html",
        shown=shown,
        wish=replace(wish, period=shown.scope.period, days=0, since=since, until=until),
        reasons={one.since_utc: one.reason for one in shown.excluded},
        offered=shown.offered,
        events={one.since_utc: count for one, count in zip(periods, shown.series.events, strict=True)},
        links=point_links(shown.scope, shown.chart),
        drawing=chart_geometry(shown.chart, time) if shown.chart.points else None,
        marks=chart_marks(time),
        time=time,
        before=read_baselines(services.reader.directory).get(shown.scope),
        longest=LONGEST_REASON,
    )


@router.post("/charts/baseline", include_in_schema=False)
def approve_baseline(services: Services, session: Quality, wish: Wish, sent: SentFields) -> Response:
    """Approve what was shown."""
    with services.reader.open() as connection:
        shown = _phase_one(connection, wish, sent.getlist("excluded"), sent.getlist("reason"))
        try:
            approved = approved_baseline(connection, shown, sent.get("seen", ""), session.user, round(clock.time(), 3))
        except ChangedMeanwhileError as exc:
            raise HTTPException(HTTPStatus.CONFLICT, str(exc)) from exc
    with writing(services.reader.directory) as reviews:
        baseline_entries.approve(reviews, approved)
    return _to_chart(shown.scope)


@router.post("/charts/baseline/withdraw", include_in_schema=False)
def withdraw_baseline(services: Services, session: Quality, wish: Wish, sent: SentFields) -> Response:
    """Withdraw a baseline, with a reason."""
    reason = sent.get("reason", "").strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        raise ConfigError(f"say in up to {LONGEST_REASON} characters why the baseline is withdrawn")
    scope = wish.scope()
    with writing(services.reader.directory) as reviews:
        if not baseline_entries.withdraw(reviews, scope, session.user, reason):
            raise HTTPException(HTTPStatus.CONFLICT, "there is no approved baseline of this chart any more")
    return _to_chart(scope)


def _phase_one(connection: Records, wish: ChartWish, starts: Sequence[str], reasons: Sequence[str]) -> PhaseOne:
    chosen = choose_chart_time(connection, wish)
    return read_phase_one(connection, wish.scope(), chosen.periods, asked_exclusions(starts, reasons), chosen.known_utc)


def _to_chart(scope: ChartScope) -> Response:
    return RedirectResponse(f"/charts?{urlencode(scope.asked)}", HTTPStatus.SEE_OTHER)


def _history(services: DeskServices, scope: ChartScope) -> list[SideEntry]:
    with reading(services.reader.directory) as reviews:
        return [] if reviews is None else baseline_entries.history(reviews, scope)
