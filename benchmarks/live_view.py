# SPDX-License-Identifier: AGPL-3.0-or-later
"""Live video: from a frame's arrival to its paint in a browser, with whose boxes, and what watching costs the line.

Paint: `vision-line` on the simulator's cameras, the desk, and one camera in focus in Chromium. At each refresh the page
is asked which frame its canvas shows: read from the barcode in the pixels, and held against the feed, which says when
that frame arrived. Up to one refresh more (17 ms) passes until it is on the screen; that is not in the figures.

Cost: 16 cameras, in turns with nobody watching and with the grid and one camera watched, by clients that read and show
nothing: a browser is on another machine. Beside the rate, which needs a quiet machine, what watching takes of the
processor: the run's thread of the feed, the desk, and the clients here, in seconds per second watched.

Run: python -m benchmarks.live_view [SECONDS] [PAIRS]; 40 pairs of 5 s take 10 minutes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.line_rate import rate_over, wait_for_inspection
from benchmarks.live_clients import cookie_of, watching
from benchmarks.named_threads import cpu_times
from benchmarks.rounds import Report, interleave, percentile
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.protocol import FeedMessage
from vision_line.simulator.barcode import BLOCK_PX, read_barcode

CAMERA = "cam01"
RTSP_PORT, DESK = 28_754, "127.0.0.1:28755"
PAINT_S = 20.0
#: Until a camera is in focus, and what watching begins with is over; and until a line alone is alone.
SETTLE_S, ALONE_S = 3.0, 1.0
#: Which frame is painted, at each refresh: its barcode's levels, the name that the page has for it, whose boxes it has.
SEE = """
(seconds) => new Promise((resolve) => {
  const still = document.querySelector(".live-still"), overlay = document.querySelector(".live-overlay");
  const seen = new Map();
  const endsMs = performance.now() + 1000 * seconds;
  const see = () => {
    const {frame, boxes} = overlay.dataset, atMs = performance.now();
    if (frame && !seen.has(frame)) {
      const row = still.getContext("2d").getImageData(0, still.height - 8, still.width, 1).data, levels = [];
      for (let x = 8; x < still.width; x += 16) levels.push(row[4 * x + 1]);
      seen.set(frame, {frame, atMs, levels, boxes});
    } else if (frame) seen.get(frame).boxes = boxes;
    if (atMs > endsMs) resolve([...seen.values()]);
    else requestAnimationFrame(see);
  };
  see();
})
"""


def name_of(header: dict[str, Any]) -> str:
    """Return a frame's name, as the page has it."""
    return f"{header['arrived_s']!r}/{header['pts_s']!r}"


class Witness:
    """What the feed says of the camera, meanwhile."""

    def __init__(self, records: Path) -> None:
        self.frames: list[FeedMessage] = []
        self.results: set[str] = set()
        self._client = FeedClient(records)
        self._client.want(results=[CAMERA], frames={CAMERA: "all"})
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._ends.set()
        self._thread.join()
        self._client.close()

    def barcodes(self) -> dict[str, tuple[int, int] | None]:
        """Return what stands in each frame, by its name."""
        data = b"".join(message.payload for message in self.frames)
        with av.open(BytesIO(data), "r", format="h264") as file:
            images = [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in file.decode(video=0)]
        return {name_of(one.header): read_barcode(image) for one, image in zip(self.frames, images, strict=True)}

    def _listen(self) -> None:
        while not self._ends.is_set() and (message := self._client.receive(20)) is not None:
            if message.kind == "frame":
                self.frames.append(message)
            elif message.kind == "result":
                self.results.add(name_of(message.header))


@dataclass(frozen=True, slots=True)
class Running:
    """A run, or a desk with its link."""

    process: int
    link: str = ""


@contextmanager
def running(folder: Path, cameras: int) -> Iterator[Running]:
    """Run the line with so many cameras; its records are `records` in the folder. Yield once it inspects."""
    streams = "".join(
        f'[[stream]]\nname = "cam{n:02}"\nurl = "rtsp://127.0.0.1:{RTSP_PORT}/cam{n:02}"\n'
        for n in range(1, cameras + 1)
    )
    head = f"config_version = 1\n[simulator]\ncameras = {cameras}\nport = {RTSP_PORT}\n"
    head += "[defaults]\ndwell_s = 4.0\nmin_hits = 7\n"
    (folder / "streams.toml").write_text(head + streams, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.named_threads", "--streams", "streams.toml", "--headless"]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        (folder / "line.txt").open("w") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=found) as line,
    ):
        try:
            wait_for_inspection(folder / "records", line)
            yield Running(line.pid)
        finally:
            line.terminate()


