# SPDX-License-Identifier: AGPL-3.0-or-later
"""The latency table of a target: each convolution of a checkpoint's network in INT8, and the whole network."""

from __future__ import annotations

import copy
import logging
import tempfile
from pathlib import Path

import numpy as np

from vision_line.ports import ProgressCallback, ShapeHW
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.network.onnx_file import export_onnx
from vision_line_compression.network.split_blocks import split_blocks
from vision_line_compression.network.ultralytics_log import NOWHERE, ultralytics_log
from vision_line_compression.prune.latency import LatencyTable, measure_latency, unsteady, with_network
from vision_line_compression.prune.openvino_bench import OpenvinoBench
from vision_line_compression.prune.structure import survey_convolutions
from vision_line_compression.quantize.calibrate import calibrate
from vision_line_compression.quantize.quantizer import quantize_calibrated
from vision_line_compression.quantize.settings import QuantizeSettings

logger = logging.getLogger(__name__)

#: For how long a whole network runs in each round, and how often it has its turn: all prices are scaled by its time.
_NETWORK_S, _ROUNDS = 0.3, 3


def measure_cpu(checkpoint: Path, size_hw: ShapeHW, progress: ProgressCallback | None = None) -> LatencyTable:
    """Measure on this machine's processor; minutes, in which nothing else should run here, else it warns.

    Raises:
        ModelError: the checkpoint cannot be used.
        DeviceError: OpenVINO cannot compile or run it.
    """
    model = copy.deepcopy(load_checkpoint(checkpoint).model)
    split_blocks(model)
    convolutions, bench = survey_convolutions(model), OpenvinoBench()
    table = measure_latency(convolutions, size_hw, bench, progress=progress)
    with tempfile.TemporaryDirectory(prefix="vision-line-latency-") as folder, ultralytics_log(NOWHERE):
        floats = export_onnx(checkpoint, Path(folder) / "float.onnx", shape_hw=size_hw)
        noise = np.random.default_rng(0).random((3, *size_hw), np.float32)  # ranges do not matter to the time
        integers = Path(folder) / "int8.onnx"
        quantize_calibrated(floats, integers, QuantizeSettings(), calibrate(floats, [noise]))
        patient = OpenvinoBench(seconds=_NETWORK_S)
        rounds = [[patient.network_ms(path, size_hw) for path in (floats, integers)] for _ in range(_ROUNDS)]
    floats_ms, integers_ms = zip(*rounds, strict=True)
    if (warning := unsteady(integers_ms)) is not None:
        logger.warning("%s", warning)
    return with_network(table, convolutions, float_ms=min(floats_ms), int8_ms=min(integers_ms))
