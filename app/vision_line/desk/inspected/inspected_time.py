# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of a time each camera was inspected, and the gaps: from the ledger's rows, with the ledger's own seconds.

An interval that lies in the time as a whole counts as its monotonic clock measured it, as in an export; what sticks out
is cut off by the wall clock. Of a time whose rows retention has removed nothing is known, and it is neither inspected
nor due.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from vision_line.desk.boxes import box_of, each_box
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.run_times import BEGAN, KNOWN, in_its_run
from vision_line.frames import CameraState
from vision_line.inspection.coverage.causes import (
    CAPACITY,
    CRASHED,
    NODE_ELSEWHERE,
    NODE_LOST,
    NODE_MOVING,
    NOT_DUE,
    OFF,
)
from vision_line.records.columns import Table
from vision_line.records.known_rows import known_since_utc
from vision_line.records.query import SOURCES, Selection, plan_query
from vision_line.records.records import Records, Row, either, least
from vision_line.telemetry.covered import Covered

_INTERVALS = f"""SELECT t.interval, t.camera, t.station, t.cause, t.started_utc,
    coalesce(t.ended_utc, {KNOWN}) AS ended_utc, t.ended_s - t.started_s AS measured_s, t.ended_utc IS NULL AS is_open
    FROM {SOURCES[Table.NOT_INSPECTED].sql} WHERE {{where}} ORDER BY t.camera, t.started_utc, t.interval"""  # noqa: S608  names, of these packages

_OVER = ", ".join(f"'{state}'" for state in (CameraState.ENDED, CameraState.REMOVED))
#: It may come back after it was over: until then nobody here had it.
_UNTIL = either("left_utc < changed_utc", "left_utc", "coalesce(changed_utc, over_utc, known_utc)")
#: From when to when a run had a camera with one station; the last state says whether it still had it at the end.
_SPANS = f"""SELECT camera, station, since_utc,
    {least("known_utc", _UNTIL)}, run
    FROM (SELECT t.name AS camera, t.station, {in_its_run("t.since_utc")} AS since_utc, {KNOWN} AS known_utc, t.run,
            lead({in_its_run("t.since_utc")}) OVER (PARTITION BY t.run, t.name ORDER BY t.since_utc) AS changed_utc, (
            SELECT {either(f"s.state IN ({_OVER})", "s.at_utc", "NULL")} FROM states s
            WHERE s.run = t.run AND s.camera = t.name ORDER BY s.change DESC LIMIT 1
        ) AS over_utc, (
            SELECT min(s.at_utc) FROM states s WHERE s.run = t.run AND s.camera = t.name AND s.state IN ({_OVER})
            AND s.at_utc >= t.since_utc
        ) AS left_utc
        FROM cameras t JOIN runs r ON r.run = t.run WHERE {BEGAN} < ? AND {KNOWN} >= ? {{also}}) had
    ORDER BY camera, since_utc"""  # noqa: S608  the same
#: The times that the wall clock jumped over under a run: nobody lived them.
_JUMPS = "SELECT run, from_utc, to_utc FROM clock_steps WHERE clock > 0 AND to_utc > from_utc ORDER BY run, clock"

#: Causes of a time before a run had the camera, in which it was due all the same.
_DUE_BEFORE = frozenset({CRASHED, NODE_LOST, NODE_MOVING, CAPACITY})
#: Less than this is the difference of two clocks.
_ROUNDED_S = 0.001

