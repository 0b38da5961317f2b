# SPDX-License-Identifier: AGPL-3.0-or-later
"""The minute rows of one camera: frames counted, and seconds not inspected, by UTC minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from vision_line.frames import CoverageMinute, DropCause

MINUTE_S = 60
#: What was inspected is final after this: results have come, and a picture that stood still has been called FROZEN
#: (`frozen_after_s` is at most an hour).
LATEST_RESULT_S = 3660.0
#: How often the minute under way is told: what a kill takes away at most.
PROVISIONAL_S = 2.0


@dataclass(frozen=True, slots=True)
class CameraCounts:
    """A camera's counters since it was added: arrived = inspected + sum(dropped) + frames waiting or under way."""

    arrived: int = 0
    decoded: int = 0
    inspected: int = 0
    dropped: dict[DropCause, int] = field(default_factory=dict)
    reconnects: int = 0

    @property
    def pending(self) -> int:
        """Frames that wait or are under way."""
        return self.arrived - self.inspected - sum(self.dropped.values())

    def grown(self, since: CameraCounts, now: CameraCounts) -> CameraCounts:
        """Return these counts with what was counted between `since` and `now` added."""
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
class _Page:
    """One minute as it fills: its label, its span on the monotonic clock, what was counted and missed."""

    minute_utc: int
    clock: int
    start_s: float
    end_s: float = inf
    counts: CameraCounts = field(default_factory=CameraCounts)
    missing_s: float = 0.0
    written: CoverageMinute | None = None
    touched: bool = False  # since it was written

    def row(self, camera: str, counts: CameraCounts, looked_utc: float | None = None) -> CoverageMinute:
        """Return the page as a row; it is provisional while the page is open."""
        return CoverageMinute(
            camera,
            self.minute_utc,
            counts.arrived,
            counts.decoded,
            counts.inspected,
            counts.dropped,
            max(0.0, self.missing_s),  # sums of differences may end at -1e-12
            counts.reconnects,
            self.clock,
            self.end_s == inf,
            looked_utc,
        )


