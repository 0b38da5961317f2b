# SPDX-License-Identifier: AGPL-3.0-or-later
"""One pass over the calibration images through the float model, from which every method takes its ranges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from vision_line.errors import ModelError
from vision_line_compression.quantize.graph import Graph, open_graph
from vision_line_compression.quantize.onnx_session import InputImage, OnnxSession
from vision_line_compression.quantize.qdq_placement import observable_tensors
from vision_line_compression.quantize.thresholds import Histogram


@dataclass(frozen=True, slots=True)
class RangeCalibration:
    """What the images showed: a histogram for each tensor that may be quantized."""

    histograms: dict[str, Histogram]
    images: int
    images_sha256: str

    @property
    def constant_zero(self) -> frozenset[str]:
        """Return the tensors that were zero throughout."""
        return frozenset(name for name, histogram in self.histograms.items() if histogram.peak == 0.0)


def calibrate(float_onnx: Path, images: Iterable[InputImage], *, threads: int = 0) -> RangeCalibration:
    """Run `images` one by one through `float_onnx` and count the magnitudes of its activations.

    Images may differ in shape where the model's input is dynamic. Memory holds one image's activations and one
    histogram a tensor. `threads` are ONNX Runtime's; 0 means all cores.

    Raises:
        ModelError: no images, an image that the model cannot take, or activations that are not finite.
    """
    graph = open_graph(float_onnx)
    tensors = observable_tensors(graph)
    histograms = {tensor: Histogram() for tensor in tensors}
    session = OnnxSession(_with_outputs(graph, tensors), threads)
    outputs = [tensor for tensor in tensors if tensor != graph.input_name]
    digest, count = hashlib.sha256(), 0
    for image in images:
        prepared = _checked(image, count)
        digest.update(prepared.tobytes())
        values = dict(zip(outputs, session.run(prepared, outputs), strict=True))
        values[graph.input_name] = prepared
        for tensor, histogram in histograms.items():
            _count(float_onnx, tensor, histogram, values[tensor])
        count += 1
    if not count:
        raise ModelError(f"{float_onnx}: expected calibration images, found none")
    return RangeCalibration(histograms, count, digest.hexdigest())


def _checked(image: InputImage, number: int) -> InputImage:
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != np.float32:
        raise ModelError(
            f"calibration image {number}: expected (3, height, width) float32, found {image.shape} {image.dtype}"
        )
    return np.ascontiguousarray(image)


def _count(path: Path, tensor: str, histogram: Histogram, values: NDArray[np.float32]) -> None:
    try:
        histogram.add(values)
    except ValueError as exc:
        raise ModelError(f"{path}: tensor {tensor!r}: {exc}") from exc


def _with_outputs(graph: Graph, tensors: tuple[str, ...]) -> ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    present = {value.name for value in model.graph.output} | {graph.input_name}
    float_type = onnx.TensorProto.FLOAT
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(tensor, float_type, None) for tensor in tensors if tensor not in present
    )
    return model
