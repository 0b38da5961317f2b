# SPDX-License-Identifier: AGPL-3.0-or-later
"""What cameras ask of one GPU and its host, what they get, and how many fit: a model, not a measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import ceil

from vision_line.capacity.constants import (
    BITS_PER_PIXEL,
    BUCKETS,
    CONTEXT_BYTES,
    DECODE_SURFACES,
    DECODER_TRAFFIC,
    ENGINE_BYTES,
    FRAME_PYTHON_S,
    INPUT_BYTES,
    INSPECT_PYTHON_S,
    MAX_BATCH,
    PACKET_CPU_S,
    PACKET_PYTHON_S,
    PLANNED_SHARE,
    REFERENCE_PIXELS,
    RESULT_PYTHON_S,
    RTP_PAYLOAD_BYTES,
    SESSION_BYTES,
    SURFACE_BYTES_PER_PIXEL,
    Codec,
)
from vision_line.capacity.gpus import GpuModel
from vision_line.capacity.serving import Means, ServingPipeline, largest_rate, solve
from vision_line.ports import GPU_SLOTS

#: More cameras than anything holds.
MOST_CAMERAS = 1 << 14
#: The share of wanted inspections that may be lost where cameras are said to fit.
LOST_AT_MOST = 0.01
#: The limit that comes before the engine's largest rate when batches take longer than frames are young.
SUPERSEDED = "engine (SMs): frames are superseded while large batches run"
#: What all GPUs of a host share.
HOST_CPU = "host CPU"


@dataclass(frozen=True, slots=True)
class Scenario:
    """The question: equal cameras on one GPU, read by one process."""

    gpu: GpuModel
    cameras: int
    codec: Codec
    size_wh: tuple[int, int]
    fps: float
    inspect_fps: float | None = None  # None: every frame
    model_cost: float = 1.0  # time of an image in the engine, in those of YOLOv8n at 640x640; of several the largest
    models: int = 1  # open beside each other; any camera may be under the slowest
    latency_s: float = 0.18  # what the mean may be
    host_cores: int = 8

    @property
    def wanted_fps(self) -> float:
        """Inspections a second of each camera."""
        return self.fps if self.inspect_fps is None else min(self.fps, self.inspect_fps)

    @property
    def host_s(self) -> float:
        """Time of the scheduler's thread for an inspected frame."""
        return INSPECT_PYTHON_S.value + RESULT_PYTHON_S.value


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can run out; `used` and `available` in `unit`."""

    name: str
    used: float
    available: float
    unit: str
    most_cameras: int  # that it alone allows

    @property
    def utilisation(self) -> float:
        """Used share, 1 being all."""
        return self.used / self.available


@dataclass(frozen=True, slots=True)
class Estimate:
    """The answer for one scenario."""

    scenario: Scenario
    resources: tuple[Resource, ...]
    means: Means | None  # None: the decoders cannot keep up, and the latency grows without end
    most_cameras: int  # within every resource, all wanted frames inspected, mean latency within the scenario's
    first_limit: str
    planned_cameras: int  # the same with PLANNED_SHARE of every resource
    cameras_of_gpu: int  # as `most_cameras`, of a host with cores enough: more GPUs give it no more of them
    planned_of_gpu: int  # the same with PLANNED_SHARE of every resource

    @property
    def fits(self) -> bool:
        """Whether the scenario's cameras are within the limits."""
        return self.scenario.cameras <= self.most_cameras

    @property
    def gpus_needed(self) -> int | None:
        """How many such GPUs, each with a process of its own, the cameras need; None where not even one fits."""
        return ceil(self.scenario.cameras / self.cameras_of_gpu) if self.cameras_of_gpu else None

    @property
    def gpus_planned(self) -> int | None:
        """The same with PLANNED_SHARE of every resource."""
        return ceil(self.scenario.cameras / self.planned_of_gpu) if self.planned_of_gpu else None

    @property
    def host_cores_needed(self) -> float:
        """How many cores of the host all cameras need, however many GPUs share them."""
        return _cpu(self.scenario, self.scenario.cameras)


