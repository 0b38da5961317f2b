# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a camera was inspected first since the plan of its fleet gave it to this box: from then on its records count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from vision_line.scheduler import InspectedFrame


class FirstInspections:
    """Waits for the first inspection of each camera that it is told of; lives in the event loop's thread."""

    def __init__(self, write: Callable[[str, float], None]) -> None:
        """`write` gets a camera and when the frame was taken, in UTC."""
        self._write = write
        self._since_s: dict[str, float] = {}

    def expect(self, camera: str) -> None:
        """Wait for a frame of the camera that is taken from now on."""
        self._since_s[camera] = time.monotonic()

    def note(self, frames: Iterable[InspectedFrame]) -> None:
        """Take in what was inspected."""
        if not self._since_s:
            return
        for frame in frames:
            if frame.captured_s >= self._since_s.get(frame.camera, float("inf")):
                del self._since_s[frame.camera]
                self._write(frame.camera, time.time() - (time.monotonic() - frame.captured_s))
