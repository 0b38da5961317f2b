# SPDX-License-Identifier: AGPL-3.0-or-later
"""Quantizing as tests like to ask for it: in one call, and one tensor by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vision_line_compression.quantize.calibrate import calibrate
from vision_line_compression.quantize.encodings import Floats
from vision_line_compression.quantize.onnx_session import InputImage
from vision_line_compression.quantize.quantizer import quantize_calibrated
from vision_line_compression.quantize.settings import QuantizeReport, QuantizeSettings


def quantize_onnx(
    float_onnx: Path, output: Path, settings: QuantizeSettings, images: Iterable[InputImage]
) -> QuantizeReport:
    """Quantize `float_onnx` with ranges from `images`, (3, h, w) float32 as the runtime's preprocessing makes them."""
    return quantize_calibrated(float_onnx, output, settings, calibrate(float_onnx, images))


def fake_quantize(values: Floats, scale: np.float32) -> Floats:
    """Return `values` as a Q/DQ pair with `scale` and zero point 0 leaves them (codes -128 .. 127)."""
    codes = np.clip(np.rint(values / scale), -128, 127)
    return np.asarray(codes * scale, np.float32)
