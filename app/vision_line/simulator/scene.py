# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera over a belt that never ends: boards, light, optics and sensor, exactly periodic."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.simulator.boards import BoardDefect, BoardPlan, draw_board
from vision_line.simulator.defects import KINDS, LONGER_SIDE_PX
from vision_line.simulator.truth import TrueBox

Pixels = NDArray[np.uint8]  # (h, w, 3) BGR

SIZE_WH = (640, 360)
# The lowest rows belong to the barcode: no belt and no board is drawn there.
BARCODE_ROWS = 16
FPS = 25
DEFECTIVE_SHARE = 0.4
# Room for one board of at least 180 px and its distance to the next.
LEAST_SLOT_PX = 250

_BELTS = ((42, 42, 44), (70, 82, 58), (98, 84, 62), (120, 122, 124), (28, 30, 40), (150, 160, 158))


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """What one camera sees: `frames` frames in which the belt moves once around."""

    seed: int
    frames: int = 500
    boards: int = 5
    speed_px_s: float = 100.0
    defective_share: float = DEFECTIVE_SHARE
    most_defects: int = 2

    @property
    def belt_px(self) -> int:
        """Length of the belt: a whole number of pixels, so that the last frame leads to the first."""
        return round(self.speed_px_s * self.frames / FPS)


@dataclass(frozen=True, slots=True)
class SceneDefect:
    """One physical defect on the belt; `xyxy` in belt pixels, x may pass the belt's end."""

    defect_id: int
    board: int
    kind: str
    longer_side_px: float
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Optics:
    """What the camera adds: gain (h, w, 3), noise fields, and where the belt stands in frame 0."""

    gain: NDArray[np.float32]
    noise: tuple[NDArray[np.int16], ...]
    start_px: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn belt and its camera; `render` and `boxes` are pure functions of the frame index."""

    plan: ScenePlan
    belt: Pixels
    boards: int
    defects: tuple[SceneDefect, ...]
    optics: Optics
    #: Where each board begins on the belt and how long it is, in belt pixels.
    spans: tuple[tuple[int, int], ...]

    def shift_px(self, index: int) -> float:
        """Give the way of the belt along +x up to frame `index`, within one turn."""
        travelled = self.optics.start_px + index % self.plan.frames * self.plan.belt_px / self.plan.frames
        return travelled % self.plan.belt_px

    def render(self, index: int) -> Pixels:
        """Draw frame `index`: (360, 640, 3) uint8 BGR with black barcode rows; equal for index + frames."""
        width, height = SIZE_WH[0], self.belt.shape[0]
        left, fraction = divmod(-self.shift_px(index) % self.plan.belt_px, 1.0)
        columns = np.arange(int(left) - 1, int(left) + width + 2)
        slab = self.belt.take(columns, axis=1, mode="wrap")
        moved = cv2.filter2D(slab, -1, _cubic_taps(fraction), anchor=(1, 0), borderType=cv2.BORDER_REPLICATE)
        lit = cv2.multiply(moved[:, 1 : width + 1], self.optics.gain, dtype=cv2.CV_8U)
        frame = np.zeros((SIZE_WH[1], width, 3), np.uint8)
        frame[:height] = self._with_noise(np.asarray(lit, np.uint8), index % self.plan.frames)
        return frame

    def _with_noise(self, lit: Pixels, index: int) -> Pixels:
        rng = np.random.default_rng((self.plan.seed, index))
        field = self.optics.noise[index % len(self.optics.noise)]
        top, left = (int(rng.integers(0, 33)) for _ in range(2))
        height, width = lit.shape[:2]
        noise = np.ascontiguousarray(field[top : top + height, left : left + width])
        return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)

    def boxes(self, index: int) -> tuple[TrueBox, ...]:
        """List the defects that frame `index` shows, in the frame's pixels."""
        shift, turn = self.shift_px(index), self.plan.belt_px
        seen: list[TrueBox] = []
        for defect in self.defects:
            x0, y0, x1, y1 = defect.xyxy
            width = x1 - x0
            left = (x0 + shift) % turn
            left = left - turn if left + width > turn else left
            visible_left, visible_right = max(left, 0.0), min(left + width, float(SIZE_WH[0]))
            if visible_right > visible_left:
                box = (visible_left, y0, visible_right, y1)
                seen.append(TrueBox(defect.defect_id, defect.kind, box, (visible_right - visible_left) / width))
        return tuple(seen)


