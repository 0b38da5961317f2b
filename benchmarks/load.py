# SPDX-License-Identifier: AGPL-3.0-or-later
"""Latency, fairness and memory of a long run: overload (all frames wanted), then 60 % of what fits.

A growth in memory comes with its parts: heaps, libraries, threads, open files, the write-ahead log.

Run: python -m benchmarks.load [MINUTES_OVERLOAD] [MINUTES_60_PERCENT]
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import COMMAND, run_vision_line, write_streams
from benchmarks.process_memory import Sample, growth_by_part, sampled
from benchmarks.rounds import Report, percentile
from vision_line.simulator.clips import default_directory, ensure_clips

CAMERAS = 16
_LINE = re.compile(r"inspected ([\d.]+),.*p50 (\d+) p99 (\d+) ms")


@dataclass(slots=True)
class Course:
    """What a run showed second by second; latencies are of the last ten seconds each time."""

    inspected_fps: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


def run_course(urls: list[str], folder: Path, minutes: float, defaults: str) -> Course:
    """Run the command for `minutes` and follow its status lines and its memory."""
    folder.mkdir(parents=True)
    write_streams(folder / "streams.toml", urls, defaults)
    course = Course()
    command: list[str | Path] = [
        COMMAND,
        "--streams",
        "streams.toml",
        "--headless",
        "--duration",
        str(minutes * 60),
        "--summary",
        "s.json",
    ]
    process = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with sampled(process.pid, folder / "records" / "records.sqlite-wal") as course.samples:
        for line in process.stdout or ():
            if found := _LINE.search(line):
                course.inspected_fps.append(float(found[1]))
                course.p50_ms.append(float(found[2]))
                course.p99_ms.append(float(found[3]))
    if process.wait() != 0:
        raise RuntimeError(f"vision-line ended with {process.returncode}")
    course.summary = json.loads((folder / "s.json").read_text(encoding="utf-8"))
    return course


def add_course(report: Report, name: str, course: Course) -> None:
    """Add a run's row."""
    cameras = [camera["frames_inspected"] for camera in course.summary["cameras"]]
    latency = course.summary["totals"]["latency_ms"]
    growth = growth_by_part(course.samples)
    third = max(1, len(course.p99_ms) // 3)
    report.add(
        run=name,
        minutes=f"{course.summary['duration_s'] / 60:.1f}",
        inspected_fps=f"{course.summary['totals']['inspected_fps']:.1f}",
        p50_ms=latency["p50"],
        p99_ms=latency["p99"],
        p99_first_third=f"{percentile(course.p99_ms[10:third], 0.5):.0f}" if third > 10 else "-",
        p99_last_third=f"{percentile(course.p99_ms[-third:], 0.5):.0f}",
        spread_percent=f"{100 * (max(cameras) - min(cameras)) / max(cameras):.1f}",
        peak_mib=f"{course.summary['totals']['max_rss_mb']:.0f}",
        growth_percent=f"{growth['rss_mib'].percent:.2f}" if growth else "-",
        durable_ms=course.summary["totals"]["durable_ms"],
    )
    for part, value in growth.items():
        report.facts[f"{name}: {part}, second and last minute"] = str(value)
    report.facts[f"{name}: dropped"] = course.summary["totals"]["frames_dropped"]


def main() -> None:
    """Measure and publish."""
    overload = float(sys.argv[1]) if len(sys.argv) > 1 else 11.0
    partial = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    report = Report("load")
    minutes = max(overload, partial) + 1
    videos = ensure_long_videos(ensure_clips(2, 1), default_directory() / "long", minutes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with gstreamer_cameras(videos, CAMERAS) as cameras:
            capacity = run_vision_line(cameras.urls, folder / "capacity", 20, cameras.pid).inspected_fps
        report.facts["capacity, frames/s"] = capacity
        with gstreamer_cameras(videos, CAMERAS) as cameras:
            add_course(report, "overload", run_course(cameras.urls, folder / "overload", overload, ""))
        wanted = f"inspect_fps = {0.6 * capacity / CAMERAS:.2f}"
        with gstreamer_cameras(videos, CAMERAS) as cameras:
            add_course(report, "60 % load", run_course(cameras.urls, folder / "partial", partial, wanted))
    report.publish()


if __name__ == "__main__":
    main()
