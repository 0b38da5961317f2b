# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long cameras were DEGRADED: their frames were inspected, and perhaps nothing was to be seen in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.desk.plain_words import duration
from vision_line.desk.run_times import BEGAN, KNOWN, in_its_run
from vision_line.frames import CameraState
from vision_line.records.records import Records

#: From each change to DEGRADED until the next one of its camera, or until its run ends.
_DEGRADED = f"""SELECT camera, at_utc, coalesce(next_utc, known_utc) FROM (
        SELECT s.camera, s.state, {in_its_run("s.at_utc")} AS at_utc, {KNOWN} AS known_utc,
            lead({in_its_run("s.at_utc")}) OVER (PARTITION BY s.run, s.camera ORDER BY s.change) AS next_utc
        FROM states s JOIN runs r ON r.run = s.run WHERE {BEGAN} < ? AND {KNOWN} >= ?) spans
    WHERE state = '{CameraState.DEGRADED}' ORDER BY camera"""  # noqa: S608  names, of these packages
#: A shorter time is not told, in seconds.
LEAST_SHOWN_S = 1.0
_NAMES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class DegradedTime:
    """How long a camera was black, uniform or blurred within a time."""

    camera: str
    seconds: float


def read_degraded(connection: Records, time: ChosenTime) -> list[DegradedTime]:
    """Return the cameras that were DEGRADED in `time`, the longest first.

    Raises:
        Error: the database's, as it comes.
    """
    seconds = defaultdict[str, float](float)
    for camera, since_utc, until_utc in connection.execute(_DEGRADED, (time.until_utc, time.since_utc)).fetchall():
        seconds[camera] += time.clipped_s(since_utc, until_utc)
    found = [DegradedTime(camera, own_s) for camera, own_s in seconds.items() if own_s >= LEAST_SHOWN_S]
    return sorted(found, key=lambda one: -one.seconds)


def degraded_words(found: Sequence[DegradedTime]) -> str:
    """Return the cameras with their times; "" without one."""
    named = [f"{one.camera} for {duration(one.seconds)}" for one in found[:_NAMES_SHOWN]]
    return ", ".join([*named, *([f"{len(found) - _NAMES_SHOWN} more"] if len(found) > _NAMES_SHOWN else [])])
