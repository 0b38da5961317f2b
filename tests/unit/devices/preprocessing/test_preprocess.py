# SPDX-License-Identifier: AGPL-3.0-or-later
"""The preprocessing definition, value by value."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.preprocessing.definition import (
    Planes,
    colour_coefficients,
    letterbox_planes,
    letterbox_rgb,
    normalise,
    plan_taps,
    resample,
    to_rgb,
)
from vision_line.frames import Colour, ColourMatrix, ColourRange

DIGESTS = ["94b260c65e502470", "d6a094c0fa57c5d5", "83e20123517f10e2"]
LIMITED_709 = Colour(ColourMatrix.BT709, ColourRange.LIMITED)
sides = st.integers(1, 700)


@given(sides, sides)
def test_each_tap_set_is_a_whole(src: int, dst: int) -> None:
    """Weights sum to exactly one (Q15), none is negative, and every position lies in the source."""
    taps = plan_taps(src, dst)

    assert (taps.weight.sum(axis=1) == 32768).all()
    assert taps.weight.min() >= 0
    assert taps.index.min() >= 0
    assert taps.index.max() < src
    assert len(taps.index) == dst


@given(sides, sides)
def test_taps_are_what_the_definition_says(src: int, dst: int) -> None:
    """Weights are, to one step of Q15, the covered share of each pixel, or the distance to the next when growing."""
    taps = plan_taps(src, dst)
    weight = np.zeros((dst, src))
    np.add.at(weight, (np.arange(dst)[:, None], taps.index), taps.weight / 32768)
    pixel, output = np.arange(src)[None], np.arange(dst)[:, None]
    if src > dst:
        begin, end = output * src / dst, (output + 1) * src / dst
        expected = np.clip(np.minimum(pixel + 1, end) - np.maximum(pixel, begin), 0, None) * dst / src
    else:
        centre = np.clip((output + 0.5) * src / dst - 0.5, 0, src - 1)
        expected = np.clip(1 - np.abs(pixel - centre), 0, None)

    np.testing.assert_allclose(weight, expected, atol=1.01 / 32768)


@pytest.mark.parametrize(
    ("src", "dst", "index", "weight"),
    [
        (4, 2, [[0, 1, 2], [2, 3, 3]], [[16384, 16384, 0], [16384, 16384, 0]]),
        (3, 2, [[0, 1, 2], [1, 2, 2]], [[21845, 10923, 0], [10923, 21845, 0]]),
        (2, 4, [[0, 0], [0, 1], [0, 1], [1, 1]], [[8192, 24576], [24576, 8192], [8192, 24576], [24576, 8192]]),
        (2, 2, [[0, 1], [1, 1]], [[32768, 0], [32768, 0]]),
    ],
)
def test_known_taps(src: int, dst: int, index: list[list[int]], weight: list[list[int]]) -> None:
    """Halving, a third less, doubling and nothing to do."""
    taps = plan_taps(src, dst)

    assert (taps.index.tolist(), taps.weight.tolist()) == (index, weight)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_a_uniform_plane_stays_uniform(width: int, height: int, new_width: int, new_height: int, value: int) -> None:
    """Resampling a plane of one value gives exactly that value."""
    plane = np.full((height, width), value, np.uint8)

    assert (resample(plane, (new_width, new_height)) == value * 64).all()


@pytest.mark.parametrize("matrix", list(ColourMatrix))
@pytest.mark.parametrize("value_range", list(ColourRange))
def test_white_black_and_grey(matrix: ColourMatrix, value_range: ColourRange) -> None:
    """White is 255, black 0 and grey has equal channels in every matrix and range; beyond them is clamped."""
    low, high = (16, 235) if value_range is ColourRange.LIMITED else (0, 255)
    luma = np.array([[low, high, 128, 0, 255]], np.int32) * 64
    neutral = np.full_like(luma, 128 * 64)

    rgb = to_rgb((luma, neutral, neutral), Colour(matrix, value_range))

    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[0, 1].tolist() == [255, 255, 255]
    assert len(set(rgb[0, 2].tolist())) == 1
    assert (rgb[0, 3].tolist(), rgb[0, 4].tolist()) == ([0, 0, 0], [255, 255, 255])


def test_coefficients_are_those_of_the_standards() -> None:
    """The Q14 matrices agree with the published ones to their printed digits."""
    bt601, offset = colour_coefficients(ColourMatrix.BT601, ColourRange.LIMITED)
    bt709, _ = colour_coefficients(ColourMatrix.BT709, ColourRange.LIMITED)
    jpeg, no_offset = colour_coefficients(ColourMatrix.BT601, ColourRange.FULL)

    assert (offset, no_offset) == (16, 0)
    np.testing.assert_allclose(
        bt601 / 16384, [[1.164, 0, 1.596], [1.164, -0.392, -0.813], [1.164, 2.017, 0]], atol=6e-4
    )
    np.testing.assert_allclose(
        bt709 / 16384, [[1.164, 0, 1.793], [1.164, -0.213, -0.533], [1.164, 2.112, 0]], atol=6e-4
    )
    np.testing.assert_allclose(jpeg / 16384, [[1, 0, 1.402], [1, -0.344, -0.714], [1, 1.772, 0]], atol=6e-4)


@given(st.lists(st.integers(0, 255), min_size=3, max_size=3), st.sampled_from(list(ColourMatrix)))
def test_colours_survive_the_way_to_ycbcr_and_back(rgb: list[int], matrix: ColourMatrix) -> None:
    """Full-range YCbCr made with floats from a colour gives that colour again, up to 8-bit rounding."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}[matrix]
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    u, v = (rgb[2] - luma) / (2 - 2 * blue) + 128, (rgb[0] - luma) / (2 - 2 * red) + 128
    q6 = tuple(np.array([[round(value * 64)]], np.int32) for value in (luma, u, v))

    returned = to_rgb(q6, Colour(matrix, ColourRange.FULL))

    assert np.abs(returned[0, 0].astype(int) - rgb).max() <= 1


