# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which defects of an audited frame the line has no record of: those of an event or near miss count there alone.

A defect that one frame misses may have become an event in the next, and a part moves between the two. So besides what
was found in the frame itself, events and near misses of that moment are looked at, at the place where they were then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vision_line.records.records import Records
from vision_line.reviews.answer import GivenAnswer, ItemKey, ReviewedBox, ReviewVerdict
from vision_line.reviews.handoff.reviewed_image import PixelBox

#: A track begins when a detection reaches its threshold: a defect is in sight a little earlier, and after the last hit.
AROUND_S = 1.0

_AUDIT = """SELECT t.run, t.arrived_utc FROM audits t JOIN runs r ON r.run = t.run
    WHERE r.run_id = ? AND t.camera = ? AND t.sequence = ?"""
_EVENTS = """SELECT sequence, x1, y1, x2, y2, first_sequence, first_x1, first_y1, first_x2, first_y2,
    last_sequence, last_x1, last_y1, last_x2, last_y2 FROM events
    WHERE run = ? AND camera = ? AND first_seen_utc <= ? AND last_seen_utc >= ?"""
_NEAR_MISSES = """SELECT x1, y1, x2, y2 FROM near_misses
    WHERE run = ? AND camera = ? AND first_seen_utc <= ? AND last_seen_utc >= ?"""


@dataclass(frozen=True, slots=True)
class AuditedFrame:
    """An audited frame, and where events and near misses of its moment were in it."""

    recorded: Sequence[PixelBox]

    def unrecorded(self, defects: Sequence[ReviewedBox]) -> list[str]:
        """Return the classes of the defects that are neither an event nor a near miss: each of these is one defect."""
        boxes = [PixelBox(one.x1, one.y1, one.x2, one.y2) for one in defects]
        near = [
            (_distance(box, other), n, m)
            for n, box in enumerate(boxes)
            for m, other in enumerate(self.recorded)
            if _is_near(box, other)
        ]
        explained: dict[int, int] = {}
        for _, n, m in sorted(near):
            if n not in explained and m not in explained.values():
                explained[n] = m
        return [one.class_name for n, one in enumerate(defects) if n not in explained]


def missed_in(connection: Records, answer: GivenAnswer) -> list[str] | None:
    """Return the classes of the defects in an audited frame that nothing was recorded of; None: nobody said where.

    Raises:
        sqlite3.Error: as it comes.
    """
    if answer.boxes is None:
        return [] if answer.verdict is ReviewVerdict.CONFIRMED else None
    return _audited_frame(connection, answer.item).unrecorded(answer.boxes) if answer.boxes else []


def _audited_frame(connection: Records, item: ItemKey) -> AuditedFrame:
    camera, _, sequence = item.id.rpartition("/")
    row = connection.execute(_AUDIT, (item.run_id, camera, int(sequence))).fetchone()
    if row is None:
        return AuditedFrame(())
    moment = (row["run"], camera, row["arrived_utc"] + AROUND_S, row["arrived_utc"] - AROUND_S)
    events = (_placed(event, int(sequence)) for event in connection.execute(_EVENTS, moment))
    near = (PixelBox(*one) for one in connection.execute(_NEAR_MISSES, moment))
    return AuditedFrame((*events, *near))


def _placed(event: sqlite3.Row, sequence: int) -> PixelBox:
    """Return where an event was in a frame: on the line through its first, best and last box."""
    known = sorted(_known(event))
    if len(known) < 2:
        return known[0][1]
    after = next((n for n, (at, _) in enumerate(known) if at >= sequence and n), len(known) - 1)
    (at0, box0), (at1, box1) = known[after - 1], known[after]
    share = (sequence - at0) / (at1 - at0)
    x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(box0.edges, box1.edges, strict=True))
    return PixelBox(x1, y1, x2, y2)


def _known(event: sqlite3.Row) -> Iterator[tuple[int, PixelBox]]:
    """Yield the frames in which an event's box is known, each once."""
    seen: set[int] = set()
    for prefix in ("", "first_", "last_"):
        sequence = event[f"{prefix}sequence"]
        if sequence is not None and event[f"{prefix}x1"] is not None and sequence not in seen:
            seen.add(sequence)
            yield sequence, PixelBox(*(event[f"{prefix}{edge}"] for edge in ("x1", "y1", "x2", "y2")))


def _distance(box: PixelBox, other: PixelBox) -> float:
    """Return how far apart the middles of two boxes are, across and down together."""
    return (abs(box.x1 + box.x2 - other.x1 - other.x2) + abs(box.y1 + box.y2 - other.y1 - other.y2)) / 2


def _is_near(box: PixelBox, other: PixelBox) -> bool:
    """Whether two boxes are one defect: their middles lie no further apart than the larger one is wide and high."""
    across = abs(box.x1 + box.x2 - other.x1 - other.x2) / 2
    down = abs(box.y1 + box.y2 - other.y1 - other.y2) / 2
    return across <= max(box.x2 - box.x1, other.x2 - other.x1) and down <= max(box.y2 - box.y1, other.y2 - other.y1)
