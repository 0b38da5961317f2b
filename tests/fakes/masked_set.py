# SPDX-License-Identifier: AGPL-3.0-or-later
"""A data set of drawn shapes with masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests.fakes.drawn_set import Corners, write_drawn_set

from vision_line.simulator.defects import KINDS

SIZE_WH = (96, 80)


def write_masked_set(
    folder: Path,
    images: int,
    seed: int = 0,
    shapes: int = 2,
    classes: Sequence[str] = tuple(KINDS),
    size_wh: tuple[int, int] = SIZE_WH,
) -> Path:
    """Draw `images` images of each split and return data.yaml; shapes are triangles to octagons, dented or not."""
    return write_drawn_set(folder, images, _shape, seed=seed, polygons=shapes, classes=classes, size_wh=size_wh)


def _shape(random: np.random.Generator, size_wh: tuple[int, int]) -> Corners:
    reach = 0.22 * min(size_wh)
    centre = random.uniform([reach, reach], np.array(size_wh) - reach)
    count = int(random.integers(3, 9))
    angles = (np.arange(count) + random.uniform(0, 0.6, count)) * 2 * np.pi / count
    distances = reach * random.uniform(0.5, 1.0, (count, 1))
    corners: Corners = centre + distances * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return corners
