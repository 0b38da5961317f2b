# SPDX-License-Identifier: AGPL-3.0-or-later
"""How runs follow each other in one record file: ends of those that died, and what nobody looked at since.

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
from vision_line.inspection.blame import CRASHED, OFF, Absence
from vision_line.inspection.clock import STEP_S

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
    """What a run finds: since when each camera was looked at by no run, and a wall clock that was set meanwhile."""

    absences: Mapping[str, Absence] = field(default_factory=lambda: MappingProxyType({}))
    step: ClockStep | None = None


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

#: The last run whose ledger began; one that died before that accounts for nothing.
_LAST = """SELECT run, end_cause, coalesce(alive_utc, ended_utc), alive_boot_s, boot_id FROM runs
    WHERE run = (SELECT max(run) FROM coverage)"""

#: Its cameras that were due for inspection to the end (not those that were taken out, nor files at their end), with
#: the last inspection that is known.
_ITS_CAMERAS = """SELECT DISTINCT name, (SELECT looked_utc FROM coverage t WHERE t.run = ?1 AND t.camera = c.name
    AND t.provisional ORDER BY minute DESC LIMIT 1) FROM cameras c WHERE run = ?1
    AND EXISTS (SELECT 1 FROM coverage t WHERE t.run = ?1 AND t.camera = c.name)
    AND coalesce((SELECT state FROM states t WHERE t.run = ?1 AND t.camera = c.name ORDER BY change DESC LIMIT 1), '')
    NOT IN (?2, ?3)"""


#: Those that were known not to be inspected when it died.
_IN_A_GAP = "SELECT DISTINCT camera FROM not_inspected WHERE run = ? AND ended_utc >= ?"

#: Cameras are looked at more often, and the rows that say so are not older.
UNSEEN_S = 3.0


def inherit(connection: sqlite3.Connection, now_s: float, now: Life) -> Inheritance:
    """End the runs that died, with their intervals, and return what the run that begins now has to account for.

    Within one start of the machine the time between two runs is known whatever the wall clock says; else a wall clock
    that stands before the last sign of life was set back, and how long nobody looked is not known. To be called in a
    transaction.

    Raises:
        sqlite3.Error: the record file cannot be read or written.
    """
    connection.execute(_END_THE_DEAD, (EndCause.CRASHED,))
    connection.execute(_END_THEIR_INTERVALS)
    last = connection.execute(_LAST).fetchone()
    if last is None:
        return Inheritance()
    run, end_cause, alive_utc, alive_boot_s, booted = last
    same_boot = bool(booted) and booted == boot_id() and alive_boot_s is not None
    away_s = max(0.0, now.boot_s - alive_boot_s if same_boot else now.utc - alive_utc)
    off_s = now.utc - (alive_utc + away_s)
    step = ClockStep(0, now_s, alive_utc + away_s, now.utc) if abs(off_s) > STEP_S else None
    cause = CRASHED if end_cause == EndCause.CRASHED else OFF
    in_a_gap = {name for (name,) in connection.execute(_IN_A_GAP, (run, alive_utc))}
    cameras = connection.execute(_ITS_CAMERAS, (run, CameraState.REMOVED, CameraState.ENDED))
    unseen = {name: 0.0 if name in in_a_gap else _unseen_s(alive_utc, looked_utc) for name, looked_utc in cameras}
    since_utc = now.utc - away_s if step is not None else min(alive_utc, now.utc)
    return Inheritance({name: Absence(since_utc - unseen_s, cause) for name, unseen_s in unseen.items()}, step)


def _unseen_s(alive_utc: float, looked_utc: float | None) -> float:
    """Return for how long a camera had not been looked at when its run died, where that had not become an interval."""
    unseen_s = 0.0 if looked_utc is None else alive_utc - looked_utc
    return unseen_s if unseen_s > UNSEEN_S else 0.0
