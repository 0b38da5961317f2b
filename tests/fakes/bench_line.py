# SPDX-License-Identifier: AGPL-3.0-or-later
"""A line on a bench: a real feed with a camera at 50 frames a second, without a device; and lanes beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.builders import make_frame, make_inspection
from tests.fakes.feeds import FACTS, make_event

from vision_line.config.lane_load import load_lanes
from vision_line.feed.feed_server import FeedServer
from vision_line.frames import CameraState, DefectEvent, EventPhase, ShownEvent, TrackedObject
from vision_line.lanes.lane_service import LaneService

FRAME_S = 0.02
PASS_S = 0.6
LANE = """config_version = 1
[[stream]]
name = "cam01"
url = "rtsp://{USER}:{PASSWORD}@10.0.0.1/"
dwell_s = 1.0
[[lane]]
name = "l1"
cameras = ["cam01"]
window_ms = [0, 200]
ejector_ms = 1500
"""
OPTICAL = """parts = "optical"
[lane.optical]
camera = "cam01"
classes = ["spur"]
line = [[0.5, 0.0], [0.5, 1.0]]
direction = "right"
"""


class BenchLine:
    """Serves a feed in a folder until `close`; `reject` shows a defect now."""

    def __init__(self, directory: Path) -> None:
        self.server = FeedServer(FACTS)
        self.server.offers.tap("cam01")
        self.server.open(directory)
        self.log_reason = ""
        self.not_accepted = self.not_inspected = ""
        self.state = CameraState.RUNNING
        self.is_silent = False
        self._events: list[DefectEvent] = []
        self._shown: DefectEvent | None = None
        self._passing: list[float] = []  # since when each object passes
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def reject(self) -> None:
        """Have the next frame show a certain defect."""
        now_s = time.monotonic()
        self._events.append(
            replace(make_event(1, EventPhase.NEW), event_id=f"e{now_s}", first_seen_s=now_s, last_seen_s=now_s)
        )

    def shows(self) -> None:
        """Have every frame from now on show a certain defect that began before, without a word of a change."""
        now_s = time.monotonic()
        self._shown = replace(make_event(2, EventPhase.NEW), event_id="old", first_seen_s=now_s - 60)

    def passes(self) -> float:
        """Have an object pass now, through the frame in 0.6 s; return when it is in the middle."""
        begun_s = time.monotonic()
        self._passing.append(begun_s)
        return begun_s + PASS_S / 2

    def _tracks(self, now_s: float) -> list[TrackedObject]:
        ways = [(number, (now_s - begun_s) / PASS_S) for number, begun_s in enumerate(self._passing)]
        return [
            TrackedObject(number, "spur", 1 + int(way * PASS_S / FRAME_S), 0.9, (x - 20, 100.0, x + 20, 140.0))
            for number, way in ways
            if way < 1.0
            for x in [way * 640]
        ]

    def close(self) -> None:
        """End, as a run does that is killed; may be called twice."""
        self._closing.set()
        self._thread.join()
        self.server.close()

    def _run(self) -> None:
        sequence = 0
        while not self._closing.wait(FRAME_S):
            if self.is_silent:
                continue
            events, self._events = self._events, []
            frame = make_frame("cam01", sequence, at_s=time.monotonic())
            shown = [] if self._shown is None else [ShownEvent(replace(self._shown, last_seen_s=frame.arrived_s), ())]
            tracks = self._tracks(frame.arrived_s)
            self.server.offers.result(make_inspection(frame), events, partial(list, shown), partial(list, tracks))
            if sequence % 10 == 0:
                self.server.offers.snapshot(
                    {
                        "log_writable": not self.log_reason,
                        "log_reason": self.log_reason or None,
                        "cameras": [
                            {
                                "name": "cam01",
                                "state": self.state,
                                "not_accepted": self.not_accepted,
                                "not_inspected": self.not_inspected or None,
                            }
                        ],
                    }
                )
            sequence += 1


@contextmanager
def running_line(directory: Path) -> Iterator[BenchLine]:
    """Serve a feed in a folder."""
    line = BenchLine(directory)
    try:
        yield line
    finally:
        line.close()


@contextmanager
def running_lanes(directory: Path, text: str = LANE) -> Iterator[Path]:
    """Decide parts of a folder, in a thread; gives the streams.toml, which may be changed."""
    streams = directory / "streams.toml"
    streams.write_text(text, encoding="utf-8")
    with serving(LaneService(directory, load_lanes(streams))):
        yield streams


@contextmanager
def serving(service: LaneService) -> Iterator[None]:
    """Run the process of the lanes in a thread."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    task = loop.create_task(service.run(asyncio.Event(), ready.set))
    faults: list[BaseException] = []

    def serve() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as exc:  # noqa: BLE001  shown by the test
            faults.append(exc)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(60)
        assert not faults, faults
        yield
    finally:
        if not faults:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
    assert not faults, faults
