# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence has the camera's colours."""

from __future__ import annotations

import threading

import av
import numpy as np
import pytest
from tests.builders import make_frame

from vision_line.errors import SourceError
from vision_line.frames import Colour, ColourMatrix, ColourRange, Frame
from vision_line.records.annotate import Image, bgr_of

#: K_r and K_b of ITU-R BT.601-7, BT.709-6 and BT.2020-2.
RED_BLUE = {
    ColourMatrix.BT601: (0.299, 0.114),
    ColourMatrix.BT709: (0.2126, 0.0722),
    ColourMatrix.BT2020: (0.2627, 0.0593),
}


def frame_of(data: object, matrix: ColourMatrix, colour_range: ColourRange) -> Frame:
    return make_frame(size_wh=(64, 48), colour=Colour(matrix, colour_range), data=data)


def plain_frame(y: int, cb: int, cr: int) -> av.VideoFrame:
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane, value in zip(frame.planes, (y, cb, cr), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


def bgr_by_the_book(y: float, cb: float, cr: float, matrix: ColourMatrix, *, full: bool) -> list[float]:
    """Return BGR by the standards' formulas."""
    red, blue = RED_BLUE[matrix]
    luma = y if full else (y - 16) * 255 / 219
    u, v = ((chroma - 128) * (1.0 if full else 255 / 224) for chroma in (cb, cr))
    r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
    return [b, (luma - red * r - blue * b) / (1 - red - blue), r]


@pytest.mark.parametrize("matrix", ColourMatrix)
@pytest.mark.parametrize("colour_range", ColourRange)
def test_colours_follow_the_frames_matrix_and_range(matrix: ColourMatrix, colour_range: ColourRange) -> None:
    """Within 3 of 255 of the standards' formulas (FFmpeg rounds down in fixed point)."""
    image = bgr_of(frame_of(plain_frame(100, 90, 180), matrix, colour_range))
    expected = bgr_by_the_book(100, 90, 180, matrix, full=colour_range is ColourRange.FULL)

    assert image.shape == (48, 64, 3)
    assert np.abs(image[10, 10] - np.array(expected)).max() < 3


def test_an_array_is_copied() -> None:
    """Drawing on the result leaves the frame's data as it was."""
    data: Image = np.zeros((48, 64, 3), np.uint8)
    image = bgr_of(frame_of(data, ColourMatrix.BT601, ColourRange.FULL))
    image[:] = 9

    assert not data.any()


def test_an_unknown_frame_is_refused() -> None:
    """The message names the camera and what was found."""
    with pytest.raises(SourceError, match="camera 'cam01': FAILED: a frame of type bytes"):
        bgr_of(frame_of(b"", ColourMatrix.BT601, ColourRange.FULL))


def test_two_threads_may_read_one_frame() -> None:
    """Evidence and overlay convert the same frame at the same time; each gets the right image."""
    frame = frame_of(plain_frame(100, 90, 180), ColourMatrix.BT709, ColourRange.LIMITED)
    expected = bgr_of(frame)
    wrong: list[int] = []

    def read(times: int) -> None:
        wrong.extend(number for number in range(times) if not np.array_equal(bgr_of(frame), expected))

    threads = [threading.Thread(target=read, args=(200,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
