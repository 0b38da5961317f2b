# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked of a quantization, and what it reports."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from vision_line_compression.files import FrozenModel
from vision_line_compression.quantize.thresholds import Method


class _Frozen(FrozenModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")


class PlacementSettings(_Frozen):
    """How a float model becomes a quantized one, by whatever method its ranges are chosen."""

    percentile: float = Field(default=99.99, gt=50.0, le=100.0)
    """Share of the values in percent that `percentile` keeps."""
    share_scales: bool = True
    """One scale for all that meets in a concatenation, pooling or resizing: faster, a little less accurate."""
    quantize_outputs: bool = False
    """Quantize convolutions' outputs before their activation too: less accurate, and slower but in ONNX Runtime."""
    narrowest: int = Field(default=16, ge=1, le=256)
    """Convolutions with fewer channels stay float, unless both numbers are multiples of 8 and the kernel is square."""
    keep_float: tuple[str, ...] = ()
    """Convolutions to leave float, by name or by a leading part of it that ends before a `/`: `/model.0`."""


class QuantizeSettings(PlacementSettings):
    """How a float model becomes a quantized one."""

    method: Method = Method.MAX
    """How activation ranges are chosen."""


class TensorRange(_Frozen):
    """One quantized activation."""

    tensor: str
    """Name in the graph."""
    scale: float
    """Step of the codes."""
    largest: float
    """Largest magnitude seen during calibration."""
    sqnr_db: float
    """Signal over quantization noise, from the histogram."""
    group: int
    """Tensors of one group share their scale."""


class QuantizeReport(_Frozen):
    """What was done to a model."""

    method: Method
    """How activation ranges were chosen."""
    images: int
    """Number of calibration images."""
    images_sha256: str
    """Hash of the calibration images in their order."""
    source_sha256: str
    """Hash of the float model."""
    sha256: str
    """Hash of the quantized model."""
    source_bytes: int
    """Size of the float model."""
    bytes: int
    """Size of the quantized model."""
    quantized: tuple[str, ...]
    """Names of the quantized convolutions."""
    kept_float: dict[str, str]
    """Names of the other convolutions, and why they are float."""
    ranges: tuple[TensorRange, ...]
    """The quantized activations."""
    weight_sqnr_db: dict[str, float]
    """Signal over quantization noise of each quantized convolution's weights."""
