# SPDX-License-Identifier: AGPL-3.0-or-later
"""Detects a device at its limit, measures its capacity, and decides which cameras rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.frames import DropCause
from vision_line.scheduler.camera_pipeline import CameraPipeline
from vision_line.scheduler.rotation import Capacity, Rotation

#: Window over which the device's load is measured, in seconds.
WINDOW_S = 2.0
#: The device is at its limit when this share of samples had no free slot and a waiting frame.
FULL_SHARE = 0.75

_USELESS = (DropCause.CORRUPT, DropCause.FROZEN)


@dataclass(slots=True)
class CoreSharing:
    """What the scheduler and who sheds decoding tell each other; each writes one field, in its own thread."""

    is_inspection_short: bool = False  # the device does less than the parts of all cameras need
    decodable: float = 1.0  # the part of what all parts need that can be decoded


class LoadShare:
    """Samples the scheduler, in its thread, and sets which pipelines rest. A microsecond per pipeline and sample."""

    def __init__(self, now_s: float, sharing: CoreSharing) -> None:
        """Start with an unknown capacity."""
        self._sharing = sharing
        self._rotation = Rotation()
        self._usable: dict[str, int] = {}  # frames of each camera that arrived whole, at the window's start
        self._start_anew(now_s, 0)

    def sample(self, now_s: float, pipelines: Sequence[CameraPipeline], inspected: int, *, full: bool) -> None:
        """Take a sample; `inspected` counts all results so far, `full`: the device has no free slot."""
        waiting = [pipeline for pipeline in pipelines if pipeline.mailbox.oldest() is not None]
        self._samples += 1
        self._full += full and bool(waiting)
        self._active.update(pipeline.camera for pipeline in waiting)
        self._active.update(pipeline.camera for pipeline in pipelines if pipeline.in_flight)
        span_s = now_s - self._since_s
        if span_s >= WINDOW_S:
            is_full = self._full >= FULL_SHARE * self._samples
            inspected_fps = (inspected - self._inspected_before) / span_s
            self._let_rest(now_s, pipelines, Capacity(inspected_fps, is_full, self._sharing.decodable))
            self._start_anew(now_s, inspected)

    def _let_rest(self, now_s: float, pipelines: Sequence[CameraPipeline], capacity: Capacity) -> None:
        self._note_arrived(pipelines)
        active = [pipeline for pipeline in pipelines if pipeline.camera in self._active]
        needs = {pipeline.camera: 1.0 / pipeline.period_s for pipeline in active}
        dwell_s = max((pipeline.dwell_s for pipeline in active), default=0.0)
        resting = self._rotation.plan(now_s, needs, capacity, dwell_s)
        is_behind = capacity.is_full and capacity.inspected_fps < sum(needs.values())
        self._sharing.is_inspection_short = bool(resting) or is_behind
        for pipeline in pipelines:
            pipeline.rests = pipeline.camera in resting

    def _note_arrived(self, pipelines: Sequence[CameraPipeline]) -> None:
        """Count cameras whose frames came and were not decoded as active too: they would be inspected if they could."""
        before, self._usable = self._usable, {pipeline.camera: _usable(pipeline) for pipeline in pipelines}
        self._active.update(camera for camera, frames in self._usable.items() if frames > before.get(camera, frames))

    def _start_anew(self, now_s: float, inspected: int) -> None:
        self._since_s = now_s
        self._inspected_before = inspected
        self._samples = self._full = 0
        self._active: set[str] = set()


def _usable(pipeline: CameraPipeline) -> int:
    """Return how many of a camera's frames were not damaged and did not stand still."""
    counts = pipeline.mailbox.counts()
    return counts.arrived - sum(counts.dropped.get(cause, 0) for cause in _USELESS)
