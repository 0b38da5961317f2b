# SPDX-License-Identifier: AGPL-3.0-or-later
"""What there is to be found in the frames whose boxes are compared: detected frame by frame from the file, untimed.

It is the plain detector's code. The OpenCV and the GStreamer loop share that; vision-line and Ultralytics letterbox,
suppress and scale back with code of their own, so that all four agree only when all are right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from benchmarks.peers.job import BoxRow, Job
from benchmarks.peers.plain_detector import PlainDetector, letterbox, place
from benchmarks.peers.witness import is_sampled
from benchmarks.stamps import read_stamp

#: By frame number.
Reference = dict[int, list[BoxRow]]


def reference_boxes(job: Job, video: Path) -> Reference:
    """Return the boxes in each sampled frame of `video`.

    Raises:
        ValueError: a frame does not bear its number.
    """
    found: Reference = {}

    def keep(number: int, boxes: Callable[[], list[BoxRow]]) -> None:
        found[number] = boxes()

    detector = PlainDetector(job, keep)
    with av.open(str(video)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if is_sampled(number):
                image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                if read_stamp(image) != number:
                    raise ValueError(f"{video}: frame {number} bears the number {read_stamp(image)}; remove the file")
                placed = place((frame.width, frame.height), job.shape_hw)
                detector.submit(letterbox(image, placed, job.shape_hw), placed, number)
    detector.finish()
    return found
