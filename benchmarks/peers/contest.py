# SPDX-License-Identifier: AGPL-3.0-or-later
"""One load and one model: what every contender gets, one run of each, and the limit beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cameras import gstreamer_cameras
from benchmarks.contenders import BARE_DECODE, BARE_ENGINE, openvino_for_ultralytics, proven_variant, run_child
from benchmarks.faults.quiet import foreign_share, usage
from benchmarks.peers.ages import Inspected, count_inspected
from benchmarks.peers.contenders import Contender, ContenderError
from benchmarks.peers.job import SUMMARY, BoxRow, Job, Observed, Result
from benchmarks.peers.loads import FPS, VIDEO_S, Load, ensure_videos, scene_for
from benchmarks.peers.reference import Reference, reference_boxes
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.errors import ModelError

WARM_UP_S = 5.0
_FRAME_S = 1 / FPS


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contender; `pairs`: boxes that it found and those of the reference, of each sampled frame."""

    seconds: float
    inspected: Inspected
    observed: Observed
    pairs: list[tuple[list[BoxRow], list[BoxRow]]]
    foreign_share: float  # of the cores, used by programs that are not the benchmark's
    said_ms: dict[str, float]  # the latency that vision-line states of the whole run, empty of others

    @property
    def fresh_fps(self) -> float:
        """Frames a second that were inspected in time."""
        return self.inspected.fresh / self.seconds


@dataclass(slots=True)
class Limit:
    """What the bare engine does on the cores that decoding and the cameras' server leave; a value a round."""

    engine_fps: list[float] = field(default_factory=list)
    decode_cores: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Contest:
    """A load and a model, ready to be run; `folder` is kept by whoever made it."""

    load: Load
    model: Model
    videos: list[Path]
    job: Job  # without cameras
    references: list[Reference]  # of each video
    limit: Limit = field(default_factory=Limit)

    def run(self, contender: Contender, *, samples_gil: bool = False) -> Run:
        """Run a contender on fresh cameras; with samples of the GIL, which take time, it is not to be ranked.

        Raises:
            ContenderError: it failed, or was so slow to start that the cameras' video ended before the window.
        """
        before = usage()
        with (
            TemporaryDirectory(prefix="peers-", dir=self.job.folder) as folder,
            gstreamer_cameras(self.videos, self.load.cameras) as cameras,
        ):
            job = replace(self.job, urls=cameras.urls, server_pid=cameras.pid, folder=folder, samples_gil=samples_gil)
            observed = contender.run(job)
            said_ms = _said_ms(Path(folder) / SUMMARY)
        starts_s = {camera: starts[-1] for camera, starts in cameras.starts_s.items()}
        if observed.ended_s > min(starts_s.values()) + VIDEO_S - _FRAME_S:
            raise ContenderError(f"{contender.name}: the video was over before the window; give it fewer seconds")
        return Run(
            seconds=observed.ended_s - observed.started_s,
            inspected=count_inspected(observed.results, starts_s, FPS),
            observed=observed,
            pairs=list(self._pairs(observed.results)),
            foreign_share=foreign_share(before, usage()),
            said_ms=said_ms,
        )

    def measure_limit(self, server_cores: float) -> float:
        """Return the limit in frames a second, at most what the cameras send."""
        half = str(self.job.seconds / 2)
        engine = run_child(BARE_ENGINE, self.job.model, *map(str, self.job.shape_hw), half)
        with gstreamer_cameras(self.videos, self.load.cameras) as cameras:
            decode = run_child(BARE_DECODE, half, *cameras.urls)
        self.limit.engine_fps.append(engine)
        self.limit.decode_cores.append(decode)
        cores = len(os.sched_getaffinity(0))
        return min(self.load.cameras * FPS, max(0.0, engine * (cores - decode - server_cores) / cores))

    def _pairs(self, results: list[Result]) -> Iterator[tuple[list[BoxRow], list[BoxRow]]]:
        for result in results:
            if result.boxes is not None and result.number is not None:
                yield result.boxes, self.references[result.camera % len(self.videos)][result.number]


def _said_ms(summary: Path) -> dict[str, float]:
    """Return the percentiles of latency in a summary, none where there is no summary."""
    if not summary.exists():
        return {}
    latency: dict[str, float] = json.loads(summary.read_text(encoding="utf-8"))["totals"]["latency_ms"]
    return latency


def open_contest(load: Load, model: Model, seconds: float, folder: Path) -> Contest:
    """Make what a load and a model need: videos, the same weights for everybody, and what there is to be found.

    Raises:
        ModelError: the model has a head that the plain contenders do not read.
        DeviceError: no variant is computed rightly on this processor.
    """
    if model.head is not HeadKind.YOLOV8:
        raise ModelError(f"{model.path}: expected a YOLOv8 head, found {model.head}")
    (shape_hw,) = plan_input_shapes(model, [load.size_wh], limit=1)
    proven = proven_variant(model, shape_hw)
    job = Job(
        urls=[],
        bundle=str(model.path.parent.absolute()),
        model=str(proven.absolute()),
        openvino=str(openvino_for_ultralytics(model, proven, folder)),
        shape_hw=shape_hw,
        score=model.score_threshold,
        nms_iou=model.nms_iou,
        warm_up_s=WARM_UP_S,
        seconds=seconds,
        server_pid=0,
        folder=str(folder),
    )
    videos = ensure_videos(load, scene_for(model))
    return Contest(load, model, videos, job, [reference_boxes(job, video) for video in videos])
