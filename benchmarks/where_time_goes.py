# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the cores do while 16 cameras are inspected: CPU time by kind of thread, and for each inspected frame.

The command's own program runs in a child whose threads are counted from /proc; threads that Python did not start are
OpenVINO's. The bare engine's CPU time for an image, in turns with it, says how much the engine itself suffers from its
neighbours. Run: python -m benchmarks.where_time_goes [PAIRS] [SECONDS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import BARE_ENGINE, proven_variant, run_child, write_streams
from benchmarks.multi_camera import CAMERAS, SHAPE_HW
from benchmarks.rounds import Report
from vision_line.devices.model.model import open_model
from vision_line.simulator.clips import default_directory, ensure_clips

COUNTED = """
import json, os, sys, threading, time
from collections import Counter
from pathlib import Path
seconds, output = float(sys.argv[1]), sys.argv[2]
TICKS = os.sysconf("SC_CLK_TCK")
def used():
    cpu = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        cpu[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return cpu
def watch():
    time.sleep(seconds / 3)  # cameras are connected and the engine is compiled
    before, started = used(), time.monotonic()
    scheduler = next(thread for thread in threading.enumerate() if thread.name == "scheduler")
    seen, samples = Counter(), 0
    while time.monotonic() - started < seconds / 2:
        time.sleep(0.005)
        frame, names = sys._current_frames().get(scheduler.ident), []
        while frame is not None:
            names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
            frame = frame.f_back
        samples += 1
        seen.update(set(names))
    after, span = used(), time.monotonic() - started
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    cores = Counter()
    for task, cpu in after.items():
        cores[names.get(task, "native")] += (cpu - before.get(task, 0.0)) / span
    shares = {name: count / samples for name, count in seen.most_common(40)}
    Path(output).write_text(json.dumps({"cores": cores, "scheduler": shares}))
threading.Thread(target=watch, name="watch", daemon=True).start()
from vision_line.cli import main
sys.argv = ["vision-line", "--streams", "streams.toml", "--headless", "--duration", str(seconds), "--summary", "s.json"]
main()
"""


def main() -> None:
    """Measure and publish."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 15.0
    model = open_model(None)
    proven = proven_variant(model, SHAPE_HW)
    videos = ensure_long_videos(ensure_clips(4, 1), default_directory() / "long", 2)
    cores = len(os.sched_getaffinity(0))
    kinds: dict[str, list[float]] = defaultdict(list)
    rates, bare = [], []
    scheduler: dict[str, list[float]] = defaultdict(list)
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as name, gstreamer_cameras(videos, CAMERAS) as cameras:
            folder = Path(name)
            write_streams(folder / "streams.toml", cameras.urls)
            command = [sys.executable, "-c", COUNTED, f"{seconds}", "counted.json"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            rates.append(json.loads((folder / "s.json").read_text(encoding="utf-8"))["totals"]["inspected_fps"])
            counted = json.loads((folder / "counted.json").read_text(encoding="utf-8"))
        for kind, used in _by_kind(counted["cores"]).items():
            kinds[kind].append(used)
        for function, share in counted["scheduler"].items():
            scheduler[function].append(share)
        engine = run_child(BARE_ENGINE, str(proven), *map(str, SHAPE_HW), str(seconds / 2))
        bare.append(1000 * cores / engine)
    report = Report("where_time_goes")
    for kind, spent in sorted(_medians(kinds).items(), key=lambda item: -item[1]):
        report.add(
            threads=kind, cores=f"{spent:.3f}", ms_per_inspected_frame=f"{1000 * spent / statistics.median(rates):.3f}"
        )
    report.facts |= {
        "inspected frames/s": statistics.median(rates),
        "cores": cores,
        "bare engine, ms of CPU an image": statistics.median(bare),
        "scheduler's thread, share of samples": {name: round(share, 3) for name, share in _medians(scheduler).items()},
    }
    report.publish()


def _medians(columns: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in columns.items()}


def _by_kind(threads: dict[str, float]) -> dict[str, float]:
    """Return cores by kind: a thread's number and camera are no kind."""
    kinds: dict[str, float] = defaultdict(float)
    for name, used in threads.items():
        kind = "OpenVINO" if name == "native" else name.partition(" ")[0]
        kinds[kind] += used
    return dict(kinds)


if __name__ == "__main__":
    main()
