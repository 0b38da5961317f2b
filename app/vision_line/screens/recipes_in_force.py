# SPDX-License-Identifier: AGPL-3.0-or-later
"""By which recipe each camera is inspected, once anybody has asked for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len

from vision_line.screens.segments import Line, Segment, filled, left
from vision_line.screens.styles import QUIET, VALUE
from vision_line.telemetry.snapshot import CameraSnapshot

#: Without one the camera's own settings count.
_NONE = "–"
#: A recipe's column: two cells before the name, at least its title, and no more than this.
_LEAST, _MOST = 8, 18


def are_in_use(cameras: Sequence[CameraSnapshot]) -> bool:
    """Whether a recipe is in force at a camera, or was."""
    return any(camera.recipe.name or camera.recipe.since_utc is not None for camera in cameras)


def column_width(cameras: Sequence[CameraSnapshot]) -> int:
    """Return how wide the column of recipes would like to be, 0 where there is none."""
    if not are_in_use(cameras):
        return 0
    return max(_LEAST, min(_MOST, 2 + max(cell_len(camera.recipe.name) for camera in cameras)))


def recipe_cell(camera: CameraSnapshot, width: int) -> Segment:
    """Return a camera's recipe."""
    name, style = left(camera.recipe.name or _NONE, width - 2, VALUE if camera.recipe.name else QUIET)
    return f"  {name}", style


def recipe_lines(cameras: Sequence[CameraSnapshot], width: int) -> list[Line]:
    """Return one line with each recipe and at how many cameras it is in force; none where no recipe is in use."""
    if not are_in_use(cameras):
        return []
    counts = Counter(camera.recipe.name for camera in cameras).most_common()
    words = ", ".join(f"{name or 'none'} at {count}" for name, count in counts)
    return [filled([(" recipes ", QUIET), left(words, max(1, width - 9), VALUE)], width)]
