# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU's fast path agrees with the preprocessing definition for all formats, sizes and pitches."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.builders import FULL

from vision_line.devices.cpu.converter import MAX_CANVASES, Converter
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.preprocessing.definition import Planes, letterbox_planes, normalise
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import ShapeHW

FORMATS = (
    *("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuv440p", "nv12", "nv21"),
    *("gray", "rgb24", "bgr24"),
)
COLOURS = [Colour(matrix, value_range) for matrix in ColourMatrix for value_range in ColourRange]


def _random_frame(name: str, size_wh: tuple[int, int], seed: int) -> av.VideoFrame:
    frame = av.VideoFrame(*size_wh, name)
    random = np.random.default_rng(seed)
    for plane in frame.planes:  # the bytes between the lines are random too
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    return frame


def _as_defined(planes: Planes, colour: Colour, shape: ShapeHW) -> NDArray[np.float32]:
    """Return the definition's input, interleaved (h, w, 3)."""
    planar: NDArray[np.float32] = normalise(letterbox_planes(planes, colour, shape))[0]
    return planar.transpose(1, 2, 0)


def _bytes(network_input: NDArray[np.float32]) -> NDArray[np.int32]:
    values: NDArray[np.int32] = np.rint(network_input * 255).astype(np.int32)
    return values


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(FORMATS),
    st.integers(2, 420),
    st.integers(2, 420),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.sampled_from(COLOURS),
    st.integers(0, 2**32),
)
def test_within_two_of_the_definition(
    name: str, width: int, height: int, blocks: tuple[int, int], colour: Colour, seed: int
) -> None:
    """Random frames differ from the reference by at most 2 of 255, whichever axis shrinks or grows."""
    planes = open_planes(_random_frame(name, (width, height), seed))
    shape: ShapeHW = (blocks[0] * 32, blocks[1] * 32)
    out = np.empty((*shape, 3), np.float32)

    Converter().convert(planes, colour, out)

    difference = np.abs(_bytes(out) - _bytes(_as_defined(planes, colour, shape)))
    assert difference.max() <= 2


@pytest.mark.parametrize("size_wh", [(640, 360), (1280, 720), (1920, 1080), (640, 480), (360, 640)])
def test_usual_cameras_on_average(size_wh: tuple[int, int]) -> None:
    """Usual sizes are on average a fraction of one level away from the definition (halves are rounded up)."""
    planes = open_planes(_random_frame("yuv420p", size_wh, 3))
    out = np.empty((192, 320, 3), np.float32)

    Converter().convert(planes, COLOURS[0], out)

    difference = _bytes(out) - _bytes(_as_defined(planes, COLOURS[0], (192, 320)))
    assert np.abs(difference).mean() < 0.5
    assert abs(difference.mean()) < 0.15


def test_values_are_exactly_the_definitions() -> None:
    """What is written are multiples of float32(1 / 255), padding included."""
    planes = open_planes(_random_frame("rgb24", (32, 18), 5))
    out = np.empty((18 + 14, 32, 3), np.float32)

    Converter().convert(planes, FULL, out)

    assert np.array_equal(out, _as_defined(planes, FULL, (32, 32)))


def test_a_slot_is_written_whole() -> None:
    """A slot that held another frame, larger or smaller, keeps nothing of it."""
    converter, out = Converter(), np.empty((64, 64, 3), np.float32)
    wide, tall = (open_planes(_random_frame("yuv420p", size, 1)) for size in ((64, 20), (20, 64)))
    fresh = np.empty_like(out)
    Converter().convert(wide, FULL, fresh)

    for planes in (wide, tall, wide):
        converter.convert(planes, FULL, out)

    assert np.array_equal(out, fresh)


def test_planes_borrow_the_frames_memory() -> None:
    """8-bit planes are views with the decoder's pitch, not copies."""
    frame = av.VideoFrame(50, 30, "yuv420p")
    planes = open_planes(frame)
    frame.planes[0].update(bytes([9]) * frame.planes[0].buffer_size)

    assert planes.planes[0][29, 49] == 9
    assert planes.planes[0].strides[0] == frame.planes[0].line_size > 50
    assert [plane.shape for plane in planes.planes] == [(30, 50), (15, 25), (15, 25)]


@pytest.mark.parametrize("colour_range", [1, 2])
def test_ten_bit_frames_are_brought_to_eight(colour_range: int) -> None:
    """A 10-bit plane's upper eight bits arrive, whatever its range, and nothing is stretched."""
    frame = av.VideoFrame(64, 48, "yuv420p10le")
    frame.color_range = colour_range
    for plane, value in zip(frame.planes, (401, 602, 203), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())

    planes = open_planes(frame).planes

    assert [plane.shape for plane in planes] == [(48, 64), (24, 32), (24, 32)]
    for eight_bit, value in zip(planes, (401, 602, 203), strict=True):
        assert np.abs(eight_bit.astype(int) - value / 4).max() <= 1


@pytest.mark.parametrize(
    ("name", "planes", "is_rgb"),
    [
        *[(name, 3, True) for name in ("rgba", "gbrp", "pal8")],
        *[(name, 3, False) for name in ("yuyv422", "yuva420p", "p010le", "yuv411p", "yuv410p")],
        ("gray10le", 1, False),
    ],
)
def test_other_formats_are_brought_to_planes(name: str, planes: int, is_rgb: bool) -> None:
    """What is not read in place goes through FFmpeg once and keeps its size."""
    read = open_planes(av.VideoFrame(32, 16, name))

    assert (len(read.planes), read.is_rgb, read.size_wh) == (planes, is_rgb, (32, 16))


def test_canvases_are_bounded() -> None:
    """Frames of ever new sizes do not fill the memory."""
    converter, out = Converter(), np.empty((32, 32, 3), np.float32)

    for height in range(1, MAX_CANVASES + 20):
        converter.convert(open_planes(av.VideoFrame(8, height, "gray")), FULL, out)

    assert len(converter._canvases) == MAX_CANVASES
