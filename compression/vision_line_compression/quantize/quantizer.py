# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a float ONNX file and calibration images to a quantized one with its report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import ModelProto, numpy_helper

from vision_line_compression.files import sha256_of
from vision_line_compression.network.onnx_file import save_model
from vision_line_compression.quantize.calibrate import RangeCalibration
from vision_line_compression.quantize.encodings import SIGNED, Floats, activation_scale
from vision_line_compression.quantize.graph import Graph, open_graph
from vision_line_compression.quantize.lint import validate_quantized
from vision_line_compression.quantize.qdq_placement import Placement, plan_placement
from vision_line_compression.quantize.qdq_writer import write_pairs
from vision_line_compression.quantize.settings import QuantizeReport, QuantizeSettings, TensorRange
from vision_line_compression.quantize.thresholds import Histogram, choose_threshold, signal_to_noise_db


def quantize_calibrated(
    float_onnx: Path, output: Path, settings: QuantizeSettings, calibration: RangeCalibration
) -> QuantizeReport:
    """Quantize `float_onnx` with ranges from a `calibration` of the same file: one pass serves every method.

    Raises:
        ModelError: the settings do not fit the model, or `output` cannot be written.
    """
    graph = open_graph(float_onnx)
    placement = plan_placement(graph, settings, calibration.constant_zero)
    ranges = _ranges(placement, settings, calibration)
    scales = {entry.tensor: np.float32(entry.scale) for entry in ranges}
    model = write_pairs(graph, placement, scales, _metadata(settings, calibration))
    validate_quantized(model, output)
    save_model(model, output)
    return QuantizeReport(
        method=settings.method,
        images=calibration.images,
        images_sha256=calibration.images_sha256,
        source_sha256=sha256_of(float_onnx),
        sha256=sha256_of(output),
        source_bytes=float_onnx.stat().st_size,
        bytes=output.stat().st_size,
        quantized=placement.convolutions,
        kept_float=placement.kept_float,
        ranges=ranges,
        weight_sqnr_db=_weight_noise(graph, placement, model),
    )


def _ranges(placement: Placement, settings: QuantizeSettings, calibration: RangeCalibration) -> tuple[TensorRange, ...]:
    ranges = []
    for number, group in enumerate(placement.groups):
        histograms = [calibration.histograms[tensor] for tensor in group]
        together = Histogram()
        for histogram in histograms:
            together = together.merged(histogram)
        threshold = choose_threshold(together, settings.method, settings.percentile)
        scale = float(activation_scale(threshold))
        ranges += [
            TensorRange(
                tensor=tensor,
                scale=scale,
                largest=histogram.peak,
                sqnr_db=signal_to_noise_db(histogram, threshold),
                group=number,
            )
            for tensor, histogram in zip(group, histograms, strict=True)
        ]
    return tuple(ranges)


def _metadata(settings: QuantizeSettings, calibration: RangeCalibration) -> dict[str, str]:
    details = {
        "method": settings.method.value,
        "images": calibration.images,
        "images_sha256": calibration.images_sha256,
    }
    return {"quantization": SIGNED.name, "calibration": json.dumps(details)}


def _weight_noise(graph: Graph, placement: Placement, model: ModelProto) -> dict[str, float]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    noise = {}
    for node in graph.convolutions():
        if node.name not in placement.convolutions:
            continue
        weight = graph.constants[node.input[1]].astype(np.float32)
        codes = numpy_helper.to_array(stored[f"{node.name}_weight_int8"]).astype(np.float32)
        scales = numpy_helper.to_array(stored[f"{node.name}_weight_scale"]).reshape(-1, *[1] * (weight.ndim - 1))
        noise[node.name] = _sqnr_db(weight, codes * scales)
    return noise


def _sqnr_db(reference: Floats, found: Floats) -> float:
    error = float(((reference.astype(np.float64) - found) ** 2).sum())
    power = float((reference.astype(np.float64) ** 2).sum())
    return float("inf") if error == 0 else float(10 * np.log10(max(power, 1e-300) / error))
