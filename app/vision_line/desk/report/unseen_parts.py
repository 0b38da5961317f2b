# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts that were let through while a camera of theirs stood still: it was found out later, and what was told stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vision_line.desk.inspected.inspected_time import Gap
from vision_line.frames import CameraState
from vision_line.parts.passed import OF_CHALLENGE, PartsFilter
from vision_line.records.records import Records

#: The cause of time in which a camera repeated its image.
_FROZEN: Final = f"camera:{CameraState.FROZEN}"
#: A part is triggered so long before its window ends, and so long after it begins, at the most, in seconds.
_BEFORE_S, _AFTER_S = 600.0, 60.0
#: It was decided behind its window, which its entry has: few entries are read.
_UNSEEN = f"""SELECT t.number, t.lane, t.sequence, t.part_id, t.triggered_utc, CAST(? AS TEXT) AS camera
    FROM parts t JOIN journal j ON j.number = t.number
    WHERE {{where}} AND t.verdict IN ('accept', 'warn') AND t.triggered_utc >= ? AND t.triggered_utc <= ?
    AND t.decided_utc > ? AND CAST(json_extract(j.body, '$.window_utc[0]') AS DOUBLE PRECISION) < ?
    AND CAST(json_extract(j.body, '$.window_utc[1]') AS DOUBLE PRECISION) > ?
    AND EXISTS (SELECT 1 FROM json_each(j.body, '$.inspections') c WHERE c.key = ?)
    AND NOT ({OF_CHALLENGE})"""  # noqa: S608  ours


@dataclass(frozen=True, slots=True)
class UnseenPart:
    """A part that was let through, and passed while a camera of it repeated one image; `number` is its entry's."""

    number: int
    lane: str
    sequence: int
    part_id: str
    triggered_utc: float
    camera: str


def find_unseen(connection: Records, wanted: PartsFilter, gaps: Iterable[Gap]) -> Sequence[UnseenPart]:
    """Return the parts that passed while one of their cameras was FROZEN by `gaps`, each once, the oldest first.

    The connection was taught `is_challenge`.

    Raises:
        Error: the database's, as it comes.
    """
    where, values = wanted.conditions()
    found: dict[int, UnseenPart] = {}
    for gap in gaps:
        if gap.cause == _FROZEN:
            since_utc, until_utc = gap.started_utc, gap.ended_utc
            asked = (since_utc - _BEFORE_S, until_utc + _AFTER_S, since_utc, until_utc, since_utc, gap.camera)
            rows = connection.execute(_UNSEEN.format(where=where), (gap.camera, *values, *asked)).fetchall()
            for part in (UnseenPart(*row) for row in rows):
                found.setdefault(part.number, part)
    return sorted(found.values(), key=lambda part: part.triggered_utc)
