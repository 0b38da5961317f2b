# SPDX-License-Identifier: AGPL-3.0-or-later
"""A data set of bars at all angles with rotated boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tests.fakes.drawn_set import Corners, write_drawn_set

from vision_line.simulator.defects import KINDS

SIZE_WH = (160, 128)


def write_rotated_set(
    folder: Path, images: int, seed: int = 0, bars: int = 3, classes: Sequence[str] = tuple(KINDS)
) -> Path:
    """Draw `images` images of each split and return data.yaml; the classes are those of drawn boards."""
    return write_drawn_set(folder, images, _bar, seed=seed, polygons=bars, classes=classes, size_wh=SIZE_WH)


def _bar(random: np.random.Generator, size_wh: tuple[int, int]) -> Corners:
    centre = random.uniform([40, 40], [size_wh[0] - 40, size_wh[1] - 40])
    size = (random.uniform(30, 50), random.uniform(10, 20))
    return np.asarray(cv2.boxPoints((centre.tolist(), size, random.uniform(0, 180))), np.float64)
