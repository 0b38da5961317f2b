# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame as a BGR image: for the few images that people look at, never for the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.frames import ColourMatrix, ColourRange, Frame
from vision_line.ports import HostCopyable

Image = NDArray[np.uint8]  # (height, width, 3) BGR
ImageReader = Callable[[Frame], Image]

_MATRIX = {
    ColourMatrix.BT601: Colorspace.ITU601,
    ColourMatrix.BT709: Colorspace.ITU709,
    ColourMatrix.BT2020: Colorspace.BT2020,
}
_RANGE = {ColourRange.LIMITED: ColorRange.MPEG, ColourRange.FULL: ColorRange.JPEG}

#: PyAV writes colour tags into the source frame while it converts, and takes them back afterwards; two threads that
#: convert one frame (evidence and overlay) would see each other's, and `VideoFrame.reformat` even shares a context.
_converting = threading.Lock()


def bgr_of(frame: Frame) -> Image:
    """Return the whole frame as a new (height, width, 3) uint8 BGR array that the caller owns.

    The frame's own matrix and range decide the colours, not what the decoder wrote into it. A frame that
    lies elsewhere than in the host's memory is copied first. From any thread, once the device is done with the frame.

    Raises:
        SourceError: the frame is of a kind that is not known here, or cannot be copied or converted.
    """
    native = _in_host_memory(frame)
    if isinstance(native, np.ndarray) and native.dtype == np.uint8 and native.ndim == 3:
        return native.copy()
    if not isinstance(native, av.VideoFrame):
        kind = type(native).__name__
        raise SourceError(frame.camera, SourceErrorCode.FAILED, f"a frame of type {kind} cannot be stored")
    try:
        with _converting:
            converted = VideoReformatter().reformat(
                native,
                format="bgr24",
                src_colorspace=_MATRIX[frame.colour.matrix],
                src_color_range=_RANGE[frame.colour.range],
                dst_color_range=ColorRange.JPEG,
            )
        return np.asarray(converted.to_ndarray(), np.uint8)
    except (av.FFmpegError, ValueError) as exc:
        raise SourceError(frame.camera, SourceErrorCode.CORRUPT, f"the frame cannot be converted: {exc}") from exc


def _in_host_memory(frame: Frame) -> object:
    if not isinstance(frame.data, HostCopyable):
        return frame.data
    try:
        return frame.data.to_host()
    except DeviceError as exc:
        raise SourceError(frame.camera, SourceErrorCode.FAILED, f"the frame cannot be copied: {exc}") from exc
