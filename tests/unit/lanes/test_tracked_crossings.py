# SPDX-License-Identifier: AGPL-3.0-or-later
"""From boxes by the line's own tracker to parts: each object on a belt is one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import make_frame, scored_detections
from tests.unit.lanes.test_crossing_properties import BOX_PX, LINE_PX, PERIOD_S, RULE, SIZE_WH

from vision_line.config.models import StreamSettings
from vision_line.inspection.tracking.events import EventTracker
from vision_line.lanes.crossing_watch import Crossing, CrossingWatch, ObjectsFrame
from vision_line.parts.part import PartCause

CLASSES = ("bottle", "crack")


def parts_on_belt(
    speed_px_s: float, places_px: list[float], missed: set[int], offsets_px: list[float]
) -> list[Crossing]:
    """Return the parts of bottles, each with a crack; `missed` are boxes that are not detected, of each 97."""
    tracker = EventTracker("a", CLASSES, StreamSettings(accept_classes=["bottle"]), 0.25)
    watch, found, boxes = CrossingWatch(RULE), list[Crossing](), 0
    for number in range(round((SIZE_WH[0] + places_px[-1]) / speed_px_s / PERIOD_S) + 60):
        rows = []
        for index, place_px in enumerate(places_px):
            x = speed_px_s * number * PERIOD_S - place_px
            for half, y, kind in ((BOX_PX / 2, 180.0, 0), (8.0, 150.0, 1)):
                boxes += 1
                if 0 <= x <= SIZE_WH[0] and boxes % 97 not in missed:
                    shift = offsets_px[(boxes + index) % len(offsets_px)]
                    rows.append((x - half + shift, y - half, x + half + shift, y + half, 0.9, kind))
        frame = make_frame("a", number, size_wh=SIZE_WH, at_s=number * PERIOD_S)
        tracker.update(frame, scored_detections(*rows))
        found += watch.take(ObjectsFrame(frame.captured_s, SIZE_WH, 1, tracker.tracks()))
    return found


@settings(max_examples=30, deadline=None)
@given(
    speed_px_s=st.floats(90.0, 280.0),
    steps_px=st.lists(st.floats(2.5 * BOX_PX, 5 * BOX_PX), min_size=1, max_size=5),
    missed=st.sets(st.integers(0, 96), max_size=5),
    offsets_px=st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=9),
)
def test_each_tracked_object_is_one_part(
    speed_px_s: float, steps_px: list[float], missed: set[int], offsets_px: list[float]
) -> None:
    places_px = [sum(steps_px[: index + 1]) for index in range(len(steps_px))]
    parts = parts_on_belt(speed_px_s, places_px, missed, offsets_px)
    clean = [part for part in parts if part.cause is PartCause.NONE]
    assert len(parts) >= len(places_px)
    for part in clean:
        assert any(
            abs(part.at_s - (LINE_PX + place_px) / speed_px_s) <= PERIOD_S + 4.0 / speed_px_s for place_px in places_px
        )
    if not missed:
        assert len(parts) == len(clean) == len(places_px)
