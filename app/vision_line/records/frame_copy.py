# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame with pixels of its own, for what waits: the decoder's goes back to it at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Frame

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from av.video.plane import VideoPlane


def own_copy(frame: Frame) -> Frame:
    """Return `frame` with a copy of its pixels, where they are a decoder's in the host's memory; else `frame` itself.

    FFmpeg keeps memory for as many frames of a camera as were ever away at once, until the connection ends. Images that
    wait for a second would let each camera's grow over the hours, for moments that are long over.
    """
    if not isinstance(frame.data, av.VideoFrame) or frame.data.format.has_palette:
        return frame
    return replace(frame, data=_copied(frame.data))


def _copied(frame: av.VideoFrame) -> av.VideoFrame:
    copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for plane, own in zip(frame.planes, copy.planes, strict=True):
        line = min(plane.line_size, own.line_size)  # both have a row's bytes, and padding as each likes it
        _rows(own)[:, :line] = _rows(plane)[:, :line]
    copy.pts = frame.pts
    if frame.time_base is not None:  # FFmpeg's flush gives frames without a clock
        copy.time_base = frame.time_base
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    return copy


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    """Return the plane's memory as bytes (height, line size)."""
    memory = memoryview(cast("ReadableBuffer", plane))
    return np.frombuffer(memory, np.uint8, plane.height * plane.line_size).reshape(plane.height, plane.line_size)
