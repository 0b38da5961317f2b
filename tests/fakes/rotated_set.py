# SPDX-License-Identifier: AGPL-3.0-or-later
"""A data set of bars at all angles, labelled as Ultralytics labels rotated boxes: a class and four corners a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from vision_line.simulator.defects import KINDS

SIZE_WH = (160, 128)
SPLITS = ("train", "val", "test")


def write_rotated_set(
    folder: Path, images: int, seed: int = 0, bars: int = 3, classes: Sequence[str] = tuple(KINDS)
) -> Path:
    """Draw `images` images of each split and return data.yaml; the classes are those of drawn boards."""
    random = np.random.default_rng(seed)
    for split in SPLITS:
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            image = np.full((SIZE_WH[1], SIZE_WH[0], 3), 90, np.uint8)
            lines = [_drawn(image, random, len(classes)) for _ in range(bars)]
            assert cv2.imwrite(str(folder / f"images/{split}/{number}.png"), image)
            (folder / f"labels/{split}/{number}.txt").write_text("".join(lines))
    data = {**{split: f"images/{split}" for split in SPLITS}, "names": list(classes)}
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    return folder / "data.yaml"


def _drawn(image: NDArray[np.uint8], random: np.random.Generator, classes: int) -> str:
    """Draw a bar that lies wholly in the image, and return its label."""
    class_id = int(random.integers(classes))
    centre = random.uniform([40, 40], [SIZE_WH[0] - 40, SIZE_WH[1] - 40])
    corners = cv2.boxPoints((centre.tolist(), (random.uniform(30, 50), random.uniform(10, 20)), random.uniform(0, 180)))
    colour = [0, 0, 0]
    colour[class_id % 3] = 120 + 25 * class_id
    cv2.fillPoly(image, [corners.astype(np.int32)], colour)
    shares = (corners / np.array(SIZE_WH)).ravel()
    return f"{class_id} {' '.join(f'{share:.6f}' for share in shares)}\n"
