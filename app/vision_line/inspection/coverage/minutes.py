# SPDX-License-Identifier: AGPL-3.0-or-later
"""Minute counters of one camera: frames, and seconds without inspection, by UTC minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from vision_line.frames import CoverageMinute, DropCause

MINUTE_S = 60
#: A minute is final after this time: results have come, and repeated frames have made the camera FROZEN
#: (`frozen_after_s` is at most an hour).
LATEST_RESULT_S = 3660.0
#: Period in which the current minute is reported, in seconds: the most that a kill loses.
PROVISIONAL_S = 2.0


@dataclass(frozen=True, slots=True)
class CameraCounts:
    """A camera's counters since it was added: arrived = inspected + sum(dropped) + frames waiting or in flight."""

    arrived: int = 0
    decoded: int = 0
    inspected: int = 0
    dropped: dict[DropCause, int] = field(default_factory=dict)
    reconnects: int = 0

    @property
    def pending(self) -> int:
        """Frames that wait or are in flight."""
        return self.arrived - self.inspected - sum(self.dropped.values())

    def grown(self, since: CameraCounts, now: CameraCounts) -> CameraCounts:
        """Return these counts plus the growth from `since` to `now`."""
        dropped = {
            cause: self.dropped.get(cause, 0) + now.dropped.get(cause, 0) - since.dropped.get(cause, 0)
            for cause in DropCause
        }
        return CameraCounts(
            self.arrived + now.arrived - since.arrived,
            self.decoded + now.decoded - since.decoded,
            self.inspected + now.inspected - since.inspected,
            {cause: number for cause, number in dropped.items() if number},
            self.reconnects + now.reconnects - since.reconnects,
        )


@dataclass(slots=True)
class _Minute:
    """One minute while it is counted: its label, its span on the monotonic clock, counts and missing seconds."""

    minute_utc: int
    clock: int
    start_s: float
    end_s: float = inf
    counts: CameraCounts = field(default_factory=CameraCounts)
    missing_s: float = 0.0
    written: CoverageMinute | None = None
    touched: bool = False  # changed since it was written

    def row(self, camera: str, counts: CameraCounts, looked_utc: float | None = None) -> CoverageMinute:
        """Return the minute as a row; it is provisional while the minute is open."""
        return CoverageMinute(
            camera=camera,
            minute_utc=self.minute_utc,
            arrived=counts.arrived,
            decoded=counts.decoded,
            inspected=counts.inspected,
            dropped=counts.dropped,
            not_inspected_s=max(0.0, self.missing_s),  # sums of differences may end at -1e-12
            reconnects=counts.reconnects,
            clock=self.clock,
            provisional=self.end_s == inf,
            looked_utc=looked_utc,
        )


