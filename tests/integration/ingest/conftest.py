# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras of GStreamer's server, each in a process of its own, and a place where their frames are collected."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.fakes import waiting
from tests.fakes.ports import free_port
from tests.fakes.rtsp.raw_server import RawCamera, RawServer, Unit, encode

from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.frames import CameraState, DropCause, Frame, StateChange
from vision_line.ingest.camera import Camera
from vision_line.ingest.mailbox import BoundedQueue, NewestFrame
from vision_line.ports import OpenDecoder

SERVER = Path(__file__).parents[2] / "fakes" / "rtsp" / "gst_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"
#: A machine that is slow and busy takes so many times as long; whoever asserts a time looks at what `until` returns.
PATIENCE = 4.0
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
STAMP_BITS = 24
START_LIMIT_S = 20.0


def read_stamp(frame: Frame) -> int:
    """Return the frame number that the server drew into a frame's first rows."""
    plane = frame.data.planes[0]
    row = np.frombuffer(plane, np.uint8)[8 * plane.line_size : 8 * plane.line_size + frame.size_wh[0]]
    block = frame.size_wh[0] // STAMP_BITS
    bits = row[block // 2 : block * STAMP_BITS : block] > 128
    return int(sum(1 << index for index, bit in enumerate(bits) if bit))


class GstServer:
    """One server process in a process group of its own; `kill` and `start` again keep port and cameras."""

    def __init__(self, cameras: list[dict[str, Any]], auth: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.sent: dict[str, dict[int, float]] = {camera["path"]: {} for camera in cameras}
        self._options = {"port": self.port, "cameras": cameras} | ({"auth": auth} if auth else {})
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.start()

    def url(self, path: str, credentials: str = "") -> str:
        """Return a camera's URL."""
        return f"rtsp://{credentials}127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        """Start the process and wait until it listens."""
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SERVER), json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, ready), name="gst log")
        self._reader.start()
        assert ready.wait(START_LIMIT_S), "the server does not start"

    def control(self, verb: str, path: str) -> None:
        """Freeze, thaw, pause or resume a camera."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{verb} {path}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End the process as a power cut does; may be called twice."""
        if self._process is None or self._reader is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process = self._reader = None

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            entry = json.loads(line)
            if "ready" in entry:
                ready.set()
            else:
                self.sent[entry["path"]][entry["number"]] = entry["sent_s"]


Serve = Callable[..., GstServer]


def _missing() -> str | None:
    """Return why GStreamer's server cannot run here."""
    code = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "names = 'x264enc x265enc jpegenc rtph264pay rtph265pay rtpjpegpay appsrc'.split()\n"
        "missing = [name for name in names if Gst.ElementFactory.find(name) is None]\n"
        "assert not missing, missing"
    )
    if not Path(SYSTEM_PYTHON).exists():
        return f"no {SYSTEM_PYTHON}"
    done = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def gstreamer() -> None:
    """Skip, or fail where skips are forbidden, if GStreamer's RTSP server is not installed."""
    if (reason := _missing()) is None:
        return
    message = f"GStreamer's RTSP server is missing ({reason}): sudo apt-get install {PACKAGES}"
    if os.environ.get("VISION_LINE_FORBID_SKIPS") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def serve(gstreamer: None) -> Iterator[Serve]:
    """Start servers that are ended with the test: `serve({"path": "cam"}, auth=...)`."""
    servers: list[GstServer] = []

    def start(*cameras: dict[str, Any], auth: dict[str, str] | None = None) -> GstServer:
        server = GstServer(list(cameras), auth)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()


ServeRaw = Callable[..., RawServer]


@pytest.fixture
def serve_raw() -> Iterator[ServeRaw]:
    """Start raw servers that are ended with the test: `serve_raw(cam=RawCamera(...), tls=context)`."""
    servers: list[RawServer] = []

    def start(tls: ssl.SSLContext | None = None, **cameras: RawCamera) -> RawServer:
        server = RawServer(cameras, tls)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def clip() -> list[Unit]:
    """Two seconds of H.264 with a keyframe every second."""
    return encode()


class Watched:
    """A running camera with every frame and state it gave."""

    def __init__(self, stream: Stream, opening: asyncio.Semaphore, open_decoder: OpenDecoder) -> None:
        self.stream = stream
        self.frames: list[Frame] = []
        self.stamps: list[int] = []
        self.states: list[StateChange] = []
        self.mailbox = (NewestFrame if stream.is_live else BoundedQueue)(self._collect)
        self.camera = Camera(stream, open_decoder, self.mailbox, self.states.append, opening, chance=lambda: 0.5)

    def _collect(self) -> None:
        """Take each frame at once, in the camera's thread, so that none is superseded."""
        frame = self.mailbox.take()
        assert frame is not None
        if frame.size_wh[0] >= STAMP_BITS and isinstance(frame.data, av.VideoFrame):
            self.stamps.append(read_stamp(frame))
        frame.data = None
        self.frames.append(frame)

    @property
    def state(self) -> CameraState:
        """The newest state."""
        return self.states[-1].state

    @property
    def codes(self) -> list[str | None]:
        """All error codes so far."""
        return [change.code for change in self.states]

    @property
    def dropped(self) -> dict[DropCause, int]:
        """Dropped frames by cause."""
        return self.mailbox.counts().dropped

    def assert_accounted(self) -> None:
        """Every frame that arrived was taken or dropped, and the numbers have no gap; one may be in its decoder now."""
        deadline_s = time.monotonic() + 40.0
        while True:
            counts = self.mailbox.counts()
            accounted = counts.taken + sum(counts.dropped.values()) + counts.pending
            if counts.arrived == accounted or time.monotonic() > deadline_s:
                break
            time.sleep(0.002)
        assert counts.arrived == accounted
        assert [frame.sequence for frame in self.frames] == list(range(len(self.frames)))


async def until(condition: Callable[[], bool], limit_s: float, what: str = "") -> float:
    """Wait until `condition` holds and return how long it took; fail after `PATIENCE` times `limit_s`, or a minute."""
    started_s = time.monotonic()
    await waiting.until(condition, what or repr(condition), max(limit_s * PATIENCE, waiting.WAIT_S))
    return time.monotonic() - started_s


Until = Callable[..., Any]


@pytest.fixture
def wait_until() -> Until:
    """Give `until(condition, limit_s)`."""
    return until


Watch = Callable[..., Watched]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Run cameras: `watch(url, name="cam", **settings)`; they are cancelled with the test."""
    opening = asyncio.Semaphore(4)
    tasks: list[asyncio.Task[None]] = []

    def start(url: str, name: str = "cam", open_decoder: OpenDecoder = CpuDecoder, **settings: Any) -> Watched:
        values = {"connect_timeout_s": 3.0, "read_timeout_s": 2.0} | settings
        watched = Watched(Stream.model_validate({"name": name, "url": url} | values), opening, open_decoder)
        tasks.append(asyncio.create_task(watched.camera.run()))
        return watched

    yield start
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
