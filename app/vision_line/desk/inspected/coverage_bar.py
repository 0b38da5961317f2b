# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's time as a bar: one column a minute, or a few minutes, each inspected, partly or not; equal ones joined.

Columns begin on full minutes of the clock, as the ledger's rows do; where the time begins or ends within one, it is
cut off, and what is missing of its rest is what the gaps say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from math import ceil

from vision_line.desk.inspected.inspected_time import Gap
from vision_line.desk.local_time import ChosenTime, local
from vision_line.inspection.coverage.causes import NOT_DUE
from vision_line.inspection.coverage.minutes import MINUTE_S
from vision_line.records.columns import Table
from vision_line.records.query import SOURCES, Selection, plan_query
from vision_line.records.records import Records

#: More columns than this are narrower than two points on a wide screen.
MOST_COLUMNS = 720
#: How many minutes a column may hold; each divides a day.
_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440)
#: Lengths between the marks of the time axis, seconds.
_MARKS_S = (60, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400)
_MOST_MARKS = 9
#: Clocks lie whole quarters of an hour from UTC.
_FINEST_SET_S = 900
#: What is shorter is no gap, seconds.
_SHORTEST_S = 0.05

_MINUTE_ROWS = f"""SELECT t.camera, t.minute_utc, sum(t.inspected), sum(t.not_inspected_s)
    FROM {SOURCES[Table.COVERAGE].sql} WHERE {{where}} GROUP BY t.camera, t.minute_utc"""  # noqa: S608  names, of records


class ColumnState(StrEnum):
    """What a column of a bar says."""

    INSPECTED = "inspected"
    PARTLY = "partly"
    NOT = "not"
    OFF = "off"
    UNKNOWN = "unknown"  # no row: nothing is recorded of it


@dataclass(frozen=True, slots=True)
class BarPart:
    """Columns of one state side by side; places are percents of the bar's width.

    `frames` are of whole minutes, also of one that the time cuts.
    """

    state: ColumnState
    since_utc: float
    until_utc: float
    x: float
    width: float
    frames: int
    missing_s: float
    causes: Sequence[str]  # the one with the most seconds first


@dataclass(frozen=True, slots=True)
class _Column:
    since_utc: float
    state: ColumnState
    frames: int
    missing_s: float
    causes: tuple[str, ...]


def column_s(time: ChosenTime) -> int:
    """Return how many seconds a column holds."""
    return next((60 * n for n in _MINUTES if time.length_s / (60 * n) <= MOST_COLUMNS), 60 * _MINUTES[-1])


