# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the cores and the GIL do while 16 cameras are inspected: CPU time by kind of thread, and lines with the GIL.

The command runs as it is; its threads are counted from /proc, and those that Python did not start are OpenVINO's. First
nothing samples, then py-spy looks at who holds the GIL, then at what the scheduler's thread does, with the GIL or
without. The bare engine's CPU time for an image, in turns with it, says how much the engine itself suffers from its
neighbours. Run: python -m benchmarks.where_time_goes [PAIRS] [SECONDS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import BARE_ENGINE, COMMAND, TICKS, proven_variant, run_child, write_streams
from benchmarks.gil import (
    Profile,
    describe_sampler,
    merge_profiles,
    sample_gil,
    sample_running,
    thread_kind,
    thread_names,
)
from benchmarks.rounds import Report
from vision_line.devices.model.model import open_model
from vision_line.simulator.clips import default_directory, ensure_clips

CAMERAS = 16
SHAPE_HW = (192, 320)
LINES = 25
#: After this time cameras are connected and the engine is compiled; the run's own duration begins later than this does.
SETTLED_S = 10.0
#: The sampler begins late on a slow machine; the run outlasts it.
MARGIN_S = 15.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen of one run: cores by kind of thread, with and without the sampler beside it."""

    cores: Mapping[str, float]
    cores_sampled: Mapping[str, float]
    gil: Profile
    running: Profile
    inspected_fps: float


def watch_run(urls: list[str], folder: Path, seconds: float) -> Watched:
    """Run the command on `urls` and watch it, once it has settled, in three parts."""
    write_streams(folder / "streams.toml", urls)
    part_s = max(1, int((seconds - SETTLED_S) / 3))
    options = ("--streams", "streams.toml", "--headless", "--duration", f"{seconds + MARGIN_S}", "--summary", "s.json")
    with subprocess.Popen(
        [COMMAND, *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(SETTLED_S)
        before, started_s = threads_cpu_s(process.pid), time.monotonic()
        time.sleep(part_s)
        between, between_s = threads_cpu_s(process.pid), time.monotonic()
        gil = sample_gil(process.pid, part_s)
        after, after_s = threads_cpu_s(process.pid), time.monotonic()
        kinds = {task: thread_kind(name) for task, name in thread_names(process.pid).items()}
        running = sample_running(process.pid, part_s)
    summary = json.loads((folder / "s.json").read_text(encoding="utf-8"))
    return Watched(
        cores=cores_by_kind(before, between, between_s - started_s, kinds),
        cores_sampled=cores_by_kind(between, after, after_s - between_s, kinds),
        gil=gil,
        running=running,
        inspected_fps=summary["totals"]["inspected_fps"],
    )


def threads_cpu_s(pid: int) -> dict[int, float]:
    """Return the CPU time of each thread of a process, in seconds, by the system's number of it."""
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        used[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return used


def cores_by_kind(
    before: Mapping[int, float], after: Mapping[int, float], span_s: float, kinds: Mapping[int, str]
) -> dict[str, float]:
    """Return the cores that each kind of thread used in between; threads that are not of Python are OpenVINO's."""
    cores: dict[str, float] = defaultdict(float)
    for task, used_s in after.items():
        cores[kinds.get(task, "OpenVINO")] += (used_s - before.get(task, 0.0)) / span_s
    return dict(cores)


def main() -> None:
    """Measure and publish."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    proven = proven_variant(open_model(None), SHAPE_HW)
    videos = ensure_long_videos(ensure_clips(4, 1), default_directory() / "long", 2)
    cores = len(os.sched_getaffinity(0))
    runs, bare = [], []
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as name, gstreamer_cameras(videos, CAMERAS) as cameras:
            runs.append(watch_run(cameras.urls, Path(name), seconds))
        engine = run_child(BARE_ENGINE, str(proven), *map(str, SHAPE_HW), str(seconds / 2))
        bare.append(1000 * cores / engine)
    publish(runs, {"cores": cores, "bare engine, ms of CPU an image": statistics.median(bare)})


def publish(runs: list[Watched], facts: Mapping[str, object]) -> None:
    """Write and show the medians of the runs, and their profiles as one."""
    gil = merge_profiles(run.gil for run in runs)
    rate = statistics.median(run.inspected_fps for run in runs)
    spent, sampled = medians([run.cores for run in runs]), medians([run.cores_sampled for run in runs])
    held = gil.by_kind()
    report = Report("where_time_goes")
    for kind in sorted(spent.keys() | held.keys(), key=lambda kind: -spent.get(kind, 0.0)):
        report.add(
            threads=kind,
            cores=f"{spent.get(kind, 0.0):.3f}",
            ms_per_inspected_frame=f"{1000 * spent.get(kind, 0.0) / rate:.3f}",
            gil_held=f"{held.get(kind, 0.0):.3f}",
        )
    scheduler = merge_profiles(run.running for run in runs).within("scheduler")
    report.facts |= {
        "inspected frames/s": rate,
        **facts,
        "GIL held, share of time": gil.held,
        "sampling": describe_sampler(gil),
        "cores without and with sampling": (round(sum(spent.values()), 3), round(sum(sampled.values()), 3)),
        "GIL, microseconds a second": {line: round(1e6 * share) for line, share in list(gil.by_line().items())[:LINES]},
        "scheduler's thread, share of samples": {
            name: round(share, 3) for name, share in list(scheduler.items())[: 2 * LINES]
        },
    }
    report.publish()


def medians(columns: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each name over all columns; where it is missing it counts as 0."""
    names = {name for column in columns for name in column}
    return {name: statistics.median(column.get(name, 0.0) for column in columns) for name in names}


if __name__ == "__main__":
    main()
