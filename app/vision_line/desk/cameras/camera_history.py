# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera over a time: its states, and what became of the frames that arrived."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.errors import mask_credentials
from vision_line.frames import DropCause
from vision_line.records.records import Records, Row
from vision_line.records.schema import DROPPED_COLUMNS

#: State changes of one page; a camera that flickers has thousands a day.
MOST_STATES = 200
#: A run gives a sign of life every few seconds; without one for this long it was killed, or its disk stands still.
SILENT_S = 60.0

_SUMS = ", ".join(
    f"coalesce(sum({column}), 0)" for column in ("arrived", "decoded", "inspected", "reconnects", *DROPPED_COLUMNS)
)
_FRAMES = f"SELECT count(*), {_SUMS} FROM coverage t WHERE t.camera = ? AND t.minute_utc >= ? AND t.minute_utc < ?"  # noqa: S608  names, of this package
_STATES = """SELECT change, state, code, detail, at_utc FROM states t WHERE t.camera = ? AND at_utc >= ? AND at_utc < ?
    ORDER BY at_utc DESC, change DESC LIMIT ?"""
#: The newest row of each camera, with its newest state.
_CAMERAS = """SELECT t.name, t.station, t.recipe, t.url, s.state, s.code,
    coalesce(s.detail, '') AS detail, s.at_utc AS since_utc,
    coalesce(r.ended_utc, r.alive_utc, r.started_utc) AS known_utc, r.ended_utc IS NULL AS goes_on
    FROM (SELECT name, max(run) AS run FROM cameras t WHERE {where} GROUP BY name) n
    JOIN cameras t ON (t.run, t.name) = (n.run, n.name) JOIN runs r ON r.run = t.run
    LEFT JOIN states s ON s.change = (
        SELECT l.change FROM states l WHERE l.run = t.run AND l.camera = t.name ORDER BY l.change DESC LIMIT 1)
    WHERE NOT EXISTS (SELECT 1 FROM cameras l WHERE l.run = t.run AND l.name = t.name AND l.since_utc > t.since_utc)
    ORDER BY t.name"""


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


def read_cameras(connection: Records, camera: str | None = None) -> Sequence[KnownCamera]:
    """Return all cameras that a run had, or the one of that name, by name.

    Raises:
        Error: the database's, as it comes.
    """
    where, values = ("true", ()) if camera is None else ("t.name = ?", (camera,))
    return [_known(row) for row in connection.execute(_CAMERAS.format(where=where), values).fetchall()]


def _known(row: Row) -> KnownCamera:
    goes_on = bool(row["goes_on"])
    said = {name: mask_credentials(row[name]) for name in ("url", "detail")}
    is_live = is_alive(row["known_utc"], goes_on=goes_on)
    return KnownCamera(**{**dict(row), **said, "goes_on": goes_on, "is_live": is_live})
