# SPDX-License-Identifier: AGPL-3.0-or-later
"""Association: one frame's detections matched one to one to tracks, nearest first, at a known belt position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vision_line.frames import Detections
from vision_line.inspection.tracking.registration import GATE

#: Boxes that overlap by this share (IoU) after motion compensation are one defect, whatever their classes.
SAME_SPOT_IOU = 0.4


@dataclass(slots=True)
class Track:
    """One defect that is tracked; `x`, `y` is its centre in belt coordinates, in pixels."""

    number: int
    x: float
    y: float
    width: float
    height: float
    observed_s: float  # on the belt's clock
    frames_in_view: int = 1  # inspected frames since the first observation in which it should be visible
    observations: int = 1
    hits: int = 1  # observations that reached the class threshold
    missed: int = 0  # in a row
    outside: int = 0  # in a row
    observed_belt_xy: tuple[float, float] = (0.0, 0.0)  # position of the belt at the last observation
    class_votes: dict[int, float] = field(default_factory=dict)  # class id -> sum of scores
    class_id: int = -1  # the class with the highest sum of scores so far: asked for more often than it may change

    def vote(self, class_id: int, score: float) -> None:
        """Count an observation for its class."""
        votes = self.class_votes
        votes[class_id] = votes.get(class_id, 0.0) + score
        self.class_id = max(votes, key=votes.__getitem__)


@dataclass(slots=True)
class DetectionRow:
    """One detection as plain numbers: centre, size, class, score; `is_hit`: it reached its class threshold.

    Not frozen: it is made for every detection, and freezing takes four times as long.
    """

    x: float
    y: float
    width: float
    height: float
    class_id: int
    score: float
    is_hit: bool

    def overlap(self, other: DetectionRow) -> float:
        """Return the intersection over union with another box."""
        return _overlap(self.x - other.x, self.y - other.y, self, other)


def rows_of(detections: Detections, is_hit: Sequence[bool]) -> list[DetectionRow]:
    """Return the detections as rows: for a handful, plain numbers are faster than arrays."""
    columns = zip(
        detections.xyxy.tolist(),
        detections.class_id.tolist(),
        detections.score.tolist(),
        is_hit,
        strict=True,
    )
    return [
        DetectionRow((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, class_id=class_id, score=score, is_hit=hit)
        for (x1, y1, x2, y2), class_id, score, hit in columns
    ]


def match_rows(
    tracks: list[Track], rows: Sequence[DetectionRow], belt_xy: tuple[float, float], errors: list[float] | None
) -> dict[int, Track]:
    """Return row -> track, one to one: nearest pairs of one class first, then boxes of any class on the same spot."""
    matches: dict[int, Track] = {}
    taken: set[int] = set()
    numbered = {track.number: track for track in tracks}
    for _, number, index in sorted(_pairs(tracks, rows, belt_xy, errors)):
        if index not in matches and number not in taken:
            taken.add(number)
            matches[index] = numbered[number]
    return matches


def _pairs(
    tracks: list[Track], rows: Sequence[DetectionRow], belt_xy: tuple[float, float], errors: list[float] | None
) -> list[tuple[float, int, int]]:
    """Return the pairs of a track's number and a row that may be one defect, each behind its cost.

    Without `errors` nobody knows which are near.
    """
    pairs = []
    for place, track in enumerate(tracks):
        x, y, class_id = track.x + belt_xy[0], track.y + belt_xy[1], track.class_id
        error = None if errors is None else errors[place]
        for index, row in enumerate(rows):
            dx, dy = row.x - x, row.y - y
            if row.class_id != class_id:
                if abs(dx) < row.width and abs(dy) < row.height:
                    overlap = _overlap(dx, dy, row, track)
                    if overlap >= SAME_SPOT_IOU:
                        pairs.append((GATE**2 + 1 - overlap, track.number, index))
            elif error is not None:
                distance = (dx**2 + dy**2) / (2 * error * error)
                if distance < GATE**2:
                    pairs.append((distance, track.number, index))
    return pairs


def _overlap(dx: float, dy: float, a: DetectionRow | Track, b: DetectionRow | Track) -> float:
    across = min(a.width / 2, dx + b.width / 2) - max(-a.width / 2, dx - b.width / 2)
    down = min(a.height / 2, dy + b.height / 2) - max(-a.height / 2, dy - b.height / 2)
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / (a.width * a.height + b.width * b.height - shared)
