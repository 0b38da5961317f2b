# SPDX-License-Identifier: AGPL-3.0-or-later
"""Times in which what was inspected may be wrong: an engine that was right computes wrongly when it is proven again."""

from __future__ import annotations

import json
from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.records.records import Records

#: By the index: these entries are a few among millions. The database of all boxes has those that were carried twice.
_DOUBTS = """SELECT body FROM journal
    WHERE kind = 'doubt' OR (kind = 'carried' AND key >= 'doubt/' AND key < 'doubt0')
    GROUP BY body ORDER BY min(number)"""
_UNREADABLE = "an entry of the journal that says so is not what was written; vision-line verify says more"


@dataclass(frozen=True, slots=True)
class DoubtedTime:
    """From when to when it may be wrong what was inspected, on every camera of the run, and why."""

    since_utc: float
    until_utc: float
    why: str


def read_doubts(connection: Records, time: ChosenTime) -> list[DoubtedTime]:
    """Return those that touch `time`, the oldest first; one that cannot be read touches every time.

    Raises:
        Error: the database's, as it comes.
    """
    found = (_read(body, time) for (body,) in connection.execute(_DOUBTS).fetchall())
    return [one for one in found if one.since_utc < time.until_utc and one.until_utc >= time.since_utc]


def _read(text: str, time: ChosenTime) -> DoubtedTime:
    try:
        body = json.loads(text)
        return DoubtedTime(float(body["since_utc"]), float(body["until_utc"]), str(body["why"]))
    except (ValueError, TypeError, KeyError):
        return DoubtedTime(time.since_utc, time.until_utc, _UNREADABLE)
