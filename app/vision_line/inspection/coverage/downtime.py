# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's present downtime: contiguous intervals without inspection, one for each cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vision_line.frames import NotInspected
from vision_line.inspection.coverage.minutes import MinuteCounters

#: Largest number of intervals that are kept, the first and the latest: no result is late enough to cut one between.
MOST_INTERVALS = 256


@dataclass(slots=True)
class Changes:
    """Collects intervals that are new, changed or withdrawn, and numbers them. One for all cameras."""

    number: int = 0
    _rows: dict[str, NotInspected] = field(default_factory=dict)

    def new_id(self, camera: str, started_utc: float) -> str:
        """Return the id of a new interval."""
        self.number += 1
        return f"{int(started_utc * 1000):013d}-{camera}-{self.number:06d}"

    def put(self, interval: NotInspected) -> NotInspected:
        """Store the interval's present version, and return it."""
        self._rows[interval.interval_id] = interval
        return interval

    def take(self) -> list[NotInspected]:
        """Return what was put since the last call."""
        rows, self._rows = list(self._rows.values()), {}
        return rows


class Downtime:
    """From the inspection before it to the one that ends it; each change of cause starts another interval.

    Ended intervals are kept, because a result of a frame within them may still come. Up to `certain_s`, the time of an
    inspection, the downtime is final; after it, it is provisional. `minutes` follows every change. `utc_of` labels an
    interval's start; its end uses the same clock, so that it cannot end before it starts.
    """

    __slots__ = ("_changes", "_ended", "_minutes", "_utc_of", "camera", "certain_s", "open")

    def __init__(
        self, camera: str, minutes: MinuteCounters, changes: Changes, utc_of: Callable[[float], float]
    ) -> None:
        self._utc_of = utc_of
        self.camera = camera
        self._minutes = minutes
        self._changes = changes
        self._ended: list[NotInspected] = []
        self.open: NotInspected | None = None  # the latest interval, while it lasts
        self.certain_s: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is downtime that no inspection has ended."""
        return self.open is not None or bool(self._ended)

    def begin(self, at_s: float, cause: str) -> None:
        """Open an interval."""
        started_utc = self._utc_of(at_s)
        interval_id = self._changes.new_id(self.camera, started_utc)
        self.open = self._changes.put(NotInspected(interval_id, self.camera, cause, at_s, started_utc))
        self._minutes.open_downtime(at_s)

    def extend_back(self, at_s: float) -> None:
        """Move the start back to `at_s`, if that is before the first interval."""
        first = self._ended[0] if self._ended else self.open
        if first is None or at_s >= first.started_s:
            return
        self._minutes.add(at_s, first.started_s)
        longer = self._changes.put(first.beginning(at_s))
        if self._ended:
            self._ended[0] = longer
        else:
            self.open = longer

    def change_cause(self, at_s: float, cause: str) -> None:
        """End the open interval and open another at the same time."""
        if self.open is not None and at_s <= self.open.started_s:
            # The first part would be empty: the interval had this cause from its start.
            self.open = self._changes.put(replace(self.open, cause=cause))
            return
        self.pause(at_s)
        self.begin(at_s, cause)

    def pause(self, at_s: float) -> None:
        """End the open interval; no inspection has ended the downtime."""
        if self.open is None:
            return
        ended_s = max(at_s, self.open.started_s)
        self._minutes.end_downtime(ended_s)
        self._ended.append(self._changes.put(self.open.ending(ended_s)))
        if len(self._ended) > MOST_INTERVALS:
            del self._ended[1]
        self.open = None

    def add(self, interval: NotInspected, ended_s: float) -> None:
        """Tell of an interval that is over and that no result will change; it gets its number here."""
        self._minutes.add(interval.started_s, ended_s)
        self._changes.put(replace(interval, interval_id=self._changes.new_id(self.camera, interval.started_utc)))

    def end(self) -> None:
        """End the downtime at `certain_s` and withdraw what was reported beyond; all of it where nothing is certain."""
        intervals, at_s = self._ended if self.open is None else [*self._ended, self.open], self.certain_s
        self.reset()
        for interval in intervals:
            if at_s is None or at_s <= interval.started_s:
                self._cut(interval, interval.started_s)
                self._changes.put(replace(interval, withdrawn=True))
            elif interval.ended_s is None or at_s < interval.ended_s:
                self._cut(interval, at_s)
                self._changes.put(interval.ending(at_s))

    def reset(self) -> None:
        """Start without downtime; what was reported stands."""
        self._ended = []
        self.open = self.certain_s = None

    def _cut(self, interval: NotInspected, end_s: float) -> None:
        if interval.ended_s is None:
            self._minutes.end_downtime(end_s)
        else:
            self._minutes.take_back(end_s, interval.ended_s)
