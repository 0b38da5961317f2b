# SPDX-License-Identifier: AGPL-3.0-or-later
"""Spoiled images are reproducible, get worse with the severity and keep their form."""

from __future__ import annotations

import numpy as np
import pytest

from vision_line_compression.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from vision_line_compression.data.dataset import ImageBGR


def board() -> ImageBGR:
    """Return an image with fine structure: stripes and a ramp."""
    y, x = np.mgrid[0:240, 0:640]
    grey = np.where((x // 4) % 2, 40, 150) + y // 5
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def distance(a: ImageBGR, b: ImageBGR) -> float:
    """Return the mean difference of two images in levels."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_severity_grows(corruption: str) -> None:
    """Each severity is further from the original than the one below, and the original is left alone."""
    image = board()

    spoiled = [corrupt(image, corruption, severity, np.random.default_rng(1)) for severity in SEVERITIES]

    distances = [distance(one, image) for one in spoiled]
    assert 1.0 < distances[0] < distances[1] < distances[2]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in spoiled)
    assert np.array_equal(image, board())


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_same_seed_same_image(corruption: str) -> None:
    """Two models see the same spoiled image."""
    first, second = (corrupt(board(), corruption, 2, np.random.default_rng(7)) for _ in range(2))

    assert np.array_equal(first, second)


def test_exposure_is_in_stops() -> None:
    """One stop less halves the light: 0.5 ** (1 / 2.2) of the pixel values."""
    grey = np.full((4, 4, 3), 200, np.uint8)

    assert corrupt(grey, "dark", 1, np.random.default_rng(0))[0, 0, 0] == round(200 * 0.5 ** (1 / 2.2))
    assert corrupt(grey, "bright", 3, np.random.default_rng(0)).min() == 255


@pytest.mark.parametrize(("corruption", "severity"), [("snow", 1), ("rain", 4)])
def test_unknown_corruption_is_refused(corruption: str, severity: int) -> None:
    """What does not exist is not silently skipped."""
    with pytest.raises(ValueError, match="expected one of rain"):
        corrupt(board(), corruption, severity, np.random.default_rng(0))
