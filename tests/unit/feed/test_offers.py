# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the run's threads offer to the feed takes about as much memory as is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.builders import make_detections, make_frame, make_inspection

from vision_line.feed.inbox import INBOX_BYTES
from vision_line.feed.offers import Offers
from vision_line.feed.wants import Want
from vision_line.frames import Detections, Masks

BOXES = 20
#: A polygon as long as they may be: each of its numbers is an object of 24 bytes.
CORNERS = tuple(map(float, range(64)))


def results_that_fit(found: Detections) -> int:
    """Return how many results wait for a feed that comes to nothing."""
    offers, taken = Offers(), 0
    offers.want([Want(results=frozenset({"cam01"}))])
    inspection = make_inspection(make_frame("cam01"), found)
    while not offers.results_lost:
        offers.result(inspection, [])
        taken += 1
    offers.close()
    return taken - 1


def test_results_with_masks_are_counted_as_the_memory_that_they_are() -> None:
    """A feed that comes to nothing holds as many megabytes of them as of others."""
    upright = make_detections(*[(10.0, 10.0, 30.0, 30.0)] * BOXES)
    masked = replace(upright, masks=Masks(np.zeros((BOXES, 3), np.float32), (CORNERS,) * BOXES))

    assert results_that_fit(masked) * BOXES * len(CORNERS) * 24 < INBOX_BYTES
    assert results_that_fit(upright) > 10 * results_that_fit(masked) > 0
