# SPDX-License-Identifier: AGPL-3.0-or-later
"""The contenders, and how one is run: a process of its own that leaves what its witness observed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.job import Job, Observed
from benchmarks.peers.witness import ALL_CAMERAS_S, FIRST_RESULT_S

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
#: Beyond what the witness waits for and the window: to end, and to write what was observed.
_END_S = 60.0
_LOG_TAIL = 600  # characters

#: Fails with a sentence when the system's Python lacks something that the GStreamer loop needs.
_GSTREAMER_CHECK = """
import sys
if sys.version_info[:2] != ({major}, {minor}):
    sys.exit("the system's Python is not {major}.{minor}, so it cannot load this environment's OpenVINO")
try:
    import cv2, openvino, gi
    for name in ("Gst", "GstApp", "GstVideo"):
        gi.require_version(name, "1.0")
    from gi.repository import Gst
    import gi.overrides.Gst
except (ImportError, ValueError) as exc:
    sys.exit(f"{{exc}} (apt install python3-gst-1.0 gir1.2-gst-plugins-base-1.0)")
Gst.init(None)
if not Gst.ElementFactory.find("avdec_h264"):
    sys.exit("GStreamer has no avdec_h264 (apt install gstreamer1.0-libav)")
"""


class ContenderError(Exception):
    """A contender did not do its job; the message ends with what it wrote last."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One program; `module` is run with a job."""

    name: str
    module: str
    python: str = sys.executable

    def run(self, job: Job) -> Observed:
        """Run it until its window is over.

        Raises:
            ContenderError: it failed, or left nothing.
        """
        path, log = job.write(), Path(job.folder) / "log"
        limit_s = FIRST_RESULT_S + ALL_CAMERAS_S + job.warm_up_s + job.seconds + _END_S
        command = [self.python, "-m", self.module, str(path)]
        with log.open("wb") as output:
            try:
                done = subprocess.run(
                    command, stdout=output, stderr=output, env=environment(), timeout=limit_s, check=False
                )
            except subprocess.TimeoutExpired as exc:
                raise ContenderError(f"{self.name}: did not end within {limit_s:.0f} s; {_tail(log)}") from exc
        if done.returncode != 0 or not job.result.exists():
            raise ContenderError(f"{self.name}: ended with {done.returncode}; {_tail(log)}")
        return Observed.read(job.result)

    def missing(self) -> str:
        """Return what this machine lacks to run it, "" where nothing is missing."""
        if self.python != SYSTEM_PYTHON:
            return ""
        check = _GSTREAMER_CHECK.format(major=sys.version_info.major, minor=sys.version_info.minor)
        done = subprocess.run(
            [self.python, "-c", check], env=environment(), check=False, text=True, stderr=subprocess.PIPE
        )
        return done.stderr.strip() if done.returncode else ""


VISION_LINE = Contender("vision-line", "benchmarks.peers.vision_line_run")
ULTRALYTICS = Contender("Ultralytics", "benchmarks.peers.ultralytics_stream")
OPENCV = Contender("OpenCV + OpenVINO", "benchmarks.peers.opencv_loop")
GSTREAMER = Contender("GStreamer + OpenVINO", "benchmarks.peers.gstreamer_loop", SYSTEM_PYTHON)
CONTENDERS = (VISION_LINE, ULTRALYTICS, OPENCV, GSTREAMER)


def environment() -> dict[str, str]:
    """Return the environment of every contender: this project and this environment's packages, nothing online."""
    places = (str(ROOT), os.environ.get("PYTHONPATH", ""), sysconfig.get_path("purelib"))
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", ""))),  # the sampler of the GIL
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
    }


def _tail(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    return f"it wrote: {text[-_LOG_TAIL:]}"
