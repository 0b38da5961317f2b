# SPDX-License-Identifier: AGPL-3.0-or-later
"""The letterbox's geometry is Ultralytics', and its inverse is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.preprocessing.letterbox import Letterbox

sides = st.integers(1, 4000)
inputs = st.integers(1, 40).map(lambda n: n * 32)


@pytest.mark.parametrize(
    ("src_wh", "dst_hw", "content_wh", "left_top"),
    [
        ((640, 360), (192, 320), (320, 180), (0, 6)),
        ((640, 480), (320, 320), (320, 240), (0, 40)),
        ((810, 1080), (320, 320), (240, 320), (40, 0)),
        ((160, 90), (192, 320), (320, 180), (0, 6)),  # smaller frames are scaled up
        ((3000, 1), (64, 64), (64, 1), (0, 31)),  # at least one pixel; the odd line lies below
        ((321, 180), (192, 320), (320, 179), (0, 6)),
    ],
)
def test_known_cases(
    src_wh: tuple[int, int], dst_hw: tuple[int, int], content_wh: tuple[int, int], left_top: tuple[int, int]
) -> None:
    """Sizes and offsets of typical and extreme frames."""
    box = Letterbox(src_wh, dst_hw)

    assert (box.content_wh, box.left_top) == (content_wh, left_top)


@given(sides, sides, inputs, inputs)
def test_the_geometry_is_that_of_ultralytics(width: int, height: int, dst_height: int, dst_width: int) -> None:
    """Scale, content and offsets follow the formulas of its LetterBox (auto=False, center=True), floats and all."""
    ratio = min(dst_height / height, dst_width / width)
    content = max(round(width * ratio), 1), max(round(height * ratio), 1)
    offset = tuple(round((dst - size) / 2 - 0.1) for dst, size in zip((dst_width, dst_height), content, strict=True))

    box = Letterbox((width, height), (dst_height, dst_width))

    assert (box.scale, box.content_wh, box.left_top) == (ratio, content, offset)


@given(sides, sides, inputs, inputs, st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_boxes_survive_the_way_there_and_back(
    width: int, height: int, dst_height: int, dst_width: int, corners: list[float]
) -> None:
    """A box mapped into the input and back is the same box."""
    box = Letterbox((width, height), (dst_height, dst_width))
    xyxy = np.array([corners], np.float32) * np.array([width, height, width, height], np.float32)

    returned = box.to_frame(box.to_input(xyxy))

    np.testing.assert_allclose(returned, xyxy, rtol=1e-4, atol=max(width, height) * 2e-6 * 32)


def test_boxes_are_clipped_to_the_frame() -> None:
    """The part of a box that lies in the padding is cut off."""
    box = Letterbox((640, 360), (192, 320))

    assert box.to_frame(np.array([[-5, 0, 325, 192]], np.float32)).tolist() == [[0, 0, 640, 360]]


def test_empty_sizes_are_refused() -> None:
    """A frame without pixels has no geometry."""
    with pytest.raises(ValueError, match="expected sizes >= 1"):
        Letterbox((0, 360), (192, 320))
