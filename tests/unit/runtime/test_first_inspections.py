# SPDX-License-Identifier: AGPL-3.0-or-later
"""The first inspection of a camera that the fleet gave to this box: of a frame that was taken after that, once."""

from __future__ import annotations

import time

from vision_line.runtime.first_inspections import FirstInspections
from vision_line.scheduler import InspectedFrame


def test_the_first_frame_after_it_is_noted_once() -> None:
    """Not one that was under way, nor one of another camera."""
    noted: list[tuple[str, float]] = []
    first = FirstInspections(lambda camera, at_utc: noted.append((camera, at_utc)))
    before_s = time.monotonic()
    first.expect("cam1")
    taken_s = time.monotonic()
    first.note([InspectedFrame("cam1", (1, 1), before_s - 1.0), InspectedFrame("cam2", (1, 1), taken_s)])
    assert noted == []

    first.note([InspectedFrame("cam1", (1, 1), taken_s), InspectedFrame("cam1", (1, 1), taken_s + 1.0)])
    first.note([InspectedFrame("cam1", (1, 1), taken_s + 2.0)])
    ((camera, at_utc),) = noted
    assert camera == "cam1"
    assert abs(at_utc - time.time()) < 5.0
