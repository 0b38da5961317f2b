# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which calibration method ships: by what each finds on validation images, never on those of the report."""

from __future__ import annotations

from collections.abc import Sequence

from vision_line_compression.files import Document, FrozenModel
from vision_line_compression.quantize.thresholds import Method

#: Methods whose mAP50-95 is so close to the best one's are told apart by what they miss.
CLOSE = 0.002


class MethodTrial(FrozenModel):
    """What the model finds on the validation images when one method has calibrated it."""

    method: Method
    map50_95: float | None
    missed: int  # true boxes, at the operating threshold and the first matching IoU
    boxes: int


class MethodChoice(Document):
    """`choice.json`: the method that ships, and what it was chosen among."""

    chosen: Method
    images: int  # of the split val
    trials: tuple[MethodTrial, ...]

    @property
    def words(self) -> str:
        """Say what was chosen, and of what."""
        tried = "; ".join(
            f"{trial.method} {'unknown' if trial.map50_95 is None else f'{trial.map50_95:.4f}'}, "
            f"{trial.missed} of {trial.boxes} missed"
            for trial in self.trials
        )
        return f"The calibration method {self.chosen} was chosen by mAP50-95 on {self.images} images of val: {tried}"


def choose_method(trials: Sequence[MethodTrial], images: int) -> MethodChoice:
    """Choose the highest mAP50-95; of those within `CLOSE` of it what misses fewest, then the first."""
    best = max(trial.map50_95 or 0.0 for trial in trials)
    close = [trial for trial in trials if (trial.map50_95 or 0.0) >= best - CLOSE]
    chosen = min(close, key=lambda trial: trial.missed)
    return MethodChoice(chosen=chosen.method, images=images, trials=tuple(trials))
