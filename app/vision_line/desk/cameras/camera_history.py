# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera over a time: its states, and what became of the frames that arrived."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.errors import mask_credentials
from vision_line.frames import DropCause
from vision_line.records.records import Records
from vision_line.records.schema import DROPPED_COLUMNS

#: State changes of one page; a camera that flickers has thousands a day.
MOST_STATES = 200
#: A run gives a sign of life every few seconds; without one for this long it was killed, or its disk stands still.
SILENT_S = 60.0

_SUMS = ", ".join(
    f"coalesce(sum({column}), 0)" for column in ("arrived", "decoded", "inspected", "reconnects", *DROPPED_COLUMNS)
)
_FRAMES = f"SELECT count(*), {_SUMS} FROM coverage WHERE camera = ? AND minute_utc >= ? AND minute_utc < ?"  # noqa: S608  names, of this package
_STATES = """SELECT change, state, code, detail, at_utc FROM states WHERE camera = ? AND at_utc >= ? AND at_utc < ?
    ORDER BY at_utc DESC, change DESC LIMIT ?"""
#: The newest row of each camera.
_NAMES = """SELECT c.name, c.run, c.station, c.recipe, c.url, coalesce(r.ended_utc, r.alive_utc, r.started_utc),
    r.ended_utc IS NULL FROM (SELECT name, run, station, recipe, url,
        row_number() OVER (PARTITION BY name ORDER BY run DESC, since_utc DESC) AS place FROM cameras) c
    JOIN runs r ON r.run = c.run WHERE c.place = 1 ORDER BY c.name"""
_NOW = "SELECT state, code, detail, at_utc FROM states WHERE run = ? AND camera = ? ORDER BY change DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Frames of the minutes that begin in a time."""

    minutes: int
    arrived: int
    decoded: int
    inspected: int
    reconnects: int
    dropped: Mapping[DropCause, int]  # without causes that did not occur


@dataclass(frozen=True, slots=True)
class CameraStateChange:
    """A change of a camera's state."""

    change: int
    state: str
    code: str | None
    detail: str
    at_utc: float


@dataclass(frozen=True, slots=True)
class KnownCamera:
    """A camera as its latest run had it; the state is its last one.

    Not `is_live`: the run's end was at `known_utc`; where it still `goes_on`, that was its last sign of life.
    """

    name: str
    station: str
    recipe: str
    url: str
    state: str | None
    code: str | None
    detail: str
    since_utc: float | None
    known_utc: float
    goes_on: bool
    is_live: bool


def is_alive(known_utc: float, *, goes_on: bool) -> bool:
    """Whether a run goes on now: one without an end that gave no sign of life for a while was killed."""
    return goes_on and time.time() - known_utc < SILENT_S


def read_frames(connection: Records, camera: str, chosen: ChosenTime) -> FrameCounts:
    """Return the sums of the ledger's minutes.

    Raises:
        Error: the database's, as it comes.
    """
    row = connection.execute(_FRAMES, (camera, chosen.since_utc, chosen.until_utc)).fetchone()
    minutes, arrived, decoded, inspected, reconnects, *dropped = row
    by_cause = {cause: number for cause, number in zip(DropCause, dropped, strict=True) if number}
    return FrameCounts(minutes, arrived, decoded, inspected, reconnects, by_cause)


def read_states(connection: Records, camera: str, chosen: ChosenTime) -> list[CameraStateChange]:
    """Return the changes of a camera's state in a time, newest first.

    Raises:
        Error: the database's, as it comes.
    """
    rows = connection.execute(_STATES, (camera, chosen.since_utc, chosen.until_utc, MOST_STATES)).fetchall()
    return [
        CameraStateChange(change, state, code, mask_credentials(detail), at_utc)
        for change, state, code, detail, at_utc in rows
    ]


def read_cameras(connection: Records) -> Sequence[KnownCamera]:
    """Return all cameras that a run had, by name.

    Raises:
        Error: the database's, as it comes.
    """
    found = []
    for name, run, station, recipe, url, known_utc, goes_on in connection.execute(_NAMES).fetchall():
        state, code, detail, at_utc = connection.execute(_NOW, (run, name)).fetchone() or (None, None, "", None)
        found.append(
            KnownCamera(
                name,
                station,
                recipe,
                mask_credentials(url),
                state=state,
                code=code,
                detail=mask_credentials(detail),
                since_utc=at_utc,
                known_utc=known_utc,
                goes_on=bool(goes_on),
                is_live=is_alive(known_utc, goes_on=bool(goes_on)),
            )
        )
    return found