def test_the_frame_lies_in_grey_padding() -> None:
    """Padding is 114 in all channels; a white frame between it is white."""
    canvas = letterbox_rgb(np.full((18, 32, 3), 255, np.uint8), (64, 64))

    assert (canvas[:14] == 114).all()
    assert (canvas[14:50] == 255).all()
    assert (canvas[50:] == 114).all()


def test_chroma_is_resampled_straight_to_the_content() -> None:
    """Subsampled chroma of uniform colour gives a uniform frame, at odd sizes too."""
    planes = Planes(
        (np.full((35, 51), 81, np.uint8), np.full((18, 26), 90, np.uint8), np.full((18, 26), 240, np.uint8))
    )

    canvas = letterbox_planes(planes, Colour(ColourMatrix.BT601, ColourRange.LIMITED), (32, 64))

    assert {tuple(pixel) for pixel in canvas[:, 9:55].reshape(-1, 3).tolist()} == {(254, 0, 0)}


def test_normalised_values_are_one_multiplication() -> None:
    """The network's input is float32(value) * float32(1 / 255), channels first."""
    rgb = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)

    network_input = normalise(rgb)

    assert network_input.shape == (1, 3, 2, 2)
    assert network_input.dtype == np.float32
    assert network_input[0, 1, 0, 1] == np.float32(4) * np.float32(1 / 255)


def test_the_definition_has_not_changed() -> None:
    """A fixed random frame gives the very bytes that definition 1 gave when it was published."""
    random = np.random.default_rng(1)
    planes = Planes(tuple(random.integers(0, 256, (h, w), np.uint8) for h, w in ((97, 133), (49, 67), (49, 67))))

    digests = [
        hashlib.sha256(letterbox_planes(planes, LIMITED_709, shape).tobytes()).hexdigest()[:16]
        for shape in ((64, 64), (96, 160), (224, 128))
    ]

    assert digests == DIGESTS
