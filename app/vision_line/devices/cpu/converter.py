# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU's fast path of the preprocessing definition: a decoded frame straight into a network input.

OpenCV does each step in one call on whole planes. Every call gives up the GIL once, so their number counts as much as
their time when many decoding threads run: 4:2:0 at half size takes seven. The result stays within 2 of 255 of the
definition: planes are rounded to 8 bit between resampling and colour, the definition keeps six more bits.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.preprocessing.definition import PADDING_VALUE, SCALE, Plane, Planes, colour_coefficients
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.frames import Colour
from vision_line.ports import ShapeHW

#: Canvases kept, one for each pair of frame and input size; more sizes than this evict the oldest.
MAX_CANVASES = 32

_TO_FLOAT = np.arange(256, dtype=np.float32) * SCALE


@dataclass(frozen=True, slots=True)
class _Canvas:
    """An 8-bit input whose padding is already there, and the content's part of each channel."""

    box: Letterbox
    channels: tuple[Plane, Plane, Plane]  # (h, w) each
    content: tuple[Plane, Plane, Plane]
    interleaved: NDArray[np.uint8]  # (h, w, 3): the channels together


class Converter:
    """Converts frames into inputs; owns the scratch memory, so each converting thread needs its own."""

    def __init__(self) -> None:
        """Start without canvases; they are made at the first frame of a size."""
        self._canvases: OrderedDict[tuple[tuple[int, int], ShapeHW], _Canvas] = OrderedDict()

    def convert(self, data: Planes, colour: Colour, out: NDArray[np.float32]) -> Letterbox:
        """Write `data` as steps 1 to 5 of the definition into `out` (h, w, 3), C-contiguous; return its geometry.

        Interleaved, unlike the definition's last step, because OpenVINO's convolutions read it so: bringing planes
        together took it 7 % of the time of a pruned INT8 YOLOv8n at 640 x 640.
        """
        canvas = self._canvas(data.size_wh, (out.shape[0], out.shape[1]))
        planes = [_resample(plane, canvas.box.content_wh) for plane in data.planes]
        if data.is_rgb:
            for plane, channel in zip(planes, canvas.content, strict=True):
                channel[:] = plane
        else:
            _colour(planes, colour, canvas.content)
        cv2.merge(canvas.channels, dst=canvas.interleaved)
        rows = out.shape[0]
        cv2.LUT(canvas.interleaved.reshape(rows, -1), _TO_FLOAT, dst=out.reshape(rows, -1))  # as if of one channel
        return canvas.box

    def _canvas(self, src_wh: tuple[int, int], dst_hw: ShapeHW) -> _Canvas:
        canvas = self._canvases.get((src_wh, dst_hw))
        if canvas is None:
            canvas = self._canvases[src_wh, dst_hw] = _open_canvas(Letterbox(src_wh, dst_hw))
            if len(self._canvases) > MAX_CANVASES:
                self._canvases.popitem(last=False)
        return canvas


def _open_canvas(box: Letterbox) -> _Canvas:
    height, width = box.dst_hw
    red, green, blue = np.full((3, height, width), PADDING_VALUE, np.uint8)
    content = (red[box.content], green[box.content], blue[box.content])
    return _Canvas(box, (red, green, blue), content, np.empty((height, width, 3), np.uint8))


def _resample(plane: Plane, size_wh: tuple[int, int]) -> Plane:
    height, width = plane.shape
    if (width, height) == size_wh:
        return plane
    if width >= size_wh[0] and height >= size_wh[1]:
        return cast("Plane", cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA))
    # In float: OpenCV's 8-bit bilinear is off by up to one. An axis that shrinks goes first and alone, because
    # INTER_AREA falls back to another interpolation for both axes as soon as one of them grows.
    floats = cv2.resize(
        plane.astype(np.float32), (min(width, size_wh[0]), min(height, size_wh[1])), interpolation=cv2.INTER_AREA
    )
    return cast("Plane", cv2.convertScaleAbs(cv2.resize(floats, size_wh, interpolation=cv2.INTER_LINEAR)))


def _colour(planes: list[Plane], colour: Colour, rgb: tuple[Plane, Plane, Plane]) -> None:
    coefficients, offset = colour_coefficients(colour.matrix, colour.range)
    ((luma, _, to_red), (_, green_u, green_v), (_, to_blue, _)) = (coefficients / 16384).tolist()
    red, green, blue = rgb
    if len(planes) == 1:
        grey = planes[0]
        cv2.addWeighted(grey, luma, grey, 0.0, -offset * luma, dst=red, dtype=cv2.CV_8U)
        green[:] = blue[:] = red
        return
    y, u, v = planes
    black = -offset * luma
    cv2.addWeighted(y, luma, v, to_red, black - 128 * to_red, dst=red, dtype=cv2.CV_8U)
    cv2.addWeighted(y, luma, u, to_blue, black - 128 * to_blue, dst=blue, dtype=cv2.CV_8U)
    chroma = cv2.addWeighted(u, green_u, v, green_v, black - 128 * (green_u + green_v), dtype=cv2.CV_32F)
    cv2.addWeighted(y, luma, chroma, 1.0, 0.0, dst=green, dtype=cv2.CV_8U)
