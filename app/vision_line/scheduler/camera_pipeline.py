# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's pipeline in the scheduler, and the set of them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import NamedTuple, Protocol

from vision_line.frames import (
    OWN_MODEL,
    DefectEvent,
    Detections,
    DropCause,
    Frame,
    ShownEvent,
    TrackedObject,
)
from vision_line.ingest.mailbox import Mailbox
from vision_line.inspection.tracking.candidates import Candidate

logger = logging.getLogger(__name__)

#: Unreadable frames in a row after which the camera is notified.
REJECTED_IN_A_ROW = 3
#: Least time between two warnings about a camera's unreadable frames, in seconds.
WARN_EVERY_S = 60.0

#: Returns, of one camera's detections in a frame of this size (w, h), the rows for the tracker, and those of them that
#: reach the camera's thresholds inside its region of interest.
Filter = Callable[[Detections, tuple[int, int]], tuple[Detections, Detections]]


#: Of the criteria of all cameras.
_NUMBERS = count(1)


class Tracker(Protocol):
    """Makes one event of each physical defect of one camera."""

    #: What became of candidates since this list was last emptied; mostly there is nothing in it.
    candidates: list[Candidate]

    def update(self, frame: Frame, detections: Detections, /) -> list[DefectEvent]:
        """Return the events that this frame's detections start, change or end."""

    def shown(self) -> list[ShownEvent]:
        """Return the events that the frame of the last update shows, also unchanged ones."""

    def tracks(self) -> list[TrackedObject]:
        """Return the objects that it shows, also those that are no events."""

    def expire(self, now_s: float, /) -> list[DefectEvent]:
        """Return the events that have ended by now."""

    def close(self) -> list[DefectEvent]:
        """End all events."""


class Criteria(NamedTuple):
    """By what a camera's frames are judged: all of it changes at once, between two frames."""

    recipe: str  # whose settings these are, "" for those of no recipe
    keep: Filter
    tracker: Tracker
    period_s: float
    dwell_s: float
    inspect_period_s: float = 0.0  # as of the pipeline
    model: str = OWN_MODEL  # that inspects them


@dataclass(slots=True)
class _Coming:
    """Criteria that hold once `frames` more results are there; `begun` is called then, in the scheduler's thread."""

    criteria: Criteria
    frames: int
    begun: Callable[[], None]


@dataclass(slots=True)
class CameraPipeline:
    """One camera in the scheduler; used by its thread only, except `mailbox` and `inspected`.

    `keep` sets apart what goes to the tracker and what goes to the log: a score below the threshold may keep an event
    going, and is no detection. `on_rejected` is called in the scheduler's thread, with the reason, when the device
    could not read `REJECTED_IN_A_ROW` frames in a row.
    """

    camera: str
    mailbox: Mailbox
    keep: Filter
    tracker: Tracker
    live: bool = True
    max_staleness_s: float = inf
    inspect_period_s: float = 0.0
    inspected: int = 0
    period_s: float = 1.0  # an inspection in this period gives each part as many as it needs
    dwell_s: float = 1.0  # how long a part stays in view
    last_turn: float = -1  # of `Turns`
    rests: bool = False  # served only when no other frame waits
    not_before_s: float = -inf
    on_rejected: Callable[[str], None] | None = None
    in_flight: int = 0  # frames on the device
    rejected: int = 0  # unreadable frames since the last readable one
    warned_s: float = -inf
    recipe: str = ""  # of the criteria in force
    model: str = OWN_MODEL  # the same
    criteria: int = field(default_factory=_NUMBERS.__next__)  # their number in this process
    coming: deque[_Coming] = field(default_factory=deque)

    def reject(self, reason: str, now_s: float) -> None:
        """Count a frame that the device cannot read, and warn of it at a limited rate."""
        self.mailbox.take_back(DropCause.CORRUPT)
        self.rejected += 1
        if now_s - self.warned_s >= WARN_EVERY_S:
            self.warned_s = now_s
            logger.warning("frame not inspected: %s", reason)
        if self.on_rejected is not None and self.rejected % REJECTED_IN_A_ROW == 0:
            self.on_rejected(reason)

    def prepare(self, criteria: Criteria, begun: Callable[[], None]) -> None:
        """Judge by `criteria` every frame that is not on the device yet; the others were inspected for the old ones."""
        self.coming.append(_Coming(criteria, self.in_flight, begun))

    @property
    def next_model(self) -> str:
        """Which model is to inspect the next frame: that of the criteria by which it will be judged."""
        return self.coming[-1].criteria.model if self.coming else self.model

    def count_result(self) -> None:
        """Count one frame less on the device."""
        self.in_flight -= 1
        for coming in self.coming:
            coming.frames -= 1

    def pop_due(self) -> _Coming | None:
        """Return the criteria that are to hold from the next result on, and drop them; None: there are none."""
        return self.coming.popleft() if self.coming and self.coming[0].frames <= 0 else None

    def adopt(self, criteria: Criteria) -> None:
        """Judge by `criteria` from now on; the tracker before is the caller's to close."""
        self.recipe, self.keep, self.tracker, self.period_s, self.dwell_s, self.inspect_period_s, self.model = criteria
        self.criteria = next(_NUMBERS)

    def take_candidates(self) -> Sequence[Candidate]:
        """Return what became of candidates since the last call."""
        taken = self.tracker.candidates
        if taken:
            self.tracker.candidates = []
        return taken

    def abandon_in_flight(self) -> None:
        """Count the frames that are abandoned on the device."""
        for _ in range(self.in_flight):
            self.mailbox.take_back(DropCause.SHUTDOWN)
        self.in_flight = 0


