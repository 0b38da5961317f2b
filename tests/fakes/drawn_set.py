# SPDX-License-Identifier: AGPL-3.0-or-later
"""A data set of drawn polygons, labelled as Ultralytics labels rotated boxes and masks: a class and corners a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")

Corners: TypeAlias = NDArray[np.floating]  # (n, 2) x and y in pixels
#: Draws the corners of one polygon that lies wholly in an image of this size.
DrawCorners: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Corners]


def write_drawn_set(
    folder: Path,
    images: int,
    draw: DrawCorners,
    *,
    seed: int,
    polygons: int,
    classes: Sequence[str],
    size_wh: tuple[int, int],
) -> Path:
    """Draw `images` images of each split with `polygons` in each, coloured by their class, and return data.yaml."""
    random = np.random.default_rng(seed)
    for split in SPLITS:
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            image = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
            lines = []
            for _ in range(polygons):
                class_id = int(random.integers(len(classes)))
                corners = draw(random, size_wh)
                colour = [0, 0, 0]
                colour[class_id % 3] = 120 + 25 * class_id
                cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], colour)
                shares = (corners / np.array(size_wh)).ravel()
                lines.append(f"{class_id} {' '.join(f'{share:.6f}' for share in shares)}\n")
            assert cv2.imwrite(str(folder / f"images/{split}/{number}.png"), image)
            (folder / f"labels/{split}/{number}.txt").write_text("".join(lines))
    data = {**{split: f"images/{split}" for split in SPLITS}, "names": list(classes)}
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    return folder / "data.yaml"
