# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's part of the coverage ledger: its looks, its minutes, its gap and the cause of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from vision_line.frames import CameraState, ClockStep, CoverageMinute, NotInspected, StateChange
from vision_line.inspection.coverage.causes import DAMAGED, LOG, PAUSED, SILENT, STARTING, STOPPED, Absence, CauseLog
from vision_line.inspection.coverage.downtime import Downtime
from vision_line.inspection.coverage.lack import FrameFlow
from vision_line.inspection.coverage.minutes import CameraCounts, MinuteCounters
from vision_line.inspection.coverage.window import Need, ObservationWindow

#: States in which no inspection is due: a file at its end, a camera taken out of the configuration.
_OVER = frozenset({CameraState.ENDED, CameraState.REMOVED})


@dataclass(slots=True)
class Circumstances:
    """What holds for every camera at once; the ledger keeps it up to date."""

    settle_s: float  # how late after its frame was due a result may come
    device_ready: bool
    log_writable: bool = True
    stopping: bool = False
    ticked_s: float | None = None  # when the cameras were counted last

    @property
    def obstacle(self) -> str:
        """What keeps every camera from being inspected; empty: nothing."""
        if not self.device_ready:
            return STARTING
        return "" if self.log_writable else LOG

    def settle_after_s(self, waits_s: float) -> float:
        """Return how long the result of a frame that may wait for `waits_s` can be under way."""
        return self.settle_s + waits_s if self.device_ready else 0.0