def estimate(scenario: Scenario) -> Estimate:
    """Return what the model says.

    Raises:
        ConfigError: the GPU has no known rate for the codec.
    """
    resources = tuple(
        Resource(name, demand(scenario, scenario.cameras), available, unit, _most(scenario, demand, available))
        for name, demand, available, unit in _demands(scenario)
    )
    of_gpu, limit_of_gpu = _most_of_gpu(scenario, 1.0)
    planned_of_gpu, _ = _most_of_gpu(scenario, PLANNED_SHARE.value)
    of_host, planned_of_host = (_most_of_host(scenario, share) for share in (1.0, PLANNED_SHARE.value))
    decoders = resources[0]
    means = _means(scenario, scenario.cameras) if scenario.cameras <= decoders.most_cameras else None
    return Estimate(
        scenario,
        resources,
        means,
        most_cameras=min(of_gpu, of_host),
        first_limit=HOST_CPU if of_host < of_gpu else limit_of_gpu,
        planned_cameras=min(planned_of_gpu, planned_of_host),
        cameras_of_gpu=of_gpu,
        planned_of_gpu=planned_of_gpu,
    )


def pipeline(scenario: Scenario, cameras: int | None = None) -> ServingPipeline:
    """Return what `cameras` (the scenario's) go through."""
    return ServingPipeline(
        cameras=scenario.cameras if cameras is None else cameras,
        fps=scenario.fps,
        inspect_fps=scenario.wanted_fps,
        decoders=scenario.gpu.decoders,
        decode_s=1 / _decode_fps(scenario),
        batch_s=partial(batch_s, scenario),
        max_batch=MAX_BATCH,
        slots=GPU_SLOTS,
        host_s=scenario.host_s,
    )


def batch_s(scenario: Scenario, frames: int) -> float:
    """Return how long the GPU takes for a batch: conversion of its frames, then the engine on the padded batch.

    A batch is of one model, so with several of them as many are begun for the same frames.
    """
    engine = scenario.gpu.engine
    padded = _bucket_for(frames)
    converting_s = frames * (_surface_bytes(scenario) + INPUT_BYTES) / scenario.gpu.bandwidth
    return scenario.models * engine.setup_s + padded * engine.image_s * scenario.model_cost + converting_s


def _bucket_for(frames: int) -> int:
    """Return the smallest captured batch that holds `frames`, the largest where none does."""
    return next((bucket for bucket in BUCKETS if bucket >= frames), MAX_BATCH)


def packets_per_frame(scenario: Scenario) -> float:
    """Return the RTP packets of an average frame."""
    return max(1.0, _pixels(scenario) * BITS_PER_PIXEL[scenario.codec].value / 8 / RTP_PAYLOAD_BYTES.value)


Demand = Callable[[Scenario, int], float]
#: Its name, its demand by cameras, what there is of it, and the unit.
DemandedResource = tuple[str, Demand, float, str]


def _demands(scenario: Scenario) -> list[DemandedResource]:
    """Return every resource: of one GPU and its process, and the host's."""
    return [*_demands_of_gpu(scenario), (HOST_CPU, _cpu, float(scenario.host_cores), "cores")]


def _demands_of_gpu(scenario: Scenario) -> list[DemandedResource]:
    """Return what comes once more with each GPU and its process."""
    gpu = scenario.gpu
    return [
        ("decoders (NVDEC)", _decoders, 1.0, "of the fullest"),
        ("engine (SMs)", _engine, 1.0, "of its largest rate"),
        ("memory bandwidth", _traffic, gpu.bandwidth / 1e9, "GB/s"),
        ("device memory", _memory, gpu.memory / 1e9, "GB"),
        ("Python, one process", _python, 1.0, "of the interpreter"),
    ]