def draw_scene(plan: ScenePlan) -> Scene:
    """Draw belt and boards of `plan`; the same plan gives the same scene.

    Raises:
        ValueError: the belt has no room for the boards, or could show a defect twice in one frame.
    """
    if plan.belt_px < max(SIZE_WH[0] + LONGER_SIDE_PX[1] * 2, plan.boards * LEAST_SLOT_PX):
        raise ValueError(f"a belt of {plan.belt_px} px is too short for {plan.boards} boards")
    belt_rng, board_rng, optics_rng = (
        np.random.default_rng(seed) for seed in np.random.SeedSequence(plan.seed).spawn(3)
    )
    height = SIZE_WH[1] - BARCODE_ROWS
    belt = _draw_belt(belt_rng, plan.belt_px, height)
    defects: list[SceneDefect] = []
    spans = []
    slot = plan.belt_px / plan.boards
    for number in range(plan.boards):
        size = _board_size(board_rng, slot, height)
        kinds = _choose_kinds(board_rng, plan)
        board = draw_board(BoardPlan(int(board_rng.integers(2**31)), size, kinds))
        x = round(number * slot + float(board_rng.uniform(12, slot - size[0] - 12)))
        y = int(board_rng.integers(6, height - size[1] - 5))
        _lay(belt, board.pixels, board.cover, x, y)
        spans.append((x, size[0]))
        defects += [_placed(defect, len(defects) + i, number, x, y) for i, defect in enumerate(board.defects)]
    seen = _through_lens(optics_rng, belt, plan)
    return Scene(plan, seen, plan.boards, tuple(defects), _optics(optics_rng, plan), tuple(spans))


def _choose_kinds(rng: np.random.Generator, plan: ScenePlan) -> tuple[str, ...]:
    # All is drawn for good boards too: the plan without defects then gives the same boards, all good.
    defective = rng.random() < plan.defective_share
    count = int(rng.integers(1, plan.most_defects + 1))
    kinds = tuple(str(kind) for kind in rng.choice(KINDS, plan.most_defects))
    return kinds[:count] if defective else ()


def _board_size(rng: np.random.Generator, slot: float, height: int) -> tuple[int, int]:
    widest = min(340, int(slot) - 32)
    return int(rng.integers(max(widest - 110, 180), widest)), int(rng.integers(230, height - 24))


def _placed(defect: BoardDefect, defect_id: int, board: int, x: int, y: int) -> SceneDefect:
    x0, y0, x1, y1 = defect.xyxy
    box = (x0 + x, y0 + y, x1 + x, y1 + y)
    return SceneDefect(defect_id, board, defect.kind, defect.longer_side_px, box)


