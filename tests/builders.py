# SPDX-License-Identifier: AGPL-3.0-or-later
"""Values that many tests begin with: a frame, detections, an inspected frame. Tests say only what matters to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection

COLOUR = Colour(ColourMatrix.BT709, ColourRange.LIMITED)
#: Of JPEG images, and of drawn ones.
FULL = Colour(ColourMatrix.BT601, ColourRange.FULL)

Box = tuple[float, float, float, float]


def make_frame(
    camera: str = "cam01",
    sequence: int = 0,
    *,
    size_wh: tuple[int, int] = (640, 360),
    data: object = None,
    colour: Colour = COLOUR,
    at_s: float = 0.0,
    at_utc: float = 0.0,
    behind_s: float = 0.0,
) -> Frame:
    """Return a frame that arrived at `at_s`, by the wall clock at `at_utc`, and was decoded at once."""
    return Frame(camera, sequence, size_wh, colour, data, at_s, at_utc, at_s, behind_s=behind_s)


def make_detections(*boxes: Box, score: float = 0.9, class_id: int = 0) -> Detections:
    """Return boxes of one class and score."""
    return scored_detections(*((*box, score, class_id) for box in boxes))


def scored_detections(*rows: Sequence[float]) -> Detections:
    """Return detections; each row is x1, y1, x2, y2, score, class id."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int32))


def make_inspection(of: Frame, found: Detections | None = None, *, after_s: float = 0.0) -> Inspection:
    """Return the inspection of a frame that was submitted and finished `after_s` after it had arrived."""
    at_s = of.arrived_s + after_s
    return Inspection(of, Detections.empty() if found is None else found, at_s, at_s)
