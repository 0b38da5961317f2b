# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger: what was inspected, what was not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

from vision_line.frames import ClockStep, CoverageMinute, NotInspected, StateChange
from vision_line.inspection.coverage.camera_ledger import CameraLedger, Circumstances
from vision_line.inspection.coverage.causes import PAUSED, Absence
from vision_line.inspection.coverage.downtime import Changes, Downtime
from vision_line.inspection.coverage.minutes import MINUTE_S, CameraCounts, MinuteCounters
from vision_line.inspection.coverage.wall_clock import WallClock
from vision_line.inspection.coverage.window import Need


class CoverageLedger:
    """Accounts for every camera's frames by UTC minute, and for all downtime of its inspection.

    Pure: time comes with each call, monotonic seconds for durations and UTC seconds for what is written. A step of the
    wall clock ends minutes and splits intervals, so that each has one clock; it changes no duration. One thread calls
    it, in the order of times; only `inspected` may be as late as results are.

    A camera is not inspected while its inspections are too rare (`InspectionWindow` has the rule): the stays of all
    parts with fewer inspections than needed, and every gap between two inspections longer than `gap_s`, are
    `NotInspected` intervals from one inspection to another. `tick` returns one when it is found, once no result can be
    in flight, and again with its end, as soon as enough inspections follow. A still later result corrects it: the
    interval becomes shorter, or is returned as `withdrawn`. Its cause:

    - `camera:<error code or state>`: the camera was not running; of several states the one of highest priority, and
      `camera:STALE` also before that state is declared, when no frame came;
    - `camera:SLOW`, `camera:CORRUPT`, `camera:BEHIND`: it ran, and sent too few frames, too few undamaged ones, or late
      ones;
    - `device:STARTING`, `device:BUILDING`: the camera was running and the device was not yet ready, or its engine was
      being built;
    - `log`: the detection log was not writable;
    - `rate_cap`: the camera's `inspect_fps` let too few of its frames through;
    - `capacity:decoding`: too few of the frames could be decoded in time;
    - `capacity`: the device could not inspect all frames;
    - `stopped`: the program was draining;
    - `off`, `crashed`: no program monitored it until this one started;
    - `node:lost`, `node:moving`: the box that inspected it before this one died, or gave it away;
    - `paused`: the process got no CPU time, or the machine slept.

    Where the cause changes, one interval ends and another starts at the same time. A change to a shortage (`rate_cap`,
    `capacity`, `stopped`, `camera:SLOW` and the like) must last as long as a part stays in view: the first inspections
    after a fault take a moment.
    """

    def __init__(self, *, settle_s: float = 0.5, device_ready: bool = True) -> None:
        """Start with no cameras.

        `settle_s` is the longest delay of a result after its frame was due. Without `device_ready` nothing is inspected
        until `device_is_ready`.
        """
        self._circumstances = Circumstances(settle_s, device_ready)
        self._cameras: dict[str, CameraLedger] = {}
        self._left: dict[str, CoverageMinute] = {}  # the last row of each camera that was removed
        self._over: list[CoverageMinute] = []  # those of cameras that came back after it
        self._clock: WallClock | None = None
        self._steps: list[ClockStep] = []
        self._changes = Changes()

    def add_camera(self, camera: str, need: Need, now_s: float, now_utc: float, absence: Absence | None = None) -> None:
        """Monitor a camera from now on; of a known one only the need changes.

        `absence` is the time without monitoring before.
        """
        if camera in self._cameras:
            self._cameras[camera].require(need)
            return
        clock = self._clock = self._clock or WallClock(now_s, now_utc)
        earlier = self._left.pop(camera, None)
        minutes = MinuteCounters(camera, now_s, now_utc, earlier, clock.steps)
        if earlier is not None and earlier.provisional and not minutes.goes_on_with(earlier):
            self._over.append(replace(earlier, provisional=False))
        downtime = Downtime(camera, minutes, self._changes, clock.utc_of)
        entry = self._cameras[camera] = CameraLedger(need, now_s, self._circumstances, minutes, downtime)
        if absence is not None and absence.since_s < now_s:
            entry.begin_with(absence, now_s)

    def remove_camera(
        self, camera: str, counts: CameraCounts, now_s: float, now_utc: float
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End a camera's interval as it stands, forget it, and return what was not returned yet.

        Its minute stays provisional: the camera may come back in it. `tick` returns it once it is over.
        """
        entry = self._cameras.pop(camera, None)
        if entry is None:
            return [], []
        *over, last = entry.close(counts, now_s, now_utc)
        self._left[camera] = replace(last, provisional=True)
        return [*self._take_over(), *over, self._left[camera]], self._changes.take()

    def take_clock_steps(self) -> list[ClockStep]:
        """Return the steps of the wall clock that ticks have found since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def open_intervals(self) -> list[NotInspected]:
        """Return the open intervals."""
        return [entry.open for entry in self._cameras.values() if entry.open is not None]

    def state(self, change: StateChange) -> None:
        """Update a camera's state; unknown cameras are ignored."""
        if (entry := self._cameras.get(change.camera)) is not None:
            entry.state(change)

    def log_writable(self, writable: bool, at_s: float) -> None:
        """Update whether the detection log is writable."""
        if writable != self._circumstances.log_writable:
            self._circumstances.log_writable = writable
            self._note_obstacle(at_s)

    def device_builds(self, building: bool, at_s: float) -> None:
        """Update whether an engine is being built, without which nothing can be inspected yet."""
        if building != self._circumstances.building:
            self._circumstances.building = building
            self._note_obstacle(at_s)

    def device_is_ready(self, at_s: float) -> None:
        """Note that inspection starts."""
        self._open_all(at_s)  # no result can be in flight, so it is certain
        self._circumstances.device_ready = True
        self._note_obstacle(at_s)

    def stop(self, at_s: float) -> None:
        """Note that the program drains: downtime from now on has the cause `stopped`."""
        self._open_all(at_s)
        self._circumstances.stopping = True

    def paused(self, from_s: float, to_s: float) -> None:
        """Note that the process got no CPU time in between: downtime in it has the cause `paused`.

        A camera that was in trouble before keeps its own cause.
        """
        for entry in self._cameras.values():
            entry.paused(from_s, to_s)

    def inspected(self, camera: str, captured_s: float) -> None:
        """Note an inspection, by the capture time of its frame; unknown cameras are ignored."""
        if (entry := self._cameras.get(camera)) is not None:
            entry.inspected(captured_s)

    def tick(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts], asleep_s: float = 0.0
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """Return the minutes that ended and the intervals that were found, changed or ended since the last call.

        Call it every second or more often. A row or interval replaces an earlier one for the same camera and
        minute or with the same id: downtime found after its first minute was written amends that minute. Every few
        seconds the current minute is among them. `asleep_s` is the machine's total time of sleep.
        """
        for camera in counts.keys() & self._cameras.keys():  # before a step of the clock, as they were counted
            self._cameras[camera].count(counts[camera], now_s)
        now_utc = self._read_clock(now_s, now_utc, asleep_s)
        minutes = [minute for entry in self._cameras.values() for minute in entry.tick(now_s, now_utc)]
        minutes += self._left_and_over(now_utc)
        self._circumstances.ticked_s = now_s
        return minutes, self._changes.take()

    def close(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts], asleep_s: float = 0.0
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End everything as it stands and return the rest, including the current minute."""
        minutes, intervals = self.tick(now_s, now_utc, counts, asleep_s)
        for camera, entry in list(self._cameras.items()):
            last = counts.get(camera) or entry.counts or CameraCounts()
            more_minutes, more_intervals = self.remove_camera(camera, last, now_s, now_utc)
            minutes += more_minutes
            intervals += more_intervals
        return [row for row in minutes if not row.provisional] + self._left_and_over(inf), intervals

    def _left_and_over(self, now_utc: float) -> list[CoverageMinute]:
        """Return the last minutes of cameras that were removed, of those that are over by now."""
        clock = 0 if self._clock is None else self._clock.steps
        over = [
            replace(row, provisional=False)
            for row in self._left.values()
            if row.provisional and (row.clock != clock or row.minute_utc + MINUTE_S <= now_utc)
        ]
        self._left |= {row.camera: row for row in over}
        return self._take_over() + over

    def _take_over(self) -> list[CoverageMinute]:
        over, self._over = self._over, []
        return over

    def _read_clock(self, now_s: float, now_utc: float, asleep_s: float) -> float:
        """Take in the clocks, and return what to call this moment.

        Minutes and open intervals go over to a clock that was set, or to the time after a sleep.
        """
        clock = self._clock = self._clock or WallClock(now_s, now_utc)
        ticked_s = self._circumstances.ticked_s
        before_s = now_s if ticked_s is None else ticked_s
        before_utc = clock.utc_of(before_s)
        slept_s, step = clock.read(now_s, now_utc, asleep_s)
        now_utc = clock.utc_of(now_s)
        if slept_s:
            for camera, entry in self._cameras.items():
                gap = NotInspected(
                    "", camera, PAUSED, started_s=before_s, started_utc=before_utc, ended_s=now_s, ended_utc=now_utc
                )
                entry.slept(gap)
        if step is not None:
            self._steps.append(step)
            for entry in self._cameras.values():
                entry.set_clock(now_s, step)
        return now_utc

    def _open_all(self, at_s: float) -> None:
        """Open every gap at once, though a result may be under way."""
        for entry in self._cameras.values():
            entry.open_now(at_s)

    def _note_obstacle(self, at_s: float) -> None:
        for entry in self._cameras.values():
            entry.note_obstacle(at_s)
