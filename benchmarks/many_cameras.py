# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras of 1080p25 at 4 Mbit/s one process carries when decoding and inference are elsewhere.

The whole program runs, with a decoder and a device that take no time (`benchmarks.elsewhere`), on RTSP cameras that
play a recording over TCP (`benchmarks.recorded_cameras`). The number of cameras grows until p99 exceeds 150 ms or
frames are lost. Who holds the GIL is sampled meanwhile and divided by what arrived: microseconds a packet, a frame,
an inspection. From them follows how many cameras fill the GIL. `one_core_at` is how many fill a core with all that the
process does, the kernel's part of reading too: the GIL has room for more than that, also on a busy machine.

    python -m benchmarks.many_cameras [CAMERAS] [SECONDS] [MBIT_S]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cameras import ensure_recorded, recorded_cameras
from benchmarks.contenders import cpu_seconds, write_streams
from benchmarks.gil import Profile, Stack, describe_sampler, sample_gil
from benchmarks.rounds import Report
from vision_line.simulator.clips import default_directory, ensure_clips

SIZE_WH = (1920, 1080)
MOST_P99_MS = 150.0
MOST_LOST_SHARE = 0.001
GROWTH = 1.25
MOST_CAMERAS = 1024

PACKET, FRAME, INSPECTION, STAND_IN = "RTP packet", "decoded frame", "inspected frame", "the benchmark's own"
#: A camera's thread works on a whole frame inside of these; what else it does, it does for its packets.
FRAME_FUNCTIONS = ("Session._take", "RtspSource._encoded")
STAND_IN_THREADS = ("simulated-engine",)

RUN = "from benchmarks.elsewhere import run; run()"


@dataclass(frozen=True, slots=True)
class Load:
    """One number of cameras, and how it went."""

    cameras: int
    found: Mapping[str, float]
    sent: Mapping[str, float]
    packets_per_frame: float
    cores: float
    server_cores: float
    gil: Profile

    @property
    def unaccounted(self) -> int:
        """Frames that arrived and were neither inspected nor counted as dropped; none may be."""
        dropped = sum(dict(self.found["frames_dropped"]).values())  # type: ignore[call-overload]
        return int(self.found["frames_arrived"] - self.found["frames_inspected"] - dropped)

    @property
    def holds(self) -> bool:
        """Whether all cameras were inspected in time, without loss."""
        return not self.complaints

    @property
    def complaints(self) -> list[str]:
        """What did not hold."""
        found, p99_ms = self.found, self.found["p99_ms"]
        checks = {
            "cameras do not run": found["running"] < self.cameras,
            "reconnects": found["reconnects"] > 0,
            "p99": p99_ms is None or p99_ms > MOST_P99_MS,
            "lost": found["lost"] > MOST_LOST_SHARE * self.arrived,
            "skipped by the server": self.sent["skipped"] > 0,
            "unaccounted": self.unaccounted != 0,
        }
        return [name for name, failed in checks.items() if failed]

    @property
    def arrived(self) -> float:
        """How many frames arrived in the whole run."""
        return self.found["frames_arrived"]

    @property
    def rates(self) -> dict[str, float]:
        """How many packets, frames and inspections there were a second."""
        frames_s = self.found["arrived_fps"]
        return {
            PACKET: frames_s * self.packets_per_frame,
            FRAME: frames_s,
            INSPECTION: self.found["inspected_fps"],
        }


def stage(stack: Stack) -> str:
    """Return what a thread worked for: a packet, a whole frame, or an inspection."""
    if stack.thread in STAND_IN_THREADS:
        return STAND_IN
    if stack.kind != "cameras":
        return INSPECTION
    functions = {frame.partition(" ")[0] for frame in stack.frames}
    return FRAME if functions.intersection(FRAME_FUNCTIONS) else PACKET


def unit_costs_us(shares: Mapping[str, float], rates: Mapping[str, float]) -> dict[str, float]:
    """Return the microseconds of GIL for one of each, by shares of time and counts a second."""
    return {name: 1e6 * shares.get(name, 0.0) / rate for name, rate in rates.items() if rate}


def carried(costs_us: Mapping[str, float], fps: float, packets_per_frame: float) -> float:
    """Return how many cameras fill the GIL when each of their frames is inspected."""
    frame_us = costs_us[PACKET] * packets_per_frame + costs_us[FRAME] + costs_us[INSPECTION]
    return 1e6 / (fps * frame_us)


