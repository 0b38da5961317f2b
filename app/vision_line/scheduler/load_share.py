# SPDX-License-Identifier: AGPL-3.0-or-later
"""Detects a device at its limit, measures its capacity, and decides which cameras rest."""

from __future__ import annotations

from collections.abc import Sequence

from vision_line.scheduler.camera_pipeline import CameraPipeline
from vision_line.scheduler.rotation import Rotation

#: Window over which the device's load is measured, in seconds.
WINDOW_S = 2.0
#: The device is at its limit when this share of samples had no free slot and a waiting frame.
FULL_SHARE = 0.75


class LoadShare:
    """Samples the scheduler, in its thread, and sets which pipelines rest. A microsecond per pipeline and sample."""

    def __init__(self, now_s: float) -> None:
        """Start with an unknown capacity."""
        self._rotation = Rotation()
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
            self._let_rest(now_s, pipelines, (inspected - self._inspected_before) / span_s if is_full else None)
            self._start_anew(now_s, inspected)

    def _let_rest(self, now_s: float, pipelines: Sequence[CameraPipeline], capacity_fps: float | None) -> None:
        active = [pipeline for pipeline in pipelines if pipeline.camera in self._active]
        needs = {pipeline.camera: 1.0 / pipeline.period_s for pipeline in active}
        dwell_s = max((pipeline.dwell_s for pipeline in active), default=0.0)
        resting = self._rotation.plan(now_s, needs, capacity_fps, dwell_s)
        for pipeline in pipelines:
            pipeline.rests = pipeline.camera in resting

    def _start_anew(self, now_s: float, inspected: int) -> None:
        self._since_s = now_s
        self._inspected_before = inspected
        self._samples = self._full = 0
        self._active: set[str] = set()
