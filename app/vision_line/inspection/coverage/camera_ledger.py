# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's part of the coverage ledger: its inspections, minutes, downtime and causes."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from vision_line.frames import CameraState, ClockStep, CoverageMinute, NotInspected, StateChange
from vision_line.inspection.coverage.causes import (
    BUILDING,
    DAMAGED,
    LOG,
    PAUSED,
    SILENT,
    STARTING,
    STOPPED,
    Absence,
    CauseLog,
)
from vision_line.inspection.coverage.downtime import Downtime
from vision_line.inspection.coverage.minutes import CameraCounts, MinuteCounters
from vision_line.inspection.coverage.shortage import FrameFlow
from vision_line.inspection.coverage.window import InspectionWindow, Need

#: States in which no inspection is due: a file at its end, a camera taken out of the configuration.
_OVER = frozenset({CameraState.ENDED, CameraState.REMOVED})


@dataclass(slots=True)
class Circumstances:
    """What holds for every camera at once; the ledger keeps it up to date."""

    settle_s: float  # longest delay of a result after its frame was due
    device_ready: bool
    building: bool = False  # before it is ready
    log_writable: bool = True
    stopping: bool = False
    ticked_s: float | None = None  # time of the last count

    @property
    def obstacle(self) -> str:
        """The obstacle for all cameras; empty: none."""
        if not self.device_ready:
            return BUILDING if self.building else STARTING
        return "" if self.log_writable else LOG

    def settle_after_s(self, waits_s: float) -> float:
        """Return the longest time for the result of a frame that may wait for `waits_s`."""
        return self.settle_s + waits_s if self.device_ready else 0.0