def minute_of(utc: float) -> int:
    """Return the start of the UTC minute that `utc` lies in."""
    return int(utc // MINUTE_S) * MINUTE_S


class MinuteCounters:
    """Fills a camera's minutes. Labels follow the wall clock, spans and durations the monotonic one.

    A minute ends at its boundary, to the precision of the two clocks; counters are known at the tick after it, so
    frames between the boundary and that tick belong to the earlier row. Minutes that the machine slept through get no
    row. When the wall clock is set, the minute under way ends there, and the new clock begins one of its own.
    """

    def __init__(
        self, camera: str, now_s: float, now_utc: float, earlier: CoverageMinute | None = None, clock: int = 0
    ) -> None:
        """Begin now. `earlier` is the camera's last row from before it was removed; the same minute goes on from it.

        `clock` is how often the wall clock has been set.
        """
        self._camera = camera
        self._clock = clock
        self._pages = [_Page(minute_of(now_utc), clock, now_s)]
        self._turned_s = now_s
        self._told_s = -inf  # when the minute under way was told last
        self._looked_s: float | None = None  # the latest inspection
        self._counts = self._counted = CameraCounts()
        self._pieces: list[tuple[float, float]] = []
        self._gap_s: float | None = None  # up to where the open gap is accounted for
        if earlier is not None and (earlier.minute_utc, earlier.clock) == (self._pages[0].minute_utc, clock):
            self._pages[0].counts = CameraCounts(
                earlier.arrived, earlier.decoded, earlier.inspected, dict(earlier.dropped), earlier.reconnects
            )
            self._pages[0].missing_s = earlier.not_inspected_s

    def count(self, counts: CameraCounts) -> None:
        """Take in the camera's counters as they stand."""
        self._counts = counts

    def look(self, at_s: float) -> None:
        """Take in an inspection."""
        self._looked_s = at_s

    def open_gap(self, start_s: float) -> None:
        """Count the time from `start_s` as not inspected until `end_gap`; it may lie in minutes already written."""
        self._gap_s = start_s

    def end_gap(self, end_s: float) -> None:
        """End the open gap; `end_s` may lie before what was accounted for already."""
        if self._gap_s is not None:
            self._pieces.append((self._gap_s, end_s))
        self._gap_s = None

    def add(self, start_s: float, end_s: float) -> None:
        """Count the time from `start_s` to `end_s` as not inspected too."""
        self._pieces.append((start_s, end_s))

    def take_back(self, start_s: float, end_s: float) -> None:
        """Count the time from `start_s` to `end_s`, which was counted as not inspected, as inspected after all."""
        self._pieces.append((end_s, start_s))

    def set_clock(self, now_s: float, from_utc: float, to_utc: float) -> None:
        """End the minute under way, because the wall clock was set from one time to another; call it before `turn`."""
        self._roll(now_s, from_utc)
        self._clock += 1
        self._next_page(now_s, minute_of(to_utc))

    def turn(self, now_s: float, now_utc: float, decided_s: float) -> list[CoverageMinute]:
        """Return the rows that ended, those written before that changed, and now and then the one under way.

        `decided_s` is up to when it is known what was inspected.
        """
        self._roll(now_s, now_utc)
        if self._gap_s is not None:
            self._pieces.append((self._gap_s, now_s))
            self._gap_s = now_s
        for start_s, end_s in self._pieces:
            self._spread(start_s, end_s)
        self._pieces.clear()
        self._turned_s = now_s
        rows = self._changed_rows(self._pages[:-1])
        self._pages = [page for page in self._pages if page.end_s > decided_s - LATEST_RESULT_S]
        return rows + self._row_under_way(now_s, now_utc)

    def close(self, now_s: float, now_utc: float) -> list[CoverageMinute]:
        """Return what `turn` would, and the minute under way as far as it goes."""
        rows = [row for row in self.turn(now_s, now_utc, -inf) if not row.provisional]
        self._end_page(self._pages[-1], now_s)
        return rows + self._changed_rows(self._pages[-1:])

    def _roll(self, now_s: float, now_utc: float) -> None:
        """Begin the minutes that have come; small steps back of the clock, which nobody set, begin none."""
        target = minute_of(now_utc)
        while self._pages[-1].minute_utc < target:
            following = self._pages[-1].minute_utc + MINUTE_S
            boundary_s = min(max(now_s - (now_utc - following), self._turned_s), now_s)
            self._next_page(boundary_s, max(following, minute_of(now_utc - (now_s - boundary_s))))

    def _next_page(self, boundary_s: float, minute_utc: int) -> None:
        self._end_page(self._pages[-1], boundary_s)
        self._pages.append(_Page(minute_utc, self._clock, boundary_s))

    def _end_page(self, page: _Page, end_s: float) -> None:
        page.end_s = end_s
        page.touched = True
        page.counts = page.counts.grown(self._counted, self._counts)
        self._counted = self._counts

    def _spread(self, start_s: float, end_s: float) -> None:
        """Add a piece of a gap to the minutes it lies in; one that runs backwards takes away what was too much."""
        low, high = min(start_s, end_s), max(start_s, end_s)
        for page in self._pages:
            overlap_s = min(high, page.end_s) - max(low, page.start_s)
            if overlap_s > 0:
                page.missing_s += overlap_s if end_s > start_s else -overlap_s
                page.touched = True

    def _row_under_way(self, now_s: float, now_utc: float) -> list[CoverageMinute]:
        if now_s - self._told_s < PROVISIONAL_S:
            return []
        self._told_s = now_s
        page, looked_s = self._pages[-1], self._looked_s
        looked_utc = None if looked_s is None else now_utc - (now_s - looked_s)
        return [page.row(self._camera, page.counts.grown(self._counted, self._counts), looked_utc)]

    def _changed_rows(self, pages: list[_Page]) -> list[CoverageMinute]:
        changed = []
        for page in pages:
            if not page.touched:
                continue
            page.touched = False
            row = page.row(self._camera, page.counts)
            if row != page.written:
                page.written = row
                changed.append(row)
        return changed
