# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's present gap: the interval, or the intervals end to end, in which its line is not looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vision_line.frames import NotInspected
from vision_line.inspection.coverage.minutes import MinuteCounters

#: So many pieces of one gap are kept, the first and the latest: no result comes so late that it cuts one in between.
MOST_PIECES = 256


@dataclass(slots=True)
class Changes:
    """Intervals that are new, changed or withdrawn since they were last taken; numbers them. One for all cameras."""

    number: int = 0
    _rows: dict[str, NotInspected] = field(default_factory=dict)

    def new_id(self, camera: str, started_utc: float) -> str:
        """Return the id of one more interval."""
        self.number += 1
        return f"{int(started_utc * 1000):013d}-{camera}-{self.number:06d}"

    def put(self, interval: NotInspected) -> NotInspected:
        """Keep the interval as it now is, and return it."""
        self._rows[interval.interval_id] = interval
        return interval

    def take(self) -> list[NotInspected]:
        """Return what was put since the last call."""
        rows, self._rows = list(self._rows.values()), {}
        return rows


class Downtime:
    """From the look before it to the look that ends it; each change of its cause begins another piece.

    The pieces that are over are kept, because the result of a frame from the midst of them may still come. Up to
    `certain_s`, a look, the time was not inspected whatever comes; what is told beyond it is provisional. The minutes
    in `book` follow every change. `utc_of` labels a piece's beginning; its end bears the same clock, so that no piece
    ends before it begins.
    """

    __slots__ = ("_book", "_changes", "_over", "_utc_of", "camera", "certain_s", "open")

    def __init__(self, camera: str, book: MinuteCounters, changes: Changes, utc_of: Callable[[float], float]) -> None:
        """Begin without a gap."""
        self._utc_of = utc_of
        self.camera = camera
        self._book = book
        self._changes = changes
        self._over: list[NotInspected] = []
        self.open: NotInspected | None = None  # the latest piece, while it lasts
        self.certain_s: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a gap that no inspection has ended."""
        return self.open is not None or bool(self._over)

    def begin(self, at_s: float, cause: str) -> None:
        """Open a piece."""
        started_utc = self._utc_of(at_s)
        interval_id = self._changes.new_id(self.camera, started_utc)
        self.open = self._changes.put(NotInspected(interval_id, self.camera, cause, at_s, started_utc))
        self._book.open_gap(at_s)

    def begin_earlier(self, at_s: float) -> None:
        """Let the gap have begun at `at_s` already, where that is before its first piece."""
        first = self._over[0] if self._over else self.open
        if first is None or at_s >= first.started_s:
            return
        self._book.add(at_s, first.started_s)
        longer = self._changes.put(first.beginning(at_s))
        if self._over:
            self._over[0] = longer
        else:
            self.open = longer

    def go_over(self, at_s: float, cause: str) -> None:
        """End the open piece and open another at the same moment."""
        if self.open is not None and at_s <= self.open.started_s:
            # The part before would be empty: the interval has had this cause from its start.
            self.open = self._changes.put(replace(self.open, cause=cause))
            return
        self.pause(at_s)
        self.begin(at_s, cause)

    def pause(self, at_s: float) -> None:
        """End the open piece; no inspection has ended the gap."""
        if self.open is None:
            return
        ended_s = max(at_s, self.open.started_s)
        self._book.end_gap(ended_s)
        self._over.append(self._changes.put(self.open.ending(ended_s)))
        if len(self._over) > MOST_PIECES:
            del self._over[1]
        self.open = None

    def add(self, interval: NotInspected, ended_s: float) -> None:
        """Tell of an interval that is over and that no result will change; it gets its number here."""
        self._book.add(interval.started_s, ended_s)
        self._changes.put(replace(interval, interval_id=self._changes.new_id(self.camera, interval.started_utc)))

    def end(self) -> None:
        """End the gap where it is certain, and withdraw what was told beyond; all of it where nothing is certain."""
        pieces, at_s = self._over if self.open is None else [*self._over, self.open], self.certain_s
        self.forget()
        for piece in pieces:
            if at_s is None or at_s <= piece.started_s:
                self._cut(piece, piece.started_s)
                self._changes.put(replace(piece, withdrawn=True))
            elif piece.ended_s is None or at_s < piece.ended_s:
                self._cut(piece, at_s)
                self._changes.put(piece.ending(at_s))

    def forget(self) -> None:
        """Let what was told stand, and begin without a gap."""
        self._over = []
        self.open = self.certain_s = None

    def _cut(self, piece: NotInspected, end_s: float) -> None:
        if piece.ended_s is None:
            self._book.end_gap(end_s)
        else:
            self._book.take_back(end_s, piece.ended_s)
