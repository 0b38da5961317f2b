# SPDX-License-Identifier: AGPL-3.0-or-later
"""From what an engine puts out for a frame to the frame's detections."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.heads import (
    BOX_ROWS,
    MAX_DETECTIONS,
    HeadDecoder,
    HeadKind,
    Output,
    SegmentOutput,
    class_floors,
    split_rows,
    with_masks,
)
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.frames import Detections, Frame, Scores

logger = logging.getLogger(__name__)

#: How often it is said of a camera that its frames show too much.
CROWDED_SAID_EVERY_S = 600.0

#: What an engine puts out of a frame: float32 or float16.
FrameOutput: TypeAlias = NDArray[np.floating] | SegmentOutput
#: And of a batch: (n, ...), or one for each frame.
Outputs: TypeAlias = NDArray[np.floating] | Sequence[SegmentOutput]


class ResultReader(Protocol):
    """Reads an engine's outputs; called by the scheduler's thread, but for the floor, which any thread may set."""

    def set_score_floor(self, floor: float | Scores) -> None:
        """Read detections from this score on, for all classes or (classes,) one for each."""

    def read(self, frame: Frame, box: Letterbox, output: FrameOutput) -> Detections:
        """Return what `output`, which is one frame's, says of `frame`, in the frame's pixels.

        Raises:
            RunError: the output holds no numbers.
        """


class HeadReader:
    """Reads the outputs of a model's detection head; implements `ResultReader`."""

    def __init__(self, model: Model, score_floor: float | Scores | None = None) -> None:
        """`score_floor` is the lowest score read, for all classes or (classes,) one for each; None: the model's."""
        self._model = model
        self._crowded_s: dict[str, float] = {}  # by camera, when that was said last
        self._left_out_s: dict[str, float] = {}  # the same of masks
        self.set_score_floor(model.score_threshold if score_floor is None else score_floor)

    def set_score_floor(self, floor: float | Scores) -> None:
        """Read detections from this score on."""
        model = self._model
        floors = class_floors(len(model.classes), floor)
        self._lowest_floor = float(floors.min())
        self._head = HeadDecoder(model.head, floors, model.nms_iou)

    def read(self, frame: Frame, box: Letterbox, output: FrameOutput) -> Detections:
        """Return the detections in `output` (float16 or float32) in the frame's pixels."""
        if isinstance(output, SegmentOutput):
            numbers = output.places.astype(np.float32, copy=False)
            found = self._segments(numbers, output, box)
        else:
            numbers = output.astype(np.float32, copy=False)
            found = self._head.decode(numbers)
        if len(found) >= MAX_DETECTIONS or self._is_full(numbers):
            self._say_crowded(frame.camera)
        if found.masks is not None and (left_out := found.masks.left_out):
            self._say_left_out(frame.camera, left_out, len(found))
        return in_frame(found, box)

    def _segments(self, places: Output, output: SegmentOutput, box: Letterbox) -> Detections:
        """Return what is found with masks, in pixels of the input; nothing of a mask lies in the padding."""
        found, coefficients = self._head.decode_segments(places)
        if not len(found):
            return found
        return with_masks(replace(found, xyxy=box.cut_to_content(found.xyxy)), coefficients, output.prototypes)

    def _is_full(self, output: Output) -> bool:
        """Whether each place of an output lies above the floor.

        An engine on a GPU hands back the best places alone, the best first: then there were more, of whatever class.
        """
        if self._model.head.is_end2end or not output.shape[1]:
            return False
        is_rotated = self._model.head is HeadKind.YOLOV8_OBB
        scores = output[BOX_ROWS:-1] if is_rotated else split_rows(output, len(self._model.classes))[0]
        if np.maximum.reduce(scores[:, -1]) <= self._lowest_floor:
            return False
        return bool((np.maximum.reduce(scores) > self._lowest_floor).all())

    def _say_left_out(self, camera: str, left_out: int, found: int) -> None:
        if _is_due(self._left_out_s, camera):
            logger.warning(
                "camera %s: %d of a frame's %d objects have no area and no outline: their boxes are too many and too"
                " large to compute all masks in time; raise the thresholds of classes of which there are many, or have"
                " a frame show less",
                camera,
                left_out,
                found,
            )

    def _say_crowded(self, camera: str) -> None:
        if not _is_due(self._crowded_s, camera):
            return
        logger.warning(
            "camera %s: a frame shows more than is taken of one, at most %d objects: defects may be missed;"
            " raise the thresholds of classes of which there are many, or have a frame show less",
            camera,
            MAX_DETECTIONS,
        )


def _is_due(said_s: dict[str, float], camera: str) -> bool:
    """Whether something is to be said of a camera again; notes that it is said now."""
    now_s = time.monotonic()
    if now_s - said_s.get(camera, -inf) < CROWDED_SAID_EVERY_S:
        return False
    said_s[camera] = now_s
    return True
