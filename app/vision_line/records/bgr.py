# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame's native picture as BGR pixels: for the few pictures that people look at, never for the engine."""

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
PictureReader = Callable[[Frame], Image]

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
    """Return the frame's whole picture as a new (height, width, 3) uint8 BGR array that the caller owns.

    The frame's own matrix and range decide the colours, not what the decoder wrote into the picture. A picture that
    lies elsewhere than in the host's memory is copied first. From any thread, once the device is done with the frame.

    Raises:
        SourceError: the picture is of a kind that is not known here, or cannot be copied or converted.
    """
    picture = _in_host_memory(frame)
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3:
        return picture.copy()
    if not isinstance(picture, av.VideoFrame):
        kind = type(picture).__name__
        raise SourceError(frame.camera, SourceErrorCode.FAILED, f"a picture of type {kind} cannot be stored")
    try:
        with _converting:
            converted = VideoReformatter().reformat(
                picture,
                format="bgr24",
                src_colorspace=_MATRIX[frame.colour.matrix],
                src_color_range=_RANGE[frame.colour.range],
                dst_color_range=ColorRange.JPEG,
            )
        return np.asarray(converted.to_ndarray(), np.uint8)
    except (av.FFmpegError, ValueError) as exc:
        raise SourceError(frame.camera, SourceErrorCode.CORRUPT, f"the picture cannot be converted: {exc}") from exc


def _in_host_memory(frame: Frame) -> object:
    if not isinstance(frame.picture, HostCopyable):
        return frame.picture
    try:
        return frame.picture.to_host()
    except DeviceError as exc:
        raise SourceError(frame.camera, SourceErrorCode.FAILED, f"the picture cannot be copied: {exc}") from exc
