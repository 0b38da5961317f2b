# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera whose inspections a coverage ledger follows, and what a database would keep of that."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vision_line.frames import CameraState, CoverageMinute, DropCause, NotInspected, StateChange
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need

MINUTE = 1_767_225_600  # a whole minute
GAP_S = 1.0


@dataclass(slots=True)
class Log:
    """What a database would hold: later rows replace earlier ones."""

    minutes: dict[tuple[str, int, int], CoverageMinute] = field(default_factory=dict)
    intervals: dict[str, NotInspected] = field(default_factory=dict)
    history: list[NotInspected] = field(default_factory=list)

    def write(self, rows: tuple[list[CoverageMinute], list[NotInspected]]) -> None:
        """Keep the rows."""
        self.minutes |= {(row.camera, row.minute_utc, row.clock): row for row in rows[0]}
        for row in rows[1]:
            if row.withdrawn:
                self.intervals.pop(row.interval_id, None)
            else:
                self.intervals[row.interval_id] = row
        self.history += rows[1]

    def causes(self) -> list[tuple[str, float, float | None]]:
        """Return cause, start and end of every interval in order."""
        rows = sorted(self.intervals.values(), key=lambda row: row.started_s)
        return [(row.cause, row.started_s, row.ended_s) for row in rows]


@dataclass(slots=True)
class Line:
    """One camera with a ledger; times are seconds after `MINUTE`, the same on both clocks unless `step_utc` is set."""

    ledger: CoverageLedger = field(default_factory=CoverageLedger)
    need: Need = field(default_factory=lambda: Need(GAP_S))
    log: Log = field(default_factory=Log)
    arrived: int = 0
    inspected: int = 0
    dropped: Counter[DropCause] = field(default_factory=Counter)
    step_utc: float = 0.0
    asleep_s: float = 0.0
    running: bool = True

    def __post_init__(self) -> None:
        self.ledger.add_camera("cam01", self.need, 0.0, self.utc(0.0))
        if self.running:
            self.state(0.0, CameraState.RUNNING)

    def utc(self, at_s: float) -> float:
        return MINUTE + at_s + self.step_utc

    def counts(self) -> dict[str, CameraCounts]:
        return {"cam01": CameraCounts(self.arrived, self.arrived, self.inspected, dict(self.dropped))}

    def state(self, at_s: float, state: CameraState, code: str | None = None, since_s: float | None = None) -> None:
        self.ledger.state(StateChange("cam01", state, at_s, self.utc(at_s), code, since_s=since_s))

    def inspect(self, arrived_s: float) -> None:
        self.arrived += 1
        self.inspected += 1
        self.ledger.inspected("cam01", arrived_s)

    def tick(self, at_s: float) -> None:
        self.log.write(self.ledger.tick(at_s, self.utc(at_s), self.counts(), self.asleep_s))

    def close(self, at_s: float) -> None:
        self.log.write(self.ledger.close(at_s, self.utc(at_s), self.counts(), self.asleep_s))


def inspect_steadily(line: Line, start_s: float, end_s: float, period_s: float = 0.25) -> None:
    """Inspect every `period_s` and tick after each, from `start_s` to before `end_s`."""
    for number in range(round((end_s - start_s) / period_s)):
        at_s = start_s + number * period_s
        line.inspect(at_s)
        line.tick(at_s + 0.1)


def idle(line: Line, start_s: float, end_s: float, *, arriving: bool = False) -> None:
    """Tick every 0.25 s; frames arrive and are dropped, or none come."""
    for number in range(round((end_s - start_s) * 4)):
        if arriving:
            line.arrived += 1
            line.dropped[DropCause.SUPERSEDED] += 1
        line.tick(start_s + (number + 1) * 0.25)
