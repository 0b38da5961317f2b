# SPDX-License-Identifier: AGPL-3.0-or-later
"""Coverage in time: the share of the due time in which cameras were not inspected, by cause."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import floor

from vision_line.frames import NotInspected
from vision_line.inspection.coverage.causes import CRASHED, OFF

#: A row of the ledger is final this long after its end, in seconds.
FINAL_AFTER_S = 7200.0
#: Period in which final rows are summed up, in seconds: there may be ten thousands of rows.
SETTLE_EVERY_S = 60.0
#: Causes of times in which this run did not have the camera: no inspection was due.
_NOT_DUE = frozenset({OFF, CRASHED})


@dataclass(frozen=True, slots=True)
class Covered:
    """Seconds of one camera, or of several together."""

    due_s: float = 0.0
    not_inspected_s: Mapping[str, float] = field(default_factory=dict)  # by cause, without causes that did not occur

    @property
    def share(self) -> float | None:
        """Return the inspected share of the due time, 0..1; None where none was due."""
        missing_s = sum(self.not_inspected_s.values())
        return max(0.0, 1.0 - missing_s / self.due_s) if self.due_s > 0 else None

    @property
    def rounded_share(self) -> float | None:
        """Return the share with four digits, rounded down: where a second lacks in a day, that is not all of it."""
        share = self.share
        return None if share is None else floor(round(share * 1e4, 6)) / 1e4  # but for the error of binary fractions


def together(parts: Iterable[Covered]) -> Covered:
    """Return the sums."""
    due_s, missing_s = 0.0, defaultdict[str, float](float)
    for part in parts:
        due_s += part.due_s
        for cause, seconds in part.not_inspected_s.items():
            missing_s[cause] += seconds
    return Covered(due_s, dict(missing_s))


class CoverageTally:
    """Sums the ledger's intervals as they are reported, changed and withdrawn. Memory is bounded."""

    def __init__(self, started_s: float) -> None:
        """Count from `started_s`: earlier downtime belongs to another run."""
        self._started_s = started_s
        self._settled_s = started_s
        self._rows: dict[str, NotInspected] = {}
        self._final_s: defaultdict[tuple[str, str], float] = defaultdict(float)  # by camera and cause

    def note(self, rows: Iterable[NotInspected], now_s: float) -> None:
        """Take in rows as they are written; a later one with the same id replaces the earlier."""
        self._rows |= {row.interval_id: row for row in rows}
        if now_s - self._settled_s >= SETTLE_EVERY_S:
            self._settled_s = now_s
            self._settle(now_s)

    def _settle(self, now_s: float) -> None:
        """Sum up the rows that are final, and forget them."""
        for row in [row for row in self._rows.values() if _is_final(row, now_s)]:
            self._final_s[row.camera, row.cause] += self._seconds(row, now_s)
            del self._rows[row.interval_id]

    def seconds(self, now_s: float) -> dict[str, dict[str, float]]:
        """Return the seconds not inspected by camera and cause, open intervals up to now."""
        sums = self._final_s.copy()
        for row in self._rows.values():
            sums[row.camera, row.cause] += self._seconds(row, now_s)
        by_camera: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for (camera, cause), seconds in sums.items():
            if seconds > 0:
                by_camera[camera][cause] = seconds
        return dict(by_camera)

    def _seconds(self, row: NotInspected, now_s: float) -> float:
        ended_s = now_s if row.ended_s is None else row.ended_s
        is_none = row.withdrawn or row.cause in _NOT_DUE
        return 0.0 if is_none else max(0.0, ended_s - max(row.started_s, self._started_s))


def _is_final(row: NotInspected, now_s: float) -> bool:
    return row.withdrawn or (row.ended_s is not None and now_s - row.ended_s > FINAL_AFTER_S)
