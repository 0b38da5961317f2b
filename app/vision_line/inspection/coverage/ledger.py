# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger: what of each line was looked at, and what was not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from vision_line.frames import CameraState, ClockStep, CoverageMinute, NotInspected, StateChange
from vision_line.inspection.coverage.causes import DAMAGED, LOG, PAUSED, SILENT, STARTING, STOPPED, Absence, CauseLog
from vision_line.inspection.coverage.downtime import Changes, Downtime
from vision_line.inspection.coverage.lack import FrameFlow
from vision_line.inspection.coverage.minutes import CameraCounts, MinuteCounters
from vision_line.inspection.coverage.wall_clock import WallClock
from vision_line.inspection.coverage.window import Need, ObservationWindow

#: States in which no inspection is due: a file at its end, a camera taken out of the configuration.
_OVER = frozenset({CameraState.ENDED, CameraState.REMOVED})


@dataclass(slots=True)
class _Watch:
    """One camera under watch."""

    looks: ObservationWindow  # by the capture of their frames
    book: MinuteCounters
    gap: Downtime
    blame: CauseLog
    flow: FrameFlow
    counts: CameraCounts | None = None
    arrived_after_s: float = -inf  # a frame is known to have arrived after this moment,
    arrived_by_s: float = -inf  # and by this one, and none since
    flowing_s: float | None = None  # since when frames have come
    lack: str = ""  # what was lacking at the last tick, and since when
    lack_since_s: float | None = None
    told_s: float = -inf  # up to here gaps are over
    ended: bool = False  # no inspection is due any more
    absent: bool = False  # nobody has looked at it yet since it was watched last: a gap, however short


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
        self._settle_s = settle_s
        self._watches: dict[str, _Watch] = {}
        self._left: dict[str, CoverageMinute] = {}  # the last row of each camera that was removed
        self._device_ready = device_ready
        self._log_writable = True
        self._stopping = False
        self._ticked_s: float | None = None
        self._clock: WallClock | None = None
        self._steps: list[ClockStep] = []
        self._changes = Changes()

    def add_camera(self, camera: str, need: Need, now_s: float, now_utc: float, absence: Absence | None = None) -> None:
        """Watch a camera from now on; of one that is known only its need changes.

        `absence` is since when nobody looked at it.
        """
        if camera in self._watches:
            watch = self._watches[camera]
            watch.looks.require(need)
            watch.flow.require(need)
            return
        clock = self._clock = self._clock or WallClock(now_s, now_utc)
        book = MinuteCounters(camera, now_s, now_utc, self._left.pop(camera, None), clock.steps)
        gap = Downtime(camera, book, self._changes, clock.utc_of)
        watch = _Watch(ObservationWindow(now_s, need), book, gap, CauseLog(now_s), FrameFlow(need))
        self._watches[camera] = watch
        watch.blame.note(now_s, self._obstacle)
        if absence is not None and absence.since_s < now_s:
            self._account_for(watch, absence, now_s)

    def remove_camera(
        self, camera: str, counts: CameraCounts, now_s: float, now_utc: float
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End a camera's interval and minute as they stand, forget it, and return what was not returned yet."""
        watch = self._watches.pop(camera, None)
        if watch is None:
            return [], []
        watch.book.count(counts)
        self._end_watch(watch, now_s)
        minutes = watch.book.close(now_s, now_utc)
        self._left[camera] = minutes[-1]
        return minutes, self._changes.take()

    def take_clock_steps(self) -> list[ClockStep]:
        """Return the steps of the wall clock that ticks have found since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def open_intervals(self) -> list[NotInspected]:
        """Return the intervals that last at this moment."""
        return [watch.gap.open for watch in self._watches.values() if watch.gap.open is not None]

    def state(self, change: StateChange) -> None:
        """Take in a camera's new state; unknown cameras are ignored."""
        watch = self._watches.get(change.camera)
        if watch is None:
            return
        at_s = change.at_s
        if change.since_s is not None and change.since_s < watch.looks.last_s:
            # What was inspected since then was one and the same picture.
            watch.looks.forget_after(max(change.since_s, watch.told_s))
        was_over = watch.blame.state in _OVER
        watch.blame.state, watch.blame.code = change.state, change.code
        if change.state in _OVER:
            if not was_over:
                self._end_watch(watch, at_s)
            return
        if was_over:
            watch.looks.begin(at_s)
            watch.told_s, watch.ended = at_s, False
            watch.gap.forget()
            watch.blame.forget()
        watch.blame.note(at_s, self._obstacle)
        self._follow_cause(watch)

    def log_writable(self, writable: bool, at_s: float) -> None:
        """Take in whether the detection log takes results."""
        if writable != self._log_writable:
            self._log_writable = writable
            self._note_obstacle(at_s)

    def device_is_ready(self, at_s: float) -> None:
        """Take in that inspection begins."""
        self._find_gaps(at_s)  # no result can be under way, so they are certain
        self._device_ready = True
        self._note_obstacle(at_s)

    def stop(self, at_s: float) -> None:
        """Take in that the program drains: gaps that begin from now on are nobody's fault."""
        self._find_gaps(at_s)
        self._stopping = True

    def paused(self, from_s: float, to_s: float) -> None:
        """Take in that the program got no processor in between: what was not looked at then has the cause `paused`.

        A camera that was in trouble before keeps its own cause.
        """
        for watch in self._watches.values():
            if watch.ended or not watch.blame.paused(from_s, to_s) or watch.gap.open is None:
                continue
            watch.lack_since_s = None
            before = watch.gap.open.cause
            if before != PAUSED:
                watch.gap.go_over(from_s, PAUSED)
            if (after := watch.blame.now or before) != PAUSED:
                watch.gap.go_over(to_s, after)

    def inspected(self, camera: str, captured_s: float) -> None:
        """Take in an inspection, by the capture of its frame. While a camera is FROZEN it counts for nothing."""
        watch = self._watches.get(camera)
        if watch is None or watch.blame.state is CameraState.FROZEN or captured_s <= watch.looks.last_s:
            return
        gap, since_s = watch.gap, self._lacking(watch, captured_s)
        if watch.absent and since_s is None:
            since_s = watch.looks.last_s
        watch.absent = False
        if since_s is not None:
            self._ensure_open(watch, since_s, captured_s)
            gap.certain_s = watch.told_s = captured_s
        watch.looks.add(captured_s)
        watch.book.look(captured_s)
        if gap.is_known and (gap.certain_s is None or watch.looks.first_s >= gap.certain_s):
            gap.end()
        watch.blame.looked(captured_s, watch.looks.first_s)

    def tick(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts], asleep_s: float = 0.0
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """Return the minutes that ended and the intervals that were found, changed or ended since the last call.

        Call it every second or more often. A row or interval replaces an earlier one for the same camera and
        minute or with the same id: a gap found after its first minute was written amends that minute. Every few
        seconds the minute under way is among them. `asleep_s` is how long the machine has slept since it was started.
        """
        for camera in counts.keys() & self._watches.keys():  # before a step of the clock, as they were counted
            self._count(self._watches[camera], counts[camera], now_s)
        now_utc = self._read_clock(now_s, now_utc, asleep_s)
        minutes = []
        for watch in self._watches.values():
            if watch.blame.state not in _OVER:
                self._look_for_gap(watch, now_s)
            decided_s = now_s if watch.gap.open is not None or watch.blame.state in _OVER else watch.looks.first_s
            minutes += watch.book.turn(now_s, now_utc, decided_s)
        self._ticked_s = now_s
        return minutes, self._changes.take()

    def close(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts], asleep_s: float = 0.0
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End everything as it stands and return the rest, the minute under way included."""
        minutes, intervals = self.tick(now_s, now_utc, counts, asleep_s)
        for camera in list(self._watches):
            last = counts.get(camera) or self._watches[camera].counts or CameraCounts()
            more_minutes, more_intervals = self.remove_camera(camera, last, now_s, now_utc)
            minutes += more_minutes
            intervals += more_intervals
        return minutes, intervals

    @property
    def _obstacle(self) -> str:
        """What keeps every camera from being inspected."""
        if not self._device_ready:
            return STARTING
        return "" if self._log_writable else LOG

    def _account_for(self, watch: _Watch, absence: Absence, now_s: float) -> None:
        """Begin with the time in which nobody watched it: `off` or `crashed` up to now, from now on what it is now."""
        watch.absent = True
        watch.looks.begin(absence.since_s)
        watch.gap.begin(absence.since_s, absence.cause)
        watch.gap.go_over(now_s, watch.blame.now or STARTING)

    def _read_clock(self, now_s: float, now_utc: float, asleep_s: float) -> float:
        """Take in the clocks, and return what to call this moment.

        Minutes and open intervals go over to a clock that was set, or to the time after a sleep.
        """
        clock = self._clock = self._clock or WallClock(now_s, now_utc)
        before_s = now_s if self._ticked_s is None else self._ticked_s
        before_utc = clock.utc_of(before_s)
        slept_s, step = clock.read(now_s, now_utc, asleep_s)
        now_utc = clock.utc_of(now_s)
        if slept_s:
            for watch in self._watches.values():
                self._sleep(watch, NotInspected("", watch.gap.camera, PAUSED, before_s, before_utc, now_s, now_utc))
        if step is not None:
            self._steps.append(step)
            for watch in self._watches.values():
                watch.book.set_clock(now_s, step.from_utc, step.to_utc)
                if watch.gap.open is not None:
                    watch.gap.go_over(now_s, watch.gap.open.cause)
        return now_utc

    def _sleep(self, watch: _Watch, slept: NotInspected) -> None:
        """Account for the time that the machine slept, which the monotonic clock does not know of."""
        if watch.ended or slept.ended_s is None:
            return
        open_before = watch.gap.open
        watch.gap.pause(slept.started_s)
        watch.book.add(slept.started_s, slept.ended_s)
        self._changes.put(replace(slept, interval_id=self._changes.new_id(slept.camera, slept.started_utc)))
        watch.looks.begin(slept.ended_s)
        watch.told_s = slept.ended_s
        if open_before is not None:
            watch.gap.begin(slept.ended_s, open_before.cause)

    def _find_gaps(self, at_s: float) -> None:
        """Open every gap at once, though a result may be under way."""
        for watch in self._watches.values():
            if not watch.ended and (since_s := self._lacking(watch, at_s)) is not None:
                self._ensure_open(watch, since_s, at_s)

    def _note_obstacle(self, at_s: float) -> None:
        for watch in self._watches.values():
            if watch.blame.state not in _OVER:
                watch.blame.note(at_s, self._obstacle)
                self._follow_cause(watch)

    def _count(self, watch: _Watch, counts: CameraCounts, now_s: float) -> None:
        before = watch.counts.arrived if watch.counts is not None else 0
        since_s = now_s if self._ticked_s is None else self._ticked_s
        if counts.arrived > before:
            watch.arrived_after_s, watch.arrived_by_s = since_s, now_s
            watch.flowing_s = since_s if watch.flowing_s is None else watch.flowing_s
        elif now_s - watch.arrived_after_s > watch.looks.need.gap_s:
            watch.flowing_s = None
        watch.counts = counts
        watch.book.count(counts)
        watch.flow.note(now_s, counts)

    def _end_watch(self, watch: _Watch, now_s: float) -> None:
        since_s = self._lacking(watch, now_s)
        # Results of a file's last frames may be under way when it ends, but none will come of damaged ones.
        is_missed = watch.blame.state is not CameraState.ENDED or self._lack(watch, now_s) == DAMAGED
        if since_s is not None and is_missed and not watch.ended:
            self._ensure_open(watch, since_s, now_s)
        if since_s is None and watch.gap.certain_s is not None:
            watch.gap.end()
        watch.gap.pause(now_s)
        watch.ended = True

    def _lacking(self, watch: _Watch, at_s: float, patience_s: float = 0.0) -> float | None:
        """Return since when the line is not inspected, if the next look comes at `at_s`; None: it is."""
        since_s = watch.looks.lacking(at_s, patience_s)
        if since_s is not None and watch.looks.need.every_frame and not watch.blame.since_when(since_s):
            return None
        return since_s

    def _lack(self, watch: _Watch, at_s: float) -> str:
        """Return what is lacking at `at_s` where nothing is known to stand in the way."""
        if self._stopping:
            return STOPPED
        return SILENT if self._is_silent(watch, at_s) else watch.flow.cause()

    def _is_silent(self, watch: _Watch, at_s: float) -> bool:
        """Whether no frame came after the last look, or none for as long as a line may go without one."""
        if watch.counts is None or watch.counts.pending:
            return False
        looked_s, least_s = watch.looks.last_s, at_s - watch.looks.need.gap_s
        return looked_s < least_s and (watch.arrived_after_s <= looked_s or watch.arrived_by_s < least_s)

    def _follow_cause(self, watch: _Watch) -> None:
        """Go over to another interval when the cause of the open one has become another definite one."""
        cause = watch.blame.now
        if watch.gap.open is not None and cause and cause != watch.gap.open.cause:
            watch.gap.go_over(watch.blame.since_s, cause)

    def _look_for_gap(self, watch: _Watch, now_s: float) -> None:
        settle_s = self._settle_s + watch.looks.need.waits_s if self._device_ready else 0.0
        since_s = self._lacking(watch, now_s, settle_s)
        if since_s is None:
            watch.lack_since_s = None
            return
        was_open = watch.gap.open is not None
        self._ensure_open(watch, since_s, now_s)
        if was_open and not self._stopping:
            self._find_lack(watch, now_s, watch.looks.need.proves_after_s + settle_s)

    def _find_lack(self, watch: _Watch, now_s: float, proves_after_s: float) -> None:
        """Go over to what is lacking, when it has been so for long with nothing else standing in the way."""
        lack, well_s, gap = self._lack(watch, now_s), watch.blame.well_s, watch.gap.open
        if lack != watch.lack or watch.lack_since_s is None:
            watch.lack = lack
            watch.lack_since_s = now_s
        if gap is None or gap.cause == lack or well_s is None or watch.flowing_s is None:
            return
        # A cause that held in this piece ended at `well_s`; else something else was lacking until `lack_since_s`.
        since_s = watch.lack_since_s if well_s <= gap.started_s else well_s
        begun_s = max(since_s, well_s, watch.flowing_s, gap.started_s)
        if now_s - begun_s > proves_after_s:
            watch.gap.go_over(begun_s, lack)

    def _ensure_open(self, watch: _Watch, since_s: float, at_s: float) -> None:
        """Open the gap from `since_s` on, which is found at `at_s`; one that is known has begun then, or before."""
        since_s = max(since_s, watch.told_s)
        if watch.gap.is_known:
            watch.gap.begin_earlier(since_s)
            return
        (_, first), *others = watch.blame.since_when(since_s) or [(since_s, self._lack(watch, at_s))]
        watch.gap.begin(since_s, first)
        for from_s, cause in others:
            watch.gap.go_over(from_s, cause)
        self._follow_cause(watch)
