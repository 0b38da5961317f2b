# SPDX-License-Identifier: AGPL-3.0-or-later
"""OpenCV and OpenVINO, as an engineer writes it in an afternoon: a reader thread a camera, the newest frame in turn.

Run by the benchmark: python -m benchmarks.peers.opencv_loop JOB
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"  # before OpenCV is imported

import cv2
import numpy as np

from benchmarks.peers.job import Job
from benchmarks.peers.plain_detector import Image, letterbox, place
from benchmarks.peers.turns import Taken, inspect_in_turn
from benchmarks.stamps import read_stamp


class OpenCvCamera:
    """Reads a camera in a thread of its own; a newer frame replaces the one that waits."""

    def __init__(self, url: str, shape_hw: tuple[int, int]) -> None:
        self._url, self._shape_hw = url, shape_hw
        self._newest: deque[Image] = deque(maxlen=1)
        threading.Thread(target=self._read, name="camera", daemon=True).start()

    def take(self) -> Taken | None:
        """Return the newest frame, letterboxed."""
        try:
            frame = self._newest.pop()
        except IndexError:
            return None
        placed = place((frame.shape[1], frame.shape[0]), self._shape_hw)
        return Taken(letterbox(frame, placed, self._shape_hw), placed, read_stamp(frame))

    def _read(self) -> None:
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        while True:
            good, frame = capture.read()
            if not good:
                raise ConnectionError(f"{self._url}: no frame")
            self._newest.append(np.asarray(frame, np.uint8))


def main() -> None:
    """Inspect the job's cameras."""
    job = Job.read(sys.argv[1])
    cv2.setNumThreads(1)
    inspect_in_turn(job, [OpenCvCamera(url, job.shape_hw) for url in job.urls])


if __name__ == "__main__":
    main()
