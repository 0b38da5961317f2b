# SPDX-License-Identifier: AGPL-3.0-or-later
"""When things truly were: a machine whose wall clock somebody sets, at any time and to anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.records.corrected_time import FIRST_UTC, RunTimes, Step, Timeline
from vision_line.records.lives import Life

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
START_UTC = FIRST_UTC + 2 * YEAR_S
NEAR_S = 1e-3  # of double precision, after sums of decades
#: Wall clock minus truth: a clock without a battery, one that is a year behind or ahead, one that began in the future.
ERRORS_S = (0.0, -56 * YEAR_S, -YEAR_S, 5.0, YEAR_S, 70 * YEAR_S)


@dataclass
class Row:
    """Something that was recorded, and when it truly was."""

    run: int
    label_utc: float
    offset_s: float
    true_utc: float


@dataclass
class Machine:
    """Knows the truth."""

    utc: float = START_UTC
    boot: int = 0
    booted_utc: float = START_UTC
    runs: list[RunTimes] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    boot_of: dict[int, int] = field(default_factory=dict)
    final_error_s: dict[int, float] = field(default_factory=dict)

    @property
    def monotonic_s(self) -> float:
        return self.utc - self.booted_utc

    def reboot(self, off_s: float) -> None:
        self.utc += off_s
        self.boot += 1
        self.booted_utc = self.utc
        self.utc += 20.0

    def run(self, errors_s: Sequence[float], hour_s: float = 3600.0) -> int:
        """Record for an hour by each of the wall clocks; return the run's number."""
        number = len(self.runs) + 1
        started_utc = self.utc + errors_s[0]
        steps: list[Step] = []
        for n, error_s in enumerate(errors_s):
            if n:
                at_s, before_s = self.monotonic_s, errors_s[n - 1]
                steps.append(Step(at_s, self.utc + before_s, self.utc + error_s))
            for _ in range(2):
                self.utc += hour_s / 3
                label_utc = self.utc + error_s
                self.rows.append(Row(number, label_utc, label_utc - self.monotonic_s, self.utc))
            self.utc += hour_s / 3
        self.runs.append(
            RunTimes(number, f"boot {self.boot}", started_utc, self.utc + errors_s[-1], self.monotonic_s, steps)
        )
        self.boot_of[number] = self.boot
        self.final_error_s[self.boot] = errors_s[-1]
        return number

    def timeline(self) -> Timeline:
        """Return what is known now, by a clock that is right."""
        return Timeline(self.runs, Life(self.utc, self.monotonic_s), f"boot {self.boot}")


def counted_utc(timeline: Timeline, row: Row) -> float:
    return timeline.true_utc(row.run, row.label_utc, row.offset_s)


_RUNS = st.lists(st.lists(st.sampled_from(ERRORS_S), min_size=1, max_size=4), min_size=1, max_size=3)
_BOOTS = st.lists(st.tuples(st.floats(60.0, 90 * DAY_S), _RUNS), min_size=1, max_size=4)


@given(boots=_BOOTS, off_s=st.floats(60.0, 90 * DAY_S), present=_RUNS)
def test_within_this_boot_everything_is_known(
    boots: list[tuple[float, list[list[float]]]], off_s: float, present: list[list[float]]
) -> None:
    """Whatever the clock was set to, in a run, between runs and after the last one, and whatever had been before."""
    machine = Machine()
    for away_s, runs in boots:
        machine.reboot(away_s)
        for errors_s in runs:
            machine.run(errors_s)
    machine.reboot(off_s)
    for errors_s in present:
        machine.run(errors_s)
        machine.utc += 60.0
    timeline = machine.timeline()

    for row in machine.rows:
        if machine.boot_of[row.run] == machine.boot:
            assert counted_utc(timeline, row) == pytest.approx(row.true_utc, abs=NEAR_S)
        assert counted_utc(timeline, row) < machine.utc + 3600.0, "kept for ever"


#: Clocks that contradict what was before or after them.
_PLAINLY_WRONG_S = (-56 * YEAR_S, 70 * YEAR_S)


@given(
    boots=st.lists(
        st.tuples(st.floats(2 * 3600.0, 90 * DAY_S), _RUNS, st.sampled_from((0.0, *_PLAINLY_WRONG_S))),
        min_size=1,
        max_size=5,
    )
)
def test_earlier_boots_count_as_they_were_or_younger(
    boots: list[tuple[float, list[list[float]], float]],
) -> None:
    """Exactly, where the clock was right in the end; where it was not, older than they are never."""
    machine = Machine()
    for off_s, runs, final_error_s in boots:
        machine.reboot(off_s)
        for errors_s in runs[:-1]:
            machine.run(errors_s)
        machine.run([*runs[-1], final_error_s])
    machine.reboot(2 * 3600.0)
    machine.run([-56 * YEAR_S, 0.0])
    timeline = machine.timeline()

    for row in machine.rows:
        error_s = counted_utc(timeline, row) - row.true_utc
        if machine.final_error_s[machine.boot_of[row.run]] == 0.0:
            assert error_s == pytest.approx(0.0, abs=NEAR_S)
        else:
            assert -NEAR_S <= error_s <= machine.utc - row.true_utc + NEAR_S


def test_a_clock_of_last_year_is_found_out_by_what_was_before() -> None:
    """It counts as just before the next boot, which is the latest that it can have been."""
    machine = Machine()
    machine.run([0.0])
    machine.reboot(10 * DAY_S)
    wrong = machine.run([-YEAR_S])
    machine.reboot(DAY_S)
    machine.run([0.0])
    timeline = machine.timeline()

    for row in machine.rows:
        late_s = counted_utc(timeline, row) - row.true_utc
        assert late_s == pytest.approx(DAY_S + 20.0 if row.run == wrong else 0.0, abs=NEAR_S)


def test_what_was_labelled_before_its_step_was_noticed_keeps_its_label() -> None:
    """A frame that comes just then may bear the new time already."""
    step = Step(100.0, 90.0, START_UTC + 90.0)
    times = RunTimes(1, "boot", 10.0, START_UTC + 200.0, 210.0, [step])
    timeline = Timeline([times], Life(START_UTC + 200.0, 210.0), "boot")

    assert timeline.true_utc(1, START_UTC + 89.9, START_UTC - 10.0) == pytest.approx(START_UTC + 89.9)
    assert timeline.true_utc(1, 89.9, -10.0) == pytest.approx(START_UTC + 89.9)
    assert timeline.true_utc(1, 60.0, None) == pytest.approx(START_UTC + 60.0)


def test_starts_that_died_at_once_or_do_not_report_their_boot_spoil_nothing() -> None:
    """By the clock of 1970: what was before them is as old as it was."""
    runs = [
        RunTimes(1, "", START_UTC, START_UTC + DAY_S, None),
        RunTimes(2, "second", 5.0, 5.0, None),
        RunTimes(3, "", 3600.0, 7200.0, None),
        RunTimes(4, "", START_UTC + 2 * DAY_S, START_UTC + 3 * DAY_S, None),
    ]
    timeline = Timeline(runs, Life(START_UTC + 4 * DAY_S, 0.0), "third")

    assert timeline.true_utc(1, START_UTC, None) == START_UTC
    assert timeline.true_utc(4, START_UTC + 2 * DAY_S, None) == START_UTC + 2 * DAY_S
    assert timeline.true_utc(3, 7200.0, None) == START_UTC + 2 * DAY_S
    assert timeline.true_utc(2, 5.0, None) == START_UTC + 2 * DAY_S
