# SPDX-License-Identifier: AGPL-3.0-or-later
"""When simulated boards pass, and what is truly on them: a photo-eye at the edge of the strip that a camera inspects.

Each board lies somewhere in its place on the belt, and the places touch each other: a place is the part.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from vision_line.simulator.clips import plan_clip
from vision_line.simulator.scene import FPS, SIZE_WH, draw_scene

#: The strip that is inspected, as shares of the frame's width.
STRIP = (0.4, 0.6)
ROI = f"roi = [[[{STRIP[0]}, 0.0], [{STRIP[1]}, 0.0], [{STRIP[1]}, 1.0], [{STRIP[0]}, 1.0]]]"
SIMULATOR_SEED = 1


@dataclass(frozen=True)
class BoardPass:
    """A board's front comes to the strip at `at_s` of the monotonic clock."""

    board: int
    at_s: float
    kinds: frozenset[str]


class BoardPasses:
    """What passes one simulated camera; `sent_log` says where the belt is."""

    def __init__(self, camera: int, sent_log: Path) -> None:
        self.camera = f"cam{camera:02d}"
        self._plan = plan_clip(camera, SIMULATOR_SEED)
        self._scene = draw_scene(self._plan)
        self._sent_log = sent_log

    @property
    def window_ms(self) -> list[float]:
        """From when the part before has left the strip, to when the part behind comes."""
        strip_px = (STRIP[1] - STRIP[0]) * SIZE_WH[0]
        return [round(strip_px / self._plan.speed_px_s * 1000), round(self.pitch_s * 1000)]

    @property
    def pitch_s(self) -> float:
        """From one part's front to the next one's."""
        return self._plan.frames / FPS / self._plan.boards

    def coming(self, count: int) -> list[BoardPass]:
        """Return the next parts."""
        line = next(
            found
            for text in reversed(self._sent_log.read_text(encoding="utf-8").splitlines()[:-1])
            if (found := json.loads(text))["camera"] == self.camera
        )
        ahead_s = time.time() - time.monotonic()
        sent_s = line["sent_utc_s"] - ahead_s
        turn_px = self._plan.belt_px
        shift_px = self._scene.shift_px(line["index"])
        passes = []
        for board in range(self._plan.boards):
            front_px = (board + 1) * turn_px / self._plan.boards + shift_px
            way_px = (STRIP[0] * SIZE_WH[0] - front_px) % turn_px
            kinds = frozenset(defect.kind for defect in self._scene.defects if defect.board == board)
            passes += [
                BoardPass(board, sent_s + (way_px + turn * turn_px) / self._plan.speed_px_s, kinds)
                for turn in range(1 + count // self._plan.boards)
            ]
        # A part whose front is in the strip already would be told too late.
        return [one for one in sorted(passes, key=lambda each: each.at_s) if one.at_s > time.monotonic() + 0.1][:count]
