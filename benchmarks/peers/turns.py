# SPDX-License-Identifier: AGPL-3.0-or-later
"""The loop of the two plain contenders: whichever camera's turn it is, its newest frame goes to the detector."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from benchmarks.peers.job import Job
from benchmarks.peers.plain_detector import Image, Placement, PlainDetector
from benchmarks.peers.witness import Witness, leave

_IDLE_S = 0.001


class Taken(NamedTuple):
    """A frame as the network gets it, and the number of its stamp."""

    image: Image
    placed: Placement
    number: int | None


class Camera(Protocol):
    """A camera whose frames are read beside the loop."""

    def take(self) -> Taken | None:
        """Return the newest frame, None where there is none since the last call."""


def inspect_in_turn(job: Job, cameras: Sequence[Camera]) -> None:
    """Inspect until the witness ends the process."""
    witness = Witness(job, leave)
    detector = PlainDetector(job, lambda tag, boxes: witness.note(tag[0], tag[1], boxes))
    after = 0
    while True:
        detector.wait_until_free()
        for turn in range(len(cameras)):
            index = (after + turn) % len(cameras)
            taken = cameras[index].take()
            if taken is not None:
                detector.submit(taken.image, taken.placed, (index, taken.number))
                after = index + 1
                break
        else:
            time.sleep(_IDLE_S)
