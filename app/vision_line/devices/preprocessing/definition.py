# SPDX-License-Identifier: AGPL-3.0-or-later
"""The preprocessing that every device does: definition 1, as plain integer numpy.

A device's fast path is compared with this file; evaluation, calibration and kernels use the same definition.

1.  Geometry: `Letterbox`.
2.  Each plane is resampled straight from its own size to the content's size; chroma planes count as centred (no
    siting offset), so a half-size plane is a plane like any other. Separable, from integer tap tables (`plan_taps`):
    where an axis shrinks, box weights (the share of the output pixel that each source pixel covers); else bilinear
    with half-pixel centres and clamped edges. Weights are Q15, differences of rounded cumulative shares, so that each
    tap set sums to exactly 32768.
    Horizontal: h = (sum(w * source) + 256) >> 9, vertical: v = (sum(w * h) + 16384) >> 15; both Q6 in int32.
3.  Colour: RGB = (matrix Q14 * (Y - offset, U - 8192, V - 8192) + 2^19) >> 20, clamped to 0..255, uint8.
    Grey frames have U = V = 8192. RGB frames: (v + 32) >> 6.
4.  Padding: 114 in all channels.
5.  float32 NCHW: float32(value) * float32(1 / 255), one multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import ShapeHW

DEFINITION = 1
PADDING_VALUE = 114
SCALE = np.float32(1 / 255)

Plane = NDArray[np.uint8]  # (h, w), any strides
PixelsRGB = NDArray[np.uint8]  # (h, w, 3)
Q6 = NDArray[np.int32]  # 64 times the value

#: Kr, Kb of ITU-R BT.601-7 (2.5.1), BT.709-6 (3.2), BT.2020-2 (table 4, non-constant luminance).
_LUMA_SHARES = {
    ColourMatrix.BT601: (0.299, 0.114),
    ColourMatrix.BT709: (0.2126, 0.0722),
    ColourMatrix.BT2020: (0.2627, 0.0593),
}


@dataclass(frozen=True, slots=True)
class Planes:
    """A frame as 8-bit planes (views, not copies): Y, U, V, or Y alone, or R, G, B when `is_rgb`."""

    planes: tuple[Plane, ...]
    is_rgb: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no frame: neither grey nor three planes."""
        if len(self.planes) not in (1, 3):
            raise ValueError(f"frame: expected 1 or 3 planes, got {len(self.planes)}")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Return the frame's size, that of its first plane."""
        return self.planes[0].shape[1], self.planes[0].shape[0]


@dataclass(frozen=True, slots=True)
class Taps:
    """For each of n outputs of one axis: k source positions and their Q15 weights (unused taps weigh 0)."""

    index: NDArray[np.int32]  # (n, k)
    weight: NDArray[np.int32]  # (n, k)


@lru_cache(maxsize=256)
def plan_taps(src: int, dst: int) -> Taps:
    """Return the taps that resample an axis of `src` pixels to `dst`; integer arithmetic only."""
    return _plan_area(src, dst) if src > dst else _plan_bilinear(src, dst)


