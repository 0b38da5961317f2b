# SPDX-License-Identifier: AGPL-3.0-or-later
"""Latency, throughput and memory of models on this machine's device, taking turns so that its moods cancel out."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from vision_line.devices.cpu.backend import CpuBackend
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import Model
from vision_line.devices.result_reader import HeadReader
from vision_line.frames import Frame
from vision_line.ports import ShapeHW
from vision_line_compression.data.dataset import Dataset, read_image
from vision_line_compression.evaluate.predict import execution, inspect, require_integer_execution, still_frame
from vision_line_compression.evaluate.results import Speed

ROUNDS = 5

#: Different images that are inspected in turn; they are read before the clock starts.
_IMAGES = 8
_WARM_UP_FRAMES = 5


@dataclass(slots=True)
class _Contender:
    """One model on an open device, with what was measured so far."""

    device: InferenceDevice
    backend: CpuBackend
    finished: threading.Event
    memory_mb: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    images_per_s: list[float] = field(default_factory=list)
    engine_images_per_s: list[float] = field(default_factory=list)


def measure_speed(
    models: Sequence[Model],
    dataset: Dataset,
    shape_hw: ShapeHW,
    *,
    seconds: float,
    rounds: int = ROUNDS,
) -> tuple[Speed, ...]:
    """Measure `models` in interleaved rounds: A B A B ...

    Each model is measured for three times `seconds`: one image at a time, all slots busy, the network alone. The score
    floor is each model's threshold, as in an inspection. Images of `dataset` are converted each time, as a camera's
    would be; the network alone runs on inputs that are there.

    Raises:
        ConfigError, ModelError, DeviceError, RunError: as `predict`; an INT8 model is never timed in float.
    """
    images = [read_image(image) for image in dataset.images[:_IMAGES]]
    frames = [still_frame(index, image) for index, image in enumerate(images)]
    with ExitStack() as stack:
        contenders = []
        for model in models:
            before = _resident_mb()
            finished = threading.Event()
            backend = CpuBackend(model, finished.set)
            opened = stack.enter_context(closing(InferenceDevice(backend, HeadReader(model), (shape_hw,))))
            require_integer_execution(model, opened.description)
            contender = _Contender(opened, backend, finished)
            for frame in frames[:_WARM_UP_FRAMES]:
                _latency_s(contender, frame)
            contender.memory_mb = max(_resident_mb() - before, 0.0)
            contenders.append(contender)
        for _ in range(rounds):
            for contender in contenders:
                _run_round(contender, frames, shape_hw, seconds / rounds)
        return tuple(_speed(contender, shape_hw) for contender in contenders)


def speedup(candidate: Speed, reference: Speed) -> float:
    """Return the median over the rounds of candidate's throughput / reference's, measured side by side."""
    return _median_ratio(candidate.rounds, reference.rounds)


def engine_speedup(candidate: Speed, reference: Speed) -> float:
    """Return the same for the networks alone."""
    return _median_ratio(candidate.engine_rounds, reference.engine_rounds)


def _median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def _run_round(contender: _Contender, frames: Sequence[Frame], shape_hw: ShapeHW, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for number in count():
        contender.latencies_s.append(_latency_s(contender, frames[number % len(frames)]))
        if time.monotonic() >= deadline:
            break
    start = time.monotonic()
    done = sum(1 for _ in inspect(contender.device, contender.finished, _until(frames, start + seconds)))
    contender.images_per_s.append(done / (time.monotonic() - start))
    contender.engine_images_per_s.append(contender.backend.engine_rate(shape_hw, seconds))


def _until(frames: Sequence[Frame], deadline: float) -> Iterator[Frame]:
    """Yield `frames` over and over, at least once, until `deadline`."""
    for number in count():
        yield frames[number % len(frames)]
        if time.monotonic() >= deadline:
            return


def _latency_s(contender: _Contender, frame: Frame) -> float:
    start = time.monotonic()
    for _ in inspect(contender.device, contender.finished, [frame]):
        pass
    return time.monotonic() - start


def _speed(contender: _Contender, shape_hw: ShapeHW) -> Speed:
    p50, p99 = np.percentile(contender.latencies_s, [50, 99]) * 1000
    return Speed(
        device=contender.device.description.detail,
        execution=execution(contender.device.description),
        input_shape_hw=shape_hw,
        latency_p50_ms=float(p50),
        latency_p99_ms=float(p99),
        images_per_s=statistics.median(contender.images_per_s),
        rounds=tuple(contender.images_per_s),
        engine_images_per_s=statistics.median(contender.engine_images_per_s),
        engine_rounds=tuple(contender.engine_images_per_s),
        memory_mb=contender.memory_mb,
    )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
