# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a lane that sees its parts itself asks of its camera, and the camera does not do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vision_line.config.lane_settings import LaneSettings
from vision_line.config.models import StreamSettings
from vision_line.config.optical_settings import DIRECTIONS, OpticalSettings
from vision_line.config.recipe_settings import RecipeSettings
from vision_line.config.table_values import Polygon

#: Points of the line that are checked, and how far before and behind it objects must be found.
_STEPS = 50
_BESIDE = 0.02
#: Points of the line's course that are not between its ends, by their share of the way to its end.
_BEYOND_ENDS = tuple(step / _STEPS for step in range(-3 * _STEPS, 4 * _STEPS + 1) if not -1 <= step <= _STEPS + 1)


def optical_problems(
    lane: LaneSettings, cameras: Mapping[str, StreamSettings], recipes: Mapping[str, RecipeSettings]
) -> Iterator[tuple[str, str]]:
    """Yield the keys of `[lane.optical]` that can never work, each with why."""
    optical = lane.optical
    if optical is None:
        return
    if optical.camera not in lane.cameras:
        yield "camera", f"expected one of the lane's cameras ({', '.join(lane.cameras)}), found {optical.camera!r}"
        return
    if (camera := cameras.get(optical.camera)) is None:
        return
    yield from _of_camera(optical, camera.classes, camera.roi, "")
    for name, recipe in recipes.items():
        if recipe.concerns(optical.camera):
            yield from _of_camera(optical, recipe.classes or [], recipe.roi or [], f" under recipe {name}")


def optical_warnings(lane: LaneSettings, cameras: Mapping[str, StreamSettings]) -> Iterator[str]:
    """Yield what a lane accepts that sees its parts itself, and nobody will want."""
    optical = lane.optical
    if optical is None:
        return
    camera = cameras[optical.camera]
    if defects := [name for name in optical.classes if name not in camera.accept_classes]:
        yield (
            f"optical.classes: {', '.join(defects)} counts as a defect of the part itself: where it is none, add it to"
            f" accept_classes of camera {optical.camera}"
        )
    if any(_is_found_around(camera.roi, optical, share) for share in _BEYOND_ENDS):
        yield "optical.line: what passes beside its ends is no part of this lane; draw it through the whole roi"


def _of_camera(optical: OpticalSettings, used: list[str], roi: list[Polygon], when: str) -> Iterator[tuple[str, str]]:
    if unused := [name for name in optical.classes if used and name not in used]:
        yield "classes", f"camera {optical.camera} does not use {', '.join(unused)}{when}: add it to its classes"
    if not any(_is_found_around(roi, optical, step / _STEPS) for step in range(1, _STEPS)):
        yield "line", f"expected a line through the roi of camera {optical.camera}{when}, found one outside of it"


def _is_found_around(roi: list[Polygon], optical: OpticalSettings, share: float) -> bool:
    """Whether an object is detected before and behind a point of the line, by its share of the way to its end."""
    (begin_x, begin_y), (end_x, end_y) = optical.line
    x, y = begin_x + share * (end_x - begin_x), begin_y + share * (end_y - begin_y)
    way = DIRECTIONS[optical.direction]
    return all(_contains(roi, x + sign * _BESIDE * way[0], y + sign * _BESIDE * way[1]) for sign in (-1.0, 1.0))


def _contains(roi: list[Polygon], x: float, y: float) -> bool:
    if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
        return False
    return not roi or any(_is_inside(polygon, x, y) for polygon in roi)


def _is_inside(polygon: Polygon, x: float, y: float) -> bool:
    """Whether a ray to the right crosses an odd number of edges."""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y1 > y) != (y2 > y):
            crossings += x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return crossings % 2 == 1
