# SPDX-License-Identifier: AGPL-3.0-or-later
"""How runs follow each other in one record file: ends of those that died, and what nobody inspected since.

A run proves its life by `alive_utc`: up to then its ledger accounts for its cameras. It is committed with everything
else, every second at least.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from vision_line.frames import CameraState, ClockStep
from vision_line.inspection.coverage.causes import CRASHED, OFF, Absence
from vision_line.inspection.coverage.wall_clock import STEP_S

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class EndCause(StrEnum):
    """How a run ended. Stable: exported."""

    STOPPED = "stopped"
    FAILED = "failed"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Life:
    """A moment at which the run was alive; `boot_s` counts from the machine's start, its sleeps included."""

    utc: float
    boot_s: float


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a run finds: since when each camera was inspected by no run, and a wall clock that was set meanwhile.

    `epochs`: of cameras that boxes share, the epoch of the plan under which the last run inspected it.
    """

    absences: Mapping[str, Absence] = field(default_factory=lambda: MappingProxyType({}))
    step: ClockStep | None = None
    epochs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


def life_now(utc: float) -> Life:
    """Return a sign of life of now, which the wall clock calls `utc`."""
    return Life(utc, time.clock_gettime(time.CLOCK_BOOTTIME))


def boot_id() -> str:
    """Return what names this start of the machine, "" where the system does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


#: A run of a version that gave no sign of life lived at least until its newest row.
_END_THE_DEAD = """UPDATE runs SET end_cause = ?, ended_utc = coalesce(alive_utc, max(started_utc,
    coalesce((SELECT max(at_utc) FROM states t WHERE t.run = runs.run), 0),
    coalesce((SELECT max(arrived_utc) FROM detections t WHERE t.run = runs.run), 0),
    coalesce((SELECT max(minute_utc) + 60 FROM coverage t WHERE t.run = runs.run), 0))) WHERE ended_utc IS NULL"""

_END_THEIR_INTERVALS = """UPDATE not_inspected SET
    ended_utc = max(started_utc, (SELECT ended_utc FROM runs WHERE runs.run = not_inspected.run)),
    ended_s = started_s + max(0, (SELECT ended_utc FROM runs WHERE runs.run = not_inspected.run) - started_utc)
    WHERE ended_utc IS NULL"""

#: The last minute of a run that died stays as it was known; from now on it is final, and has its entry in the journal.
#: A ledger leaves of each camera one at most that is not over, the newest: another one, somebody else wrote.
_SETTLE_MINUTES = """UPDATE coverage SET provisional = 1 WHERE provisional AND run = ?
    AND EXISTS (SELECT 1 FROM cameras c WHERE (c.run, c.name) = (coverage.run, coverage.camera))
    AND NOT EXISTS (SELECT 1 FROM coverage n WHERE (n.run, n.camera) = (coverage.run, coverage.camera)
        AND (n.clock, n.minute_utc) > (coverage.clock, coverage.minute_utc))"""

#: Each camera with the last run whose ledger accounts for it (a run that died before its ledger began does not, nor one
#: that was not reported of the camera), its last state there and since when (by the clock as it was at the run's end),
#: and the last inspection that is known.
_LAST_WATCHED = """SELECT w.run, w.name, coalesce(s.state, ''),
    s.at_utc + coalesce((SELECT sum(k.to_utc - k.from_utc) FROM clock_steps k
        WHERE k.run = w.run AND k.clock > 0 AND k.at_s > s.at_s), 0),
    (SELECT looked_utc FROM coverage t WHERE t.run = w.run AND t.camera = w.name AND t.provisional
        ORDER BY minute DESC LIMIT 1)
    FROM (SELECT name, max(run) AS run FROM cameras c
        WHERE EXISTS (SELECT 1 FROM coverage t WHERE t.run = c.run AND t.camera = c.name) GROUP BY name) w
    LEFT JOIN states s ON s.change = (SELECT max(change) FROM states t WHERE t.run = w.run AND t.camera = w.name)
    ORDER BY w.run"""

#: Of each camera that boxes share, under which epoch this one had it last.
_LAST_EPOCHS = """SELECT name, epoch FROM (SELECT name, epoch, row_number() OVER (PARTITION BY name
    ORDER BY run DESC, since_utc DESC) AS place FROM cameras) WHERE place = 1 AND epoch > 0"""

