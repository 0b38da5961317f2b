# SPDX-License-Identifier: AGPL-3.0-or-later
"""The minute rows of one camera: frames counted, and seconds not inspected, by UTC minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from vision_line.frames import CoverageMinute, DropCause

MINUTE_S = 60
#: A clock set back further than this was wrong before; smaller steps do not open a minute a second time.
LONGEST_STEP_BACK_S = 86_400
#: What was inspected is final after this: results have come, and a picture that stood still has been called FROZEN
#: (`frozen_after_s` is at most an hour).
LATEST_RESULT_S = 3660.0


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


@dataclass(slots=True)
class _Page:
    """One minute as it fills: its label, its span on the monotonic clock, what was counted and missed."""

    minute_utc: int
    start_s: float
    end_s: float = inf
    counts: CameraCounts = field(default_factory=CameraCounts)
    missing_s: float = 0.0
    written: CoverageMinute | None = None
    touched: bool = False  # since it was written


def minute_of(utc: float) -> int:
    """Return the start of the UTC minute that `utc` lies in."""
    return int(utc // MINUTE_S) * MINUTE_S


class MinuteBook:
    """Fills a camera's minutes. Labels follow the wall clock, spans and durations the monotonic one.

    A minute ends at its boundary, to the precision of the two clocks; counters are known at the tick after it, so
    frames between the boundary and that tick belong to the earlier row. When the clock steps forward the minutes
    in between get no row; when it steps back, the latest minute goes on until the clock has passed it.
    """

    def __init__(self, camera: str, now_s: float, now_utc: float, earlier: CoverageMinute | None = None) -> None:
        """Begin now. `earlier` is the camera's last row from before it was removed; the same minute goes on from it."""
        self._camera = camera
        self._pages = [_Page(minute_of(now_utc), now_s)]
        self._turned_s = now_s
        self._counts = self._counted = CameraCounts()
        self._pieces: list[tuple[float, float]] = []
        self._gap_s: float | None = None  # up to where the open gap is accounted for
        if earlier is not None and earlier.minute_utc == self._pages[0].minute_utc:
            self._pages[0].counts = CameraCounts(
                earlier.arrived, earlier.decoded, earlier.inspected, dict(earlier.dropped), earlier.reconnects
            )
            self._pages[0].missing_s = earlier.not_inspected_s

    def count(self, counts: CameraCounts) -> None:
        """Take in the camera's counters as they stand."""
        self._counts = counts

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

    def turn(self, now_s: float, now_utc: float, decided_s: float) -> list[CoverageMinute]:
        """Return the rows that ended, and those written before that changed.

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
        return rows

    def close(self, now_s: float, now_utc: float) -> list[CoverageMinute]:
        """Return what `turn` would, and the minute under way as far as it goes."""
        rows = self.turn(now_s, now_utc, -inf)
        self._end_page(self._pages[-1], now_s)
        return rows + self._changed_rows(self._pages[-1:])

    def _roll(self, now_s: float, now_utc: float) -> None:
        target = minute_of(now_utc)
        if target < self._pages[-1].minute_utc - LONGEST_STEP_BACK_S:
            self._next_page(self._turned_s, target)
        while self._pages[-1].minute_utc < target:
            following = self._pages[-1].minute_utc + MINUTE_S
            boundary_s = min(max(now_s - (now_utc - following), self._turned_s), now_s)
            self._next_page(boundary_s, max(following, minute_of(now_utc - (now_s - boundary_s))))

    def _next_page(self, boundary_s: float, minute_utc: int) -> None:
        self._end_page(self._pages[-1], boundary_s)
        self._pages.append(_Page(minute_utc, boundary_s))

    def _end_page(self, page: _Page, end_s: float) -> None:
        page.end_s = end_s
        page.touched = True
        new, old, so_far = self._counts, self._counted, page.counts
        self._counted = new
        dropped = {
            cause: so_far.dropped.get(cause, 0) + new.dropped.get(cause, 0) - old.dropped.get(cause, 0)
            for cause in DropCause
        }
        page.counts = CameraCounts(
            so_far.arrived + new.arrived - old.arrived,
            so_far.decoded + new.decoded - old.decoded,
            so_far.inspected + new.inspected - old.inspected,
            {cause: number for cause, number in dropped.items() if number},
            so_far.reconnects + new.reconnects - old.reconnects,
        )

    def _spread(self, start_s: float, end_s: float) -> None:
        """Add a piece of a gap to the minutes it lies in; one that runs backwards takes away what was too much."""
        low, high = min(start_s, end_s), max(start_s, end_s)
        for page in self._pages:
            overlap_s = min(high, page.end_s) - max(low, page.start_s)
            if overlap_s > 0:
                page.missing_s += overlap_s if end_s > start_s else -overlap_s
                page.touched = True

    def _changed_rows(self, pages: list[_Page]) -> list[CoverageMinute]:
        changed = []
        for page in pages:
            if not page.touched:
                continue
            page.touched = False
            counts = page.counts
            row = CoverageMinute(
                self._camera,
                page.minute_utc,
                counts.arrived,
                counts.decoded,
                counts.inspected,
                counts.dropped,
                max(0.0, page.missing_s),  # sums of differences may end at -1e-12
                counts.reconnects,
            )
            if row != page.written:
                page.written = row
                changed.append(row)
        return changed
