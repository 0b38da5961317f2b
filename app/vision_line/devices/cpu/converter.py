# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU's fast path of the preprocessing definition: a decoded frame straight into a network input.

Each step is one call on the whole frame, of OpenCV or NumPy. Every call gives up the GIL once, and every image written
between two of them has to come back through the caches, so their number counts as much as their time. The result stays
within 2 of 255 of the definition: planes are rounded to 8 bit between resampling and colour, the definition keeps six
more bits.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
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

_PADDING = np.float32(PADDING_VALUE) * SCALE


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Where a frame of one size lies in an input of one shape, and the memory on its way there, (h, w, 3) each."""

    box: Letterbox
    planes: NDArray[np.uint8]  # the content's planes together
    rgb: NDArray[np.uint8]


class Converter:
    """Converts frames into inputs; owns the scratch memory, so each converting thread needs its own."""

    def __init__(self) -> None:
        """Start without canvases; they are made at the first frame of a size."""
        self._canvases: OrderedDict[tuple[tuple[int, int], ShapeHW], _Canvas] = OrderedDict()

    def convert(self, data: Planes, colour: Colour, out: NDArray[np.float32]) -> Letterbox:
        """Write `data` as steps 1 to 5 of the definition into `out` (h, w, 3), C-contiguous; return its geometry.

        Interleaved, unlike the definition's last step, because OpenVINO's convolutions read it so: bringing planes
        together took it 7 % of the time of a pruned INT8 YOLOv8n at 640 x 640. Eight bits would be less to write, but
        cost the network 0.13 ms of the 3.1 ms of one at 320 x 192 to widen, three times what is saved here.
        """
        canvas = self._canvas(data.size_wh, (out.shape[0], out.shape[1]))
        box = canvas.box
        planes = [_resample(plane, box.content_wh) for plane in data.planes]
        pixels = _rgb(planes, canvas, None if data.is_rgb else colour)
        (left, top), (width, height) = box.left_top, box.content_wh
        rows = out.reshape(out.shape[0], -1)  # as if of one channel
        content = rows[top : top + height, 3 * left : 3 * (left + width)]
        np.multiply(pixels.reshape(height, -1), SCALE, out=content)  # half the time of OpenCV's table of 256 floats
        rows[:top] = rows[top + height :] = _PADDING
        if width < out.shape[1]:
            rows[:, : 3 * left] = rows[:, 3 * (left + width) :] = _PADDING
        return box

    def _canvas(self, src_wh: tuple[int, int], dst_hw: ShapeHW) -> _Canvas:
        canvas = self._canvases.get((src_wh, dst_hw))
        if canvas is None:
            canvas = self._canvases[src_wh, dst_hw] = _open_canvas(Letterbox(src_wh, dst_hw))
            if len(self._canvases) > MAX_CANVASES:
                self._canvases.popitem(last=False)
        return canvas


def _open_canvas(box: Letterbox) -> _Canvas:
    width, height = box.content_wh
    return _Canvas(box, *np.empty((2, height, width, 3), np.uint8))


def _resample(plane: Plane, size_wh: tuple[int, int]) -> Plane:
    height, width = plane.shape
    if (width, height) == size_wh:
        return plane
    if width >= size_wh[0] and height >= size_wh[1]:
        return cast("Plane", cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA))
    # In float: OpenCV's 8-bit bilinear is off by up to one. An axis that shrinks goes first and alone, because
    # INTER_AREA falls back to another interpolation for both axes as soon as one of them grows.
    floats = plane.astype(np.float32)
    shrunk_wh = min(width, size_wh[0]), min(height, size_wh[1])
    if shrunk_wh != (width, height):  # else OpenCV would copy it
        floats = cast("NDArray[np.float32]", cv2.resize(floats, shrunk_wh, interpolation=cv2.INTER_AREA))
    return cast("Plane", cv2.convertScaleAbs(cv2.resize(floats, size_wh, interpolation=cv2.INTER_LINEAR)))


def _rgb(planes: list[Plane], canvas: _Canvas, colour: Colour | None) -> NDArray[np.uint8]:
    """Return planes of one size as RGB (h, w, 3), in the canvas's memory; without a colour they are R, G, B."""
    if colour is not None and len(planes) == 1:
        grey = cv2.LUT(planes[0], _grey_levels(colour))
        cv2.merge([grey, grey, grey], dst=canvas.rgb)
    elif colour is not None:
        cv2.merge(planes, dst=canvas.planes)
        cv2.transform(canvas.planes, _to_rgb(colour), dst=canvas.rgb)
    else:
        cv2.merge(planes, dst=canvas.rgb)
    return canvas.rgb


@lru_cache(maxsize=16)
def _to_rgb(colour: Colour) -> NDArray[np.float64]:
    """Return the matrix (3, 4) from (Y, U, V, 1) to RGB."""
    coefficients, offset = colour_coefficients(colour.matrix, colour.range)
    matrix = coefficients / 16384
    return np.column_stack([matrix, matrix @ np.array((-offset, -128, -128))])


@lru_cache(maxsize=16)
def _grey_levels(colour: Colour) -> NDArray[np.uint8]:
    """Return (256,): the grey of each luma."""
    coefficients, offset = colour_coefficients(colour.matrix, colour.range)
    greys = (np.arange(256) - offset) * (int(coefficients[0, 0]) / 16384)
    levels: NDArray[np.uint8] = np.rint(np.clip(greys, 0, 255)).astype(np.uint8)
    return levels
