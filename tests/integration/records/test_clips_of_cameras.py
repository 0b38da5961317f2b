# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips of a camera over RTSP and of a video file, from what is sent to the MP4."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.fakes.rtsp.raw_server import RawCamera, RawServer, encode

from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.encoded import EncodedFrame
from vision_line.ingest.camera import Camera
from vision_line.ingest.mailbox import BoundedQueue, Mailbox, NewestFrame
from vision_line.records.clips.nal_units import split_units
from vision_line.records.clips.ring import Ring
from vision_line.records.log import SqliteLog

from .conftest import OpenClips
from .test_clips import FPS, Row, ended, frames_in, rows_of, tapped, units_in


class Watched:
    """Passes on to a ring, and remembers what it saw."""

    def __init__(self, ring: Ring) -> None:
        self.seen: list[bytes] = []
        self._ring = ring

    def saw(self, encoded: EncodedFrame) -> None:
        self.seen.append(bytes(encoded.packet or b""))
        self._ring.saw(encoded)


#: Runs a camera until so many frames came, then has an event; returns the row of its clip.
ClipOf = Callable[[str, Mailbox, Watched, int], Awaitable[Row]]


@pytest.fixture
def log(open_clips: OpenClips) -> SqliteLog:
    """Return a log with clips that end with their event."""
    return open_clips(post_s=0.0)


@pytest.fixture
def clip_of(log: SqliteLog, records: Path) -> ClipOf:
    """Run a camera beside the log; each wait takes a minute at most."""

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  other threads make it true
                await asyncio.sleep(0.02)

    async def run(url: str, mailbox: Mailbox, tap: Watched, frames: int) -> Row:
        stream = Stream.model_validate({"name": "cam01", "url": url})
        camera = Camera(stream, CpuDecoder, mailbox, lambda _: None, asyncio.Semaphore(1), tap=tap)
        task = asyncio.create_task(camera.run())
        try:
            await until(lambda: len(tap.seen) >= frames)
            now_s = time.monotonic()
            ended(log, "e1", now_s - 0.2, now_s)
            await until(lambda: bool(rows_of(records)))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        (row,) = rows_of(records)
        return row

    return run


@pytest.mark.parametrize("described", [True, False])
async def test_of_a_real_camera_every_byte_is_there(
    log: SqliteLog, clip_of: ClipOf, records: Path, described: bool
) -> None:
    """Over RTSP, with parameter sets in its description alone or in the stream alone."""
    units = encode(frames=100)
    sent = [units[0], *([nal for nal in unit if nal[0] & 0x1F in (1, 5)] for unit in units[1:])] if described else units
    server = RawServer({"cam": RawCamera(units=sent, describes_sets=described)}, None)
    tap = Watched(tapped(log))
    try:
        row = await clip_of(server.url("cam"), NewestFrame(lambda: None), tap, 75)
    finally:
        server.close()
    clip, seen = units_in(records / row["path"]), [split_units(data) for data in tap.seen]
    assert any(seen[n : n + len(clip)] == clip for n in range(len(seen)))
    assert len(clip) == row["frames"] == frames_in(records / row["path"]) > 20


def boards(path: Path) -> list[np.ndarray[Any, Any]]:
    """Write a video of four seconds whose frames are not sent in the order in which they are shown; return them."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"bf": "3", "g": "25", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for number in range(100):
            image = np.full((128, 192, 3), 30, np.uint8)
            image[20:60, number : number + 40] = (200, 2 * number, 90)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    with av.open(str(path)) as source:
        return [frame.to_ndarray() for frame in source.decode(video=0)]


async def test_of_a_file_every_frame_is_there_in_its_order(
    log: SqliteLog, clip_of: ClipOf, records: Path, tmp_path: Path
) -> None:
    """Frame for frame, at the file's own times."""
    shown = boards(tmp_path / "boards.mp4")

    def let_go() -> None:
        mailbox.take()

    mailbox = BoundedQueue(let_go)
    row = await clip_of(f"file:{tmp_path / 'boards.mp4'}", mailbox, Watched(tapped(log)), 70)
    assert (row["missing"], row["reencoded"]) == (None, 0)
    with av.open(str(records / row["path"])) as source:
        found = [(frame.time, frame.to_ndarray()) for frame in source.decode(video=0)]
    assert len(found) == row["frames"] > 25
    begins = next(n for n in range(0, 100, 25) if np.array_equal(shown[n], found[0][1]))
    whole = len(found) - 4  # the last ones may lack those that are shown before them
    assert all(np.array_equal(image, shown[begins + n]) for n, (_, image) in enumerate(found[:whole]))
    times = [at_s for at_s, _ in found[:whole]]
    assert np.diff(times) == pytest.approx(1 / FPS, abs=1e-3)
