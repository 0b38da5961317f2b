# SPDX-License-Identifier: AGPL-3.0-or-later
"""Views of an `av.VideoFrame`'s memory as 8-bit planes, without copying where the format allows, and turned copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vision_line.devices.cpu.orientation import Turn
from vision_line.devices.preprocessing.definition import Plane, Planes

if TYPE_CHECKING:
    import av
    from _typeshed import ReadableBuffer
    from av.video.plane import VideoPlane

_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuv440p", "yuvj440p"})
_SUBSAMPLED = {(1, 1): "yuv420p", (1, 0): "yuv422p", (0, 0): "yuv444p", (0, 1): "yuv440p"}


def open_planes(frame: av.VideoFrame) -> Planes:
    """Return `frame` as planes; they borrow its memory and keep it alive.

    8-bit YCbCr, NV12, grey, RGB and BGR are read in place; everything else (10 bit, alpha, palettes) is brought to
    the nearest of these by FFmpeg first.
    """
    name = frame.format.name
    if name in _PLANAR:
        return Planes(tuple(_view(plane, 1) for plane in frame.planes))
    if name in {"nv12", "nv21"}:
        return _biplanar(frame, swapped=name == "nv21")
    if name in {"gray", "gray8"}:
        return Planes((_view(frame.planes[0], 1),))
    if name in {"rgb24", "bgr24"}:
        return _packed(frame, reverse=name == "bgr24")
    return open_planes(frame.reformat(format=_nearest(frame)))


def turned_frame(frame: av.VideoFrame, turn: Turn) -> av.VideoFrame:
    """Return `frame` turned, with the same time and colour, in 8 bits and in the host's memory."""
    source = open_planes(frame)
    planes = [turn.plane(plane) for plane in source.planes]
    height, width = planes[0].shape
    result = VideoFrame(width, height, _format_of(planes, is_rgb=source.is_rgb, of=frame))
    if source.is_rgb:
        _view(result.planes[0], 3)[:] = cv2.merge(planes).reshape(height, -1)
    else:
        for plane, target in zip(planes, result.planes, strict=True):
            _view(target, 1)[:] = plane
    result.pts = frame.pts
    if frame.time_base is not None:  # FFmpeg's flush gives frames without a clock
        result.time_base = frame.time_base
    result.colorspace, result.color_range = frame.colorspace, frame.color_range
    return result


def _format_of(planes: list[Plane], *, is_rgb: bool, of: av.VideoFrame) -> str:
    if is_rgb or len(planes) == 1:
        return "rgb24" if is_rgb else "gray"
    (height, width), (chroma_height, chroma_width) = planes[0].shape, planes[1].shape
    name = _SUBSAMPLED[int(chroma_width < width), int(chroma_height < height)]
    return name.replace("yuv", "yuvj") if of.format.name.startswith("yuvj") else name


def _view(plane: VideoPlane, channels: int) -> NDArray[np.uint8]:
    # a line is line_size bytes long, of which width * channels are the frame's
    height, line_size = plane.height, plane.line_size
    memory: NDArray[np.uint8] = np.frombuffer(memoryview(cast("ReadableBuffer", plane)), np.uint8, height * line_size)
    return memory.reshape(height, line_size)[:, : plane.width * channels]


def _biplanar(frame: av.VideoFrame, swapped: bool) -> Planes:
    chroma = _view(frame.planes[1], 2).reshape(frame.planes[1].height, -1, 2)
    first, second = chroma[..., 0], chroma[..., 1]
    return Planes((_view(frame.planes[0], 1), *((second, first) if swapped else (first, second))))


def _packed(frame: av.VideoFrame, reverse: bool) -> Planes:
    pixels = _view(frame.planes[0], 3).reshape(frame.height, frame.width, 3)
    channels: tuple[Plane, ...] = (pixels[..., 0], pixels[..., 1], pixels[..., 2])
    return Planes(channels[::-1] if reverse else channels, is_rgb=True)


def _nearest(frame: av.VideoFrame) -> str:
    layout = frame.format
    if layout.is_rgb or layout.has_palette:
        return "rgb24"
    if len(layout.components) < 3:
        return "gray"
    halved = (int(layout.chroma_width(64) < 64), int(layout.chroma_height(64) < 64))
    return _SUBSAMPLED[halved]