@contextmanager
def served(records: Path) -> Iterator[Running]:
    """Serve the desk."""
    command = [sys.executable, "-m", "vision_line", "desk", "--record", str(records), "--listen", DESK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as desk:
        if desk.stdout is None:
            raise ValueError("expected the desk's output")
        try:
            yield Running(desk.pid, desk.stdout.readline().split()[-1])
        finally:
            desk.terminate()


def page_offset_s(page: Page) -> float:
    """Return what to add to the page's clock to have ours: of 20 questions the one that was answered soonest."""
    asked = list[tuple[float, float]]()
    for _ in range(20):
        before_s = time.monotonic()
        page_s = float(page.evaluate("performance.now()")) / 1000
        after_s = time.monotonic()
        asked.append((after_s - before_s, (before_s + after_s) / 2 - page_s))
    return min(asked)[1]


def report_paint(seconds: float, cameras: int = 2) -> None:
    """Measure one camera in focus."""
    report = Report("live_view_paint")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        records = folder / "records"
        stack.enter_context(running(folder, cameras))
        desk = stack.enter_context(served(records))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(desk.link)
        witness = Witness(records)
        page.goto(f"http://{DESK}/live/{CAMERA}")
        page.wait_for_selector(".live-stage:not(.dead)")
        time.sleep(SETTLE_S)
        offset_s = page_offset_s(page)
        seen = page.evaluate(SEE, seconds)
        witness.close()
        browser.close()
    barcodes = witness.barcodes()
    delays_ms = [(one["atMs"] / 1e3 + offset_s - float(one["frame"].partition("/")[0])) * 1e3 for one in seen]
    named = [barcode_of(one["levels"]) == barcodes[one["frame"]] for one in seen]
    own = [one["boxes"] == one["frame"] for one in seen if one["frame"] in witness.results]
    report.add(
        cameras=cameras,
        painted=len(seen),
        of=sum(one.header["arrived_s"] >= min(arrivals(seen)) for one in witness.frames),
        p50_ms=round(statistics.median(delays_ms)),
        p95_ms=round(percentile(delays_ms, 0.95)),
        boxes_of_the_painted_frame=f"{100 * statistics.mean(named):.1f} %",
        result_came_in_time=f"{100 * statistics.mean(own):.1f} %" if own else "none was inspected",
    )
    report.publish()


def arrivals(seen: list[dict[str, Any]]) -> list[float]:
    """Return when the painted frames arrived."""
    return [float(one["frame"].partition("/")[0]) for one in seen]


def barcode_of(levels: list[int]) -> tuple[int, int] | None:
    """Return the barcode whose blocks have these levels."""
    return read_barcode(np.tile(np.repeat(np.array(levels, np.uint8), BLOCK_PX), (BLOCK_PX, 1)))


class ProcessorTime:
    """What watching takes of the processor, in seconds per second watched."""

    def __init__(self, line: int, desk: int) -> None:
        self._line = line
        self._desk = desk
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._watched_s = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is spent meanwhile."""
        before, began_s = self._now(), time.monotonic()
        yield
        for name, spent_s in self._now().items():
            self._spent[name] += spent_s - before[name]
        self._watched_s += time.monotonic() - began_s

    def columns(self) -> dict[str, float]:
        """Return the report's columns."""
        return {f"{name}_cpu": round(spent / self._watched_s, 4) for name, spent in self._spent.items()}

    def _now(self) -> dict[str, float]:
        desk = cpu_times(self._desk)
        return {
            "feed": cpu_times(self._line)["feed"],
            "desk": sum(desk.values()),
            "clients": sum(cpu_times(os.getpid()).values()),
        }


def report_cost(seconds: float, pairs: int) -> None:
    """Measure the line's rate in turns."""
    report = Report("live_view_cost")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        records = folder / "records"
        line = stack.enter_context(running(folder, 16))
        desk = stack.enter_context(served(records))
        cookie, taken = cookie_of(DESK, desk.link), ProcessorTime(line.process, desk.process)

        def alone() -> float:
            time.sleep(ALONE_S)
            return rate_over(records, seconds)

        def watched() -> float:
            with watching(DESK, cookie, ("tiles", f"video/{CAMERA}")):
                time.sleep(SETTLE_S)
                with taken.counted():
                    return rate_over(records, seconds)

        rounds = interleave({"alone": alone, "watched": watched}, pairs, "inspected frames a second")
    lowest, median, highest = rounds.ratio("watched", "alone")
    report.add(
        alone=round(rounds.median("alone"), 1),
        watched=round(rounds.median("watched"), 1),
        ratio=round(median, 3),
        ratio_within="{:.3f} - {:.3f}".format(*rounds.interval("watched", "alone")),
        lowest=round(lowest, 3),
        highest=round(highest, 3),
        aim=0.97,
        **taken.columns(),
    )
    report.facts["rounds"] = json.dumps(rounds.values)
    report.publish()


def main() -> None:
    """Measure and publish."""
    seconds, pairs = float((*sys.argv[1:2], "5")[0]), int((*sys.argv[2:3], "40")[0])
    report_paint(PAINT_S)
    report_cost(seconds, pairs)


if __name__ == "__main__":
    main()
