# SPDX-License-Identifier: AGPL-3.0-or-later
"""The peers as subjects: the loop that everybody writes with OpenCV, and Ultralytics' own stream loader.

Each runs in a process of its own and writes a line for every picture that it judges: when, which camera, which stamp.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path

from benchmarks.faults.site import Host
from benchmarks.faults.subject import Account, Look
from benchmarks.faults.videos import FPS
from benchmarks.faults.waiting import wait_until

#: A number that falls by more than this is another run of the camera's video.
NEW_RUN = 25
START_S = 45.0

OPENCV_LOOP = """
import json, os, sys, threading, time
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"
import cv2
from benchmarks.faults.stamps import read_stamp
urls, latest = sys.argv[1:], {}
def read(index, url):
    camera = cv2.VideoCapture(url)
    while True:
        good, picture = camera.read()
        if good:
            latest[index] = picture
        else:
            camera.release()
            time.sleep(1)
            camera = cv2.VideoCapture(url)
for index, url in enumerate(urls):
    threading.Thread(target=read, args=(index, url), daemon=True).start()
while True:
    for index, picture in list(latest.items()):
        print(json.dumps([time.monotonic(), index, read_stamp(picture)]), flush=True)
    time.sleep(0.1)
"""

ULTRALYTICS_LOADER = """
import json, sys, time
from ultralytics.data.loaders import LoadStreams
from benchmarks.faults.stamps import read_stamp
for sources, pictures, _ in LoadStreams(sys.argv[1]):
    for index, picture in enumerate(pictures):
        print(json.dumps([time.monotonic(), index, read_stamp(picture)]), flush=True)
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
    process: subprocess.Popen[bytes] | None = None

    def start(self, cameras: int) -> None:
        """Start it and wait until it has judged a picture of so many cameras."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = list(self.urls.values())
        if self.program is ULTRALYTICS_LOADER:
            listed = self.folder / "cameras.streams"
            listed.write_text("\n".join(arguments), encoding="utf-8")
            arguments = [str(listed)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
        }
        command = [*self.host.prefix, sys.executable, "-c", self.program, *arguments]
        with self._looks.open("wb") as looks, (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=looks, stderr=log, env=environment)
        wait_until(lambda: len({camera for _, camera, _ in self._lines()}) >= cameras, START_S, self.name)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self) -> Account:
        """End it and return what it judged."""
        self.close()
        return Account(tuple(self.urls), looks_of(self._lines(), list(self.urls)))

    def kill(self) -> None:
        """Kill it."""
        self.close()

    def close(self) -> None:
        """Leave no process behind."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def _looks(self) -> Path:
        return self.folder / "looks"

    def _lines(self) -> list[tuple[float, int, int | None]]:
        whole = [line for line in self._looks.read_text(encoding="utf-8").splitlines() if line.endswith("]")]
        return [_parsed(line) for line in whole if line.startswith("[")]


def looks_of(lines: list[tuple[float, int, int | None]], cameras: list[str]) -> list[Look]:
    """Turn stamps into ages; within one run of a camera's video its quickest picture counts as fresh. Pure."""
    offsets: dict[tuple[int, int], float] = {}  # camera, run -> of the quickest picture
    newest: dict[int, tuple[int, int]] = {}  # camera -> run, number
    judged: list[tuple[float, int, int | None, int]] = []
    for at_s, camera, number in lines:
        run, before = newest.get(camera, (0, -1))
        if number is not None:
            run += number < before - NEW_RUN
            newest[camera] = (run, number)
            offsets[camera, run] = min(at_s - number / FPS, offsets.get((camera, run), inf))
        judged.append((at_s, camera, number, run))
    return [
        Look(cameras[camera], at_s, None if number is None else at_s - number / FPS - offsets[camera, run])
        for at_s, camera, number, run in judged
    ]


def _parsed(line: str) -> tuple[float, int, int | None]:
    at_s, camera, number = json.loads(line)
    return float(at_s), int(camera), None if number is None else int(number)
