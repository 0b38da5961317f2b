# SPDX-License-Identifier: AGPL-3.0-or-later
"""Thresholds by class and regions of interest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import make_detections

from vision_line.config.models import Stream, StreamSettings
from vision_line.frames import Detections
from vision_line.inspection.detection_filter import DetectionFilter, score_floor, unknown_classes

CLASSES = ("open", "short")
SIZE_WH = (200, 100)


def _at(*points: tuple[float, float]) -> Detections:
    return make_detections(*((x - 2, y - 2, x + 2, y + 2) for x, y in points))


def _camera(**settings: object) -> Stream:
    return Stream.model_validate({"name": "cam01", "url": "rtsp://127.0.0.1/a", **settings})


def test_class_threshold_goes_before_camera_before_model() -> None:
    """A class's own threshold counts first, then the camera's, then the model's."""
    detections = Detections(
        np.zeros((4, 4), np.float32), np.array([0.5, 0.5, 0.3, 0.7], np.float32), np.array([0, 1, 1, 0], np.int32)
    )
    keep = DetectionFilter(CLASSES, StreamSettings(score_threshold=0.4, thresholds={"open": 0.6}), 0.9)

    assert keep(detections, SIZE_WH).detections.score.tolist() == pytest.approx([0.5, 0.7])


def test_score_at_threshold_counts() -> None:
    """A score equal to the threshold is kept."""
    detections = Detections(np.zeros((1, 4), np.float32), np.array([0.25], np.float32), np.array([0], np.int32))

    assert len(DetectionFilter(CLASSES, StreamSettings(), 0.25)(detections, SIZE_WH).detections) == 1


def test_centre_inside_any_polygon() -> None:
    """Detections whose centre lies in one of the polygons stay, others go; polygons may be concave."""
    corner = [[0.0, 0.0], [0.5, 0.0], [0.5, 0.2], [0.2, 0.2], [0.2, 1.0], [0.0, 1.0]]
    island = [[0.8, 0.8], [1.0, 0.8], [1.0, 1.0], [0.8, 1.0]]
    keep = DetectionFilter(CLASSES, StreamSettings(roi=[corner, island]), 0.25)
    detections = _at((20, 90), (90, 10), (90, 50), (180, 90), (150, 90))

    centres = keep(detections, SIZE_WH).detections.xyxy[:, :2] + 2

    assert centres.tolist() == [[20, 90], [90, 10], [180, 90]]


def test_region_follows_frame_size() -> None:
    """The polygons are normalised: another frame size moves them."""
    keep = DetectionFilter(CLASSES, StreamSettings(roi=[[[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]]), 0.25)

    sizes_wh = ((200, 100), (400, 100), (200, 100))
    assert [len(keep(_at((120, 50)), size_wh).detections) for size_wh in sizes_wh] == [1, 0, 1]


@given(x=st.floats(0, 200, width=32), y=st.floats(0, 100, width=32))
def test_rectangle_equals_comparison(x: float, y: float) -> None:
    """For a rectangle the even-odd rule says what four comparisons say, away from the edge itself."""
    keep = DetectionFilter(CLASSES, StreamSettings(roi=[[[0.25, 0.1], [0.75, 0.1], [0.75, 0.9], [0.25, 0.9]]]), 0.25)
    margin = min(abs(x - 50), abs(x - 150), abs(y - 10), abs(y - 90))
    if margin > 1e-3:
        assert len(keep(_at((x, y)), SIZE_WH).detections) == (50 < x < 150 and 10 < y < 90)


def test_nothing_in_nothing_made() -> None:
    """No detections come back as the same object."""
    nothing = Detections.empty()
    kept = DetectionFilter(CLASSES, StreamSettings(), 0.25)(nothing, SIZE_WH)

    assert kept.tracked is kept.detections is nothing


def test_continue_ratio_lowers_the_bar() -> None:
    """With a continue ratio, scores below the threshold pass for events under way, and are no detections."""
    detections = Detections(
        np.zeros((3, 4), np.float32), np.array([0.31, 0.29, 0.5], np.float32), np.array([0, 0, 0], np.int32)
    )
    keep = DetectionFilter(CLASSES, StreamSettings(score_threshold=0.5), 0.25, continue_ratio=0.6)

    kept = keep(detections, SIZE_WH)

    assert kept.tracked.score.tolist() == pytest.approx([0.31, 0.5])
    assert kept.detections.score.tolist() == [0.5]


def test_floor_is_lowest_of_all_cameras() -> None:
    """The device keeps what any camera wants."""
    cameras = [_camera(thresholds={"open": 0.2}), _camera(score_threshold=0.4), _camera(thresholds={"short": 0.7})]

    floor = score_floor(cameras, CLASSES, 0.5)

    assert floor.dtype == np.float32
    assert floor.tolist() == pytest.approx([0.2, 0.4])
    assert score_floor([], CLASSES, 0.5).tolist() == pytest.approx([0.5, 0.5])


def test_unknown_classes_are_named() -> None:
    """Every threshold of a class that the model lacks is a problem that names camera, key and expected classes."""
    problems = unknown_classes([_camera(thresholds={"opne": 0.2}, reject_thresholds={"short": 0.5, "x": 0.5})], CLASSES)

    assert problems == [
        "stream 'cam01': thresholds.opne: found no such class in the model, expected one of open, short",
        "stream 'cam01': reject_thresholds.x: found no such class in the model, expected one of open, short",
    ]
