# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is wrong with results: lost, repeated, late, swapped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.builders import make_detections, make_frame, make_inspection

from vision_line.frames import Detections, Inspection
from vision_line.selftest.order_check import OrderErrors, find_order_errors

CAMERAS, FRAMES = 3, 4


def shown(frame: int) -> Detections:
    """Return what a frame shows: one box, each at another place."""
    left = 100.0 * frame
    return make_detections((left, 0, left + 10, 10))


SHOWN = [shown(frame) for frame in range(2)]
SUBMITTED = [
    (make_frame(f"camera{camera}", sequence), (camera + sequence) % 2)
    for sequence in range(FRAMES)
    for camera in range(CAMERAS)
]
FOUND = [make_inspection(submitted, SHOWN[frame]) for submitted, frame in SUBMITTED]


def lose(found: list[Inspection]) -> list[Inspection]:
    """Leave the fourth out."""
    return found[:3] + found[4:]


def repeat(found: list[Inspection]) -> list[Inspection]:
    """Give the last once more."""
    return [*found, found[-1]]


def reorder(found: list[Inspection]) -> list[Inspection]:
    """Give the first of a camera after its second."""
    return [*found[1:4], found[0], *found[4:]]


def swap(found: list[Inspection]) -> list[Inspection]:
    """Give the first two each other's detections."""
    first, second = (replace(found[one], detections=found[1 - one].detections) for one in range(2))
    return [first, second, *found[2:]]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (list, OrderErrors()),
        (lose, OrderErrors(lost=1)),
        (repeat, OrderErrors(repeated=1)),
        (reorder, OrderErrors(late=1)),
        (swap, OrderErrors(swapped=2)),
    ],
)
def test_each_kind_of_disorder_is_counted(
    spoil: Callable[[list[Inspection]], list[Inspection]], expected: OrderErrors
) -> None:
    """Cameras may be mixed as they like, each has its own order."""
    found = find_order_errors(SUBMITTED, spoil(FOUND), SHOWN, 0.25)

    assert found == expected
    assert found.is_none is (spoil is list)


def test_cameras_are_independent() -> None:
    """One camera's results may all come after another's."""
    by_camera = sorted(FOUND, key=lambda one: one.frame.camera)

    assert find_order_errors(SUBMITTED, by_camera, SHOWN, 0.25).is_none
