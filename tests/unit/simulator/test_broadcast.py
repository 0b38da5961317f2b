# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera shows all clients the same frames, from an IDR frame on, at its pace."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
from dataclasses import dataclass, field

from vision_line.simulator.broadcast import VirtualCamera
from vision_line.simulator.rtp_stream import TimedUnit, VideoStream

GOP, FRAMES = 3, 6


@dataclass(eq=False)
class Watcher:
    """A client that keeps what it gets and stops the wait after `wanted` frames."""

    wanted: int
    behind_after: int = -1
    frames: list[list[bytes]] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    def is_behind(self) -> bool:
        """Be behind for one frame, once."""
        self.asked += 1
        return self.asked == self.behind_after

    def send(self, packets: list[bytes]) -> None:
        """Keep the packets."""
        self.frames.append(packets)
        if len(self.frames) >= self.wanted:
            self.done.set()

    def send_report(self, report: bytes) -> None:
        """Keep the report."""
        self.reports.append(report)


def camera(log: io.StringIO | None = None) -> VirtualCamera:
    """Make a camera of six two-packet frames, every third an IDR one."""
    units = tuple(TimedUnit((bytes((index,)), b"x"), index % GOP == 0) for index in range(FRAMES))
    return VirtualCamera("cam01", 1, 500, VideoStream(units, b"", b""), 7, 1000, log)


async def watch(shown: VirtualCamera, *watchers: Watcher) -> None:
    """Run a camera until all watchers have what they want."""
    for watcher in watchers:
        shown.join(watcher)
    running = asyncio.create_task(shown.run(asyncio.get_running_loop().time()))
    async with asyncio.timeout(60):
        for watcher in watchers:
            await watcher.done.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def indexes(watcher: Watcher) -> list[int]:
    """Give the frame index that each frame carries in its first payload byte."""
    return [packets[0][12] for packets in watcher.frames]


async def test_frames_run_on_over_the_loop_boundary() -> None:
    """Indexes repeat; sequence numbers go on."""
    watcher = Watcher(14)

    await watch(camera(), watcher)

    sequence = [struct.unpack("!H", packet[2:4])[0] for packets in watcher.frames for packet in packets]
    assert indexes(watcher) == [number % FRAMES for number in range(len(watcher.frames))]
    assert sequence == list(range(len(sequence)))
    assert watcher.reports


async def test_two_clients_get_the_same_packets() -> None:
    """A camera is live: its frame does not depend on who looks."""
    first, second = Watcher(8), Watcher(8)

    await watch(camera(), first, second)

    assert first.frames == second.frames


async def test_a_client_that_falls_behind_goes_on_at_an_idr_frame() -> None:
    """It misses whole frames up to the next that can be decoded alone."""
    watcher = Watcher(6, behind_after=3)

    await watch(camera(), watcher)

    assert indexes(watcher)[:5] == [0, 1, 3, 4, 5]


async def test_the_log_has_a_line_for_each_frame_sent() -> None:
    """Loop, index and timestamp tell which frame it was."""
    log, watcher = io.StringIO(), Watcher(8)

    await watch(camera(log), watcher)

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["index"] for line in lines] == indexes(watcher)
    assert [line["loop"] for line in lines][:7] == [0, 0, 0, 0, 0, 0, 1]
    assert [line["rtp_timestamp"] for line in lines][:3] == [1000, 1180, 1360]
    assert {(line["camera"], line["clip_id"]) for line in lines} == {("cam01", 1)}