class Removal(NamedTuple):
    """A pipeline that takes no more frames; `removed` is done when its last ones on the device are recorded."""

    pipeline: CameraPipeline
    removed: Future[None]


class CameraSet:
    """The pipelines that are inspected, and those being removed; used by the scheduler's thread."""

    def __init__(self) -> None:
        """Start with none."""
        self.inspected: list[CameraPipeline] = []  # in the order in which they came
        self._by_camera: dict[str, CameraPipeline] = {}
        self._waiting: dict[str, CameraPipeline] = {}  # may have a frame; all others have none
        self._leaving: list[Removal] = []

    def __iter__(self) -> Iterator[CameraPipeline]:
        """Yield every pipeline that may have frames on the device."""
        yield from self.inspected
        yield from (leaving.pipeline for leaving in self._leaving)

    def add(self, pipeline: CameraPipeline) -> None:
        """Add a pipeline of a camera that has none."""
        self._by_camera[pipeline.camera] = pipeline
        self._waiting[pipeline.camera] = pipeline  # its first frame may have been there before
        self.inspected = list(self._by_camera.values())

    def get(self, camera: str) -> CameraPipeline | None:
        """Return the pipeline that takes a camera's frames; None: it has none."""
        return self._by_camera.get(camera)

    def remove(self, camera: str, removed: Future[None]) -> None:
        """Remove a camera's pipeline: waiting frames are dropped; `pop_removed` returns it when none is in flight."""
        pipeline = self._by_camera.pop(camera, None)
        if pipeline is None:
            removed.set_result(None)
            return
        self._waiting.pop(camera, None)
        self.inspected = list(self._by_camera.values())
        pipeline.mailbox.close()
        self._leaving.append(Removal(pipeline, removed))

    def waiting(self, arrived: Iterable[str]) -> list[tuple[CameraPipeline, Frame]]:
        """Return the pipelines with a waiting frame, and that frame; `arrived` are the cameras with new ones."""
        for camera in arrived:
            if (pipeline := self._by_camera.get(camera)) is not None:
                self._waiting[camera] = pipeline
        found = []
        for camera, pipeline in tuple(self._waiting.items()):
            if (frame := pipeline.mailbox.oldest()) is not None:
                found.append((pipeline, frame))
            else:
                del self._waiting[camera]
        return found

    def of_next_result(self, camera: str) -> CameraPipeline:
        """Return the pipeline of the camera's next result: one being removed submitted before its successor."""
        for leaving in self._leaving:
            if leaving.pipeline.camera == camera:
                return leaving.pipeline
        return self._by_camera[camera]

    def pop_removed(self) -> list[Removal]:
        """Return the pipelines being removed that have no frame on the device any more, and drop them."""
        if not self._leaving:
            return []
        removed = [leaving for leaving in self._leaving if not leaving.pipeline.in_flight]
        self._leaving = [leaving for leaving in self._leaving if leaving.pipeline.in_flight]
        return removed