def _decoders(scenario: Scenario, cameras: int) -> float:
    # A camera's session stays on one engine, and the driver spreads sessions evenly.
    return ceil(cameras / scenario.gpu.decoders) * scenario.fps / _decode_fps(scenario)


def _engine(scenario: Scenario, cameras: int) -> float:
    return cameras * scenario.wanted_fps / largest_rate(cameras, partial(batch_s, scenario), MAX_BATCH)


def _traffic(scenario: Scenario, cameras: int) -> float:
    """Decoding, and the network's input written and read; what the engine moves inside is part of its time."""
    decoding = scenario.fps * DECODER_TRAFFIC.value * _surface_bytes(scenario)
    inspecting = scenario.wanted_fps * (_surface_bytes(scenario) + 2 * INPUT_BYTES)
    return cameras * (decoding + inspecting) / 1e9


def _memory(scenario: Scenario, cameras: int) -> float:
    each = DECODE_SURFACES.value * _surface_bytes(scenario) + SESSION_BYTES.value
    engines = scenario.models * (ENGINE_BYTES.value + GPU_SLOTS * _bucket_for(cameras) * INPUT_BYTES)
    return (CONTEXT_BYTES.value + engines + cameras * each) / 1e9


def _cpu(scenario: Scenario, cameras: int) -> float:
    decoding = scenario.fps * (packets_per_frame(scenario) * PACKET_CPU_S.value + FRAME_PYTHON_S.value)
    return cameras * (decoding + scenario.wanted_fps * scenario.host_s)


def _python(scenario: Scenario, cameras: int) -> float:
    decoding = scenario.fps * (packets_per_frame(scenario) * PACKET_PYTHON_S.value + FRAME_PYTHON_S.value)
    return cameras * (decoding + scenario.wanted_fps * scenario.host_s)


def _pixels(scenario: Scenario) -> int:
    return scenario.size_wh[0] * scenario.size_wh[1]


def _surface_bytes(scenario: Scenario) -> float:
    return _pixels(scenario) * SURFACE_BYTES_PER_PIXEL


def _decode_fps(scenario: Scenario) -> float:
    return scenario.gpu.decode_fps(scenario.codec).value * REFERENCE_PIXELS / _pixels(scenario)


def _most(scenario: Scenario, demand: Demand, available: float) -> int:
    """Return the most cameras whose demand, which grows with them, is less than there is."""
    return _largest(lambda cameras: demand(scenario, cameras) < available, MOST_CAMERAS)


def _most_of_host(scenario: Scenario, share: float) -> int:
    """Return the most cameras for which `share` of the host's cores is enough."""
    return _most(scenario, _cpu, scenario.host_cores * share)


def _most_of_gpu(scenario: Scenario, share: float) -> tuple[int, str]:
    """Return the most cameras that fit into `share` of a GPU and its process, served in time, and what limits them."""
    demands = _demands_of_gpu(scenario)
    bounds = [(_most(scenario, demand, available * share), name) for name, demand, available, _ in demands]
    most, first = min(bounds, key=lambda bound: bound[0])
    served = _largest(lambda cameras: _is_served(scenario, cameras), most)
    if served == most:
        return most, first
    slow = _means(scenario, served + 1).latency_s > scenario.latency_s
    return served, f"mean latency of {scenario.latency_s * 1000:g} ms" if slow else SUPERSEDED


def _is_served(scenario: Scenario, cameras: int) -> bool:
    means = _means(scenario, cameras)
    return means.latency_s <= scenario.latency_s and means.lost <= LOST_AT_MOST


def _means(scenario: Scenario, cameras: int) -> Means:
    """Return what `cameras` of a scenario's kind come to; asked for the same numbers again and again."""
    return _solved(replace(scenario, cameras=cameras, latency_s=0.0, host_cores=1))


@lru_cache(maxsize=256)
def _solved(scenario: Scenario) -> Means:
    return solve(pipeline(scenario))


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest n of 0..most for which `holds`, that being so for all smaller ones from 1 on."""
    if most and holds(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