def counts_from(first: int) -> Iterator[int]:
    """Give the numbers of cameras to try, as long as they hold: each a quarter more than the one before."""
    cameras = first
    while cameras <= MOST_CAMERAS:
        yield cameras
        cameras = max(cameras + 1, round(cameras * GROWTH))


def find_largest(first: int, holds: Callable[[int], bool]) -> int:
    """Return the largest number of cameras tried that held, 0 where none did; below `first` it is halved."""
    largest = 0
    for cameras in counts_from(first):
        if not holds(cameras):
            break
        largest = cameras
    while not largest and first > 1:
        first //= 2
        largest = first if holds(first) else 0
    return largest


def measure(recording: Path, fps: int, cameras: int, seconds: int) -> Load:
    """Run the program on so many cameras, and watch it for `seconds` once it has settled."""
    with tempfile.TemporaryDirectory() as name, recorded_cameras(recording, fps, cameras) as served:
        folder = Path(name)
        write_streams(folder / "streams.toml", served.urls, 'transport = "tcp"')
        arguments = (str(folder / "streams.toml"), str(cameras), str(seconds), str(folder / "found.json"))
        said = folder / "log"
        with (
            said.open("w", encoding="utf-8") as log,
            subprocess.Popen(
                [sys.executable, "-c", RUN, *arguments],
                cwd=Path(__file__).parent.parent,
                env=os.environ | {"RECORDING": str(recording)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            if process.stdout is None or process.stdout.readline() != "settled\n":
                raise RuntimeError(f"{cameras} cameras did not run: {said.read_text(encoding='utf-8')[-2000:]}")
            before, server_before, started_s = cpu_seconds(process.pid), cpu_seconds(served.pid), time.monotonic()
            gil = sample_gil(process.pid, max(1, seconds - 2))
            span_s = time.monotonic() - started_s
            cores = (cpu_seconds(process.pid) - before) / span_s
            server_cores = (cpu_seconds(served.pid) - server_before) / span_s
        found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    sent = served.sent
    return Load(cameras, found, sent, sent["packets"] / sent["frames"], cores, server_cores, gil)


def add_row(report: Report, load: Load, fps: int) -> None:
    """Add what one number of cameras gave."""
    found = load.found
    costs = unit_costs_us(load.gil.shares(stage), load.rates)
    report.add(
        cameras=load.cameras,
        holds="yes" if load.holds else ", ".join(load.complaints),
        inspected_of_arrived=f"{found['inspected_fps']:.0f} of {found['arrived_fps']:.0f}/s",
        lost=found["lost"],
        p50_p99_ms=f"{found['p50_ms']:.0f}, {found['p99_ms']:.0f}" if found["p99_ms"] else "-",
        cores=f"{load.cores:.2f} + {load.server_cores:.2f}",
        one_core_at=f"{load.cameras / load.cores:.0f}",
        gil=load.gil.held,
        us_packet_frame_inspection=" / ".join(f"{costs[name]:.1f}" for name in (PACKET, FRAME, INSPECTION)),
        gil_full_at=f"{carried(costs, fps, load.packets_per_frame):.0f}",
    )


def main() -> None:
    """Measure and publish."""
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    mbit_s = float(sys.argv[3]) if len(sys.argv) > 3 else 4.0
    clip = ensure_clips(1, 1)[0]
    recording = ensure_recorded(clip, default_directory() / "long", SIZE_WH, mbit_s)
    report, loads = Report("many_cameras"), []

    def holds(cameras: int) -> bool:
        load = measure(recording, clip.fps, cameras, seconds)
        add_row(report, load, clip.fps)
        loads.append(load)
        print(f"{cameras} cameras: {'held' if load.holds else ', '.join(load.complaints)}", flush=True)
        return load.holds

    largest = find_largest(first, holds)
    report.facts |= {
        "largest number of cameras that held": largest,
        "Mbit/s of a camera": mbit_s,
        "runs": [dict(load.found) | {"server": dict(load.sent), "unaccounted": load.unaccounted} for load in loads],
        "packets a frame": loads[-1].packets_per_frame,
        "sampling": describe_sampler(loads[-1].gil),
        "cores": len(os.sched_getaffinity(0)),
        "GIL by kind of thread": {name: round(share, 4) for name, share in loads[0].gil.by_kind().items()},
        "GIL, microseconds a second": {
            line: round(1e6 * share) for line, share in list(loads[0].gil.by_line().items())[:25]
        },
    }
    report.publish()


if __name__ == "__main__":
    main()
