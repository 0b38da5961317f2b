# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is compared, each in a process of its own: vision-line, Ultralytics, the bare engine, bare decoding."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from vision_line.cores import usable_cores
from vision_line.devices.cpu.proven_engines import ProvenEngines
from vision_line.devices.model.model import Model
from vision_line.errors import DeviceError
from vision_line.ports import ShapeHW

COMMAND = Path(sys.executable).parent / "vision-line"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class LineResult:
    """A run of vision-line: its summary, and what the server of its cameras used meanwhile."""

    summary: dict[str, Any]
    server_cores: float

    @property
    def inspected_fps(self) -> float:
        """Inspected frames a second."""
        return float(self.summary["totals"]["inspected_fps"])


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def write_streams(path: Path, urls: list[str], defaults: str = "") -> None:
    """Write a configuration for `urls`."""
    tables = "".join(f'[[stream]]\nname = "cam{n:02d}"\nurl = "{url}"\n' for n, url in enumerate(urls, start=1))
    path.write_text(f"config_version = 1\n[defaults]\n{defaults}\n{tables}", encoding="utf-8")


def run_vision_line(
    urls: list[str], folder: Path, seconds: float, server_pid: int, defaults: str = "", model: Path | None = None
) -> LineResult:
    """Run the command on `urls` without a terminal for `seconds`, with records, and return what it says of itself."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_streams(folder / "streams.toml", urls, defaults)
    before, started = cpu_seconds(server_pid), time.monotonic()
    subprocess.run(
        [
            *(COMMAND, "--streams", "streams.toml", "--headless", "--duration", f"{seconds}", "--summary", "s.json"),
            *(() if model is None else ("--model", model)),
        ],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server_cores = (cpu_seconds(server_pid) - before) / (time.monotonic() - started)
    return LineResult(json.loads((folder / "s.json").read_text(encoding="utf-8")), server_cores)


def proven_variant(model: Model, shape_hw: ShapeHW) -> Path:
    """Return the file of the variant of `model` that this processor computes rightly on integers, and say which it is.

    What is computed wrongly is not worth its time: a benchmark ends here.

    Raises:
        DeviceError: there is none.
    """
    engines = ProvenEngines(model, usable_cores())
    engines.open(shape_hw)
    (used,) = engines.candidates
    print(f"{engines.processor.name} ({engines.processor.instruction_set}): {engines.variant} ({engines.reason})")
    if used.is_exact and model.precision == "int8":
        raise DeviceError(f"{model.path}: no integer variant is computed rightly here, so there is nothing to time")
    return used.variant.path


def openvino_for_ultralytics(model: Model, path: Path, folder: Path) -> Path:
    """Write the weights in `path`, a file of `model`, as Ultralytics' OpenVINO backend loads them: dynamic."""
    target = folder / "same_weights_openvino_model"
    target.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.convert_model(path), target / "same_weights.xml", compress_to_fp16=False)
    side = max(max(shape) for shape in model.input_shapes_hw)
    metadata = {
        "description": model.name,
        "author": "vision-line",
        "version": "8.4.0",
        "task": "detect",
        "batch": 16,
        "stride": model.stride,
        "imgsz": [side, side],
        "names": dict(enumerate(model.classes)),
        "args": {"batch": 16, "dynamic": True, "half": False, "int8": False, "nms": False},
        "channels": 3,
        "end2end": False,
    }
    (target / "metadata.yaml").write_text(json.dumps(metadata), encoding="utf-8")  # JSON is YAML
    return target


def run_child(code: str, *arguments: str) -> float:
    """Run a small program in a fresh interpreter; its last line is the number."""
    environment = os.environ | {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, text=True, stdout=subprocess.PIPE, env=environment
    )
    return float(done.stdout.strip().splitlines()[-1])


ULTRALYTICS = """
import os, sys, time
from ultralytics import YOLO
model, streams, side, seconds = YOLO(sys.argv[1], task="detect"), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
started, n = None, 0
for _ in model.predict(streams, stream=True, imgsz=side, verbose=False, conf=0.25):
    started = started or time.monotonic()
    n += 1
    if time.monotonic() - started > seconds:
        break
print((n - 1) / (time.monotonic() - started), flush=True)
os._exit(0)  # its reader threads do not end by themselves
"""

BARE_ENGINE = """
import sys, time
import numpy as np, openvino as ov
path, height, width, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
core = ov.Core()
network = core.read_model(path)
network.reshape([1, 3, height, width])
compiled = core.compile_model(network, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
queue = ov.AsyncInferQueue(compiled)
data = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
for _ in range(20):
    queue.start_async({0: data}, share_inputs=True)
queue.wait_all()
n, started = 0, time.monotonic()
while time.monotonic() - started < seconds:
    queue.start_async({0: data}, share_inputs=True)
    n += 1
queue.wait_all()
print(n / (time.monotonic() - started))
"""

BARE_DECODE = """
import resource, sys, threading, time
import av
seconds, urls = float(sys.argv[1]), sys.argv[2:]
stop = threading.Event()
def read(url):
    with av.open(url, options={"rtsp_transport": "tcp", "timeout": "5000000"}) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            packet.decode()
            if stop.is_set():
                return
threads = [threading.Thread(target=read, args=(url,), daemon=True) for url in urls]
for thread in threads:
    thread.start()
time.sleep(3)
def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
before, started = used(), time.monotonic()
time.sleep(seconds)
print((used() - before) / (time.monotonic() - started), flush=True)
stop.set()
for thread in threads:
    thread.join(2)
"""

CAMERA_THREADS = """
import os, sys, threading, time
from pathlib import Path
from vision_line.cli.run import SWITCH_INTERVAL_S
from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.fingerprint import fingerprint_frame
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ingest.session import Session, open_health
from vision_line.ingest.shedding import DecodeLoad
from itertools import count
seconds, urls = float(sys.argv[1]), sys.argv[2:]
sys.setswitchinterval(SWITCH_INTERVAL_S)
ticks = os.sysconf("SC_CLK_TCK")
mailboxes = [NewestFrame(lambda: None) for _ in urls]
sessions = []
for number, (url, mailbox) in enumerate(zip(urls, mailboxes)):
    stream = Stream.model_validate({"name": f"cam{number}", "url": url, "transport": "tcp"})
    sink, health = FrameSink(mailbox, count()), open_health(stream)
    sessions.append(
        Session(
            stream=stream, open_decoder=CpuDecoder, sink=sink, changed=lambda: None, clocks=Clocks(), health=health,
            take_fingerprint=fingerprint_frame, load=DecodeLoad(),
        )
    )
for session in sessions:
    session.start()
time.sleep(3)
def decoded():
    return sum(mailbox.counts().decoded for mailbox in mailboxes)
before, frames, started = time.process_time(), decoded(), time.monotonic()
time.sleep(seconds)
span = time.monotonic() - started
used = time.process_time() - before
status = Path("/proc/self/task")
print(f"{(decoded() - frames) / span:.0f} frames/s", file=sys.stderr)
ended = [session.end for session in sessions if session.end]
assert not ended, ended
print(used / span, flush=True)
for session in sessions:
    session.sink.stop.set()
"""
