# SPDX-License-Identifier: AGPL-3.0-or-later
"""16 RTSP cameras (640x360, 25 fps) on this machine: vision-line, Ultralytics with the same weights, and the limit.

The limit is what the bare engine does on the cores that decoding and the cameras' server leave:
engine rate x (cores - decode - server) / cores. Run: python -m benchmarks.multi_camera [PAIRS] [SECONDS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import (
    BARE_DECODE,
    BARE_ENGINE,
    ULTRALYTICS,
    LineResult,
    openvino_for_ultralytics,
    proven_variant,
    run_child,
    run_vision_line,
)
from benchmarks.rounds import Report, add_rounds, interleave
from vision_line.devices.model.model import open_model
from vision_line.simulator.clips import default_directory, ensure_clips

CAMERAS = 16
SHAPE_HW = (192, 320)


def main() -> None:
    """Measure and publish."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 15.0
    model = open_model(None)
    proven = proven_variant(model, SHAPE_HW)
    videos = ensure_long_videos(ensure_clips(4, 1), default_directory() / "long", 2)
    cores = len(os.sched_getaffinity(0))
    runs: list[LineResult] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        same_weights = openvino_for_ultralytics(model, proven, folder)

        def ours() -> float:
            with gstreamer_cameras(videos, CAMERAS) as cameras:
                runs.append(run_vision_line(cameras.urls, folder / "run", seconds, cameras.pid))
            return runs[-1].inspected_fps

        def ultralytics() -> float:
            with gstreamer_cameras(videos, CAMERAS) as cameras:
                streams = folder / "x.streams"
                streams.write_text("\n".join(cameras.urls), encoding="utf-8")
                return run_child(ULTRALYTICS, str(same_weights), str(streams), "320", str(seconds))

        def decode() -> float:
            with gstreamer_cameras(videos, CAMERAS) as cameras:
                return run_child(BARE_DECODE, str(seconds / 2), *cameras.urls)

        def limit() -> float:
            engine = run_child(BARE_ENGINE, str(proven), *map(str, SHAPE_HW), str(seconds / 2))
            engines.append(engine)
            decoding.append(decode())
            server = statistics.median(run.server_cores for run in runs) if runs else 0.1
            return engine * (cores - decoding[-1] - server) / cores

        engines: list[float] = []
        decoding: list[float] = []
        rounds = interleave({"vision-line": ours, "Ultralytics": ultralytics, "limit": limit}, pairs, "frames/s")
    report = Report("multi_camera")
    add_rounds(report, rounds, "Ultralytics")
    report.facts |= {
        "vision-line / Ultralytics": rounds.ratio("vision-line", "Ultralytics")[1],
        "vision-line / limit": rounds.ratio("vision-line", "limit")[1],
        "form": runs[-1].summary["model"]["form"],
        "bare engine, images/s": statistics.median(engines),
        "bare decode, cores": statistics.median(decoding),
        "server, cores": statistics.median(run.server_cores for run in runs),
        "latency p50 ms": statistics.median(run.summary["totals"]["latency_ms"]["p50"] for run in runs),
        "latency p99 ms": statistics.median(run.summary["totals"]["latency_ms"]["p99"] for run in runs),
        "peak memory MiB": max(run.summary["totals"]["max_rss_mb"] for run in runs),
    }
    report.publish()


if __name__ == "__main__":
    main()
