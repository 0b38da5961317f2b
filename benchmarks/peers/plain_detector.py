# SPDX-License-Identifier: AGPL-3.0-or-later
"""A YOLO detector as one writes it around OpenVINO's asynchronous queue: letterbox, inference, NMS by OpenCV.

Frames come letterboxed as bytes; scaling to 0..1, the order of channels and the layout are part of the compiled model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from benchmarks.peers.job import BoxRow, Job
from benchmarks.peers.witness import box_rows

PADDING = 114
Image: TypeAlias = NDArray[np.uint8]  # (h, w, 3) BGR


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame lies in the network's input: its content's size, the padding left and above, and the scale."""

    content_wh: tuple[int, int]
    left: int
    top: int
    scale: float


def place(size_wh: tuple[int, int], shape_hw: tuple[int, int]) -> Placement:
    """Return where a frame lies in an input of `shape_hw`: as large as fits, in the middle. Pure."""
    scale = min(shape_hw[1] / size_wh[0], shape_hw[0] / size_wh[1])
    width, height = round(size_wh[0] * scale), round(size_wh[1] * scale)
    return Placement((width, height), (shape_hw[1] - width) // 2, (shape_hw[0] - height) // 2, scale)


def pad(content: Image, placed: Placement, shape_hw: tuple[int, int]) -> Image:
    """Return an input with `content`, of the placement's size, in its place."""
    canvas = np.full((*shape_hw, 3), PADDING, np.uint8)
    width, height = placed.content_wh
    canvas[placed.top : placed.top + height, placed.left : placed.left + width] = content
    return canvas


def letterbox(frame: Image, placed: Placement, shape_hw: tuple[int, int]) -> Image:
    """Return a BGR frame as an input."""
    content = np.asarray(cv2.resize(frame, placed.content_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
    return pad(content, placed, shape_hw)


class PlainDetector:
    """Detects asynchronously; `on_result` gets a frame's tag and its detections, in OpenVINO's thread."""

    def __init__(self, job: Job, on_result: Callable[[Any, Callable[[], list[BoxRow]]], None]) -> None:
        self._job = job
        self._on_result = on_result
        compiled = ov.Core().compile_model(_with_bytes(job), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
        self._queue = ov.AsyncInferQueue(compiled)
        self._queue.set_callback(self._finish)

    def wait_until_free(self) -> None:
        """Wait until a frame can be submitted at once."""
        self._queue.get_idle_request_id()

    def submit(self, image: Image, placed: Placement, tag: object) -> None:
        """Start with a letterboxed image; waits while all requests are busy."""
        self._queue.start_async(image[None], (tag, placed))

    def finish(self) -> None:
        """Wait for all that was submitted."""
        self._queue.wait_all()

    def _finish(self, request: Any, submitted: tuple[object, Placement]) -> None:
        tag, placed = submitted
        xyxy, score, class_id = self._detections(request.get_output_tensor().data[0], placed)
        self._on_result(tag, lambda: box_rows(xyxy, score, class_id))

    def _detections(self, output: NDArray[Any], placed: Placement) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the columns of a YOLOv8 head's output (4 + classes, places) after NMS, in pixels of the frame."""
        score = output[4:].max(axis=0)
        likely = np.flatnonzero(score >= self._job.score)
        score, class_id = score[likely], output[4:, likely].argmax(axis=0)
        centre, size = output[:2, likely].T, output[2:4, likely].T
        corner = (centre - size / 2 - (placed.left, placed.top)) / placed.scale
        xywh = np.hstack((corner, size / placed.scale))
        limits = self._job.score, self._job.nms_iou
        kept = np.asarray(cv2.dnn.NMSBoxesBatched(xywh, score, class_id, *limits), np.intp)  # type: ignore[arg-type]
        xywh = xywh[kept]
        return np.hstack((xywh[:, :2], xywh[:, :2] + xywh[:, 2:])), score[kept], class_id[kept]


def _with_bytes(job: Job) -> Any:
    """Return the network with an input of BGR bytes (1, h, w, 3)."""
    network = ov.Core().read_model(job.model)
    network.reshape([1, 3, *job.shape_hw])
    steps = ov.preprocess.PrePostProcessor(network)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(
        ov.preprocess.ColorFormat.BGR
    )
    steps.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ov.preprocess.ColorFormat.RGB).scale(255)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    return steps.build()
