# SPDX-License-Identifier: AGPL-3.0-or-later
"""The real scheduler on a simulated GPU against the capacity model: 16 cameras, the most that fit, 1000 streams.

No GPU is used, and no figure of one is measured: decoders and engine take the times of the model's constants. What is
compared is the model's arithmetic with the scheduler's thread, its mailboxes and `plan_batch`. Most runs are in virtual
time, where results do not depend on this machine; one is in real time, on the simulated device with its own thread.
Run: python -m benchmarks.capacity [VIRTUAL_SECONDS] [REAL_SECONDS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import mean

from benchmarks.control_plane import COLOUR, NoLog, NoTracker
from benchmarks.rounds import Report
from benchmarks.simulated_device import SimulatedDevice
from benchmarks.virtual_time import SIZE_WH, Findings, draw_starts, run
from vision_line.capacity.constants import Codec
from vision_line.capacity.estimate import LOST_AT_MOST, Scenario, estimate, pipeline
from vision_line.capacity.gpus import find_gpu
from vision_line.capacity.serving import Means, ServingPipeline, solve
from vision_line.devices.several_models import one_model
from vision_line.frames import DefectEvent, Frame, Inspection
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ports import DeviceDescription
from vision_line.scheduler import CameraPipeline, Scheduler, WakeUp

RTX_3060 = Scenario(find_gpu("RTX 3060"), 16, Codec.H264, (1920, 1080), 25.0)
L4 = Scenario(find_gpu("L4"), 1000, Codec.H264, (1920, 1080), 25.0, inspect_fps=5.0)
SEEDS = 5
STREAMS = 1000


class Latencies:
    """Implements the scheduler's `Observer`: keeps latencies and batch sizes."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.latency_s: list[float] = []
        self.batches: list[int] = []

    def batch(self, frames: int) -> None:
        """Keep a batch's size."""
        self.batches.append(frames)

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Keep a result's latency."""
        self.latency_s.append(now_s - inspection.frame.arrived_s)

    def event(self, event: DefectEvent) -> None:
        """Ignore it."""


def run_in_real_time(works: ServingPipeline, seconds: float, starts_s: Sequence[float]) -> Latencies:
    """Feed the scheduler's thread and a `SimulatedDevice` at the cameras' pace for `seconds`."""
    bell = WakeUp()
    description = DeviceDescription("simulated", "", "int8", ((384, 640),), works.slots, works.max_batch)
    device = SimulatedDevice(description, bell.notify, works.batch_s)
    seen = Latencies()
    scheduler = Scheduler(one_model(device), NoLog(), bell, observer=seen, on_update=lambda _: None)
    lines = []
    for number in range(works.cameras):
        name = f"cam{number:04d}"
        lines.append(
            CameraPipeline(
                name, NewestFrame(partial(bell.notify_frame, name)), lambda found, _: (found, found), NoTracker()
            )
        )
        scheduler.add(lines[-1])
    scheduler.start()
    feed(works, lines, seconds, starts_s)
    scheduler.stop()
    scheduler.join(10)
    device.close()
    scheduler.outcome.result()
    return seen


def feed(works: ServingPipeline, lines: Sequence[CameraPipeline], seconds: float, starts_s: Sequence[float]) -> None:
    """Put each frame into its mailbox when its decoder, working in order of arrival, would have decoded it."""
    began_s = time.monotonic()
    free_s = [0.0] * works.decoders
    period_s = 1 / works.fps
    order = sorted((start_s % period_s, index) for index, start_s in enumerate(starts_s))
    for number in range(int(seconds / period_s)):
        for phase_s, index in order:
            arrived_s = number * period_s + phase_s
            decoder = index % works.decoders
            free_s[decoder] = max(free_s[decoder], arrived_s) + works.decode_s
            if (wait_s := began_s + free_s[decoder] - time.monotonic()) > 0:
                time.sleep(wait_s)
            camera = lines[index]
            camera.mailbox.count_arrived()
            arrived = began_s + arrived_s
            camera.mailbox.put(Frame(camera.camera, number, SIZE_WH, COLOUR, None, arrived, arrived, time.monotonic()))


def runs(scenario: Scenario, seconds: float, seeds: int = SEEDS) -> tuple[list[Findings], Means]:
    """Return a run for each seed, and the model's means for the same phases."""
    works = pipeline(scenario)
    starts = [draw_starts(scenario.cameras, seed) for seed in range(seeds)]
    phases = [[start_s * scenario.fps % 1 for start_s in one] for one in starts]
    return [run(works, seconds, one) for one in starts], solve(works, phases)


