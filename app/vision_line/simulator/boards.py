# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drawn boards as they look from above: colours over the artwork, with the boxes of their defects."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.simulator.artwork import FINE, Artwork, Mask, draw_artwork
from vision_line.simulator.defects import KINDS, Defect, box_xyxy, place_defect
from vision_line.simulator.layout import plan_layout

Colour = tuple[int, int, int]  # blue, green, red


@dataclass(frozen=True, slots=True)
class Finish:
    """Colours of one board: base material, copper under the mask, bare metal and ink."""

    base: Colour
    trace: Colour
    metal: Colour
    ink: Colour


FINISHES: dict[str, Finish] = {
    "green": Finish((48, 84, 22), (92, 168, 82), (140, 190, 215), (225, 232, 228)),
    "blue": Finish((112, 54, 18), (196, 132, 66), (205, 212, 214), (235, 235, 230)),
    "red": Finish((34, 26, 120), (78, 92, 206), (150, 205, 225), (232, 230, 236)),
    "black": Finish((34, 32, 30), (98, 104, 110), (120, 178, 205), (220, 222, 220)),
    "white": Finish((188, 196, 198), (120, 138, 148), (92, 132, 158), (52, 48, 46)),
    "amber": Finish((66, 126, 164), (28, 34, 112), (214, 218, 220), (238, 238, 232)),
}


@dataclass(frozen=True, slots=True)
class BoardDefect:
    """One physical defect: class and box in board pixels."""

    kind: str
    xyxy: tuple[float, float, float, float]

    @property
    def longer_side_px(self) -> float:
        """Longer side of the box."""
        return max(self.xyxy[2] - self.xyxy[0], self.xyxy[3] - self.xyxy[1])


@dataclass(frozen=True, slots=True)
class Board:
    """A drawn board: colour (h, w, 3) uint8 BGR, cover (h, w) float32 in 0..1, and its defects."""

    pixels: NDArray[np.uint8]
    cover: NDArray[np.float32]
    defects: tuple[BoardDefect, ...]


@dataclass(frozen=True, slots=True)
class BoardPlan:
    """What to draw: a seed for the good board and the kinds of the defects put into it."""

    seed: int
    size_wh: tuple[int, int]
    kinds: tuple[str, ...] = ()


def draw_board(plan: BoardPlan) -> Board:
    """Draw a board; the same plan gives the same pixels, and without `kinds` the same board free of defects.

    A kind for which this artwork has no room is replaced by the next one that fits, so that the number of
    defects holds.
    """
    art_seed, paint_seed, defect_seed = np.random.SeedSequence(plan.seed).spawn(3)
    artwork = draw_artwork(plan_layout(np.random.default_rng(art_seed), plan.size_wh))
    defects, copper = _with_defects(np.random.default_rng(defect_seed), artwork, plan.kinds)
    return _paint(np.random.default_rng(paint_seed), artwork, copper, defects)


def _with_defects(
    rng: np.random.Generator, artwork: Artwork, kinds: tuple[str, ...]
) -> tuple[tuple[Defect, ...], Mask]:
    defects: tuple[Defect, ...] = ()
    copper = artwork.copper
    for kind in kinds:
        first = KINDS.index(kind)
        for candidate in KINDS[first:] + KINDS[:first]:
            placed = place_defect(rng, artwork, copper, candidate, defects)
            if placed is not None:
                defects, copper = (*defects, placed[0]), placed[1]
                break
    return defects, copper


def _paint(rng: np.random.Generator, artwork: Artwork, copper: Mask, defects: tuple[Defect, ...]) -> Board:
    tilt = _tilt(float(rng.uniform(-2.5, 2.5)), artwork.layout.size_wh)
    finish = _varied(rng, FINISHES[str(rng.choice(list(FINISHES)))])
    outline, trace, bare, ink = (
        _coverage(mask, tilt) for mask in (artwork.outline, copper, copper & artwork.bare, artwork.silk)
    )
    height, width = outline.shape
    pixels = np.empty((height, width, 3), np.float32)
    pixels[:] = finish.base
    pixels += _grain(rng, (height, width))[..., None]
    for colour, cover in ((finish.trace, trace), (finish.metal, bare), (finish.ink, ink)):
        pixels += cover[..., None] * (np.array(colour, np.float32) - pixels)
    pixels += _relief(trace)[..., None]
    boxes = tuple(BoardDefect(defect.kind, box) for defect in defects if (box := _box(defect.changed, tilt)))
    return Board(np.clip(pixels, 0, 255).astype(np.uint8), outline, boxes)


def _varied(rng: np.random.Generator, finish: Finish) -> Finish:
    """Shift a finish a little as one batch of material differs from the next."""
    gain, shift = float(rng.uniform(0.88, 1.12)), rng.uniform(-9, 9, 3)

    def vary(colour: Colour) -> Colour:
        blue, green, red = (int(np.clip(c * gain + d, 4, 250)) for c, d in zip(colour, shift, strict=True))
        return blue, green, red

    return Finish(vary(finish.base), vary(finish.trace), vary(finish.metal), vary(finish.ink))


def _tilt(degrees: float, size_wh: tuple[int, int]) -> NDArray[np.float64]:
    """Make the 2x3 transform of a mask that turns the board about its centre, shrunk to stay inside."""
    width, height = size_wh
    matrix = cv2.getRotationMatrix2D((width * FINE / 2, height * FINE / 2), degrees, 0.97)
    return np.asarray(matrix, np.float64)


def _turned(mask: Mask, tilt: NDArray[np.float64]) -> Mask:
    return np.asarray(cv2.warpAffine(mask, tilt, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_LINEAR), np.uint8)


def _coverage(mask: Mask, tilt: NDArray[np.float64]) -> NDArray[np.float32]:
    """Turn a fine mask and average it down to the share of each frame pixel that it covers."""
    size = (mask.shape[1] // FINE, mask.shape[0] // FINE)
    shares = cv2.resize(_turned(mask, tilt), size, interpolation=cv2.INTER_AREA)
    return shares.astype(np.float32) / np.float32(255)


def _box(changed: Mask, tilt: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    turned = _turned(changed, tilt)
    return box_xyxy((turned > 127).astype(np.uint8))


def _grain(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Make the uneven tone of the base material: soft clouds and a fine weave."""
    clouds = cv2.resize(rng.normal(0, 3.0, (7, 8)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(clouds + rng.normal(0, 1.6, shape), np.float32)


def _relief(trace: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brighten edges of the copper that face the lamp (upper left) and darken the others."""
    slope = np.array(((1, 0.5, 0), (0.5, 0, -0.5), (0, -0.5, -1)), np.float32)
    return np.asarray(8 * cv2.filter2D(trace, -1, slope), np.float32)