_END_OF = "SELECT end_cause, coalesce(alive_utc, ended_utc), alive_boot_s, boot_id FROM runs WHERE run = ?"

#: Those that were known not to be inspected when it died.
_IN_A_GAP = "SELECT DISTINCT camera FROM not_inspected WHERE run = ? AND ended_utc >= ?"

#: Cameras are inspected more often, and the rows that say so are not older.
UNSEEN_S = 3.0


@dataclass(frozen=True, slots=True)
class _End:
    """Where a run's ledger ended: by its own wall clock, and by the monotonic clock of now (`since_s`)."""

    alive_utc: float
    since_s: float
    cause: str
    step: ClockStep | None
    in_a_gap: frozenset[str]

    def absence(self, camera: str, looked_utc: float | None) -> Absence:
        """Return since when the camera was not inspected; before the end, where that had not become an interval."""
        unseen_s = 0.0 if looked_utc is None or camera in self.in_a_gap else self.alive_utc - looked_utc
        return Absence(self.since_s - (unseen_s if unseen_s > UNSEEN_S else 0.0), self.cause)

    def absence_of_removed(self, removed_utc: float) -> Absence:
        """Return since when a camera was not inspected that was taken out of the run while it went on."""
        return Absence(self.since_s - max(0.0, self.alive_utc - removed_utc), OFF)


def end_run(connection: sqlite3.Connection, run: int, ended_utc: float, cause: EndCause) -> None:
    """Note the end of a run, after which its minutes do not change. To be called in a transaction.

    Raises:
        sqlite3.Error: the record file cannot be written.
    """
    connection.execute("UPDATE runs SET ended_utc = ?, end_cause = ? WHERE run = ?", (ended_utc, cause, run))
    connection.execute(_SETTLE_MINUTES, (run,))


def inherit(connection: sqlite3.Connection, now_s: float, now: Life) -> Inheritance:
    """End the runs that died, with their intervals, and return what the run that begins now has to account for.

    A camera is absent since the last run that watched it, whatever ran without it meanwhile. Within one start of the
    machine the time since a run is known whatever the wall clock says; else a wall clock that stands before the last
    sign of life was set back, and how long nobody inspected is not known. To be called in a transaction.

    Raises:
        sqlite3.Error: the record file cannot be read or written.
    """
    dead = connection.execute("SELECT run FROM runs WHERE ended_utc IS NULL").fetchall()
    connection.execute(_END_THE_DEAD, (EndCause.CRASHED,))
    connection.execute(_END_THEIR_INTERVALS)
    connection.executemany(_SETTLE_MINUTES, dead)
    ends: dict[int, _End] = {}
    absences: dict[str, Absence] = {}
    for run, camera, state, state_utc, looked_utc in connection.execute(_LAST_WATCHED).fetchall():
        end = ends[run] = ends.get(run) or _end_of(connection, run, now_s, now)
        if state == CameraState.REMOVED:
            absences[camera] = end.absence_of_removed(state_utc)
        elif state != CameraState.ENDED:  # a file at its end
            absences[camera] = end.absence(camera, looked_utc)
    epochs = dict(connection.execute(_LAST_EPOCHS).fetchall())
    return Inheritance(absences, ends[max(ends)].step if ends else None, epochs)


def _end_of(connection: sqlite3.Connection, run: int, now_s: float, now: Life) -> _End:
    end_cause, alive_utc, alive_boot_s, booted = connection.execute(_END_OF, (run,)).fetchone()
    same_boot = bool(booted) and booted == boot_id() and alive_boot_s is not None
    away_s = max(0.0, now.boot_s - alive_boot_s if same_boot else now.utc - alive_utc)
    off_s = now.utc - (alive_utc + away_s)
    step = ClockStep(0, now_s, alive_utc + away_s, now.utc) if abs(off_s) > STEP_S else None
    since_s = now_s - (away_s if step is not None else max(0.0, now.utc - alive_utc))
    in_a_gap = frozenset(name for (name,) in connection.execute(_IN_A_GAP, (run, alive_utc)))
    return _End(alive_utc, since_s, CRASHED if end_cause == EndCause.CRASHED else OFF, step, in_a_gap)
