# SPDX-License-Identifier: AGPL-3.0-or-later
"""ONNX files as ONNX Runtime executes them, and how far the outputs of two lie apart on the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from vision_line.devices.model.heads import BOX_ROWS
from vision_line.devices.model.masks import COEFFICIENTS
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import load_model

#: An image as the runtime's preprocessing makes it: (3, h, w) RGB, 0..1.
InputImage = NDArray[np.float32]
Values = NDArray[np.float64]

#: Places of an image whose masks are compared, those with the best scores.
_MASKS = 16


class OnnxSession:
    """A model in ONNX Runtime on the CPU; without `fuse` its nodes are executed as they are written.

    `threads` are ONNX Runtime's; 0 means all cores.
    """

    def __init__(self, model: ModelProto, threads: int = 0, *, fuse: bool = True) -> None:
        """Open `model`.

        Raises:
            ModelError: ONNX Runtime refuses it.
        """
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults

        self._input = str(model.graph.input[0].name)
        self._refusals = (faults.InvalidArgument, faults.RuntimeException, faults.Fail)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if not fuse:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        content, providers = model.SerializeToString(), ["CPUExecutionProvider"]
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=providers)
        except (faults.Fail, faults.InvalidGraph, faults.InvalidArgument, faults.NotImplemented) as exc:
            raise ModelError(f"ONNX Runtime cannot load the model: {exc}") from exc
        self._dtype = np.float16 if self._session.get_inputs()[0].type == "tensor(float16)" else np.float32

    def run(self, image: InputImage, outputs: Sequence[str] | None = None) -> list[NDArray[np.float32]]:
        """Return `outputs`, None: all of the model's, for one image (3, h, w), in the type that the model takes.

        Raises:
            ModelError: the model cannot take an image of this shape.
        """
        try:
            return list(self._session.run(outputs, {self._input: image[None].astype(self._dtype, copy=False)}))
        except self._refusals as exc:
            raise ModelError(f"an image of shape {image.shape} cannot run through the model: {exc}") from exc


@dataclass(frozen=True, slots=True)
class OutputAgreement:
    """Differences over all images; boxes in input pixels, scores 0..1, signal over difference in dB.

    Of rotated boxes there are angles too, in radians; of an angle the signal is the direction of the box, which half a
    turn does not change. Of masks there is what they are before the sigmoid, of the places with the best scores. None:
    the model has none.
    """

    images: int
    box_sqnr_db: float
    score_sqnr_db: float
    largest_box_px: float
    largest_score: float
    angle_sqnr_db: float | None = None
    largest_angle: float | None = None
    mask_sqnr_db: float | None = None

    @property
    def sqnr_db(self) -> float:
        """The sum of all parts: it grows with the likeness."""
        return self.box_sqnr_db + self.score_sqnr_db + (self.angle_sqnr_db or 0.0) + (self.mask_sqnr_db or 0.0)


class _Difference:
    """One part of an output over all images: its signal, and how far the two files' values lie apart."""

    def __init__(self) -> None:
        self._power = self._error = self.largest = 0.0

    def add(self, signal: Values, difference: Values) -> None:
        self._power += float((signal**2).sum())
        self._error += float((difference**2).sum())
        self.largest = max(self.largest, float(difference.max()))

    @property
    def sqnr_db(self) -> float:
        return float(10 * np.log10(self._power / self._error)) if self._error else float("inf")


def compare_outputs(
    reference: Path,
    other: Path,
    images: Iterable[InputImage],
    *,
    task: ModelTask = ModelTask.DETECT,
    threads: int = 0,
    fuse: bool = True,
) -> OutputAgreement:
    """Run `images` (3, h, w) through both files, whose head is `yolov8`: output (n, 4 + classes, anchors).

    For the `task` of rotated boxes it is `yolov8-obb`, and the last row is the angle in radians; for that of masks
    `yolov8-seg`, and the last rows are coefficients of the second output, the prototypes. Without `fuse` ONNX Runtime
    executes every node as it is written, Q/DQ pairs in float: what the files mean.

    Raises:
        ModelError: a file that cannot run, images missing, or outputs of other shapes.
    """
    sessions = [OnnxSession(load_model(path), threads, fuse=fuse) for path in (reference, other)]
    boxes, scores, angles, masks, count = _Difference(), _Difference(), _Difference(), _Difference(), 0
    rotated, masked = task is ModelTask.OBB, task is ModelTask.SEGMENT
    behind = rotated + COEFFICIENTS * masked
    least_rows = BOX_ROWS + 1 + behind
    for image in images:
        outputs = [[output.astype(np.float64) for output in session.run(image)] for session in sessions]
        wanted, found = (one[0] for one in outputs)
        if wanted.shape != found.shape or wanted.ndim != 3 or wanted.shape[1] < least_rows:
            raise ModelError(f"{other}: expected an output (1, 4 + classes, n), found {found.shape} and {wanted.shape}")
        difference, scores_end = np.abs(wanted - found), wanted.shape[1] - behind
        boxes.add(wanted[:, :BOX_ROWS], difference[:, :BOX_ROWS])
        scores.add(wanted[:, BOX_ROWS:scores_end], difference[:, BOX_ROWS:scores_end])
        if rotated:
            turned = difference[:, -1] % np.pi
            angles.add(np.ones_like(turned), 2 * np.sin(turned))  # unit vectors of twice the angle
        if masked:
            best = np.argsort(-wanted[0, BOX_ROWS:scores_end].max(axis=0), kind="stable")[:_MASKS]
            theirs, ours = (_mask_logits(one[0][0], one[1][0], best) for one in outputs)
            masks.add(theirs, np.abs(theirs - ours))
        count += 1
    if not count:
        raise ModelError(f"{other}: expected images to compare with, found none")
    return OutputAgreement(
        images=count,
        box_sqnr_db=boxes.sqnr_db,
        score_sqnr_db=scores.sqnr_db,
        largest_box_px=boxes.largest,
        largest_score=scores.largest,
        angle_sqnr_db=angles.sqnr_db if rotated else None,
        largest_angle=float(np.arcsin(angles.largest / 2)) if rotated else None,
        mask_sqnr_db=masks.sqnr_db if masked else None,
    )


def _mask_logits(places: Values, prototypes: Values, columns: NDArray[np.intp]) -> Values:
    """Return the masks (k, h, w) of some places before the sigmoid."""
    logits: Values = np.tensordot(places[-COEFFICIENTS:, columns].T, prototypes, axes=1)
    return logits
