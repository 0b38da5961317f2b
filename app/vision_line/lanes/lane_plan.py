# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a lane asks of its cameras and when a machine must know, by the settings. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from vision_line.config.lane_settings import LaneSettings
from vision_line.config.models import SPARE_FACTOR, StreamSettings
from vision_line.config.optical_settings import OpticalSettings
from vision_line.config.recipe_settings import RecipeSettings
from vision_line.config.toml import problems_of
from vision_line.errors import ConfigError
from vision_line.lanes.crossing_line import CrossingLine, CrossingRule

#: An encoder may be silent while the belt moves by this share of the window at its fastest, and always for so long, in
#: seconds. A wrong count moves a part by little more.
PAUSE_SHARE, LEAST_PAUSE_S = 0.25, 0.05


@dataclass(frozen=True, slots=True)
class CameraNeed:
    """What makes a part inspected by a camera.

    `inspections` must fall into its window, and no time in it may be longer than `gap_s` without one. A defect that was
    seen in the window is confirmed, if ever, within `confirming` inspections after it.
    """

    inspections: int
    gap_s: float
    confirming: int


@dataclass(frozen=True, slots=True)
class LanePlan:
    """One lane. `cameras` has what each needs without a recipe, `recipes` what under each.

    `window` is from when to when after its trigger a part is seen: seconds, with an encoder millimetres.

    `ejector_s` is None where the ejector's place is known in millimetres; with an encoder that is where the belt
    is, else what it moves at `belt_mm_per_s`. `spare_s` is what the machine needs between the decision and the ejector.
    `optical` is what makes a part where a camera sees it itself, None where it is triggered. `accepts_degraded`: also
    what a camera saw whose image is black, uniform or blurred.
    """

    name: str
    cameras: Mapping[str, CameraNeed] = field(hash=False)
    window: tuple[float, float]
    mm_per_count: float | None
    camera_delay_s: float
    ejector_s: float | None
    ejector_mm: float | None
    belt_mm_per_s: float | None
    spare_s: float
    recipes: Mapping[str, Mapping[str, CameraNeed]] = field(hash=False, default_factory=dict)
    optical: CrossingRule | None = None
    accepts_degraded: bool = False

    def needs(self, recipe: str | None) -> Mapping[str, CameraNeed]:
        """Return what each camera needs under a recipe, None or "" for none."""
        return self.recipes.get(recipe or "", self.cameras)

    @property
    def has_encoder(self) -> bool:
        """Whether the belt's encoder says where a part is."""
        return self.mm_per_count is not None

    @property
    def deadline_after_s(self) -> float:
        """How long after its trigger a part must be decided, if the belt moves at its fastest."""
        return self._reached_s - self.spare_s

    @property
    def window_after_s(self) -> tuple[float, float]:
        """The window in seconds after the trigger; with an encoder, if the belt moves at its fastest."""
        if not self.has_encoder:
            return self.window
        return self.window[0] / self.fastest_mm_per_s, self.window[1] / self.fastest_mm_per_s

    @property
    def fastest_mm_per_s(self) -> float:
        """The fastest speed of the belt; one with an encoder has it."""
        if self.belt_mm_per_s is None:
            raise ValueError(f"lane {self.name}: expected the speed of the belt")
        return self.belt_mm_per_s

    @property
    def pause_s(self) -> float:
        """How long the encoder may be silent while the belt moves."""
        return max(PAUSE_SHARE * (self.window[1] - self.window[0]) / self.fastest_mm_per_s, LEAST_PAUSE_S)

    @property
    def _reached_s(self) -> float:
        if self.ejector_s is not None:
            return self.ejector_s
        if self.ejector_mm is None:
            raise ValueError(f"lane {self.name}: expected where the ejector is")
        return self.ejector_mm / self.fastest_mm_per_s


def plan_of(
    lane: LaneSettings, cameras: Mapping[str, StreamSettings], recipes: Mapping[str, RecipeSettings] | None = None
) -> LanePlan:
    """Return the plan of a lane; `cameras` has the settings of each of its cameras, perhaps of others.

    Raises:
        ConfigError: a recipe does not fit a camera.
    """
    by_encoder = lane.window_mm is not None
    span = lane.window_mm or [edge / 1000 for edge in lane.window_ms or (0.0, 0.0)]
    return LanePlan(
        name=lane.name,
        cameras={name: camera_need(cameras[name], lane.min_looks) for name in lane.cameras},
        window=(span[0], span[1]),
        mm_per_count=lane.mm_per_count if by_encoder else None,
        camera_delay_s=lane.camera_delay_ms / 1000,
        ejector_s=None if lane.ejector_ms is None else lane.ejector_ms / 1000,
        ejector_mm=lane.ejector_mm,
        belt_mm_per_s=lane.belt_mm_per_s,
        spare_s=(lane.plc_scan_ms + lane.actuator_ms + lane.reserve_ms) / 1000,
        recipes={
            recipe: {name: camera_need(_under(cameras[name], name, settings), lane.min_looks) for name in lane.cameras}
            for recipe, settings in (recipes or {}).items()
        },
        optical=None if lane.optical is None else _crossing_rule(lane.optical, cameras, recipes or {}),
        accepts_degraded=lane.accept_degraded,
    )


def _crossing_rule(
    optical: OpticalSettings, cameras: Mapping[str, StreamSettings], recipes: Mapping[str, RecipeSettings]
) -> CrossingRule:
    """Return what makes a part; of the recipes each time the one that takes more for a part, or for a gap.

    Raises:
        ConfigError: a recipe does not fit the camera.
    """
    name = optical.camera
    each = [cameras[name], *(_under(cameras[name], name, recipe) for recipe in recipes.values())]
    needs = [camera_need(settings, None) for settings in each]
    begin, end = optical.line
    return CrossingRule(
        camera=name,
        classes=frozenset(optical.classes),
        line=CrossingLine((begin[0], begin[1]), (end[0], end[1]), optical.direction),
        hits=min(settings.min_hits for settings in each),
        patience=max(need.confirming for need in needs),
        gap_s=min(need.gap_s for need in needs),
        dwell_s=min(settings.dwell_s for settings in each),
    )


def _under(camera: StreamSettings, name: str, recipe: RecipeSettings) -> StreamSettings:
    """Return a camera's settings under a recipe.

    Raises:
        ConfigError: the two do not fit; a run does not start with such a file.
    """
    if not recipe.concerns(name):
        return camera
    try:
        return StreamSettings.model_validate({**dict(camera), **recipe.overrides})
    except ValidationError as exc:
        where, words = problems_of(exc, StreamSettings)[0]
        raise ConfigError(f"camera {name} under a recipe: {'.'.join(map(str, where))}: {words}") from None


def camera_need(settings: StreamSettings, inspections: int | None) -> CameraNeed:
    """Return what makes a part inspected by a camera; `inspections` is what the lane asks for, None: nothing else.

    A lane cannot ask for less than its camera needs: what the ledger calls not inspected would be accepted.
    """
    needed = settings.min_hits if settings.min_looks is None else settings.min_looks
    gap_ms = settings.max_inspection_gap_ms
    gap_s = settings.dwell_s / 2 if gap_ms is None else gap_ms / 1000
    confirming = math.ceil(SPARE_FACTOR * settings.min_hits)
    return CameraNeed(max(needed, inspections or 0), gap_s, confirming)
