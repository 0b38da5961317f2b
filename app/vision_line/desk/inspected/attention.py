# SPDX-License-Identifier: AGPL-3.0-or-later
"""What needs somebody now, as far as the records know: no program, a record that stands still, cameras in trouble."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from vision_line.desk.cameras.camera_history import SILENT_S, is_alive
from vision_line.desk.inspected.stalled_record import STALLED_S, stalled_reason
from vision_line.desk.plain_words import cause_words
from vision_line.errors import RunError
from vision_line.frames import CameraState
from vision_line.inspection.coverage.causes import LOG, NOT_DUE
from vision_line.records.records import Records, Row

_LAST_RUN = """SELECT run, started_utc, coalesce(ended_utc, alive_utc, started_utc) AS known_utc,
    ended_utc IS NULL AS goes_on, end_cause, model_name, device FROM runs ORDER BY run DESC LIMIT 1"""
_OPEN = """SELECT camera, cause, started_utc FROM not_inspected WHERE run = ? AND ended_utc IS NULL
    AND cause NOT IN (?, ?) ORDER BY cause, started_utc"""
_DEGRADED = f"""SELECT camera, state, code, at_utc FROM states s WHERE run = ? AND state = '{CameraState.DEGRADED}'
    AND NOT EXISTS (SELECT 1 FROM states t WHERE t.run = s.run AND t.camera = s.camera AND t.change > s.change)
    ORDER BY camera"""  # noqa: S608  a name, of these packages


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run. Not `is_live`: it ended, or was killed, at `known_utc`."""

    run: int
    started_utc: float
    known_utc: float
    goes_on: bool  # it has no end yet
    end_cause: str | None
    model_name: str
    device: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class Alarm:
    """One sentence about now. `is_missing`: something is not inspected or not recorded that is due; else a notice."""

    words: str
    since_utc: float
    cameras: Sequence[str] = ()
    is_missing: bool = True


def read_last_run(connection: Records) -> LastRun | None:
    """Return the newest run, None where there was none.

    Raises:
        Error: the database's, as it comes.
    """
    row = connection.execute(_LAST_RUN).fetchone()
    if row is None:
        return None
    goes_on = bool(row["goes_on"])
    return LastRun(**{**dict(row), "goes_on": goes_on}, is_live=is_alive(row["known_utc"], goes_on=goes_on))


def read_alarms(connection: Records, run: LastRun, directory: Path | None) -> list[Alarm]:
    """Return what needs somebody now, the worst first; nothing: every camera of the run is inspected.

    `directory` is where the run can be asked why its records stand still; None: it is elsewhere.

    Raises:
        Error: the database's, as it comes.
    """
    if not run.goes_on:
        return [Alarm("No program runs, so no camera is inspected", run.known_utc, is_missing=False)]
    if stalled := _stalled(run, directory):
        return [Alarm(f"Results cannot be recorded, so no camera is inspected: {stalled}", run.known_utc)]
    if not run.is_live:
        silent = f"The program has written nothing for more than {SILENT_S:g} s: it has died or hangs, or cannot write"
        return [Alarm(silent, run.known_utc)]
    rows = connection.execute(_OPEN, (run.run, *NOT_DUE)).fetchall()
    missing = [_missing(cause, list(own)) for cause, own in groupby(rows, lambda row: row["cause"])]
    degraded = [
        Alarm(f"in trouble: {row['code'] or row['state']}", row["at_utc"], (row["camera"],), is_missing=False)
        for row in connection.execute(_DEGRADED, (run.run,)).fetchall()
    ]
    every = [*missing, *degraded]
    return sorted(every, key=lambda alarm: (not alarm.is_missing, -len(alarm.cameras), alarm.since_utc))


def _stalled(run: LastRun, directory: Path | None) -> str | None:
    """Return what the run itself says of a record that stands still; None: it does not, or nobody answers."""
    if directory is None or time.time() - run.known_utc < STALLED_S:
        return None
    try:
        return stalled_reason(directory)
    except RunError:  # it has died or hangs, which is said once it is sure
        return None


def _missing(cause: str, rows: Sequence[Row]) -> Alarm:
    """Return what is said of the cameras that are not inspected by one cause."""
    words = "Results cannot be recorded" if cause == LOG else f"not inspected: {cause_words(cause)}"
    return Alarm(words, min(row["started_utc"] for row in rows), tuple(row["camera"] for row in rows))
