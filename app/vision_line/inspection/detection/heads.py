# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a detection head's raw output to boxes in pixels of the network input."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vision_line.errors import RunError
from vision_line.frames import Boxes, ClassIds, Detections, Scores
from vision_line.inspection.detection.nms import suppress

#: Largest number of detections of one frame, as in Ultralytics.
MAX_DETECTIONS = 300

Output = NDArray[np.float32]


class HeadKind(StrEnum):
    """Layout of a network's output. Stable: written in `bundle.json`."""

    YOLOV8 = "yolov8"  # (4 + classes, n): centre x, y, width, height, class scores; NMS outside (v8, 11, ...)
    END2END = "end2end"  # (n, 6): x1, y1, x2, y2, score, class; nothing left to suppress (v10, 26, exports with NMS)


@dataclass(frozen=True, slots=True)
class HeadDecoder:
    """Decodes the outputs of one model; pure, so any thread may use it.

    `score_floor` (classes,): only scores above their class's floor count, so nothing is decoded that no camera
    needs. Scores are compared with `>`, and a box counts for its best class only, as in Ultralytics.
    """

    kind: HeadKind
    score_floor: Scores
    nms_iou: float
    max_detections: int = MAX_DETECTIONS

    def decode(self, output: Output) -> Detections:
        """Return the detections in `output` (one frame, no batch axis), in input pixels, highest score first.

        Raises:
            RunError: the scores, or the boxes or classes of what counts, are not numbers.
        """
        if self.kind is HeadKind.END2END:
            return self._decode_end2end(output)
        return self._decode_yolov8(output)

    def _decode_yolov8(self, output: Output) -> Detections:
        scores = output[4:]
        best = scores.max(axis=0)
        _check_numbers(best)
        rows = np.flatnonzero(best > self.score_floor.min())
        if not len(rows):
            return Detections.empty()
        candidates = scores[:, rows]
        class_id: ClassIds = candidates.argmax(axis=0).astype(np.int32)
        score: Scores = candidates[class_id, np.arange(len(rows))]
        _check_numbers(output[:4, rows])
        wanted = score > self.score_floor[class_id]
        found = Detections(_to_xyxy(output[:4, rows]), score, class_id)[wanted]
        return found[suppress(found.xyxy, found.score, found.class_id, self.nms_iou, self.max_detections)]

    def _decode_end2end(self, output: Output) -> Detections:
        _check_numbers(output[:, 4:])
        # clipped, because an id out of range would be an index error in the middle of the run
        class_id = np.clip(output[:, 5], 0, len(self.score_floor) - 1).astype(np.int32)
        rows = np.flatnonzero(output[:, 4] > self.score_floor[class_id])
        rows = rows[np.argsort(-output[rows, 4], kind="stable")][: self.max_detections]
        _check_numbers(output[rows, :4])
        return Detections(output[rows, :4].copy(), output[rows, 4].copy(), class_id[rows])


def _check_numbers(values: Output) -> None:
    # not-a-number compares false, so a broken engine would look like a good part
    if not np.isfinite(values).all():
        raise RunError("the engine returned scores, boxes or classes that are not numbers")


def _to_xyxy(xywh: Output) -> Boxes:
    """Return (4, n) centres and sizes as (n, 4) corners."""
    centre, half = xywh[:2], xywh[2:] / 2
    return np.concatenate([centre - half, centre + half]).T.copy()


def class_floors(classes: int, floor: float | Scores) -> Scores:
    """Return `floor` as an array (classes,), one value for all classes or one for each.

    Raises:
        ValueError: another number of values than classes.
    """
    floors = np.array(np.broadcast_to(np.asarray(floor, np.float32), (classes,)))
    floors.setflags(write=False)
    return floors
