# SPDX-License-Identifier: AGPL-3.0-or-later
"""What inspected: runs with program, model, configuration and device; cameras with station, recipe and model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from vision_line.desk.cameras.camera_history import SILENT_S
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.run_times import BEGAN, KNOWN, in_its_run
from vision_line.records.records import Records

_RUNS = f"""SELECT run, run_id, version, {BEGAN} AS started_utc, {KNOWN} AS known_utc,
    ended_utc IS NULL AS goes_on, end_cause, config_sha256, model_name, model_sha256, precision, device,
    instruction_set, form, form_reason, host
    FROM runs r WHERE {BEGAN} < ? AND {KNOWN} >= ? ORDER BY {BEGAN}"""  # noqa: S608  names, of this file
_CAMERAS = f"""SELECT t.name AS camera, t.station, t.recipe, {in_its_run("t.since_utc")} AS since_utc,
    coalesce(nullif(t.model_name, ''), r.model_name) AS model_name,
    coalesce(nullif(t.model_sha256, ''), r.model_sha256) AS model_sha256
    FROM cameras t JOIN runs r ON r.run = t.run
    WHERE {BEGAN} < ? AND {KNOWN} >= ? AND {in_its_run("t.since_utc")} < ?
    ORDER BY t.name, 4, t.run"""  # noqa: S608  the same


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """One run; `known_utc` is its end, or up to when it accounts for its cameras."""

    run: int
    run_id: str
    version: str
    started_utc: float
    known_utc: float
    goes_on: bool
    end_cause: str | None
    config_sha256: str
    model_name: str
    model_sha256: str
    precision: str
    device: str
    instruction_set: str | None
    form: str | None
    form_reason: str | None
    host: str


@dataclass(frozen=True, slots=True)
class CameraIdentity:
    """A camera as it was configured since a moment."""

    camera: str
    station: str
    recipe: str
    since_utc: float
    model_name: str
    model_sha256: str


def read_runs(connection: Records, time: ChosenTime) -> list[RunIdentity]:
    """Return the runs of which some lies in `time`.

    Raises:
        Error: the database's, as it comes.
    """
    rows = connection.execute(_RUNS, (time.until_utc, time.since_utc)).fetchall()
    return [RunIdentity(**{**dict(row), "goes_on": bool(row["goes_on"])}) for row in rows]


def read_cameras(connection: Records, time: ChosenTime) -> list[CameraIdentity]:
    """Return each station, recipe and model that the cameras of these runs had in `time`, in order.

    Raises:
        Error: the database's, as it comes.
    """
    rows = connection.execute(_CAMERAS, (time.until_utc, time.since_utc, time.until_utc)).fetchall()
    return list(_changes([CameraIdentity(**dict(row)) for row in rows], time.since_utc))


def _changes(every: Sequence[CameraIdentity], since_utc: float) -> Iterator[CameraIdentity]:
    """Yield those that say something new of their camera, but not what was over before `since_utc`."""
    for _, rows in groupby(every, key=lambda row: row.camera):
        spans = [next(same) for _, same in groupby(rows, key=lambda row: (row.station, row.recipe, row.model_sha256))]
        for span, following in zip_longest(spans, spans[1:]):
            if following is None or following.since_utc > since_utc:
                yield span


def without_run_s(runs: Sequence[RunIdentity], time: ChosenTime, now_utc: float) -> float:
    """Return for how much of `time` until now no program ran, in seconds of the wall clock.

    One that gave a sign of life a moment ago still runs.
    """
    past = ChosenTime(time.since_utc, min(time.until_utc, now_utc))
    covered_s, reached_utc = 0.0, time.since_utc
    for run in runs:
        until_utc = now_utc if run.goes_on and now_utc - run.known_utc < SILENT_S else run.known_utc
        covered_s += past.clipped_s(max(run.started_utc, reached_utc), until_utc)
        reached_utc = max(reached_utc, until_utc)
    return past.length_s - covered_s
