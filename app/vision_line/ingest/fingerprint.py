# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame in a few hundred numbers: enough to tell frozen, black, uniform and blurred, and cheap to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    height, width = luma.shape
    rows = (np.arange(ROWS) * 2 + 1) * height // (2 * ROWS)
    columns = (np.arange(COLUMNS) * 2 + 1) * width // (2 * COLUMNS)
    span = min(width, _MAX_ROW_SAMPLES)
    left = (width - span) // 2
    strips = luma[rows, left : left + span].astype(np.int16)
    sharpness = float(np.abs(strips[:, 2:] - strips[:, :-2]).mean()) if span > 2 else 0.0
    return Fingerprint(luma[rows[:, None], columns], sharpness)


def fingerprint_frame(frame: Any) -> Fingerprint | None:
    """Return the fingerprint of a frame with a luma plane of 8 to 16 bits; None for any other frame, such as RGB.

    `frame` is an `av.VideoFrame`, or a device's frame that can be copied. Called twice a second.

    Raises:
        DeviceError: the frame cannot be copied.
    """
    if isinstance(frame, HostCopyable):
        frame = frame.to_host()
    pixel_format = getattr(frame, "format", None)
    if (
        pixel_format is None
        or pixel_format.is_rgb
        or not (pixel_format.name.startswith(("yuv", "gray", "nv", "p0")))
        or pixel_format.is_bit_stream
    ):
        return None
    if pixel_format.name.startswith(("yuyv", "yuvx")):
        return None
    bits = pixel_format.components[0].bits
    plane = frame.planes[0]
    if bits == 8:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        return fingerprint_luma(rows[: frame.height, : frame.width])
    if pixel_format.is_big_endian:
        return None
    words = np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)[: frame.height, : frame.width]
    # P010 and its kin keep the value in the upper bits, yuv420p10 in the lower.
    return fingerprint_luma((words >> (8 if pixel_format.name.startswith("p0") else bits - 8)).astype(np.uint8))