class CameraLedger:
    """Accounts for one camera, in the circumstances of all. Pure; `CoverageLedger` has the rules and calls it."""

    def __init__(
        self, need: Need, now_s: float, circumstances: Circumstances, book: MinuteCounters, gap: Downtime
    ) -> None:
        """Watch from `now_s` on; minutes are counted in `book`, and what is not inspected is told by `gap`."""
        self._circumstances = circumstances
        self._book = book
        self._gap = gap
        self._looks = ObservationWindow(now_s, need)  # by the capture of their frames
        self._blame = CauseLog(now_s)
        self._flow = FrameFlow(need)
        self._arrived_after_s = -inf  # a frame is known to have arrived after this moment,
        self._arrived_by_s = -inf  # and by this one, and none since
        self._flowing_s: float | None = None  # since when frames have come
        self._lack = ""  # what was lacking at the last tick, and since when
        self._lack_since_s: float | None = None
        self._told_s = -inf  # up to here gaps are over
        self._ended = False  # no inspection is due any more
        self._absent = False  # nobody has looked at it yet since it was watched last: a gap, however short
        self.counts: CameraCounts | None = None
        self._blame.note(now_s, circumstances.obstacle)

    @property
    def open(self) -> NotInspected | None:
        """The interval that lasts at this moment."""
        return self._gap.open

    @property
    def _is_over(self) -> bool:
        return self._blame.state in _OVER

    def require(self, need: Need) -> None:
        """Ask for other looks from now on."""
        self._looks.require(need)
        self._flow.require(need)

    def begin_with(self, absence: Absence, now_s: float) -> None:
        """Begin with the time in which nobody watched it: `off` or `crashed` up to now, from now on what it is now."""
        self._absent = True
        self._looks.begin(absence.since_s)
        self._gap.begin(absence.since_s, absence.cause)
        self._gap.go_over(now_s, self._blame.now or STARTING)

    def state(self, change: StateChange) -> None:
        """Take in the camera's new state."""
        at_s = change.at_s
        if change.since_s is not None and change.since_s < self._looks.last_s:
            # What was inspected since then was one and the same picture.
            self._looks.forget_after(max(change.since_s, self._told_s))
        was_over = self._is_over
        self._blame.state, self._blame.code = change.state, change.code
        if self._is_over:
            if not was_over:
                self.end(at_s)
            return
        if was_over:
            self._looks.begin(at_s)
            self._told_s, self._ended = at_s, False
            self._gap.forget()
            self._blame.forget()
        self.note_obstacle(at_s)

    def note_obstacle(self, at_s: float) -> None:
        """Take in what keeps every camera from being inspected, as it is at `at_s`."""
        if not self._is_over:
            self._blame.note(at_s, self._circumstances.obstacle)
            self._follow_cause()

    def paused(self, from_s: float, to_s: float) -> None:
        """Take in that the program did not run in between."""
        if self._ended or not self._blame.paused(from_s, to_s) or self._gap.open is None:
            return
        self._lack_since_s = None
        before = self._gap.open.cause
        if before != PAUSED:
            self._gap.go_over(from_s, PAUSED)
        if (after := self._blame.now or before) != PAUSED:
            self._gap.go_over(to_s, after)

    def slept(self, slept: NotInspected) -> None:
        """Account for the time that the machine slept, which the monotonic clock does not know of."""
        if self._ended or slept.ended_s is None:
            return
        open_before = self._gap.open
        self._gap.pause(slept.started_s)
        self._gap.add(slept, slept.ended_s)
        self._looks.begin(slept.ended_s)
        self._told_s = slept.ended_s
        if open_before is not None:
            self._gap.begin(slept.ended_s, open_before.cause)

    def set_clock(self, now_s: float, step: ClockStep) -> None:
        """Go over to a clock that was set: the minute, and the interval that is open."""
        self._book.set_clock(now_s, step.from_utc, step.to_utc)
        if self._gap.open is not None:
            self._gap.go_over(now_s, self._gap.open.cause)

    def inspected(self, captured_s: float) -> None:
        """Take in an inspection, by the capture of its frame. While the camera is FROZEN it counts for nothing."""
        if self._blame.state is CameraState.FROZEN or captured_s <= self._looks.last_s:
            return
        gap, since_s = self._gap, self._lacking(captured_s)
        if self._absent and since_s is None:
            since_s = self._looks.last_s
        self._absent = False
        if since_s is not None:
            self._ensure_open(since_s, captured_s)
            gap.certain_s = self._told_s = captured_s
        self._looks.add(captured_s)
        self._book.look(captured_s)
        if gap.is_known and (gap.certain_s is None or self._looks.first_s >= gap.certain_s):
            gap.end()
        self._blame.looked(captured_s, self._looks.first_s)

    def count(self, counts: CameraCounts, now_s: float) -> None:
        """Take in the camera's counters."""
        before = self.counts.arrived if self.counts is not None else 0
        ticked_s = self._circumstances.ticked_s
        since_s = now_s if ticked_s is None else ticked_s
        if counts.arrived > before:
            self._arrived_after_s, self._arrived_by_s = since_s, now_s
            self._flowing_s = since_s if self._flowing_s is None else self._flowing_s
        elif now_s - self._arrived_after_s > self._looks.need.gap_s:
            self._flowing_s = None
        self.counts = counts
        self._book.count(counts)
        self._flow.note(now_s, counts)

    def tick(self, now_s: float, now_utc: float) -> list[CoverageMinute]:
        """Look for a gap, and return the minutes that ended or changed."""
        if not self._is_over:
            self._look_for_gap(now_s)
        decided_s = now_s if self._gap.open is not None or self._is_over else self._looks.first_s
        return self._book.turn(now_s, now_utc, decided_s)

    def find_gap(self, at_s: float) -> None:
        """Open a gap at once, though a result may be under way."""
        if not self._ended and (since_s := self._lacking(at_s)) is not None:
            self._ensure_open(since_s, at_s)

    def end(self, now_s: float) -> None:
        """End the interval as it stands: no inspection is due any more."""
        since_s = self._lacking(now_s)
        # Results of a file's last frames may be under way when it ends, but none will come of damaged ones.
        is_missed = self._blame.state is not CameraState.ENDED or self._what_lacks(now_s) == DAMAGED
        if since_s is not None and is_missed and not self._ended:
            self._ensure_open(since_s, now_s)
        if since_s is None and self._gap.certain_s is not None:
            self._gap.end()
        self._gap.pause(now_s)
        self._ended = True

    def close(self, counts: CameraCounts, now_s: float, now_utc: float) -> list[CoverageMinute]:
        """End interval and minute as they stand, and return the minutes that were not returned yet."""
        self._book.count(counts)
        self.end(now_s)
        return self._book.close(now_s, now_utc)

    def _lacking(self, at_s: float, patience_s: float = 0.0) -> float | None:
        """Return since when the camera is not inspected, if the next look comes at `at_s`; None: it is."""
        since_s = self._looks.lacking(at_s, patience_s)
        if since_s is not None and self._looks.need.every_frame and not self._blame.since_when(since_s):
            return None
        return since_s

    def _what_lacks(self, at_s: float) -> str:
        """Return what is lacking at `at_s` where nothing is known to stand in the way."""
        if self._circumstances.stopping:
            return STOPPED
        return SILENT if self._is_silent(at_s) else self._flow.cause()

    def _is_silent(self, at_s: float) -> bool:
        """Whether no frame came after the last look, or none for as long as a camera may go without one."""
        if self.counts is None or self.counts.pending:
            return False
        looked_s, least_s = self._looks.last_s, at_s - self._looks.need.gap_s
        return looked_s < least_s and (self._arrived_after_s <= looked_s or self._arrived_by_s < least_s)

    def _follow_cause(self) -> None:
        """Go over to another interval when the cause of the open one has become another definite one."""
        cause = self._blame.now
        if self._gap.open is not None and cause and cause != self._gap.open.cause:
            self._gap.go_over(self._blame.since_s, cause)

    def _look_for_gap(self, now_s: float) -> None:
        settle_s = self._circumstances.settle_after_s(self._looks.need.waits_s)
        since_s = self._lacking(now_s, settle_s)
        if since_s is None:
            self._lack_since_s = None
            return
        was_open = self._gap.open is not None
        self._ensure_open(since_s, now_s)
        if was_open and not self._circumstances.stopping:
            self._find_lack(now_s, self._looks.need.proves_after_s + settle_s)

    def _find_lack(self, now_s: float, proves_after_s: float) -> None:
        """Go over to what is lacking, when it has been so for long with nothing else standing in the way."""
        lack, well_s, gap = self._what_lacks(now_s), self._blame.well_s, self._gap.open
        if lack != self._lack or self._lack_since_s is None:
            self._lack = lack
            self._lack_since_s = now_s
        if gap is None or gap.cause == lack or well_s is None or self._flowing_s is None:
            return
        # A cause that held in this piece ended at `well_s`; else something else was lacking until `_lack_since_s`.
        since_s = self._lack_since_s if well_s <= gap.started_s else well_s
        begun_s = max(since_s, well_s, self._flowing_s, gap.started_s)
        if now_s - begun_s > proves_after_s:
            self._gap.go_over(begun_s, lack)

    def _ensure_open(self, since_s: float, at_s: float) -> None:
        """Open the gap from `since_s` on, which is found at `at_s`; one that is known has begun then, or before."""
        since_s = max(since_s, self._told_s)
        if self._gap.is_known:
            self._gap.begin_earlier(since_s)
            return
        (_, first), *others = self._blame.since_when(since_s) or [(since_s, self._what_lacks(at_s))]
        self._gap.begin(since_s, first)
        for from_s, cause in others:
            self._gap.go_over(from_s, cause)
        self._follow_cause()
