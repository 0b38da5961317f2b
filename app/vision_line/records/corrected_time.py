# SPDX-License-Identifier: AGPL-3.0-or-later
"""When things truly were, whatever the wall clock called it: ages are counted by this, labels stay as they were.

A machine without a battery-backed clock boots in 1970 or in last year, and records; then somebody sets its clock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop
from itertools import groupby

from vision_line.records.lives import Life, boot_id, life_now

#: A clock that is off by less matters to no age in days: after a reboot many are by seconds.
SLACK_S = 3600.0
#: 2026-01-01: this program was not there before. A clock that says so was never set.
FIRST_UTC = 1_767_225_600.0


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the wall clock under a run; `at_s` is monotonic."""

    at_s: float
    from_utc: float
    to_utc: float


@dataclass(frozen=True, slots=True)
class RunTimes:
    """What a run knows of its clock. `started_utc` is by the clock as it was then, `ended_utc` as it was at last.

    `ended_boot_s` is the same moment since the machine's start, None where it is not known; `steps` in their order.
    """

    run: int
    boot_id: str
    started_utc: float
    ended_utc: float
    ended_boot_s: float | None
    steps: Sequence[Step] = ()

    @property
    def stepped_s(self) -> float:
        """How far the clock went from the run's start to its end because it was set."""
        return sum(step.to_utc - step.from_utc for step in self.steps)


class Timeline:
    """Puts the labels of all runs right, as far as it can be known now. Pure.

    - Within a run the later steps of its clock count.
    - Within one start of the machine (a boot) its own clock shows how the wall clock was set between runs, up to now:
      the clock of now is believed.
    - Between two boots nothing says how long the machine was off. A clock that ran ahead of what came later, or behind
      what had been before, was wrong: what it labelled counts as just before the next boot, as young as it can be.
    """

    def __init__(self, runs: Sequence[RunTimes], now: Life, boot: str) -> None:
        """Take in the runs in their order, and the present moment with what names the present start of the machine."""
        self._shifts = _shifts(runs, now, boot)
        self._clocks = {times.run: _clocks(times.steps) for times in runs if times.steps}

    def true_utc(self, run: int, label_utc: float, offset_s: float | None) -> float:
        """Return when that truly was which `run` labelled so.

        `offset_s` is the label minus the same moment by the monotonic clock: it says which of the run's clocks made
        the label. None: the first one.
        """
        return label_utc + self._shifts[run] + _later_s(self._clocks.get(run, ()), offset_s)


def read_timeline(connection: sqlite3.Connection, now_utc: float) -> Timeline:
    """Return the timeline of a record file as it is seen from now, which the wall clock calls `now_utc`.

    Raises:
        sqlite3.Error: as it comes.
    """
    steps: dict[int, list[Step]] = {}
    for run, *values in connection.execute(_STEPS):
        steps.setdefault(run, []).append(Step(*values))
    rows: list[tuple[int, str, float, float, float | None]] = connection.execute(_RUNS).fetchall()
    runs = [RunTimes(*row, steps.get(row[0], ())) for row in rows]
    return Timeline(runs, life_now(now_utc), boot_id())


#: Those before a run's start (`clock` 0) are left out: the machine's own clock shows them, and knows how far they hold.
_STEPS = "SELECT run, at_s, from_utc, to_utc FROM clock_steps WHERE clock > 0 ORDER BY run, clock"
_RUNS = """SELECT run, coalesce(boot_id, ''), started_utc, coalesce(alive_utc, ended_utc, started_utc), alive_boot_s
    FROM runs ORDER BY run"""

#: By a clock's offset to the monotonic one: how far it was set afterwards.
_Clocks = Sequence[tuple[float, float]]


def _clocks(steps: Sequence[Step]) -> _Clocks:
    offsets = [steps[0].from_utc - steps[0].at_s, *(step.to_utc - step.at_s for step in steps)]
    sizes = [step.to_utc - step.from_utc for step in steps]
    return [(offset_s, sum(sizes[n:])) for n, offset_s in enumerate(offsets)]


def _later_s(clocks: _Clocks, offset_s: float | None) -> float:
    """Return the steps after a label. Two clocks of one offset, as there and back, are the same clock."""
    if not clocks:
        return 0.0
    return clocks[0][1] if offset_s is None else min(clocks, key=lambda clock: abs(clock[0] - offset_s))[1]


@dataclass(frozen=True, slots=True)
class _Boot:
    """The runs in a row of one start of the machine, by the clock as it was at last; those shifts lead to it."""

    start_utc: float
    end_utc: float
    shifts: Mapping[int, float]
    is_present: bool


def _shifts(runs: Sequence[RunTimes], now: Life, boot: str) -> dict[int, float]:
    """Return what to add to each run's last clock. Backwards from now: what is right bounds what was before it."""
    boots = _boots(runs, now, boot)
    ends = [(-found.end_utc, number) for number, found in enumerate(boots)]
    heapify(ends)
    shifts: dict[int, float] = {}
    bound_utc = now.utc
    for number in reversed(range(len(boots))):
        found, shift_s = boots[number], 0.0
        while ends and (ends[0][1] >= number or -ends[0][0] > bound_utc + SLACK_S):
            heappop(ends)  # bounds only fall, and so do numbers: it will not be believed again
        before_utc = max(FIRST_UTC, -ends[0][0]) if ends else FIRST_UTC
        is_right = found.end_utc <= bound_utc + SLACK_S and found.start_utc >= before_utc - SLACK_S
        if found.is_present or is_right:
            bound_utc = min(bound_utc, found.start_utc)
        else:
            shift_s = bound_utc - found.end_utc
        shifts |= {run: own_s + shift_s for run, own_s in found.shifts.items()}
    return shifts


def _boots(runs: Sequence[RunTimes], now: Life, boot: str) -> list[_Boot]:
    """Return the starts of the machine in their order; a run without a sign of life counts as one of its own."""
    offsets = {times.boot_id: _offset_s(times) for times in runs if _is_dated(times)}
    if boot:
        offsets[boot] = now.utc - now.boot_s
    groups = groupby(runs, key=lambda times: times.boot_id if _is_dated(times) else times.run)
    return [_boot_of(list(group), offsets, boot) for _, group in groups]


def _boot_of(group: list[RunTimes], offsets: Mapping[str, float], boot: str) -> _Boot:
    shifts = {t.run: offsets[t.boot_id] - _offset_s(t) if _is_dated(t) else 0.0 for t in group}
    return _Boot(
        min(times.started_utc + times.stepped_s + shifts[times.run] for times in group),
        max(times.ended_utc + shifts[times.run] for times in group),
        shifts,
        _is_dated(group[0]) and group[0].boot_id == boot,
    )


def _is_dated(times: RunTimes) -> bool:
    return bool(times.boot_id) and times.ended_boot_s is not None


def _offset_s(times: RunTimes) -> float:
    return times.ended_utc - (times.ended_boot_s or 0.0)
