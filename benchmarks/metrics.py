# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `/metrics` costs: a scrape of 64 cameras, and the processor time of a run that is scraped every second.

Run: python -m benchmarks.metrics [SCRAPES] [PAIRS] [SECONDS]; without pairs no cameras are opened.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import write_streams
from benchmarks.control_plane import CAMERAS, COLOUR, metrics
from benchmarks.rounds import Report, add_rounds, interleave, percentile
from vision_line.config.listen import ListenAddress
from vision_line.frames import CameraState, Detections, Frame, Inspection, StateChange
from vision_line.ports import LogStatus
from vision_line.runtime.monitoring import Monitoring
from vision_line.simulator.clips import default_directory, ensure_clips
from vision_line.telemetry.http_endpoint import HttpEndpoint
from vision_line.telemetry.metrics import RunMetrics
from vision_line.telemetry.reading import Reading

ADDRESS = ListenAddress("127.0.0.1", 29_108)
LIMIT_MS = 20.0
LIMIT_CPU_MS = 5.0  # at one scrape a second 0.5 % of a core
LINE_CAMERAS = 16
FRAMES = 500  # of each camera, so that the histograms are filled


def busy_run() -> RunMetrics:
    """Return the metrics of a run that has inspected for a while."""
    names = [f"cam{number:02d}" for number in range(CAMERAS)]
    run, drawn, now_s = metrics(names), random.Random(1), time.monotonic()
    for name in names:
        run.state(StateChange(name, CameraState.RUNNING, now_s, time.time()))
        for sequence in range(FRAMES):
            frame = Frame(name, sequence, (640, 360), COLOUR, None, now_s, time.time(), now_s)
            run.inspected(Inspection(frame, Detections.empty(), now_s, now_s), now_s + drawn.uniform(0.005, 0.4))
    return run


def scrape() -> bytes:
    """Return what a scrape gets."""
    connection = http.client.HTTPConnection(*ADDRESS, timeout=10)
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


async def measure_scrapes(scrapes: int) -> tuple[list[float], float, int]:
    """Return the time of each scrape in ms, the CPU time of one in ms, and the size in bytes."""
    run = busy_run()
    monitoring = Monitoring(
        HttpEndpoint(ADDRESS), lambda: Reading(run.totals(time.monotonic()), LogStatus()), LogStatus
    )
    monitoring.serve()
    took_ms, size = [], len(await asyncio.to_thread(scrape))
    began_cpu_s = time.process_time()
    for _ in range(scrapes):
        began_s = time.perf_counter()
        await asyncio.to_thread(scrape)
        took_ms.append((time.perf_counter() - began_s) * 1000)
    cpu_ms = (time.process_time() - began_cpu_s) * 1000 / scrapes
    await asyncio.to_thread(monitoring.close)
    return took_ms, cpu_ms, size


@contextmanager
def scraped_every_second(wanted: bool) -> Iterator[None]:
    """Scrape while the block runs, as Prometheus would; a run that does not listen yet is tried again."""
    over = threading.Event()

    def keep_on() -> None:
        while not over.wait(1.0):
            with suppress(ConnectionError):
                scrape()

    thread = threading.Thread(target=keep_on, daemon=True)
    if wanted:
        thread.start()
    yield
    over.set()


def cpu_ms_a_frame(folder: Path, videos: list[Path], seconds: float, *, scraped: bool) -> float:
    """Return the processor time of an inspected frame, of a run that listens in either case: neighbours take none."""
    with gstreamer_cameras(videos, LINE_CAMERAS) as cameras, scraped_every_second(scraped):
        write_streams(folder / "streams.toml", cameras.urls)
        with (folder / "streams.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[metrics]\nlisten = "{ADDRESS}"\n')
        command = [sys.executable, "-m", "vision_line", "--streams", "streams.toml", "--headless"]
        command += ["--duration", str(seconds), "--summary", "s.json"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet) as run:
            _, status, used = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise RuntimeError(f"the run ended with exit code {run.returncode}")
    frames: int = json.loads((folder / "s.json").read_text(encoding="utf-8"))["totals"]["frames_inspected"]
    return 1000.0 * (used.ru_utime + used.ru_stime) / frames


def main() -> None:
    """Measure and publish."""
    scrapes, pairs = (int(text) for text in (*sys.argv[1:3], *("200", "7")[len(sys.argv[1:3]) :]))
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 20.0
    report_scrapes(scrapes)
    if pairs:
        report_rates(pairs, seconds)


def report_scrapes(scrapes: int) -> None:
    """Measure scrapes alone."""
    took_ms, cpu_ms, size = asyncio.run(measure_scrapes(scrapes))
    report = Report("metrics_scrape")
    report.add(
        cameras=CAMERAS,
        median_ms=round(statistics.median(took_ms), 1),
        p95_ms=round(percentile(took_ms, 0.95), 1),
        limit_ms=LIMIT_MS,
        cpu_ms=round(cpu_ms, 1),
        limit_cpu_ms=LIMIT_CPU_MS,
        kilobytes=round(size / 1000),
    )
    report.publish()


def report_rates(pairs: int, seconds: float) -> None:
    """Measure what a line pays."""
    videos = ensure_long_videos(ensure_clips(4, 1), default_directory() / "long", 2)
    report = Report("metrics_rate")
    with tempfile.TemporaryDirectory() as name:
        run = partial(cpu_ms_a_frame, Path(name), videos, seconds)
        contenders = {"scraped every second": partial(run, scraped=True), "left alone": partial(run, scraped=False)}
        add_rounds(report, interleave(contenders, pairs, "ms of CPU a frame"), "left alone")
    report.publish()


if __name__ == "__main__":
    main()