def _plan_area(src: int, dst: int) -> Taps:
    begin = np.arange(dst, dtype=np.int64) * src  # in units of 1 / dst source pixel; one source pixel is dst units
    first = begin // dst
    index = first[:, None] + np.arange((src + dst - 1) // dst + 1)
    # what all pixels up to this one cover is rounded, not each pixel's share: so hundreds of taps still sum to one
    covered = np.clip((index + 1) * dst - begin[:, None], 0, src)
    weight = np.diff((covered * 65536 + src) // (2 * src), axis=1, prepend=0)
    return Taps(np.minimum(index, src - 1).astype(np.int32), weight.astype(np.int32))


def _plan_bilinear(src: int, dst: int) -> Taps:
    centre = (2 * np.arange(dst, dtype=np.int64) + 1) * src - dst  # in units of 1 / (2 * dst) source pixel
    first = centre // (2 * dst)
    second_weight = ((centre - first * 2 * dst) * 32768 + dst) // (2 * dst)
    index = np.clip(np.stack([first, first + 1], axis=1), 0, src - 1)
    weight = np.stack([32768 - second_weight, second_weight], axis=1)
    return Taps(index.astype(np.int32), weight.astype(np.int32))


def resample(plane: Plane, size_wh: tuple[int, int]) -> Q6:
    """Return `plane` resampled to `size_wh` as Q6 (h, w)."""
    across = plan_taps(plane.shape[1], size_wh[0])
    down = plan_taps(plane.shape[0], size_wh[1])
    source = plane.astype(np.int32)
    horizontal = np.full((plane.shape[0], size_wh[0]), 256, np.int32)
    for index, weight in zip(across.index.T, across.weight.T, strict=True):
        horizontal += source[:, index] * weight
    horizontal >>= 9
    vertical = np.full((size_wh[1], size_wh[0]), 16384, np.int32)
    for index, weight in zip(down.index.T, down.weight.T, strict=True):
        vertical += horizontal[index] * weight[:, None]
    return vertical >> 15


@lru_cache(maxsize=16)
def colour_coefficients(matrix: ColourMatrix, value_range: ColourRange) -> tuple[NDArray[np.int32], int]:
    """Return the Q14 matrix (3, 3) from (Y - offset, U - 128, V - 128) to RGB, and the luma offset in 8-bit steps."""
    red, blue = _LUMA_SHARES[matrix]
    green = 1.0 - red - blue
    limited = value_range is ColourRange.LIMITED
    luma, chroma = (255 / 219, 255 / 224) if limited else (1.0, 1.0)
    to_red, to_blue = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    exact = [
        [luma, 0.0, to_red],
        [luma, -to_blue * blue / green, -to_red * red / green],
        [luma, to_blue, 0.0],
    ]
    return np.rint(np.array(exact) * 16384).astype(np.int32), 16 if limited else 0


def to_rgb(planes: tuple[Q6, ...], colour: Colour) -> PixelsRGB:
    """Return Y, U, V (or Y alone) planes of one size, Q6, as RGB (h, w, 3)."""
    matrix, offset = colour_coefficients(colour.matrix, colour.range)
    luma = planes[0] - offset * 64
    chroma = [plane - 128 * 64 for plane in planes[1:]] or [np.zeros_like(luma)] * 2
    channels = [
        (row[0] * luma + row[1] * chroma[0] + row[2] * chroma[1] + (1 << 19)) >> 20  # |sum| < 2^31: fits int32
        for row in matrix
    ]
    clamped: PixelsRGB = np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    return clamped


def letterbox_planes(data: Planes, colour: Colour, dst_hw: ShapeHW) -> PixelsRGB:
    """Return `data` letterboxed to `dst_hw` as RGB (h, w, 3): steps 1 to 4 of the definition."""
    box = Letterbox(data.size_wh, dst_hw)
    planes = tuple(resample(plane, box.content_wh) for plane in data.planes)
    canvas = np.full((*dst_hw, 3), PADDING_VALUE, np.uint8)
    if data.is_rgb:
        canvas[box.content] = (np.stack(planes, axis=-1) + 32) >> 6
    else:
        canvas[box.content] = to_rgb(planes, colour)
    return canvas


def letterbox_rgb(rgb: PixelsRGB, dst_hw: ShapeHW) -> PixelsRGB:
    """Return an RGB image (h, w, 3) letterboxed to `dst_hw`; see `normalise` for the network's input."""
    planes = Planes((rgb[..., 0], rgb[..., 1], rgb[..., 2]), is_rgb=True)
    return letterbox_planes(planes, Colour(ColourMatrix.BT601, ColourRange.FULL), dst_hw)


def normalise(rgb: PixelsRGB) -> NDArray[np.float32]:
    """Return RGB (h, w, 3) as a network input (1, 3, h, w): step 5 of the definition."""
    values: NDArray[np.float32] = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32)
    return values * SCALE