class CameraLedger:
    """Accounts for one camera, in the circumstances of all. Pure; `CoverageLedger` has the rules and calls it."""

    def __init__(
        self, need: Need, now_s: float, circumstances: Circumstances, minutes: MinuteCounters, downtime: Downtime
    ) -> None:
        """Watch from `now_s` on; minutes are counted in `minutes`, and downtime is reported by `downtime`."""
        self._circumstances = circumstances
        self._minutes = minutes
        self._downtime = downtime
        self._window = InspectionWindow(now_s, need)  # by the capture times of their frames
        self._causes = CauseLog(now_s)
        self._flow = FrameFlow(need)
        self._arrived_after_s = -inf  # a frame is known to have arrived after this moment,
        self._arrived_by_s = -inf  # and by this one, and none since
        self._flowing_s: float | None = None  # since when frames arrive
        self._last_shortage = ""  # the shortage at the last tick, and its start
        self._shortage_since_s: float | None = None
        self._decided_s = -inf  # the latest inspection that downtime was found at: until then its end is known
        self._settled_s = -inf  # up to here nothing changes: the end of what was reported before
        self._ended = False  # inspection is no longer due
        self._absent = False  # not inspected since it was last monitored: downtime, however short
        self.counts: CameraCounts | None = None
        self._causes.note(now_s, circumstances.obstacle)

    @property
    def open(self) -> NotInspected | None:
        """The open interval."""
        return self._downtime.open

    @property
    def _is_over(self) -> bool:
        return self._causes.state in _OVER

    def require(self, need: Need) -> None:
        """Use another need from now on."""
        self._window.require(need)
        self._flow.require(need)

    def begin_with(self, absence: Absence, now_s: float) -> None:
        """Start with the time without monitoring: `off` or `crashed` up to now, then the present cause."""
        self._absent = True
        self._window.begin(absence.since_s)
        self._downtime.begin(absence.since_s, absence.cause)
        self._downtime.change_cause(now_s, self._causes.now or STARTING)

    def state(self, change: StateChange) -> None:
        """Update the camera's state."""
        at_s = change.at_s
        if change.since_s is not None and change.since_s < self._window.last_s:
            # All inspections since then were of the same frame.
            self._window.drop_after(max(change.since_s, self._decided_s))
        was_over = self._is_over
        self._causes.state, self._causes.code = change.state, change.code
        if self._is_over:
            if not was_over:
                self.end(at_s)
            return
        if was_over:
            self._window.begin(at_s)
            self._decided_s = self._settled_s = at_s
            self._ended = False
            self._downtime.reset()
            self._causes.clear_trouble()
        self.note_obstacle(at_s)

    def note_obstacle(self, at_s: float) -> None:
        """Update the obstacle for all cameras, at `at_s`."""
        if not self._is_over:
            self._causes.note(at_s, self._circumstances.obstacle)
            self._follow_cause()

    def paused(self, from_s: float, to_s: float) -> None:
        """Note that the process did not run in between."""
        if self._ended or not self._causes.paused(from_s, to_s) or self._downtime.open is None:
            return
        self._shortage_since_s = None
        before = self._downtime.open.cause
        if before != PAUSED:
            self._downtime.change_cause(from_s, PAUSED)
        if (after := self._causes.now or before) != PAUSED:
            self._downtime.change_cause(to_s, after)

    def slept(self, slept: NotInspected) -> None:
        """Account for the sleep of the machine, which the monotonic clock does not count."""
        if self._ended or slept.ended_s is None:
            return
        open_before = self._downtime.open
        self._downtime.pause(slept.started_s)
        self._downtime.reset()  # what was before it is final: a first inspection afterwards withdraws none of it
        self._downtime.add(slept, slept.ended_s)
        self._window.begin(slept.ended_s)
        self._decided_s = self._settled_s = slept.ended_s
        if open_before is not None:
            self._downtime.begin(slept.ended_s, open_before.cause)

    def set_clock(self, now_s: float, step: ClockStep) -> None:
        """Switch the minute and the open interval to a clock that was set."""
        self._minutes.set_clock(now_s, step.from_utc, step.to_utc)
        if self._downtime.open is not None:
            self._downtime.change_cause(now_s, self._downtime.open.cause)

    def inspected(self, captured_s: float) -> None:
        """Note an inspection, by the capture time of its frame; ignored while the camera is FROZEN."""
        if self._causes.state is CameraState.FROZEN or captured_s <= self._window.last_s:
            return
        downtime, since_s = self._downtime, self._uninspected_since(captured_s)
        if self._absent and since_s is None:
            since_s = self._window.last_s
        self._absent = False
        if since_s is not None:
            self._ensure_open(since_s, captured_s)
            downtime.certain_s = self._decided_s = captured_s
        self._window.add(captured_s)
        self._minutes.inspected(captured_s)
        if downtime.is_known and (downtime.certain_s is None or self._window.first_s >= downtime.certain_s):
            self._settled_s = max(self._settled_s, self._decided_s)
            downtime.end()
        self._causes.inspected(captured_s, self._window.first_s)

    def count(self, counts: CameraCounts, now_s: float) -> None:
        """Update the camera's counters."""
        before = self.counts.arrived if self.counts is not None else 0
        ticked_s = self._circumstances.ticked_s
        since_s = now_s if ticked_s is None else ticked_s
        if counts.arrived > before:
            self._arrived_after_s, self._arrived_by_s = since_s, now_s
            self._flowing_s = since_s if self._flowing_s is None else self._flowing_s
        elif now_s - self._arrived_after_s > self._window.need.gap_s:
            self._flowing_s = None
        self.counts = counts
        self._minutes.count(counts)
        self._flow.note(now_s, counts)

    def tick(self, now_s: float, now_utc: float) -> list[CoverageMinute]:
        """Check for downtime, and return the minutes that ended or changed."""
        if not self._is_over:
            self._find_downtime(now_s)
        decided_s = now_s if self._downtime.open is not None or self._is_over else self._window.first_s
        return self._minutes.turn(now_s, now_utc, decided_s)

    def open_now(self, at_s: float) -> None:
        """Open downtime at once, though a result may be in flight."""
        if not self._ended and (since_s := self._uninspected_since(at_s)) is not None:
            self._ensure_open(since_s, at_s)

    def end(self, now_s: float) -> None:
        """End the interval as it stands: inspection is no longer due."""
        since_s = self._uninspected_since(now_s)
        # Results of a file's last frames may be in flight when it ends, but damaged ones give none.
        is_missed = self._causes.state is not CameraState.ENDED or self._shortage(now_s) == DAMAGED
        if since_s is not None and is_missed and not self._ended:
            self._ensure_open(since_s, now_s)
        if since_s is None and self._downtime.certain_s is not None:
            self._downtime.end()
        self._downtime.pause(now_s)
        self._ended = True

    def close(self, counts: CameraCounts, now_s: float, now_utc: float) -> list[CoverageMinute]:
        """End interval and minute as they stand, and return the minutes that were not returned yet."""
        self._minutes.count(counts)
        self.end(now_s)
        return self._minutes.close(now_s, now_utc)

    def _uninspected_since(self, at_s: float, patience_s: float = 0.0) -> float | None:
        """Return since when the camera is not inspected if the next inspection is at `at_s`; None: it is inspected."""
        since_s = self._window.uninspected_since(at_s, patience_s)
        if since_s is not None and self._window.need.every_frame and not self._causes.since_when(since_s):
            return None
        return since_s

    def _shortage(self, at_s: float) -> str:
        """Return the shortage at `at_s`, where there is no known cause."""
        if self._circumstances.stopping:
            return STOPPED
        return SILENT if self._is_silent(at_s) else self._flow.cause()

    def _is_silent(self, at_s: float) -> bool:
        """Whether no frame came after the last inspection, or none for the longest allowed gap."""
        if self.counts is None or self.counts.pending:
            return False
        inspected_s, least_s = self._window.last_s, at_s - self._window.need.gap_s
        return inspected_s < least_s and (self._arrived_after_s <= inspected_s or self._arrived_by_s < least_s)

    def _follow_cause(self) -> None:
        """Change the open interval's cause when another one is known."""
        cause = self._causes.now
        if self._downtime.open is not None and cause and cause != self._downtime.open.cause:
            self._downtime.change_cause(self._causes.since_s, cause)

    def _find_downtime(self, now_s: float) -> None:
        settle_s = self._circumstances.settle_after_s(self._window.need.waits_s)
        since_s = self._uninspected_since(now_s, settle_s)
        if since_s is None:
            self._shortage_since_s = None
            return
        was_open = self._downtime.open is not None
        self._ensure_open(since_s, now_s)
        if was_open and not self._circumstances.stopping:
            self._follow_shortage(now_s, self._window.need.proves_after_s + settle_s)

    def _follow_shortage(self, now_s: float, proves_after_s: float) -> None:
        """Change the cause to the shortage, when it has lasted long enough without another cause."""
        shortage, clear_since_s, downtime = self._shortage(now_s), self._causes.clear_since_s, self._downtime.open
        if shortage != self._last_shortage or self._shortage_since_s is None:
            self._last_shortage = shortage
            self._shortage_since_s = now_s
        if downtime is None or downtime.cause == shortage or clear_since_s is None or self._flowing_s is None:
            return
        # A cause in this interval ended at `clear_since_s`; otherwise another shortage did at `_shortage_since_s`.
        since_s = self._shortage_since_s if clear_since_s <= downtime.started_s else clear_since_s
        begun_s = max(since_s, clear_since_s, self._flowing_s, downtime.started_s)
        if now_s - begun_s > proves_after_s:
            self._downtime.change_cause(begun_s, shortage)

    def _ensure_open(self, since_s: float, at_s: float) -> None:
        """Open downtime from `since_s` on, found at `at_s`; known downtime is extended back to it.

        A gap may be found first, and later that parts which came before it lack an inspection behind it.
        """
        since_s = max(since_s, self._settled_s)
        if self._downtime.is_known:
            self._downtime.extend_back(since_s)
            return
        (_, first), *others = self._causes.since_when(since_s) or [(since_s, self._shortage(at_s))]
        self._downtime.begin(since_s, first)
        for from_s, cause in others:
            self._downtime.change_cause(from_s, cause)
        self._follow_cause()
