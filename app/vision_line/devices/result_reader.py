# SPDX-License-Identifier: AGPL-3.0-or-later
"""From what an engine puts out for a frame to the frame's detections."""

from __future__ import annotations

import logging
import time
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.heads import (
    BOX_ROWS,
    MAX_DETECTIONS,
    HeadDecoder,
    HeadKind,
    Output,
    class_floors,
    split_rows,
)
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.frames import Detections, Frame, Scores

logger = logging.getLogger(__name__)

#: How often it is said of a camera that its frames show too much.
CROWDED_SAID_EVERY_S = 600.0

#: What an engine puts out: float32 or float16, of a frame or (n, ...) of a batch.
Outputs = NDArray[np.floating]


class ResultReader(Protocol):
    """Reads an engine's outputs; called by the scheduler's thread, but for the floor, which any thread may set."""

    def set_score_floor(self, floor: float | Scores) -> None:
        """Read detections from this score on, for all classes or (classes,) one for each."""

    def read(self, frame: Frame, box: Letterbox, output: Outputs) -> Detections:
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
        self.set_score_floor(model.score_threshold if score_floor is None else score_floor)

    def set_score_floor(self, floor: float | Scores) -> None:
        """Read detections from this score on."""
        model = self._model
        floors = class_floors(len(model.classes), floor)
        self._lowest_floor = float(floors.min())
        self._head = HeadDecoder(model.head, floors, model.nms_iou)

    def read(self, frame: Frame, box: Letterbox, output: Outputs) -> Detections:
        """Return the detections in `output` (float16 or float32) in the frame's pixels."""
        numbers = output.astype(np.float32, copy=False)
        found = self._head.decode(numbers)
        if len(found) >= MAX_DETECTIONS or self._is_full(numbers):
            self._say_crowded(frame.camera)
        return in_frame(found, box)

    def _is_full(self, output: Output) -> bool:
        """Whether each place of an output lies above the floor.

        An engine on a GPU hands back the best places alone, the best first: then there were more, of whatever class.
        """
        if self._model.head.is_end2end or not output.shape[1]:
            return False
        is_upright = self._model.head is HeadKind.YOLOV8
        scores = split_rows(output, len(self._model.classes))[0] if is_upright else output[BOX_ROWS:-1]
        if np.maximum.reduce(scores[:, -1]) <= self._lowest_floor:
            return False
        return bool((np.maximum.reduce(scores) > self._lowest_floor).all())

    def _say_crowded(self, camera: str) -> None:
        now_s = time.monotonic()
        if now_s - self._crowded_s.get(camera, -inf) < CROWDED_SAID_EVERY_S:
            return
        self._crowded_s[camera] = now_s
        logger.warning(
            "camera %s: a frame shows more than is taken of one, at most %d objects: defects may be missed;"
            " raise the thresholds of classes of which there are many, or have a frame show less",
            camera,
            MAX_DETECTIONS,
        )