def _draw_belt(rng: np.random.Generator, length: int, height: int) -> NDArray[np.float32]:
    """Draw the bare belt (height, length, 3) float32; its left end continues its right end."""
    tone = np.array(_BELTS[int(rng.integers(len(_BELTS)))], np.float32) + rng.uniform(-8, 8, 3)
    clouds = cv2.resize(_wrapped(rng.normal(0, 5.0, (9, length // 40))), None, fx=40, fy=42)
    clouds = cv2.resize(clouds[:, 40 : 40 + length // 40 * 40], (length, height))
    rubber = cv2.GaussianBlur(_wrapped(rng.normal(0, 1.0, (height, length))), (0, 0), 1.1)
    belt = tone.astype(np.float32) + (clouds + 9 * rubber[:, 1:-1])[..., None]
    for seam in rng.integers(0, length, 2):
        belt[:, seam : seam + 2] *= 0.8
    rail = int(rng.integers(3, 7))
    belt[:rail] *= 0.45
    belt[-rail:] *= 0.45
    return belt.astype(np.float32)


def _wrapped(field: NDArray[np.float64]) -> NDArray[np.float32]:
    """Add one column on each side so that a filter runs around the end."""
    return np.pad(field, ((0, 0), (1, 1)), mode="wrap").astype(np.float32)


def _lay(belt: NDArray[np.float32], pixels: Pixels, cover: NDArray[np.float32], x: int, y: int) -> None:
    """Lay a board and its soft shadow on the belt, around the end if need be."""
    height, width = cover.shape
    margin = 10
    shadow = cv2.GaussianBlur(np.pad(cover, margin), (0, 0), 4.0)
    rows = slice(max(y + 3 - margin, 0), min(y + 3 + height + margin, belt.shape[0]))
    columns = np.arange(x + 3 - margin, x + 3 + width + margin) % belt.shape[1]
    shade = shadow[rows.start - (y + 3 - margin) :][: rows.stop - rows.start]
    belt[rows, columns] *= 1 - 0.45 * shade[..., None]
    columns = np.arange(x, x + width) % belt.shape[1]
    ground = belt[y : y + height, columns]
    belt[y : y + height, columns] = ground + cover[..., None] * (pixels - ground)


def _through_lens(rng: np.random.Generator, belt: NDArray[np.float32], plan: ScenePlan) -> Pixels:
    """Blur the whole belt once by focus and exposure time: both are the same in every frame."""
    pad = 16
    wide = np.pad(belt, ((0, 0), (pad, pad), (0, 0)), mode="wrap")
    sharp = cv2.GaussianBlur(wide, (0, 0), float(rng.uniform(0.45, 0.85)))
    exposure_px = plan.speed_px_s * float(rng.uniform(0.004, 0.016))
    moved = cv2.filter2D(sharp, -1, _exposure_taps(exposure_px), borderType=cv2.BORDER_REPLICATE)
    return np.clip(moved[:, pad:-pad], 0, 255).astype(np.uint8)


def _exposure_taps(way_px: float) -> NDArray[np.float32]:
    """Make the (1, 3) box filter of a way of at most 3 px."""
    side = max(min(way_px, 3.0) - 1, 0.0) / 2
    taps = np.array((side, 1.0, side), np.float32)
    return np.asarray(taps[None] / taps.sum(), np.float32)


def _cubic_taps(fraction: float) -> NDArray[np.float32]:
    """Make the (1, 4) Catmull-Rom filter that samples `fraction` of a pixel to the right."""
    t = fraction
    return np.array(
        ((-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3),), np.float32
    ) / np.float32(2)


def _optics(rng: np.random.Generator, plan: ScenePlan) -> Optics:
    width, height = SIZE_WH[0], SIZE_WH[1] - BARCODE_ROWS
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width - 0.5, y / height - 0.5
    angle = float(rng.uniform(0, 2 * np.pi))
    slope = float(rng.uniform(0.0, 0.22)) * (np.cos(angle) * x + np.sin(angle) * y)
    vignette = 1 - float(rng.uniform(0.1, 0.45)) * (x * x + y * y)
    balance = rng.uniform(0.93, 1.07, 3) * float(rng.uniform(0.86, 1.12))
    gain = ((1 + slope) * vignette)[..., None] * balance.astype(np.float32)
    sigma = float(rng.uniform(1.2, 3.2))
    noise = tuple(_noise(rng, sigma, (height + 32, width + 32)) for _ in range(4))
    return Optics(gain.astype(np.float32), noise, float(rng.uniform(0, plan.belt_px)))


def _noise(rng: np.random.Generator, sigma: float, shape: tuple[int, int]) -> NDArray[np.int16]:
    """Make one field of sensor noise, mostly in brightness."""
    grey = rng.normal(0, sigma, (*shape, 1)).astype(np.float32)
    colour = rng.normal(0, sigma * 0.4, (*shape, 3)).astype(np.float32)
    return np.asarray(np.rint(grey + colour), np.int16)
