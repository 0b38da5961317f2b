# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame in a few hundred numbers: enough to tell frozen, black, uniform and blurred, and cheap to take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from vision_line.ports import HostCopyable

ROWS = 18
COLUMNS = 32
_MAX_ROW_SAMPLES = 640  # sharpness samples at most this many columns of a row

Thumbnail = NDArray[np.uint8]  # (18, 32) luma, sampled, not averaged: averaging would hide sensor noise


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Luma samples of one frame, and its sharpness: the mean absolute difference of pixels two apart in a row."""

    thumbnail: Thumbnail
    sharpness: float


def fingerprint_luma(luma: NDArray[np.uint8]) -> Fingerprint:
    """Return the fingerprint of a (h, w) uint8 luma plane; the plane may have any strides and is only read."""
    rows, columns, span = _grid(*luma.shape)
    strips = luma[rows, span]
    left, right = strips[:, :-2], strips[:, 2:]
    steps = np.maximum(left, right) - np.minimum(left, right)  # in bytes: a quarter of the time of wider integers
    sharpness = int(np.add.reduce(steps, axis=None)) / steps.size if steps.size else 0.0
    return Fingerprint(luma[rows[:, None], columns], sharpness)


@lru_cache(maxsize=64)
def _grid(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp], slice]:
    """Return the rows and columns of a thumbnail, and the columns of sharpness samples."""
    rows = (np.arange(ROWS) * 2 + 1) * height // (2 * ROWS)
    columns = (np.arange(COLUMNS) * 2 + 1) * width // (2 * COLUMNS)
    span = min(width, _MAX_ROW_SAMPLES)
    left = (width - span) // 2
    return rows, columns, slice(left, left + span)


def fingerprint_frame(frame: Any) -> Fingerprint | None:
    """Return the fingerprint of a frame with a luma plane of 8 to 16 bits; None for any other frame, such as RGB.

    `frame` is an `av.VideoFrame`, or a device's frame that can be copied. Called twice a second.

    Raises:
        DeviceError: the frame cannot be copied.
    """
    if not isinstance(frame, av.VideoFrame):
        if not isinstance(frame, HostCopyable):
            return None
        frame = frame.to_host()
    layout = _luma_layout(frame.format.name)
    if layout is None:
        return None
    plane = frame.planes[0]
    samples = np.frombuffer(plane, layout.dtype).reshape(-1, plane.line_size // layout.dtype.itemsize)
    luma = samples[: frame.height, : frame.width]
    return fingerprint_luma((luma >> layout.shift).astype(np.uint8) if layout.shift else luma)


class _LumaLayout(NamedTuple):
    """How luma lies in the first plane; a sample's upper eight bits are left after a shift to the right."""

    dtype: np.dtype[Any]
    shift: int


@lru_cache(maxsize=64)
def _luma_layout(pixel_format: str) -> _LumaLayout | None:
    """Return where FFmpeg's pixel format has its luma; None where it has none, or one that is not read here."""
    described = av.VideoFormat(pixel_format)
    if described.is_rgb or described.is_bit_stream:
        return None
    if not pixel_format.startswith(("yuv", "gray", "nv", "p0")) or pixel_format.startswith(("yuyv", "yuvx")):
        return None
    bits = described.components[0].bits
    if bits == 8:
        return _LumaLayout(np.dtype(np.uint8), 0)
    if described.is_big_endian:
        return None
    # P010 and its kin keep the value in the upper bits, yuv420p10 in the lower.
    return _LumaLayout(np.dtype(np.uint16), 8 if pixel_format.startswith("p0") else bits - 8)