#: What known times are where nobody looked.
NOTHING_REMOVED: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval that was not inspected; `seconds` of it lie in the chosen time."""

    interval: int
    camera: str
    station: str
    cause: str
    started_utc: float
    ended_utc: float
    is_open: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class CameraTime:
    """One camera in the chosen time.

    `covered` has all causes but `off` and `node:elsewhere`: a time in which no program was to run is not due, nor one
    that another box accounts for; one in which the program had died is.
    """

    camera: str
    station: str
    covered: Covered
    off_s: float
    gaps: Sequence[Gap]

    @property
    def missing_s(self) -> float:
        """Seconds that were due and not inspected."""
        return sum(self.covered.not_inspected_s.values())

    @property
    def longest(self) -> Gap | None:
        """The longest gap, None where there is none."""
        return max((gap for gap in self.gaps if gap.cause not in NOT_DUE), key=lambda gap: gap.seconds, default=None)


@dataclass(frozen=True, slots=True)
class HeldTime:
    """A time in which a run had a camera."""

    camera: str
    station: str
    since_utc: float
    until_utc: float


def known_of_boxes(connection: Records, *tables: Table) -> dict[str, float]:
    """Return the same of each box, "" on a box's own desk.

    Raises:
        Error: the database's, as it comes.
    """
    return {box: known_since_utc(records, *tables) for box, records in each_box(connection)}


def read_spans(connection: Records, time: ChosenTime, camera: str | None = None) -> list[HeldTime]:
    """Return when runs had cameras, or that one, of the runs of which some lies in `time`, by camera and start.

    What the wall clock jumped over as it was put forward is in none: such a clock is of a machine that was off.

    Raises:
        Error: the database's, as it comes.
    """
    jumps = defaultdict[int, list[tuple[float, float]]](list)
    for run, from_utc, to_utc in connection.execute(_JUMPS).fetchall():
        jumps[run].append((from_utc, to_utc))
    also, values = ("", ()) if camera is None else ("AND t.name = ?", (camera,))
    rows = connection.execute(_SPANS.format(also=also), (time.until_utc, time.since_utc, *values)).fetchall()
    return [
        HeldTime(camera, station, *piece)
        for camera, station, since_utc, until_utc, run in rows
        for piece in _without(jumps[run], since_utc, until_utc)
    ]


def _without(jumps: Iterable[tuple[float, float]], since_utc: float, until_utc: float) -> Iterator[tuple[float, float]]:
    """Yield what is left of a time without the jumps."""
    for from_utc, to_utc in jumps:
        if since_utc < to_utc and from_utc < until_utc:
            if since_utc < from_utc:
                yield since_utc, from_utc
            since_utc = to_utc
    if since_utc <= until_utc:
        yield since_utc, until_utc


def read_gaps(
    connection: Records, time: ChosenTime, camera: str | None = None, known_utc: Mapping[str, float] = NOTHING_REMOVED
) -> list[Gap]:
    """Return the gaps of which some lies in `time`, by camera and start; of each box what lies after it is known.

    Raises:
        Error: the database's, as it comes.
    """
    cameras = () if camera is None else (camera,)
    query = plan_query(Table.NOT_INSPECTED, Selection(time.since_utc, time.until_utc, cameras))
    rows = connection.execute(_INTERVALS.format(where=query.where), query.parameters).fetchall()
    gaps = (_gap(row, _known_part(time, row["camera"], known_utc)) for row in rows)
    return [gap for gap in gaps if gap.seconds > 0]


def read_inspected_time(connection: Records, time: ChosenTime, camera: str | None = None) -> list[CameraTime]:
    """Return what is known of each camera that a run had in `time`, or has a gap in it, by name.

    A program that had died for all of `time` had no camera, and yet each was due. Of removed gaps nothing is known.

    Raises:
        Error: the database's, as it comes.
    """
    known_utc = known_of_boxes(connection, Table.NOT_INSPECTED)
    spans = read_spans(connection, time, camera)
    gaps = defaultdict[str, list[Gap]](list)
    for gap in read_gaps(connection, time, camera, known_utc):
        gaps[gap.camera].append(gap)
    by_camera = {name: list(own) for name, own in groupby(spans, lambda span: span.camera)}
    found = [
        _camera_time(by_camera.get(name, ()), gaps[name], _known_part(time, name, known_utc))
        for name in sorted({*by_camera, *gaps})
    ]
    return [one for one in found if one.covered.due_s > 0 or one.off_s > 0]


def _known_part(time: ChosenTime, camera: str, known_utc: Mapping[str, float]) -> ChosenTime:
    """Return what of a time lies behind the moment from which on a camera's box has its records."""
    known = known_utc.get(box_of(camera), 0.0)
    return ChosenTime(min(max(time.since_utc, known), time.until_utc), time.until_utc)


def _gap(row: Row, time: ChosenTime) -> Gap:
    started, ended, measured_s = row["started_utc"], row["ended_utc"], row["measured_s"]
    is_whole = measured_s is not None and time.since_utc <= started and ended <= time.until_utc
    return Gap(
        interval=row["interval"],
        camera=row["camera"],
        station=row["station"],
        cause=row["cause"],
        started_utc=started,
        ended_utc=ended,
        is_open=bool(row["is_open"]),
        seconds=measured_s if is_whole else time.clipped_s(started, ended),
    )


def _camera_time(spans: Sequence[HeldTime], gaps: Sequence[Gap], time: ChosenTime) -> CameraTime:
    missing_s = defaultdict[str, float](float)
    for gap in gaps:
        missing_s[gap.cause] += gap.seconds
    off_s = missing_s.pop(OFF, 0.0)
    missing_s.pop(NODE_ELSEWHERE, None)
    had_s = sum(time.clipped_s(span.since_utc, span.until_utc) for span in spans)
    off_in_runs_s = sum(_overlap_s(gap, spans, time) for gap in gaps if gap.cause in NOT_DUE)
    before_s = (gap.seconds - _overlap_s(gap, spans, time) for gap in gaps if gap.cause in _DUE_BEFORE)
    due_s = had_s - off_in_runs_s + sum(seconds for seconds in before_s if seconds > _ROUNDED_S)
    last = spans[-1] if spans else gaps[-1]
    return CameraTime(last.camera, last.station, Covered(due_s, dict(missing_s)), off_s, tuple(gaps))


def _overlap_s(gap: Gap, spans: Iterable[HeldTime], time: ChosenTime) -> float:
    """Return how much of a gap lies within the runs: a camera was taken out, and came back."""
    within = ChosenTime(max(gap.started_utc, time.since_utc), min(gap.ended_utc, time.until_utc))
    return sum(within.clipped_s(span.since_utc, span.until_utc) for span in spans)
