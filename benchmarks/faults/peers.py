# SPDX-License-Identifier: AGPL-3.0-or-later
"""The peers as subjects: the loop that everybody writes with OpenCV, and Ultralytics' own stream loader.

Each runs in a process of its own, and keeps a line for every frame that it inspects in a file, as everybody's does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from benchmarks.faults.clock import Stamped
from benchmarks.faults.results import StampedFrame
from benchmarks.faults.site import Host
from benchmarks.faults.subject import Account, Inspection
from benchmarks.faults.videos import FPS
from benchmarks.faults.waiting import EndedError, wait_until

#: A number that falls by more than this is another run of the camera's video.
NEW_RUN = 25
START_S = 60.0

OPENCV_LOOP = """
import os, sys, threading, time
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"
import cv2
from benchmarks.faults.results import Results
results, urls, latest = Results(sys.argv[1]), sys.argv[2:], {}
def read(index, url):
    camera = cv2.VideoCapture(url)
    while True:
        good, frame = camera.read()
        if good:
            latest[index] = frame
        else:
            camera.release()
            time.sleep(1)
            camera = cv2.VideoCapture(url)
for index, url in enumerate(urls):
    threading.Thread(target=read, args=(index, url), daemon=True).start()
while True:
    for index, frame in list(latest.items()):
        results.note(index, frame)
    time.sleep(0.1)
"""

ULTRALYTICS_LOADER = """
import sys, time
from ultralytics.data.loaders import LoadStreams
from benchmarks.faults.results import Results
results = Results(sys.argv[1])
for sources, frames, _ in LoadStreams(sys.argv[2]):
    for index, frame in enumerate(frames):
        results.note(index, frame)
    time.sleep(0.1)
"""


@dataclass(slots=True)
class Peer:
    """One peer on the line's host."""

    name: str
    program: str
    folder: Path
    host: Host
    urls: dict[str, str]
    results: Path  # where it keeps what it found
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _before: int = 0  # lines of earlier processes

    def launch(self) -> None:
        """Start it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._before = len(self._lines())
        arguments = list(self.urls.values())
        if self.program is ULTRALYTICS_LOADER:
            listed = self.folder / "cameras.streams"
            listed.write_text("\n".join(arguments), encoding="utf-8")
            arguments = [str(listed)]
        path = [self.environment.get("PYTHONPATH", ""), str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
        }
        command = [*self.host.prefix, sys.executable, "-c", self.program, str(self.results), *arguments]
        with self._inspections.open("ab") as inspections, (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=inspections, stderr=log, env=environment)

    def wait(self, cameras: int) -> None:
        """Wait until it has inspected a frame of this many cameras."""
        wait_until(lambda: self._runs(cameras), START_S, f"{self.name} did not start")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self) -> Account:
        """End it and return what it inspected."""
        ended = None if self.process is None else self.process.poll()
        self.close()
        lines = self._lines()
        rows = [Stamped(line.at_s, line.at_utc) for line in lines]
        return Account(tuple(self.urls), inspections_of(lines, list(self.urls)), exit_code=ended, rows=rows)

    def kill(self) -> None:
        """Kill it."""
        self.close()

    def close(self) -> None:
        """Leave no process behind."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def _inspections(self) -> Path:
        return self.folder / "inspections"

    def _runs(self, cameras: int) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise EndedError(self.name, self.process.returncode, self.folder / "log")
        return len({line.camera for line in self._lines()[self._before :]}) >= cameras

    def _lines(self) -> list[StampedFrame]:
        if not self._inspections.exists():
            return []
        lines = self._inspections.read_text(encoding="utf-8").splitlines()
        return [StampedFrame(*json.loads(line)) for line in lines if line.startswith("[") and line.endswith("]")]


def inspections_of(lines: list[StampedFrame], cameras: list[str]) -> list[Inspection]:
    """Turn stamps into ages; within one run of a camera's video its quickest frame counts as fresh. Pure."""
    offsets: dict[tuple[int, int], float] = {}  # camera, run -> of the quickest frame
    newest: dict[int, tuple[int, int]] = {}  # camera -> run, number
    runs = []
    for line in lines:
        run, before = newest.get(line.camera, (0, -1))
        if line.number is not None:
            run += line.number < before - NEW_RUN
            newest[line.camera] = (run, line.number)
            key = line.camera, run
            offsets[key] = min(line.at_s - line.number / FPS, offsets.get(key, inf))
        runs.append(run)
    return [
        Inspection(cameras[line.camera], line.at_s, _age_s(line, offsets.get((line.camera, run), inf)), line.number)
        for line, run in zip(lines, runs, strict=True)
    ]


def _age_s(line: StampedFrame, offset_s: float) -> float | None:
    return None if line.number is None else line.at_s - line.number / FPS - offset_s
