# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records of a line over days or a year, by the record file's own writer: runs, gaps, and events by chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing

from vision_line.records.journal import Kind
from vision_line.records.schema import transaction

Floats = NDArray[np.float64]

BERLIN = ZoneInfo("Europe/Berlin")
DAY_S = 86_400.0
SHIFTS = {"timezone": "Europe/Berlin", "start": ["06:00", "14:00", "22:00"], "names": []}
#: The clocks of Berlin are put back in this time, and forward.
YEAR_BEGINS_UTC = datetime(2025, 11, 28, tzinfo=BERLIN).timestamp()


@dataclass
class ChartLine:
    """A line with a run a week. `rate_per_h` is of each camera, at seconds since it began (m,)."""

    days: int
    cameras: Mapping[str, str] = field(default_factory=lambda: {"cam01": "line 1"})  # with their stations
    rate_per_h: Callable[[Floats], Floats] = field(default=lambda at_s: np.full(len(at_s), 12.0))
    begins_utc: float = YEAR_BEGINS_UTC
    gaps_a_day: int = 2
    seed: int = 7
    classes: Sequence[str] = ("open", "short")


def made_line(directory: Path, line: ChartLine) -> None:
    """Write the records of a line."""
    chance = np.random.default_rng(line.seed)
    with writing(directory) as rows:
        said = {"before": None, "after": SHIFTS, "why": "start"}
        for first in range(0, line.days, 7):
            since_s = line.begins_utc - BEGAN_UTC + first * DAY_S
            until_s = line.begins_utc - BEGAN_UTC + min(first + 7, line.days) * DAY_S
            run = rows.run(since_s, until_s)
            with transaction(rows.connection):
                if not first:
                    rows.connection.journal.append(Kind.CONFIGURATION, "section/shifts", said, run)
                values: list[tuple[Any, ...]] = []
                for camera in line.cameras.items():
                    _camera(rows, run, camera, since_s)
                    _gaps(rows, run, camera, (since_s, until_s), line.gaps_a_day, chance)
                    values += _events(run, camera, (since_s, until_s), line, chance)
                values.sort(key=_seen_utc)
                rows.connection.executemany(_INSERT_EVENT, values)


def _camera(rows: DeskRecords, run: int, camera: tuple[str, str], since_s: float) -> None:
    rows.connection.execute(
        "INSERT INTO cameras (run, name, station, recipe, url, since_utc, settings) VALUES (?, ?, ?, '', '', ?, ?)",
        (run, *camera, BEGAN_UTC + since_s, json.dumps({"reject_threshold": 0.5, "warn_threshold": 0.3})),
    )


def _gaps(
    rows: DeskRecords,
    run: int,
    camera: tuple[str, str],
    between: tuple[float, float],
    a_day: int,
    chance: np.random.Generator,
) -> None:
    for number in range(int(a_day * (between[1] - between[0]) / DAY_S)):
        begins = between[0] + round(float((number + 0.5 * chance.random()) * DAY_S / a_day), 3)
        ends = begins + round(float(chance.exponential(300.0)), 3)
        rows.connection.execute(
            """INSERT INTO not_inspected (run, camera, station, recipe, interval_id, cause, started_utc, started_s,
            ended_utc, ended_s) VALUES (?, ?, ?, '', ?, 'camera:STALE', ?, ?, ?, ?)""",
            (run, *camera, f"{camera[0]} {begins}", BEGAN_UTC + begins, begins, BEGAN_UTC + ends, ends),
        )


def _events(
    run: int,
    camera: tuple[str, str],
    between: tuple[float, float],
    line: ChartLine,
    chance: np.random.Generator,
) -> list[tuple[Any, ...]]:
    hours = np.arange(between[0], between[1], 3600.0)
    counts = chance.poisson(line.rate_per_h(hours - (line.begins_utc - BEGAN_UTC)))
    at_s = np.repeat(hours, counts) + 3600.0 * chance.random(int(counts.sum()))
    return [
        (
            *(run, *camera, f"{run}-{camera[0]}-{n}", line.classes[n % len(line.classes)]),
            *("reject" if n % 5 else "warn", BEGAN_UTC + at, at, BEGAN_UTC + at + 3, at + 3),
        )
        for n, at in enumerate(np.sort(at_s).tolist())
    ]


def _seen_utc(row: tuple[Any, ...]) -> float:
    return cast("float", row[6])


_INSERT_EVENT = """INSERT INTO events (run, camera, station, recipe, event_id, class, verdict, phase, ended, score,
    top_score, hits, x1, y1, x2, y2, width, height, sequence, confirmed_sequence, first_seen_utc, first_seen_s,
    last_seen_utc, last_seen_s) VALUES (?, ?, ?, '', ?, ?, ?, 'end', 1, 0.75, 0.9, 9, 1, 2, 30, 40, 640, 360, 7, 7,
    ?, ?, ?, ?)"""
