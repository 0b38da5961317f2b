# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far the outputs of two ONNX files lie apart on the same images, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import load_model
from vision_line_compression.quantize.calibrate import InputImage, open_session, run_session

#: Rows of a YOLO output (n, 4 + classes, anchors) that are coordinates.
_BOX_ROWS = 4


@dataclass(frozen=True, slots=True)
class OutputAgreement:
    """Differences over all images; boxes in input pixels, scores 0..1, signal over difference in dB."""

    images: int
    box_sqnr_db: float
    score_sqnr_db: float
    largest_box_px: float
    largest_score: float


def compare_outputs(
    reference: Path, other: Path, images: Iterable[InputImage], *, threads: int = 0, fuse: bool = True
) -> OutputAgreement:
    """Run `images` (3, h, w) through both files, whose head is `yolov8`: output (n, 4 + classes, anchors).

    Without `fuse` ONNX Runtime executes every node as it is written, Q/DQ pairs in float: what the files mean.

    Raises:
        ModelError: a file that cannot run, images missing, or outputs of other shapes.
    """
    models = [load_model(path) for path in (reference, other)]
    sessions = [open_session(model, threads, fuse=fuse) for model in models]
    sums, largest, count = np.zeros((2, 2)), np.zeros(2), 0
    for image in images:
        wanted, found = (
            run_session(session, model.graph.input[0].name, image, None)[0].astype(np.float64)
            for session, model in zip(sessions, models, strict=True)
        )
        if wanted.shape != found.shape or wanted.ndim != 3 or wanted.shape[1] <= _BOX_ROWS:
            raise ModelError(f"{other}: expected an output (1, 4 + classes, n), found {found.shape} and {wanted.shape}")
        for part, rows in enumerate((slice(None, _BOX_ROWS), slice(_BOX_ROWS, None))):
            difference = np.abs(wanted[:, rows] - found[:, rows])
            sums[part] += (wanted[:, rows] ** 2).sum(), (difference**2).sum()
            largest[part] = max(largest[part], difference.max())
        count += 1
    if not count:
        raise ModelError(f"{other}: expected images to compare with, found none")
    box_db, score_db = (10 * np.log10(power / error) if error else float("inf") for power, error in sums)
    return OutputAgreement(count, float(box_db), float(score_db), float(largest[0]), float(largest[1]))