def axis(time: ChosenTime) -> list[tuple[float, float]]:
    """Return the marks of the time axis, place in percent and moment: at full hours of the clock, also where it is set.

    In a night in which the clock changes, marks lie an hour nearer or farther apart there, as its hours do.
    """
    step = next((mark for mark in _MARKS_S if time.length_s / mark <= _MOST_MARKS), _MARKS_S[-1])
    tried = min(step, _FINEST_SET_S)
    first = -(time.since_utc // -tried) * tried
    moments = (first + tried * n for n in range(ceil((time.until_utc - first) / tried)))
    return [(_place(utc, time), utc) for utc in moments if (utc + _offset_s(utc)) % step == 0]


def _offset_s(utc: float) -> float:
    offset = local(utc).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()


def read_bars(
    connection: Records, time: ChosenTime, gaps: Sequence[Gap], cameras: Sequence[str] = ()
) -> dict[str, list[BarPart]]:
    """Return the bar of each camera of which something is recorded in `time`; `gaps` are those of the same time.

    Of all cameras, or of these.

    Raises:
        Error: the database's, as it comes.
    """
    grid = _Grid(time, MINUTE_S * (time.since_utc // MINUTE_S), column_s(time))
    query = plan_query(Table.COVERAGE, Selection(grid.first_utc, time.until_utc, tuple(cameras)))
    frames = defaultdict[tuple[str, int], int](int)
    missing_s = defaultdict[tuple[str, int], float](float)
    minutes = defaultdict[tuple[str, int], int](int)
    for name, minute_utc, inspected, not_inspected_s in connection.execute(
        _MINUTE_ROWS.format(where=query.where), query.parameters
    ).fetchall():
        cut = None if grid.has_whole(minute_utc) else grid.cut(minute_utc, [gap for gap in gaps if gap.camera == name])
        if cut is not None and cut.is_gap:
            continue
        key = name, grid.column_at(minute_utc)
        frames[key] += inspected
        missing_s[key] += not_inspected_s if cut is None else cut.missing_s
        minutes[key] += 1
    causes = _causes_of_columns(gaps, grid)
    names = sorted({name for name, _ in (*minutes, *causes)})
    return {
        name: _parts(
            [
                _column(
                    grid.column(n).since_utc,
                    minutes.get((name, n), 0),
                    frames.get((name, n), 0),
                    missing_s.get((name, n), 0.0),
                    causes.get((name, n), {}),
                )
                for n in range(grid.count)
            ],
            grid,
        )
        for name in names
    }


@dataclass(frozen=True, slots=True)
class _CutMinute:
    """What the gaps say of the part of a minute that lies in the time: its row is of the whole minute."""

    missing_s: float
    is_gap: bool  # all of the part: frames of the minute came before or after it


@dataclass(frozen=True, slots=True)
class _Grid:
    """The columns of a time: they begin on full minutes from `first_utc` on; the first and the last are cut off."""

    time: ChosenTime
    first_utc: float
    width_s: int

    @property
    def count(self) -> int:
        return ceil((self.time.until_utc - self.first_utc) / self.width_s)

    def column_at(self, utc: float) -> int:
        return int((utc - self.first_utc) // self.width_s)

    def column(self, n: int) -> ChosenTime:
        begins = self.first_utc + self.width_s * n
        return self._within(begins, begins + self.width_s)

    def has_whole(self, minute_utc: float) -> bool:
        return self.time.since_utc <= minute_utc and minute_utc + MINUTE_S <= self.time.until_utc

    def cut(self, minute_utc: float, gaps: Sequence[Gap]) -> _CutMinute:
        part = self._within(minute_utc, minute_utc + MINUTE_S)
        off_s, missing_s = (
            sum(part.clipped_s(gap.started_utc, gap.ended_utc) for gap in gaps if (gap.cause in NOT_DUE) is is_off)
            for is_off in (True, False)
        )
        return _CutMinute(missing_s, off_s + missing_s > part.length_s - _SHORTEST_S)

    def _within(self, since_utc: float, until_utc: float) -> ChosenTime:
        return ChosenTime(max(since_utc, self.time.since_utc), min(until_utc, self.time.until_utc))


def _causes_of_columns(gaps: Sequence[Gap], grid: _Grid) -> dict[tuple[str, int], dict[str, float]]:
    """Return the seconds of each column by cause."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for gap in gaps:
        start, end = max(gap.started_utc, grid.time.since_utc), min(gap.ended_utc, grid.time.until_utc)
        for n in range(grid.column_at(start), ceil((end - grid.first_utc) / grid.width_s)):
            own = found.setdefault((gap.camera, n), {})
            own[gap.cause] = own.get(gap.cause, 0.0) + grid.column(n).clipped_s(start, end)
    return found


def _column(since_utc: float, minutes: int, frames: int, missing_s: float, causes: dict[str, float]) -> _Column:
    worst = tuple(sorted((cause for cause in causes if causes[cause] >= _SHORTEST_S), key=lambda cause: -causes[cause]))
    if not minutes:
        state = ColumnState.UNKNOWN if not worst else ColumnState.OFF if worst[0] in NOT_DUE else ColumnState.NOT
        return _Column(since_utc, state, 0, sum(causes.values()), worst)
    if not frames:
        return _Column(since_utc, ColumnState.NOT, 0, missing_s, worst)
    state = ColumnState.PARTLY if missing_s >= _SHORTEST_S else ColumnState.INSPECTED
    return _Column(since_utc, state, frames, missing_s, worst if state is ColumnState.PARTLY else ())


def _parts(columns: Sequence[_Column], grid: _Grid) -> list[BarPart]:
    parts = []
    time = grid.time
    for (state, causes), group in groupby(columns, lambda column: (column.state, column.causes[:1])):
        own = list(group)
        since_utc, until_utc = own[0].since_utc, grid.column(grid.column_at(own[-1].since_utc)).until_utc
        place = _place(since_utc, time)
        every = dict.fromkeys((*causes, *(cause for column in own for cause in column.causes)))
        parts.append(
            BarPart(
                state=state,
                since_utc=since_utc,
                until_utc=until_utc,
                x=place,
                width=_place(until_utc, time) - place,
                frames=sum(column.frames for column in own),
                missing_s=sum(column.missing_s for column in own),
                causes=tuple(every),
            )
        )
    return parts


def _place(utc: float, time: ChosenTime) -> float:
    return 100.0 * (utc - time.since_utc) / time.length_s
