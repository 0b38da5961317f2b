# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger: what of each line was looked at, and what was not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from vision_line.frames import INSPECTING_STATES, CameraState, CoverageMinute, NotInspected, StateChange
from vision_line.inspection.minutes import CameraCounts, MinuteBook

CAPACITY = "capacity"
LOG = "log"
#: No frame came; the state is declared later than a gap is found.
SILENT = f"camera:{CameraState.STALE}"

#: How much a state tells of why nothing was inspected; an error code tells more than any of them.
_TELLING: Mapping[CameraState, int] = {
    CameraState.CONNECTING: 1,
    CameraState.RECONNECTING: 2,
    CameraState.STALE: 3,
    CameraState.FROZEN: 4,
}
_CODE_TELLS = 5
#: States in which no inspection is due: a file at its end, a camera taken out of the configuration.
_OVER = frozenset({CameraState.ENDED, CameraState.REMOVED})


@dataclass(frozen=True, slots=True)
class _Moment:
    """One instant on both clocks; they are never subtracted from each other."""

    s: float
    utc: float


@dataclass(slots=True)
class _Watch:
    """One camera under watch."""

    gap_s: float
    last: _Moment  # arrival of the last frame that was inspected, or the start of the watch
    book: MinuteBook
    state: CameraState = CameraState.CONNECTING
    code: str | None = None
    trouble: str = ""  # the most telling cause since the camera last ran; empty while it runs
    telling: int = 0
    blame: str = ""  # the most telling cause since the last inspection
    blame_telling: int = 0
    well: _Moment | None = None  # since when the camera has run and the log was writable
    counts: CameraCounts | None = None
    arrived_after_s: float = -inf  # a frame is known to have arrived after this moment
    flowing: _Moment | None = None  # since when frames have come
    open: NotInspected | None = None
    ended: bool = False  # no inspection is due any more


