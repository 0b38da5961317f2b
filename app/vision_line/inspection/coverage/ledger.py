# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger: what of each line was looked at, and what was not, and why."""

from __future__ import annotations

from collections.abc import Mapping

from vision_line.frames import ClockStep, CoverageMinute, NotInspected, StateChange
from vision_line.inspection.coverage.camera_ledger import CameraLedger, Circumstances
from vision_line.inspection.coverage.causes import PAUSED, Absence
from vision_line.inspection.coverage.downtime import Changes, Downtime
from vision_line.inspection.coverage.minutes import CameraCounts, MinuteCounters
from vision_line.inspection.coverage.wall_clock import WallClock
from vision_line.inspection.coverage.window import Need


class CoverageLedger:
    """Accounts for every camera's frames by UTC minute, and for every gap in its inspection.

    Pure: time comes with each call, monotonic seconds for durations and UTC seconds for what is written. A step of the
    wall clock ends minutes and splits intervals, so that each bears one clock, and moves no duration. One thread calls
    it; calls come in the order of their times, but for `inspected`, which may come as late as results do.

    A line is not inspected while it is looked at too rarely (`ObservationWindow` has the rule): the stays of all parts
    that got fewer looks than they need, and every gap between two looks longer than `gap_s`, are `NotInspected`
    intervals from one look to another. One is returned by `tick` when it is found, which waits while a result may still
    be under way, and again with its end, which is known as soon as the looks after it are enough. A result that is
    later still takes back what was told wrongly: an interval becomes shorter, or is returned as `withdrawn`. Its cause:

    - `camera:<error code or state>`: the camera was not running in it; of several states the most telling one, and
      `camera:STALE` also before that state is declared, when no frame came;
    - `camera:SLOW`, `camera:CORRUPT`, `camera:BEHIND`: it ran, and sent fewer frames, or fewer undamaged ones, than are
      needed, or sent them late;
    - `device:STARTING`: the camera was running and the device was not yet ready;
    - `log`: the detection log was not writable;
    - `rate_cap`: the camera's `inspect_fps` let too few of its frames through;
    - `capacity:decoding`: frames came and too few of them could be decoded in time;
    - `capacity`: frames came and the device did not get to them;
    - `stopped`: the program was draining;
    - `off`, `crashed`: no program watched it, up to the moment at which this one began to;
    - `paused`: the program got no processor, or the machine slept.

    Where the cause changes, one interval ends and another begins at the same moment. A change to what is lacking
    (`rate_cap`, `capacity`, `stopped`, `camera:SLOW` and the like) is taken for real only when it lasts as long as a
    part stays: the first looks after a fault take a moment.
    """

    def __init__(self, *, settle_s: float = 0.5, device_ready: bool = True) -> None:
        """Start with no cameras.

        `settle_s` is how late after its frame was due its result may come. Without `device_ready` nothing is inspected
        until `device_is_ready`.
        """
        self._circumstances = Circumstances(settle_s, device_ready)
        self._cameras: dict[str, CameraLedger] = {}
        self._left: dict[str, CoverageMinute] = {}  # the last row of each camera that was removed
        self._clock: WallClock | None = None
        self._steps: list[ClockStep] = []
        self._changes = Changes()

    def add_camera(self, camera: str, need: Need, now_s: float, now_utc: float, absence: Absence | None = None) -> None:
        """Watch a camera from now on; of one that is known only its need changes.

        `absence` is since when nobody looked at it.
        """
        if camera in self._cameras:
            self._cameras[camera].require(need)
            return
        clock = self._clock = self._clock or WallClock(now_s, now_utc)
        book = MinuteCounters(camera, now_s, now_utc, self._left.pop(camera, None), clock.steps)
        gap = Downtime(camera, book, self._changes, clock.utc_of)
        watched = self._cameras[camera] = CameraLedger(need, now_s, self._circumstances, book, gap)
        if absence is not None and absence.since_s < now_s:
            watched.begin_with(absence, now_s)

    def remove_camera(
        self, camera: str, counts: CameraCounts, now_s: float, now_utc: float
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End a camera's interval and minute as they stand, forget it, and return what was not returned yet."""
        watched = self._cameras.pop(camera, None)
        if watched is None:
            return [], []
        minutes = watched.close(counts, now_s, now_utc)
        self._left[camera] = minutes[-1]
        return minutes, self._changes.take()

    def take_clock_steps(self) -> list[ClockStep]:
        """Return the steps of the wall clock that ticks have found since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def open_intervals(self) -> list[NotInspected]:
        """Return the intervals that last at this moment."""
        return [watched.open for watched in self._cameras.values() if watched.open is not None]

    def state(self, change: StateChange) -> None:
        """Take in a camera's new state; unknown cameras are ignored."""
        if (watched := self._cameras.get(change.camera)) is not None:
            watched.state(change)

    def log_writable(self, writable: bool, at_s: float) -> None:
        """Take in whether the detection log takes results."""
        if writable != self._circumstances.log_writable:
            self._circumstances.log_writable = writable
            self._note_obstacle(at_s)

    def device_is_ready(self, at_s: float) -> None:
        """Take in that inspection begins."""
        self._find_gaps(at_s)  # no result can be under way, so they are certain
        self._circumstances.device_ready = True
        self._note_obstacle(at_s)

    def stop(self, at_s: float) -> None:
        """Take in that the program drains: gaps that begin from now on are nobody's fault."""
        self._find_gaps(at_s)
        self._circumstances.stopping = True

    def paused(self, from_s: float, to_s: float) -> None:
        """Take in that the program got no processor in between: what was not looked at then has the cause `paused`.

        A camera that was in trouble before keeps its own cause.
        """
        for watched in self._cameras.values():
            watched.paused(from_s, to_s)

    def inspected(self, camera: str, captured_s: float) -> None:
        """Take in an inspection, by the capture of its frame; unknown cameras are ignored."""
        if (watched := self._cameras.get(camera)) is not None:
            watched.inspected(captured_s)

    def tick(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts], asleep_s: float = 0.0
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """Return the minutes that ended and the intervals that were found, changed or ended since the last call.

        Call it every second or more often. A row or interval replaces an earlier one for the same camera and
        minute or with the same id: a gap found after its first minute was written amends that minute. Every few
        seconds the minute under way is among them. `asleep_s` is how long the machine has slept since it was started.
        """
        for camera in counts.keys() & self._cameras.keys():  # before a step of the clock, as they were counted
            self._cameras[camera].count(counts[camera], now_s)
        now_utc = self._read_clock(now_s, now_utc, asleep_s)
        minutes = [minute for watched in self._cameras.values() for minute in watched.tick(now_s, now_utc)]
        self._circumstances.ticked_s = now_s
        return minutes, self._changes.take()

    def close(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts], asleep_s: float = 0.0
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End everything as it stands and return the rest, the minute under way included."""
        minutes, intervals = self.tick(now_s, now_utc, counts, asleep_s)
        for camera, watched in list(self._cameras.items()):
            last = counts.get(camera) or watched.counts or CameraCounts()
            more_minutes, more_intervals = self.remove_camera(camera, last, now_s, now_utc)
            minutes += more_minutes
            intervals += more_intervals
        return minutes, intervals

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
            for camera, watched in self._cameras.items():
                watched.slept(NotInspected("", camera, PAUSED, before_s, before_utc, now_s, now_utc))
        if step is not None:
            self._steps.append(step)
            for watched in self._cameras.values():
                watched.set_clock(now_s, step)
        return now_utc

    def _find_gaps(self, at_s: float) -> None:
        """Open every gap at once, though a result may be under way."""
        for watched in self._cameras.values():
            watched.find_gap(at_s)

    def _note_obstacle(self, at_s: float) -> None:
        for watched in self._cameras.values():
            watched.note_obstacle(at_s)
