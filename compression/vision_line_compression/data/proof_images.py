# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images from which a bundle's proof is chosen: drawn ones, which may be given away, or parts of given ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.proof import drawn_images
from vision_line.simulator.scene import FPS, ScenePlan, draw_scene

ImageRGB = NDArray[np.uint8]  # (h, w, 3)

#: Height and width of every image.
SIDE = 320

_SCENES, _FRAMES_A_SCENE, _PLATES = 5, 4, 12
_SPEED_PX_S = 100.0
_BELT_PX = 1400

#: Values are multiples of this, and half of it: grain and lenses' softness would make a proof ten times as large.
_STEP = 16


@lru_cache(maxsize=1)
def drawn_candidates() -> tuple[ImageRGB, ...]:
    """Return images of drawn boards with many defects, and of plates, bars and spots; the same on every machine."""
    boards = (image for seed in range(_SCENES) for image in _boards(seed))
    return tuple(_simplified(image) for image in (*boards, *drawn_images(_PLATES, SIDE)))


def given_candidates(inputs: Iterable[NDArray[np.float32]]) -> tuple[ImageRGB, ...]:
    """Return the middle of each network input (3, h, w), 0..1; smaller ones are repeated."""
    return tuple(_simplified(_middle(np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8))) for image in inputs)


def _boards(seed: int) -> Iterator[ImageRGB]:
    """Yield images of one belt, two frames above each other."""
    frames = round(_BELT_PX * FPS / _SPEED_PX_S)
    scene = draw_scene(
        ScenePlan(seed=seed, frames=frames, boards=4, speed_px_s=_SPEED_PX_S, defective_share=1.0, most_defects=6)
    )
    for number in range(_FRAMES_A_SCENE):
        start = number * frames // _FRAMES_A_SCENE
        pair = [scene.render(index)[:, :, ::-1] for index in (start, start + frames // (2 * _FRAMES_A_SCENE))]
        half = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in pair]
        yield _middle(np.concatenate(half).astype(np.uint8))


def _middle(image: ImageRGB) -> ImageRGB:
    rows, columns = (np.arange(SIDE) + max(0, (size - SIDE) // 2) for size in image.shape[:2])
    return np.asarray(image[rows % image.shape[0]][:, columns % image.shape[1]], np.uint8)


def _simplified(image: ImageRGB) -> ImageRGB:
    smooth = cv2.medianBlur(np.ascontiguousarray(image), 3)
    return np.asarray(smooth // _STEP * _STEP + _STEP // 2, np.uint8)