class CoverageLedger:
    """Accounts for every camera's frames by UTC minute, and for every gap in its inspection.

    Pure: time comes with each call, monotonic seconds for durations and UTC seconds for what is written; a step of the
    wall clock moves labels, never durations. One thread calls it; calls come in the order of their times, but
    for `inspected`, which may come as late as results do.

    A gap between two inspections longer than the camera's `gap_s` is a `NotInspected` interval from the arrival of
    the last inspected frame to the arrival of the next. It is returned by `tick` when it is found, which `settle_s`
    delays while a result may still be under way, and again with its end. Its cause:

    - `camera:<error code or state>`: the camera was not running in it; of several states the most telling one, and
      `camera:STALE` also before that state is declared, when no frame came;
    - `log`: the detection log was not writable;
    - `capacity`: frames came and the device did not get to them.

    Where the cause changes, one interval ends and another begins at the same moment. A change to `capacity` is taken
    for real only when it lasts for `gap_s`, because the first inspection after a fault takes a moment.
    """

    def __init__(self, *, settle_s: float = 0.5) -> None:
        """Start with no cameras. `settle_s` is how late after a frame's arrival its result may come."""
        self._settle_s = settle_s
        self._watches: dict[str, _Watch] = {}
        self._left: dict[str, CoverageMinute] = {}  # the last row of each camera that was removed
        self._log_writable = True
        self._number = 0
        self._ticked: _Moment | None = None
        self._changed: dict[str, NotInspected] = {}

    def add_camera(self, camera: str, gap_s: float, now_s: float, now_utc: float) -> None:
        """Watch a camera from now on; `gap_s` is its `Stream.inspection_gap_s`, which alone changes if it is known."""
        if camera in self._watches:
            self._watches[camera].gap_s = gap_s
            return
        now = _Moment(now_s, now_utc)
        watch = _Watch(gap_s, now, MinuteBook(camera, now_s, now_utc, self._left.pop(camera, None)))
        self._watches[camera] = watch
        self._note_trouble(watch, now)

    def remove_camera(
        self, camera: str, counts: CameraCounts, now_s: float, now_utc: float
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End a camera's interval and minute as they stand, forget it, and return what was not returned yet."""
        watch = self._watches.pop(camera, None)
        if watch is None:
            return [], []
        watch.book.count(counts)
        self._end_watch(camera, watch, _Moment(now_s, now_utc))
        minutes = watch.book.close(now_s, now_utc)
        self._left[camera] = minutes[-1]
        return minutes, self._take_changed()

    def open_intervals(self) -> list[NotInspected]:
        """Return the intervals that last at this moment."""
        return [watch.open for watch in self._watches.values() if watch.open is not None]

    def state(self, change: StateChange) -> None:
        """Take in a camera's new state; unknown cameras are ignored."""
        watch = self._watches.get(change.camera)
        if watch is None:
            return
        at = _Moment(change.at_s, change.at_utc)
        if change.since_s is not None and change.since_s < watch.last.s:
            # What was inspected since then was one and the same picture. Its label: the clock of the change, set back.
            watch.last = _Moment(change.since_s, at.utc - (at.s - change.since_s))
        was_over = watch.state in _OVER
        watch.state, watch.code = change.state, change.code
        if change.state in _OVER:
            if not was_over:
                self._end_watch(change.camera, watch, at)
            return
        if was_over:
            self._start_again(watch, at)
        self._note_trouble(watch, at)
        self._follow_cause(change.camera, watch, at)

    def log_writable(self, writable: bool, at_s: float, at_utc: float) -> None:
        """Take in whether the detection log takes results."""
        if writable == self._log_writable:
            return
        self._log_writable = writable
        at = _Moment(at_s, at_utc)
        for camera, watch in self._watches.items():
            self._note_trouble(watch, at)
            self._follow_cause(camera, watch, at)

    def inspected(self, camera: str, arrived_s: float, arrived_utc: float, finished_s: float) -> None:
        """Take in an inspection, by the arrival of its frame. While a camera is FROZEN it counts for nothing.

        `finished_s` is when its result was there; an inspection counts from its frame's arrival, so it is unused.
        """
        watch = self._watches.get(camera)
        if watch is None or watch.state is CameraState.FROZEN or arrived_s <= watch.last.s:
            return
        at = _Moment(arrived_s, arrived_utc)
        if watch.open is None and arrived_s - watch.last.s > watch.gap_s:
            self._open(camera, watch, watch.last, self._cause_of_gap(watch))
        if watch.open is not None:
            if arrived_s < watch.open.started_s:  # a late result from before the cause changed
                at = _Moment(watch.open.started_s, watch.open.started_utc)
            self._end_open(watch, at)
        watch.last = at
        watch.blame, watch.blame_telling = watch.trouble, watch.telling

    def tick(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts]
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """Return the minutes that ended and the intervals that were found, changed or ended since the last call.

        Call it every second or more often. A row or interval replaces an earlier one for the same camera and
        minute or with the same id: a gap found after its first minute was written amends that minute.
        """
        now = _Moment(now_s, now_utc)
        minutes = []
        for camera, watch in self._watches.items():
            if camera in counts:
                self._count(watch, counts[camera], now)
            if watch.state not in _OVER:
                self._look_for_gap(camera, watch, now)
            decided_s = now_s if watch.open is not None or watch.state in _OVER else watch.last.s
            minutes += watch.book.turn(now_s, now_utc, decided_s)
        self._ticked = now
        return minutes, self._take_changed()

    def close(
        self, now_s: float, now_utc: float, counts: Mapping[str, CameraCounts]
    ) -> tuple[list[CoverageMinute], list[NotInspected]]:
        """End everything as it stands and return the rest, the minute under way included."""
        minutes, intervals = self.tick(now_s, now_utc, counts)
        for camera in list(self._watches):
            last = counts.get(camera) or self._watches[camera].counts or CameraCounts()
            more_minutes, more_intervals = self.remove_camera(camera, last, now_s, now_utc)
            minutes += more_minutes
            intervals += more_intervals
        return minutes, intervals

    def _take_changed(self) -> list[NotInspected]:
        changed, self._changed = list(self._changed.values()), {}
        return changed

    def _count(self, watch: _Watch, counts: CameraCounts, now: _Moment) -> None:
        before = watch.counts.arrived if watch.counts is not None else 0
        since = self._ticked or now
        if counts.arrived > before:
            watch.arrived_after_s = since.s
            watch.flowing = watch.flowing or since
        elif now.s - watch.arrived_after_s > watch.gap_s:
            watch.flowing = None
        watch.counts = counts
        watch.book.count(counts)

    def _end_watch(self, camera: str, watch: _Watch, now: _Moment) -> None:
        late = now.s - watch.last.s > watch.gap_s and watch.state is not CameraState.ENDED
        if watch.open is None and late and not watch.ended:
            self._open(camera, watch, watch.last, self._cause_of_gap(watch))
        self._end_open(watch, now)
        watch.ended = True

    def _start_again(self, watch: _Watch, at: _Moment) -> None:
        watch.last, watch.ended = at, False
        watch.trouble = watch.blame = ""
        watch.telling = watch.blame_telling = 0

    def _note_trouble(self, watch: _Watch, at: _Moment) -> None:
        """Keep the most telling cause of the camera's present trouble, and of the time since its last inspection."""
        if watch.state in INSPECTING_STATES:
            watch.trouble, watch.telling = "", 0
        else:
            telling = _CODE_TELLS if watch.code else _TELLING.get(watch.state, 0)
            # A retry passes through less telling states; among equals the newest holds.
            if telling >= watch.telling:
                watch.trouble, watch.telling = f"camera:{watch.code or watch.state}", telling
        if watch.trouble and watch.telling >= watch.blame_telling:
            watch.blame, watch.blame_telling = watch.trouble, watch.telling
        elif not self._log_writable and not watch.blame:
            watch.blame = LOG
        if watch.trouble or not self._log_writable:
            watch.well = None
        elif watch.well is None:
            watch.well = at

    def _cause_of_gap(self, watch: _Watch) -> str:
        if watch.blame:
            return watch.blame
        silent = watch.counts is not None and watch.arrived_after_s <= watch.last.s
        return SILENT if silent else CAPACITY

    def _follow_cause(self, camera: str, watch: _Watch, at: _Moment) -> None:
        """Go over to another interval when the cause of the open one has become another definite one."""
        cause = watch.trouble or (LOG if not self._log_writable else "")
        if watch.open is not None and cause and cause != watch.open.cause:
            self._split(camera, watch, at, cause)

    def _look_for_gap(self, camera: str, watch: _Watch, now: _Moment) -> None:
        patience_s = watch.gap_s + self._settle_s
        if watch.open is None:
            if now.s - watch.last.s > patience_s:
                self._open(camera, watch, watch.last, self._cause_of_gap(watch))
            return
        if watch.open.cause == CAPACITY or watch.well is None or watch.flowing is None:
            return
        started = _Moment(watch.open.started_s, watch.open.started_utc)
        begun = max(watch.well, watch.flowing, started, key=lambda moment: moment.s)
        if now.s - begun.s > patience_s:
            self._split(camera, watch, begun, CAPACITY)

    def _split(self, camera: str, watch: _Watch, at: _Moment, cause: str) -> None:
        if watch.open is not None and at.s <= watch.open.started_s:
            # The part before would be empty: the interval has had this cause from its start.
            watch.open = replace(watch.open, cause=cause)
            self._changed[watch.open.interval_id] = watch.open
            return
        self._end_open(watch, at)
        self._open(camera, watch, at, cause)

    def _open(self, camera: str, watch: _Watch, start: _Moment, cause: str) -> None:
        self._number += 1
        interval_id = f"{int(start.utc * 1000):013d}-{camera}-{self._number:06d}"
        watch.open = NotInspected(interval_id, camera, cause, start.s, start.utc)
        watch.book.open_gap(start.s)
        self._changed[interval_id] = watch.open

    def _end_open(self, watch: _Watch, at: _Moment) -> None:
        interval = watch.open
        if interval is None:
            return
        watch.open = None
        ended_s = max(at.s, interval.started_s)
        self._changed[interval.interval_id] = replace(interval, ended_s=ended_s, ended_utc=at.utc)
        watch.book.end_gap(ended_s)
