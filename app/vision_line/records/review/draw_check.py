# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether audits are the frames that were drawn, and near misses' images those that were: the draws are made again.

What can be checked: each row's draw lies below its probability; an audit's probability is the one that the journal says
was in force then, as far back as the journal reaches; and whether a near miss kept its image, was lost, or was not
drawn. What cannot: that every drawn frame has its row, as frames without detections have no other row.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections import defaultdict
from typing import TypedDict

from vision_line.errors import BrokenRecordError
from vision_line.records.review.candidate_frames import NOT_DRAWN
from vision_line.records.review.draw import audit_name, is_drawn, near_miss_name
from vision_line.records.review.review_recorder import AUDIT_KEY

_AUDITS = """SELECT r.run, r.run_id, camera, sequence, probability
    FROM audits JOIN runs r USING (run) ORDER BY audit"""
_NEAR_MISSES = """SELECT r.run_id, camera, near_miss_id, probability, missing, path
    FROM near_misses JOIN runs r USING (run) ORDER BY near_miss"""
_RATES = """SELECT run, iif(kind = 'carried', substr(key, length('configuration/') + 1), key), body FROM journal
    WHERE kind = 'configuration' OR (kind = 'carried' AND key >= 'configuration/' AND key < 'configuration0')
    ORDER BY number"""


class _Said(TypedDict):
    """A probability as the journal says it."""

    probability: float
    since_sequence: int


def check_draws(connection: sqlite3.Connection) -> int:
    """Make every draw again; return how many audits and near misses there are. To be called in a read transaction.

    Raises:
        BrokenRecordError: a row is of a frame or a track that was not drawn.
        sqlite3.Error: as it comes.
    """
    rates = _rates(connection)
    checked = 0
    for run, run_id, camera, sequence, probability in connection.execute(_AUDITS):
        checked += 1
        name = f"audits {camera}/{sequence} of run {run_id}"
        if not is_drawn(audit_name(run_id, camera, sequence), probability):
            raise BrokenRecordError(f"{name}: the frame was not drawn with probability {probability:g}")
        known = rates[run, camera]
        place = bisect_right(known, sequence, key=lambda rate: rate[0]) - 1
        if place >= 0 and known[place][1] != probability:
            raise BrokenRecordError(f"{name}: probability {probability:g}, when {known[place][1]:g} was in force")
    for run_id, camera, near_miss_id, probability, missing, path in connection.execute(_NEAR_MISSES):
        checked += 1
        drawn = is_drawn(near_miss_name(run_id, camera, near_miss_id), probability)
        if missing == NOT_DRAWN if drawn else path is not None:
            words = f"its image was {'' if drawn else 'not '}drawn with probability {probability:g}"
            raise BrokenRecordError(f"near_misses {near_miss_id} of run {run_id}: {words}")
    return checked


def _rates(connection: sqlite3.Connection) -> dict[tuple[int, str], list[tuple[int, float]]]:
    """Return since which frame which probability was in force, by run and camera, in their order."""
    found: dict[tuple[int, str], list[tuple[int, float]]] = defaultdict(list)
    for run, key, body in connection.execute(_RATES):
        said: _Said | None = json.loads(body)["after"] if key.startswith(AUDIT_KEY) else None
        if said is not None:
            found[run, key.removeprefix(AUDIT_KEY)].append((said["since_sequence"], said["probability"]))
    return found