def most_cameras(scenario: Scenario, seconds: float) -> int:
    """Return the most cameras that the run sustains within the scenario's mean latency, every wanted frame inspected.

    Sustained: at the end no decoder is further behind than a period.
    """

    def holds(cameras: int) -> bool:
        found = run(pipeline(replace(scenario, cameras=cameras)), seconds, draw_starts(cameras, cameras))
        in_time = found.mean_s <= scenario.latency_s and found.backlog_s < 1 / scenario.fps
        return in_time and found.lost <= LOST_AT_MOST

    low, high = 0, 1
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def add_runs(report: Report, question: str, scenario: Scenario, seconds: float) -> None:
    """Add a row: the scenario's cameras in virtual time beside the model."""
    found, means = runs(scenario, seconds)
    report.add(
        question=question,
        gpu=scenario.gpu.name,
        cameras=scenario.cameras,
        model=f"{means.latency_s * 1e3:.2f} ms",
        run=f"{mean(one.mean_s for one in found) * 1e3:.2f} ms",
        run_range=f"{min(one.mean_s for one in found) * 1e3:.2f} - {max(one.mean_s for one in found) * 1e3:.2f}",
        lost=f"{mean(one.lost for one in found):.3f}",
    )


def add_most(report: Report, question: str, scenario: Scenario, seconds: float) -> None:
    """Add a row: the most cameras that fit, by the model and by search over runs."""
    answer = estimate(scenario)
    report.add(
        question=question,
        gpu=scenario.gpu.name,
        cameras="-",
        model=f"{answer.most_cameras}, then {answer.first_limit}",
        run=most_cameras(scenario, seconds),
        run_range="-",
        lost="-",
    )


def add_shards(report: Report, scenario: Scenario, seconds: float) -> None:
    """Add a row: all streams, each GPU with a process of its own and its planned share, the last with the rest."""
    planned = estimate(scenario).planned_cameras
    sizes = [planned] * (STREAMS // planned) + ([STREAMS % planned] if STREAMS % planned else [])
    found = [
        run(pipeline(replace(scenario, cameras=cameras)), seconds, draw_starts(cameras, shard))
        for shard, cameras in enumerate(sizes)
    ]
    latencies = [latency_s for one in found for latency_s in one.latency_s]
    model = sum(solve(pipeline(replace(scenario, cameras=n))).latency_s * n for n in sizes) / STREAMS
    report.add(
        question=f"{STREAMS} streams, inspected at {scenario.wanted_fps:g} fps",
        gpu=f"{len(sizes)} x {scenario.gpu.name}",
        cameras=STREAMS,
        model=f"{model * 1e3:.2f} ms",
        run=f"{mean(latencies) * 1e3:.2f} ms",
        run_range=f"{min(one.mean_s for one in found) * 1e3:.2f} - {max(one.mean_s for one in found) * 1e3:.2f}",
        lost=f"{mean(one.lost for one in found):.3f}",
    )


def main() -> None:
    """Run and publish."""
    virtual_s = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    real_s = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    report = Report("capacity", facts={"what": "a simulation with published constants; no GPU was used or measured"})
    hevc = replace(RTX_3060, codec=Codec.HEVC)
    add_runs(report, "16 cameras, H.264", RTX_3060, virtual_s)
    add_runs(report, "16 cameras, HEVC", hevc, virtual_s)
    add_runs(report, "16 cameras, H.264, YOLOv8s", replace(RTX_3060, model_cost=2.3), virtual_s)
    add_most(report, "most under 180 ms mean, H.264", RTX_3060, virtual_s)
    add_most(report, "most under 180 ms mean, HEVC", hevc, virtual_s)
    most = estimate(RTX_3060).most_cameras
    add_runs(report, "the most, H.264", replace(RTX_3060, cameras=most), virtual_s)
    add_shards(report, L4, virtual_s / 4)
    for cameras in (RTX_3060.cameras, most):
        works = pipeline(replace(RTX_3060, cameras=cameras))
        seen = run_in_real_time(works, real_s, draw_starts(cameras, 0))
        report.facts[f"real time, {cameras} cameras: mean ms"] = round(mean(seen.latency_s) * 1e3, 2)
        report.facts[f"real time, {cameras} cameras: frames of a batch"] = round(mean(seen.batches), 2)
    report.publish()


if __name__ == "__main__":
    main()
