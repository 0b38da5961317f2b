# SPDX-License-Identifier: AGPL-3.0-or-later
"""The home page: proof of inspection. A bar for each camera, and the figures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time as clock_now

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.recorded_plan import read_plan
from vision_line.desk.challenges.challenge_board import states_now
from vision_line.desk.charts.baselines import read_baselines
from vision_line.desk.charts.silences import read_silences
from vision_line.desk.inspected.attention import read_alarms, read_last_run
from vision_line.desk.inspected.coverage_bar import axis, column_s
from vision_line.desk.inspected.degraded_time import degraded_words, read_degraded
from vision_line.desk.inspected.doubted_time import DoubtedTime, read_doubts
from vision_line.desk.inspected.inspected_time import Gap
from vision_line.desk.inspected.shift_parts import CameraCoverage, ShiftPart, read_cameras, read_shift, read_shift_parts
from vision_line.desk.local_time import ChosenTime, plant_clock
from vision_line.desk.part_charts.part_baselines import read_part_baselines
from vision_line.desk.part_charts.part_silences import read_part_silences
from vision_line.desk.rendering import page
from vision_line.desk.report.counts import in_all, read_counts
from vision_line.desk.report.identity import read_runs, without_run_s
from vision_line.desk.report.passed_parts import find_escapes
from vision_line.desk.report.unseen_parts import find_unseen
from vision_line.desk.run_times import ahead_utc
from vision_line.desk.services import Services
from vision_line.desk.time_choice import AskedTime, asked, choose_time, neighbours
from vision_line.inspection.coverage.causes import NOT_DUE
from vision_line.parts.passed import PartsFilter, count_parts
from vision_line.records.records import Records
from vision_line.telemetry.covered import Covered, together

router = APIRouter()

#: The longest gaps are listed; all of them are in the bars, on the cameras' pages and in an export.
_MOST_GAPS = 12

_REMOVED = """SELECT removed_from, rows, from_utc, to_utc, why FROM removals
    WHERE removed_from IN ('coverage', 'not_inspected') AND to_utc >= ? AND from_utc < ? ORDER BY from_utc"""


@dataclass(frozen=True, slots=True)
class InspectedOverview:
    """All cameras in a time, and where it has several shifts, each of them.

    `removed`: rows of the ledger that are gone, of whose time nothing is known. `doubts`: times that count as
    inspected and may have been inspected wrongly.
    """

    time: ChosenTime
    column_s: int
    total: Covered
    share: float | None
    off_s: float
    cameras: Sequence[CameraCoverage]
    gaps: Sequence[Gap]  # the longest ones, longest first
    removed: Sequence[dict[str, object]]
    shifts: Sequence[ShiftPart]
    doubts: Sequence[DoubtedTime]


def read_overview(connection: Records, time: ChosenTime, most_bars: int | None = None) -> InspectedOverview:
    """Return what is known of all cameras; of more than `most_bars` without bars.

    Raises:
        Error: the database's, as it comes.
    """
    cameras = read_cameras(connection, time, most_bars)
    times = [one.time for one in cameras]
    gaps = [gap for one in times for gap in one.gaps]
    total = together(one.covered for one in times)
    removed = connection.execute(_REMOVED, (time.since_utc, time.until_utc)).fetchall()
    return InspectedOverview(
        time=time,
        column_s=column_s(time),
        total=total,
        share=total.share,
        off_s=sum(one.off_s for one in times),
        cameras=cameras,
        gaps=sorted((gap for gap in gaps if gap.cause not in NOT_DUE), key=lambda gap: -gap.seconds)[:_MOST_GAPS],
        removed=[dict(row) for row in removed],
        shifts=read_shift_parts(connection, time, most_bars),
        doubts=read_doubts(connection, time),
    )


@router.get("/", include_in_schema=False)
def home(services: Services, wanted: AskedTime) -> HTMLResponse:
    """Show what needs somebody now, what was inspected and what was not, and what was found meanwhile."""
    baselines = read_baselines(services.reader.directory)
    with services.reader.open() as connection:
        time = choose_time(connection, wanted)
        overview = read_overview(connection, time)
        run = read_last_run(connection)
        alarms = [] if run is None else read_alarms(connection, run, services.reader.directory)
        found = in_all(read_counts(connection, time))
        silences = read_silences(connection, baselines)
        before = _shift_before(connection, time)
        without_s = without_run_s(read_runs(connection, time), time, clock_now())
        targets = read_plan(connection).targets
        later_utc = ahead_utc(connection)
        degraded = degraded_words(read_degraded(connection, time))
    part_silences = read_part_silences(services.reader.directory, read_part_baselines(services.reader.directory))
    earlier, later = neighbours(time)
    with services.reader.open_parts() as connection:
        of_time = PartsFilter(time.since_utc, time.until_utc)
        lanes = [] if connection is None else count_parts(connection, of_time)
        escapes = [] if connection is None else find_escapes(connection, of_time)
        gaps = (gap for one in overview.cameras for gap in one.time.gaps)
        unseen = [] if connection is None else find_unseen(connection, of_time, gaps)
    return page(
        "overview.html",
        lanes=lanes,
        escapes=escapes,
        unseen=unseen,
        overview=overview,
        time=time,
        asked=asked(time),
        axis=axis,
        before=earlier,
        after=later,
        run=run,
        silences=silences,
        part_silences=part_silences,
        alarms=alarms,
        challenges=_challenge_problems(services.reader.directory, targets),
        without_run_s=without_s,
        degraded=degraded,
        doubts=overview.doubts,
        found=found,
        shift_before=before,
        later_utc=None if later_utc is not None and later_utc <= time.until_utc else later_utc,
        is_open=run is not None and run.is_live and time.until_utc > run.known_utc,
    )


def _challenge_problems(directory: Path, targets: Sequence[ChallengeTarget]) -> list[str]:
    """Return which challenges failed or are overdue: as long as one is, nobody knows that defects would be seen."""
    return [state.why for state in states_now(directory, targets) if state.why]


def _shift_before(connection: Records, time: ChosenTime) -> ShiftPart | None:
    """Return the shift before this one, as who takes over wants to know of it; None: the time is no shift."""
    clock = plant_clock()
    if clock.shift_of(time) is None:
        return None
    return read_shift(connection, clock.shift_at(time.since_utc - 1.0))


@router.get("/api/v1/coverage")
def coverage(services: Services, wanted: AskedTime) -> InspectedOverview:
    """Return what was inspected and what was not, by camera, with the gaps and the bars."""
    with services.reader.open() as connection:
        return read_overview(connection, choose_time(connection, wanted))
