# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole program with decoding and inference elsewhere: a decoder that gives ready frames, a simulated device.

Run by `benchmarks.many_cameras` in a process of its own. Everything else is the product's: connections, joining, camera
threads, the health check, mailboxes, the scheduler, trackers, the event loop, the ledger, the log and its evidence.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from pathlib import Path
from zlib import crc32

import av
import numpy as np

from benchmarks.simulated_device import SimulatedDevice
from vision_line.cli.run import SWITCH_INTERVAL_S
from vision_line.config.load import load_config
from vision_line.devices.cpu import decoder as cpu_decoder
from vision_line.devices.cpu.decoder import describe_colour
from vision_line.devices.model.model import Model
from vision_line.devices.selection import DEVICES
from vision_line.frames import INSPECTING_STATES, Colour, Detections, DropCause, Frame, Scores
from vision_line.ports import DecodedFrame, DeviceDescription, EncodedVideo, ShapeHW, VideoPacket
from vision_line.runtime.options import RunOptions
from vision_line.runtime.program import run_program
from vision_line.screens.logs import logging_to_stream
from vision_line.telemetry.snapshot import Snapshot

READY_FRAMES = 8
SLOTS, MAX_BATCH = 3, 16
#: A defect crosses the view in the first frames of every so many: one in 10 s at 25 fps.
DEFECT_EVERY, DEFECT_FRAMES = 250, 12
SETTLE_S = 5.0
MOST_START_S = 60.0
#: Drops that are no loss: the end of the run.
_NO_LOSS = frozenset({DropCause.SHUTDOWN})


@lru_cache(maxsize=1)
def ready_frames() -> tuple[av.VideoFrame, ...]:
    """Return the recording's first frames, decoded: what every camera's decoder gives in turn."""
    with av.open(os.environ["RECORDING"]) as source:
        return tuple(frame for frame, _ in zip(source.decode(video=0), range(READY_FRAMES), strict=False))


class ElsewhereDecoder:
    """Implements `ports.Decoder` without decoding: another chip does it, and its frames are there."""

    def __init__(self, camera: str, stream: EncodedVideo, colour: Colour | None = None) -> None:  # noqa: ARG002 see OpenDecoder
        """Begin with the first frame."""
        self._frames = ready_frames()
        first = self._frames[0]
        self._size_wh = (first.width, first.height)
        self._colour = colour or describe_colour(first, "h264")
        self._numbers = count()

    def decode(self, packet: VideoPacket | None) -> Sequence[DecodedFrame]:
        """Return the next frame, with the packet's time."""
        if packet is None or packet.pts is None or packet.time_base is None:
            return ()
        data = self._frames[next(self._numbers) % READY_FRAMES]
        pts_s = packet.pts * float(packet.time_base)
        return (DecodedFrame(data, self._size_wh, self._colour, packet.is_keyframe, corrupt=False, pts_s=pts_s),)

    def close(self) -> None:
        """Do nothing."""


def open_elsewhere(
    model: Model,  # noqa: ARG001 see DEVICES
    shapes: Sequence[ShapeHW],
    wake: Callable[[], None],
    *,
    score_floor: float | Scores | None = None,  # noqa: ARG001
) -> SimulatedDevice:
    """Open a device as fast as a good GPU."""
    description = DeviceDescription("simulated", "", "int8", tuple(shapes), SLOTS, MAX_BATCH)
    return SimulatedDevice(description, wake, batch_s, rare_defect)


def batch_s(frames: int) -> float:
    """Return what a batch takes, in seconds."""
    return 0.002 + 0.0001 * frames


def rare_defect(frame: Frame) -> Detections:
    """Return a defect that crosses the view now and then, at another time in each camera's."""
    step = (frame.sequence + crc32(frame.camera.encode())) % DEFECT_EVERY
    if step >= DEFECT_FRAMES:
        return Detections.empty()
    x = 40 + step * 100
    return Detections(
        np.array([[x, 500, x + 60, 560]], np.float32), np.array([0.9], np.float32), np.array([1], np.int32)
    )


class Window:
    """Watches the run instead of a screen: waits until all cameras run, lets them settle, and looks twice."""

    def __init__(self, cameras: int, seconds: float) -> None:
        """Watch a run of `cameras` for `seconds`, which is at least the window of the latencies."""
        self._cameras = cameras
        self._seconds = seconds
        self.found: dict[str, object] = {}

    async def show(self, snapshot: Callable[[], Snapshot]) -> None:
        """Say `settled` when the window begins; at its end ask the program to stop. A `Screen`."""
        give_up_s = time.monotonic() + MOST_START_S
        while sum(camera.is_running for camera in snapshot().cameras) < self._cameras:
            if time.monotonic() > give_up_s:
                break  # what runs by then is told apart below
            await asyncio.sleep(0.2)
        await asyncio.sleep(SETTLE_S)
        before = snapshot()
        print("settled", flush=True)
        await asyncio.sleep(self._seconds)
        self.found = compare(before, snapshot())
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()


def compare(before: Snapshot, after: Snapshot) -> dict[str, object]:
    """Return what happened between two moments of a run."""
    latency = after.totals.latency_ms
    return {
        "running": sum(camera.state in INSPECTING_STATES for camera in after.cameras),
        "lost": lost(after) - lost(before),
        "arrived_fps": after.totals.fps_in,
        "inspected_fps": after.totals.fps_inspected,
        "p50_ms": None if latency is None else latency.p50,
        "p99_ms": None if latency is None else latency.p99,
        "reconnects": reconnects(after) - reconnects(before),
    }


def lost(snapshot: Snapshot) -> int:
    """Return how many frames arrived and were dropped up to now."""
    return sum(n for camera in snapshot.cameras for cause, n in camera.dropped.items() if cause not in _NO_LOSS)


def reconnects(snapshot: Snapshot) -> int:
    """Return how often cameras were connected again up to now."""
    return sum(camera.reconnects for camera in snapshot.cameras)


def run() -> None:
    """Inspect the cameras of a configuration, and write what was found: STREAMS CAMERAS SECONDS OUTPUT."""
    streams, cameras, seconds, output = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    DEVICES["cpu"] = f"{__name__}:{open_elsewhere.__name__}"
    cpu_decoder.CpuDecoder = ElsewhereDecoder  # type: ignore[assignment, misc]
    summary = output.with_name("summary.json")
    options = RunOptions(streams, device="cpu", headless=True, summary=summary, record=output.with_name("records"))
    ready_frames()  # decoded once, before 64 threads ask for them at the same time
    window = Window(cameras, seconds)
    with logging_to_stream():
        asyncio.run(run_program(options, load_config(streams), [], window.show))
    totals = json.loads(summary.read_text(encoding="utf-8"))["totals"]
    counts = {name: totals[name] for name in ("frames_arrived", "frames_inspected", "frames_dropped", "max_rss_mb")}
    output.write_text(json.dumps(window.found | counts), encoding="utf-8")
