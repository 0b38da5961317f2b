# SPDX-License-Identifier: AGPL-3.0-or-later
"""Corrupted images: rain, fog, blur, noise and wrong exposure, in three severities.

Lengths are for an image whose longer side is 640 pixels and grow with it, so that a severity means the same to the
eye at every size. The same generator state corrupts an image in the same way.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line_compression.data.dataset import ImageBGR

Field = NDArray[np.float32]  # (h, w) or (h, w, 3)

SEVERITIES = (1, 2, 3)

_REFERENCE_SIDE = 640
_GAMMA = 2.2  # of displays and, nearly, of cameras: exposure is linear in light, not in pixel values


def corrupt(image: ImageBGR, corruption: str, severity: int, rng: np.random.Generator) -> ImageBGR:
    """Return a corrupted copy of `image`.

    Raises:
        ValueError: no such corruption or severity.
    """
    if corruption not in CORRUPTIONS or severity not in SEVERITIES:
        raise ValueError(f"expected one of {', '.join(CORRUPTIONS)} at 1 to 3, got {corruption!r} at {severity}")
    return CORRUPTIONS[corruption](image, severity - 1, rng)


def _rain(image: ImageBGR, level: int, rng: np.random.Generator) -> ImageBGR:
    """Streaks of one slant, softened across the eye's exposure time, over a slightly duller image."""
    height, width = image.shape[:2]
    scale = _scale(image)
    count = round((120, 300, 600)[level] * height * width / (_REFERENCE_SIDE * scale) ** 2)
    length = (14, 20, 28)[level] * scale
    slant = rng.uniform(-0.35, 0.35)
    streaks = np.zeros((height, width), np.uint8)
    for x, y, share in rng.uniform(size=(count, 3)):
        end = np.array((x * width + slant * length * (0.5 + share), y * height + length * (0.5 + share)))
        start = np.array((x * width, y * height))
        thickness = max(round(scale), 1)
        first, last = (tuple(int(value) for value in point.round()) for point in (start, end))
        cv2.line(streaks, first, last, int(120 + 110 * share), thickness, cv2.LINE_AA)
    soft = cv2.GaussianBlur(streaks, (0, 0), 0.7 * scale).astype(np.float32)[..., None] / 255
    dull = image * (0.95, 0.9, 0.85)[level]
    return _to_image(dull + (235 - dull) * soft * 0.8)


def _fog(image: ImageBGR, level: int, rng: np.random.Generator) -> ImageBGR:
    """A light grey veil of uneven thickness."""
    veil = (0.25, 0.42, 0.6)[level] + 0.15 * _clouds((image.shape[0], image.shape[1]), rng)
    share = np.clip(veil, 0.0, 0.95)[..., None]
    return _to_image(image * (1 - share) + 205 * share)


def _blur(image: ImageBGR, level: int, _: np.random.Generator) -> ImageBGR:
    """Out of focus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), (0.8, 1.4, 2.2)[level] * _scale(image)), np.uint8)


def _noise(image: ImageBGR, level: int, rng: np.random.Generator) -> ImageBGR:
    """A sensor at high gain: noise that grows with the light (photons) and a floor that does not (reading)."""
    gain, floor = ((0.4, 4.0), (1.2, 8.0), (3.0, 14.0))[level]
    deviation = np.sqrt(gain * image.astype(np.float32) + floor**2)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return _to_image(image + deviation * noise)


def _dark(image: ImageBGR, level: int, _: np.random.Generator) -> ImageBGR:
    """Under-exposed."""
    return _exposed(image, (-1.0, -2.0, -3.0)[level])


def _bright(image: ImageBGR, level: int, _: np.random.Generator) -> ImageBGR:
    """Over-exposed: bright parts are lost."""
    return _exposed(image, (0.5, 1.0, 1.6)[level])


def _exposed(image: ImageBGR, stops: float) -> ImageBGR:
    light = (np.arange(256) / 255) ** _GAMMA * 2.0**stops
    table = (255 * np.clip(light, 0.0, 1.0) ** (1 / _GAMMA)).round().astype(np.uint8)
    exposed: ImageBGR = table[image]
    return exposed


def _clouds(shape_hw: tuple[int, int], rng: np.random.Generator) -> Field:
    """Return smooth random values around 0, mostly within ±1."""
    field = np.zeros(shape_hw, np.float32)
    for cells, weight in ((3, 0.6), (7, 0.3), (15, 0.15)):
        coarse = rng.standard_normal((cells, cells), dtype=np.float32)
        field += weight * cv2.resize(coarse, shape_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return field


def _scale(image: ImageBGR) -> float:
    return float(max(image.shape[:2])) / _REFERENCE_SIDE


def _to_image(values: NDArray[np.floating]) -> ImageBGR:
    image: ImageBGR = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return image


#: Name -> function of image, level 0..2 and generator.
CORRUPTIONS: dict[str, Callable[[ImageBGR, int, np.random.Generator], ImageBGR]] = {
    "rain": _rain,
    "fog": _fog,
    "blur": _blur,
    "noise": _noise,
    "dark": _dark,
    "bright": _bright,
}
