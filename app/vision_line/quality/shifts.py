# SPDX-License-Identifier: AGPL-3.0-or-later
"""Shifts: which one a moment belongs to, and from when to when it goes.

A shift begins when the plant's clock first shows its start, and ends when the next one begins. So shifts have no gaps
and no overlap, also where the clock is put forward or back: a night shift then has an hour less or more. A start that
the clock jumps over falls on the moment of the jump. A shift is named by the day on which it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: Names of one, two or three shifts a day whose first one begins in the morning; others are named by their start.
_NAMES = {1: ("day",), 2: ("early", "late"), 3: ("early", "late", "night")}
_MORNING = (time(3), time(10))
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WorkShift:
    """One shift: [start_utc, end_utc) in seconds since the Unix epoch."""

    day: date  # on the plant's clock, when it began
    name: str
    start_utc: float
    end_utc: float

    @property
    def key(self) -> str:
        """What a person calls it, such as `2026-11-27/early`."""
        return f"{self.day.isoformat()}/{self.name}"

    @property
    def hours(self) -> float:
        """How long it is; 0 where the clock jumps over all of it."""
        return (self.end_utc - self.start_utc) / 3600.0


@dataclass(frozen=True, slots=True)
class ShiftPlan:
    """When shifts begin, on the clock of a time zone. Made by `shift_plan`, which checks it."""

    zone: ZoneInfo
    starts: tuple[time, ...]  # rising, within a day
    names: tuple[str, ...]

    def shift_at(self, utc: float) -> WorkShift:
        """Return the shift to which a moment belongs."""
        day = datetime.fromtimestamp(utc, self.zone).date()
        around = [shift for ahead in (-1, 0, 1) for shift in self.shifts_of(day + ahead * _DAY)]
        return [shift for shift in around if shift.start_utc <= utc][-1]

    def shifts_of(self, day: date) -> list[WorkShift]:
        """Return the shifts that begin on a day of the plant's clock; the last goes on until the next day's first."""
        begins = [self._moment(day, start) for start in self.starts] + [self._moment(day + _DAY, self.starts[0])]
        return [WorkShift(day, name, *bounds) for name, bounds in zip(self.names, pairwise(begins), strict=True)]

    def shifts_between(self, since_utc: float, until_utc: float) -> Iterator[WorkShift]:
        """Yield each shift of which some lies in [since_utc, until_utc), in order."""
        utc = since_utc
        while utc < until_utc:
            shift = self.shift_at(utc)
            yield shift
            utc = shift.end_utc

    def shift(self, key: str) -> WorkShift:
        """Return the shift that a person calls so, such as `2026-11-27/early`; ValueError says what there is."""
        day, _, name = key.partition("/")
        if name not in self.names:
            raise ValueError(f"no shift {name!r}: expected DAY/NAME with one of {', '.join(self.names)}")
        return self.shifts_of(date.fromisoformat(day))[self.names.index(name)]

    def _moment(self, day: date, start: time) -> float:
        """Return when the plant's clock first shows this time or, where it jumps over it, a later one."""
        shown = datetime.combine(day, start)
        utc = shown.replace(tzinfo=self.zone).timestamp()
        if self._clock(utc) == shown:
            return utc
        before, after = shown.replace(tzinfo=self.zone, fold=1).timestamp(), utc
        while after - before > 1.0:  # clocks jump at full seconds
            middle = (before + after) // 2
            before, after = (before, middle) if self._clock(middle) >= shown else (middle, after)
        return after

    def _clock(self, utc: float) -> datetime:
        """Return what the plant's clock shows."""
        return datetime.fromtimestamp(utc, self.zone).replace(tzinfo=None)


def shift_plan(timezone: str, starts: Sequence[str], names: Sequence[str] = ()) -> ShiftPlan:
    """Return the plan for a time zone such as `Europe/Berlin` and starts such as `06:00`, or raise ValueError.

    Without names, up to three shifts of which the first begins in the morning are early, late and night (one alone:
    day), and others have their start as their name.
    """
    times = tuple(_start(start) for start in starts)
    if not times or any(earlier >= later for earlier, later in pairwise(times)):
        raise ValueError("expected one start of a shift or more, each later in the day than the one before")
    given = tuple(names) or _default_names(times)
    if len(given) != len(times) or len(set(given)) != len(given) or any("/" in name or not name for name in given):
        raise ValueError("expected a name for each shift, each another one, without a slash")
    return ShiftPlan(_zone(timezone), times, given)


def _start(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()
    except ValueError as error:
        raise ValueError(f"a shift starts at hours and minutes such as 06:00, not at {text!r}") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone {name!r} in this machine's tz database: expected one such as Europe/Berlin"
        ) from error


def _default_names(starts: tuple[time, ...]) -> tuple[str, ...]:
    if _MORNING[0] <= starts[0] < _MORNING[1] and len(starts) in _NAMES:
        return _NAMES[len(starts)]
    return tuple(start.strftime("%H:%M") for start in starts)
