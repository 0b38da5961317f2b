# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was found and is in no sum: of a camera that two boxes had, by the one whose records do not count."""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.records.records import Records

_FOUND = """SELECT camera, by_box, sum(events) AS events, min(from_utc) AS from_utc, max(to_utc) AS to_utc
    FROM not_counted WHERE events > 0 AND from_utc < ? AND to_utc > ? GROUP BY camera, by_box
    ORDER BY min(from_utc), camera"""


@dataclass(frozen=True, slots=True)
class NotCounted:
    """Findings at a camera of one box while another one accounted for it; `to_utc` infinity: it still does."""

    camera: str
    by_box: str
    events: int
    from_utc: float
    to_utc: float


def read_not_counted(connection: Records, time: ChosenTime) -> list[NotCounted]:
    """Return what was not counted of the times of which some lies in `time`.

    Raises:
        Error: the database's, as it comes.
    """
    rows = connection.execute(_FOUND, (time.until_utc, time.since_utc)).fetchall()
    return [
        NotCounted(**{key: row[key] for key in ("camera", "by_box", "events", "from_utc", "to_utc")}) for row in rows
    ]
