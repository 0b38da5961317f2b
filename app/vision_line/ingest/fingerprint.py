# SPDX-License-Identifier: AGPL-3.0-or-later
"""A picture in a few hundred numbers: enough to tell frozen, black, uniform and blurred, and cheap to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_line.ports import HostCopyable

ROWS = 18
COLUMNS = 32
_MAX_ROW_SAMPLES = 640  # sharpness is read from neighbouring pixels of at most so many columns of each row

Thumbnail = NDArray[np.uint8]  # (18, 32) luma, picked, not averaged: averaging would hide a sensor's noise


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Luma samples of one picture, and its sharpness: the mean absolute difference of pixels two apart in a row."""

    thumbnail: Thumbnail
    sharpness: float


def sign_luma(luma: NDArray[np.uint8]) -> Fingerprint:
    """Return the signature of a (h, w) uint8 luma plane; the plane may have any strides and is only read."""
    height, width = luma.shape
    rows = (np.arange(ROWS) * 2 + 1) * height // (2 * ROWS)
    columns = (np.arange(COLUMNS) * 2 + 1) * width // (2 * COLUMNS)
    span = min(width, _MAX_ROW_SAMPLES)
    left = (width - span) // 2
    strips = luma[rows, left : left + span].astype(np.int16)
    sharpness = float(np.abs(strips[:, 2:] - strips[:, :-2]).mean()) if span > 2 else 0.0
    return Fingerprint(luma[rows[:, None], columns], sharpness)


def sign_picture(picture: Any) -> Fingerprint | None:
    """Return the signature of a picture with a luma plane of 8 to 16 bits; None for any other picture, such as RGB.

    `picture` is an `av.VideoFrame`, or one of a device that can be copied: it is asked twice a second.

    Raises:
        DeviceError: the picture cannot be copied.
    """
    if isinstance(picture, HostCopyable):
        picture = picture.to_host()
    form = getattr(picture, "format", None)
    if form is None or form.is_rgb or not (form.name.startswith(("yuv", "gray", "nv", "p0"))) or form.is_bit_stream:
        return None
    if form.name.startswith(("yuyv", "yuvx")):
        return None
    bits = form.components[0].bits
    plane = picture.planes[0]
    if bits == 8:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        return sign_luma(rows[: picture.height, : picture.width])
    if form.is_big_endian:
        return None
    words = np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)[: picture.height, : picture.width]
    # P010 and its kin keep the value in the upper bits, yuv420p10 in the lower.
    return sign_luma((words >> (8 if form.name.startswith("p0") else bits - 8)).astype(np.uint8))
