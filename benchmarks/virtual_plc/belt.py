# SPDX-License-Identifier: AGPL-3.0-or-later
"""The belts under the simulated cameras: which board is at the photo-eye when, and what it truly bears.

Ways are pixels of the picture. The photo-eye is at the picture's left edge, where boards enter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from vision_line.simulator.scene import FPS, SIZE_WH, Scene, ScenePlan, draw_scene

SPEED_PX_S = 400.0
#: One count of the encoder.
MM_PER_COUNT = 0.5
#: Around the middle of the picture, where all of a board is in view: from the photo-eye on, in pixels.
_TYPICAL_BOARD_PX, _HALF_WINDOW_PX = 285, 100
WINDOW_PX = (
    SIZE_WH[0] / 2 + _TYPICAL_BOARD_PX / 2 - _HALF_WINDOW_PX,
    SIZE_WH[0] / 2 + _TYPICAL_BOARD_PX / 2 + _HALF_WINDOW_PX,
)
EJECTOR_PX = 1300.0


@dataclass(frozen=True, slots=True)
class BoardPass:
    """A board that passes a camera once. `at_s` is when its front is at the photo-eye, monotonic."""

    camera: str
    board: int
    defects: tuple[str, ...]
    at_s: float

    @property
    def window_s(self) -> tuple[float, float]:
        """When it is where it must be inspected."""
        begin, end = (self.at_s + way / SPEED_PX_S for way in WINDOW_PX)
        return begin, end

    @property
    def ejector_s(self) -> float:
        """When it is at the ejector."""
        return self.at_s + EJECTOR_PX / SPEED_PX_S


def plans(cameras: int, frames: int, seed: int = 7) -> list[ScenePlan]:
    """Return what the cameras see: a board each 2.5 s, so that two in the window are rare."""
    return [
        ScenePlan(seed=seed * 1000 + number, frames=frames, boards=round(frames / 62.5), speed_px_s=SPEED_PX_S)
        for number in range(1, cameras + 1)
    ]


class Belt:
    """The belt of one camera."""

    def __init__(self, camera: str, plan: ScenePlan, frame_0_s: float) -> None:
        """`frame_0_s` is when frame 0 of a loop was sent, monotonic."""
        self.camera = camera
        self._scene: Scene = draw_scene(plan)
        self._frame_0_s = frame_0_s
        self._px_per_s = plan.belt_px * FPS / plan.frames
        self._turn = plan.belt_px

    def travelled_px(self, at_s: float) -> float:
        """Return how far it has moved since frame 0."""
        return (at_s - self._frame_0_s) * self._px_per_s

    def count(self, at_s: float) -> int:
        """Return the encoder's count, of 32 bits."""
        return int(self.travelled_px(at_s) / MM_PER_COUNT) % (1 << 32)

    def passes(self, from_s: float) -> Iterator[BoardPass]:
        """Give the boards that come to the photo-eye from a moment on, in their order, for ever."""
        turns = math.floor(self.travelled_px(from_s) / self._turn) - 1
        while True:
            for at_s, board in sorted(self._of_turn(turns)):
                if at_s >= from_s:
                    yield BoardPass(self.camera, board, self._defects(board), at_s)
            turns += 1

    def _of_turn(self, turns: int) -> Iterator[tuple[float, int]]:
        for board, (begin, length) in enumerate(self._scene.spans):
            # Its front is at the left edge when front + start + travelled is a whole number of turns.
            way = -(begin + length + self._scene.optics.start_px) % self._turn + turns * self._turn
            yield self._frame_0_s + way / self._px_per_s, board

    def _defects(self, board: int) -> tuple[str, ...]:
        return tuple(defect.kind for defect in self._scene.defects if defect.board == board)
