# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's pipeline as the inspecting thread knows it, and all of them as they come and go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from vision_line.frames import DefectEvent, Detections, DropCause, Frame
from vision_line.ingest.mailbox import Mailbox

logger = logging.getLogger(__name__)

#: So many pictures in a row that the device cannot read are no accident: the camera is told.
REFUSED_IN_A_ROW = 3
#: A camera whose pictures cannot be read is warned of at most this often, in seconds.
WARN_EVERY_S = 60.0

#: Returns, of one camera's detections in a frame of this size (w, h), the rows for the tracker, and those of them that
#: reach the camera's thresholds inside its region of interest.
Filter = Callable[[Detections, tuple[int, int]], tuple[Detections, Detections]]


class Tracker(Protocol):
    """Makes one event of each physical defect of one camera."""

    def update(self, frame: Frame, detections: Detections, /) -> list[DefectEvent]:
        """Return the events that this frame's detections start, change or end."""

    def expire(self, now_s: float, /) -> list[DefectEvent]:
        """Return the events that have ended by now."""

    def close(self) -> list[DefectEvent]:
        """End all events."""


@dataclass(slots=True)
class CameraPipeline:
    """One camera as the inspecting thread knows it; touched by that thread only, but for `mailbox` and `inspected`.

    `keep` sets apart what goes to the tracker and what goes to the log: a score below the threshold may keep an event
    going, and is no detection. `on_refused` is called in the inspecting thread, with the reason, when the device could
    not read `REFUSED_IN_A_ROW` pictures running.
    """

    camera: str
    mailbox: Mailbox
    keep: Filter
    tracker: Tracker
    live: bool = True
    max_staleness_s: float = inf
    inspect_period_s: float = 0.0
    inspected: int = 0
    period_s: float = 1.0  # a look every so often gives each part its looks
    stay_s: float = 1.0  # how long a part is in the picture
    last_turn: float = -1  # of `Turns`
    rests: bool = False  # it is served only when no other frame waits
    not_before_s: float = -inf
    on_refused: Callable[[str], None] | None = None
    under_way: int = 0  # frames on the device
    refused: int = 0  # pictures that the device could not read since the last one that it could
    warned_s: float = -inf

    def refuse(self, reason: str, now_s: float) -> None:
        """Account for a frame whose picture the device cannot read, and tell of it without flooding anybody."""
        self.mailbox.take_back(DropCause.CORRUPT)
        self.refused += 1
        if now_s - self.warned_s >= WARN_EVERY_S:
            self.warned_s = now_s
            logger.warning("frame not inspected: %s", reason)
        if self.on_refused is not None and self.refused % REFUSED_IN_A_ROW == 0:
            self.on_refused(reason)

    def give_up_under_way(self) -> None:
        """Account for the frames that will be left on the device."""
        for _ in range(self.under_way):
            self.mailbox.take_back(DropCause.SHUTDOWN)
        self.under_way = 0


class Removal(NamedTuple):
    """A pipeline that takes no more frames; `gone` is done when its last ones, on the device, are recorded."""

    pipeline: CameraPipeline
    gone: Future[None]


class CameraSet:
    """The pipelines that are inspected, and those that leave; belongs to the inspecting thread."""

    def __init__(self) -> None:
        """Start with none."""
        self.inspected: list[CameraPipeline] = []  # in the order in which they came
        self._by_camera: dict[str, CameraPipeline] = {}
        self._leaving: list[Removal] = []

    def __iter__(self) -> Iterator[CameraPipeline]:
        """Yield every pipeline that may have frames on the device."""
        yield from self.inspected
        yield from (leaving.pipeline for leaving in self._leaving)

    def add(self, pipeline: CameraPipeline) -> None:
        """Take in a pipeline whose camera has none."""
        self._by_camera[pipeline.camera] = pipeline
        self.inspected = list(self._by_camera.values())

    def remove(self, camera: str, gone: Future[None]) -> None:
        """Let a camera's pipeline leave: what waits is dropped; `pop_gone` returns it once nothing is under way."""
        pipeline = self._by_camera.pop(camera, None)
        if pipeline is None:
            gone.set_result(None)
            return
        self.inspected = list(self._by_camera.values())
        pipeline.mailbox.close()
        self._leaving.append(Removal(pipeline, gone))

    def of_next_result(self, camera: str) -> CameraPipeline:
        """Return the pipeline that submitted the camera's next result: one that leaves did so before its successor."""
        for leaving in self._leaving:
            if leaving.pipeline.camera == camera:
                return leaving.pipeline
        return self._by_camera[camera]

    def pop_gone(self) -> list[Removal]:
        """Return the leaving pipelines that have no frame on the device any more, and forget them."""
        if not self._leaving:
            return []
        gone = [leaving for leaving in self._leaving if not leaving.pipeline.under_way]
        self._leaving = [leaving for leaving in self._leaving if leaving.pipeline.under_way]
        return gone