def minute_of(utc: float) -> int:
    """Return the start of the UTC minute of `utc`."""
    return int(utc // MINUTE_S) * MINUTE_S


class MinuteCounters:
    """Counts a camera's minutes. Labels follow the wall clock, spans and durations the monotonic one.

    A minute ends at its boundary, to the precision of the two clocks. Counters are known at the tick after it, so
    frames between the boundary and that tick belong to the earlier row. Minutes in which the machine slept get no row.
    When the wall clock is set, the current minute ends, and the new clock starts another.
    """

    def __init__(
        self, camera: str, now_s: float, now_utc: float, earlier: CoverageMinute | None = None, clock: int = 0
    ) -> None:
        """Start now. `earlier` is the camera's last row before it was removed; the same minute continues from it.

        `clock` is the number of steps of the wall clock so far. A minute that is over does not begin again.
        """
        self._camera = camera
        self._clock = clock
        begun_utc = minute_of(now_utc)
        if earlier is not None and earlier.clock == clock:  # by a smaller step back of the clock it may be before that
            begun_utc = max(begun_utc, earlier.minute_utc + (0 if earlier.provisional else MINUTE_S))
        self._minutes = [_Minute(begun_utc, clock, now_s)]
        self._ticked_s = now_s
        self._reported_s = -inf  # when the current minute was last reported
        self._inspected_s: float | None = None  # the latest inspection
        self._counts = self._counted = CameraCounts()
        self._spans: list[tuple[float, float]] = []
        self._open_since_s: float | None = None  # open downtime is counted up to here
        if earlier is not None and self.goes_on_with(earlier):
            self._minutes[0].counts = CameraCounts(
                earlier.arrived, earlier.decoded, earlier.inspected, dict(earlier.dropped), earlier.reconnects
            )
            self._minutes[0].missing_s = earlier.not_inspected_s

    def goes_on_with(self, earlier: CoverageMinute) -> bool:
        """Return whether the current minute is that of the camera's `earlier` row."""
        return (earlier.minute_utc, earlier.clock) == (self._minutes[-1].minute_utc, self._minutes[-1].clock)

    def count(self, counts: CameraCounts) -> None:
        """Set the camera's present counters."""
        self._counts = counts

    def inspected(self, at_s: float) -> None:
        """Note an inspection."""
        self._inspected_s = at_s

    def open_downtime(self, start_s: float) -> None:
        """Count the time from `start_s` to `end_downtime` as not inspected; its minutes may be written already."""
        self._open_since_s = start_s

    def end_downtime(self, end_s: float) -> None:
        """End the open downtime; `end_s` may be before what was already counted."""
        if self._open_since_s is not None:
            self._spans.append((self._open_since_s, end_s))
        self._open_since_s = None

    def add(self, start_s: float, end_s: float) -> None:
        """Count the time from `start_s` to `end_s` as not inspected too."""
        self._spans.append((start_s, end_s))

    def take_back(self, start_s: float, end_s: float) -> None:
        """Count the time from `start_s` to `end_s`, which was counted as not inspected, as inspected after all."""
        self._spans.append((end_s, start_s))

    def set_clock(self, now_s: float, from_utc: float, to_utc: float) -> None:
        """End the current minute, because the wall clock was set; call it before `turn`."""
        self._roll(now_s, from_utc)
        self._clock += 1
        self._next_minute(now_s, minute_of(to_utc))

    def turn(self, now_s: float, now_utc: float, decided_s: float) -> list[CoverageMinute]:
        """Return the rows that ended, earlier rows that changed, and periodically the current one.

        Up to `decided_s` it is known what was inspected.
        """
        self._roll(now_s, now_utc)
        if self._open_since_s is not None:
            self._spans.append((self._open_since_s, now_s))
            self._open_since_s = now_s
        for start_s, end_s in self._spans:
            self._spread(start_s, end_s)
        self._spans.clear()
        self._ticked_s = now_s
        rows = self._changed_rows(self._minutes[:-1])
        self._minutes = [minute for minute in self._minutes if minute.end_s > decided_s - LATEST_RESULT_S]
        return rows + self._current_row(now_s, now_utc)

    def close(self, now_s: float, now_utc: float) -> list[CoverageMinute]:
        """Return what `turn` would, and the current minute as it stands."""
        rows = [row for row in self.turn(now_s, now_utc, -inf) if not row.provisional]
        self._end_minute(self._minutes[-1], now_s)
        return rows + self._changed_rows(self._minutes[-1:])

    def _roll(self, now_s: float, now_utc: float) -> None:
        """Start the minutes that have begun; small steps back of the clock start none."""
        target = minute_of(now_utc)
        while self._minutes[-1].minute_utc < target:
            following = self._minutes[-1].minute_utc + MINUTE_S
            boundary_s = min(max(now_s - (now_utc - following), self._ticked_s), now_s)
            self._next_minute(boundary_s, max(following, minute_of(now_utc - (now_s - boundary_s))))

    def _next_minute(self, boundary_s: float, minute_utc: int) -> None:
        self._end_minute(self._minutes[-1], boundary_s)
        self._minutes.append(_Minute(minute_utc, self._clock, boundary_s))

    def _end_minute(self, minute: _Minute, end_s: float) -> None:
        minute.end_s = end_s
        minute.touched = True
        minute.counts = minute.counts.grown(self._counted, self._counts)
        self._counted = self._counts

    def _spread(self, start_s: float, end_s: float) -> None:
        """Add a span of downtime to its minutes; a span that runs backwards is subtracted."""
        low, high = min(start_s, end_s), max(start_s, end_s)
        for minute in self._minutes:
            overlap_s = min(high, minute.end_s) - max(low, minute.start_s)
            if overlap_s > 0:
                minute.missing_s += overlap_s if end_s > start_s else -overlap_s
                minute.touched = True

    def _current_row(self, now_s: float, now_utc: float) -> list[CoverageMinute]:
        if now_s - self._reported_s < PROVISIONAL_S:
            return []
        self._reported_s = now_s
        minute, inspected_s = self._minutes[-1], self._inspected_s
        looked_utc = None if inspected_s is None else now_utc - (now_s - inspected_s)
        return [minute.row(self._camera, minute.counts.grown(self._counted, self._counts), looked_utc)]

    def _changed_rows(self, minutes: list[_Minute]) -> list[CoverageMinute]:
        changed = []
        for minute in minutes:
            if not minute.touched:
                continue
            minute.touched = False
            row = minute.row(self._camera, minute.counts)
            if row != minute.written:
                minute.written = row
                changed.append(row)
        return changed
