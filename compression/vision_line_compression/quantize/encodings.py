# SPDX-License-Identifier: AGPL-3.0-or-later
"""The encodings of a quantized file that engines take: signed, and unsigned with weights of 7 bits.

Both mean the same kind of arithmetic; what differs is which instructions of a processor compute it exactly:

    signed      int8 activations and weights. Right where a processor multiplies such bytes and adds in 32 bits: GPUs,
                and x86 with VNNI or AMX.
    unsigned    uint8 activations around 128. x86 without VNNI multiplies unsigned by signed bytes and adds two products
                in 16 bits: 2 * 255 * 64 = 32640 still fits, 2 * 255 * 127 does not. So the weights have 7 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision_line_compression.quantize.thresholds import LEVELS


@dataclass(frozen=True, slots=True)
class ActivationEncoding:
    """How values are stored; `weight_codes` are the least and the largest code of a weight, a zero point of 0 implied.

    `name` is the value of the file's metadata entry `quantization`, and of a bundle's.
    """

    name: str
    activation_zero: np.int8 | np.uint8
    weight_codes: tuple[int, int]


SIGNED = ActivationEncoding("qdq-s8-symmetric", np.int8(0), (-128, 127))
UNSIGNED = ActivationEncoding("qdq-u8-7bit", np.uint8(128), (-64, 63))


Floats = NDArray[np.float32]
Codes = NDArray[np.int8]

#: No scale is smaller: reciprocals and products of two scales stay normal float32 numbers.
LEAST_SCALE = np.float32(2.0**-40)

#: A bias over (input scale * weight scale) stays below this, so that an int32 bias with that scale exists.
_BIAS_CODES = float(2**30)


def activation_scale(threshold: float) -> np.float32:
    """Return the scale of a tensor that is clipped at `threshold`.

    Raises:
        ValueError: the threshold is not a positive number.
    """
    if not (np.isfinite(threshold) and threshold > 0):
        raise ValueError(f"expected a positive range, found {threshold}")
    return max(np.float32(threshold / LEVELS), LEAST_SCALE)


def weight_scales(weight: Floats, bias: Floats | None, input_scale: np.float32) -> Floats:
    """Return the scale of each output channel (n,) of a convolution's weight (n, ...): its largest magnitude / 127.

    A channel that is almost dead but has a bias gets a coarser scale, |bias| / (2^30 * input scale): its weights then
    matter less than 2^-30 of the bias each, and the bias has an exact int32 form.

    Raises:
        ValueError: a weight is not finite.
    """
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64)
    if not np.isfinite(largest).all():
        raise ValueError("its weights are not finite")
    scales = np.maximum(largest / LEVELS, LEAST_SCALE)
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)) / (_BIAS_CODES * float(input_scale)))
    return np.asarray(scales, np.float32)


def quantize_weight(weight: Floats, scales: Floats) -> Codes:
    """Return the codes -127 .. 127 of a weight (n, ...) with one scale for each of its n channels."""
    per_channel = scales.reshape(-1, *[1] * (weight.ndim - 1))
    return np.asarray(np.clip(np.rint(weight / per_channel), -LEVELS, LEVELS), np.int8)


def quantize_bias(bias: Floats, scales: Floats, input_scale: np.float32) -> tuple[NDArray[np.int32], Floats]:
    """Return a bias (n,) as int32 codes and their scales, weight scale * input scale: units of the integer sum."""
    units = (scales * input_scale).astype(np.float32)
    return np.rint(bias.astype(np.float64) / units).astype(np.int32), units


def dequantize_bias(codes: NDArray[np.int32], units: Floats) -> Floats:
    """Return what `DequantizeLinear` makes of int32 codes (n,) with scales (n,)."""
    return (codes.astype(np.float32) * units).astype(np.float32)
