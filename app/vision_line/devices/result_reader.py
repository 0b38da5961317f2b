# SPDX-License-Identifier: AGPL-3.0-or-later
"""From what an engine puts out for a frame to the frame's detections."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.heads import HeadDecoder, class_floors
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.frames import Detections, Frame, Scores

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
        self.set_score_floor(model.score_threshold if score_floor is None else score_floor)

    def set_score_floor(self, floor: float | Scores) -> None:
        """Read detections from this score on."""
        model = self._model
        self._head = HeadDecoder(model.head, class_floors(len(model.classes), floor), model.nms_iou)

    def read(self, frame: Frame, box: Letterbox, output: Outputs) -> Detections:  # noqa: ARG002 see ResultReader
        """Return the detections in `output` (float16 or float32) in the frame's pixels."""
        return in_frame(self._head.decode(output.astype(np.float32, copy=False)), box)
