# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real RTSP cameras: every codec and transport, no frame held back, every frame accounted for."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from vision_line.frames import CameraState, DropCause

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import Serve, Until, Watch

LEARNING = 12  # frames until a camera's way of sending is known


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_camera_runs(codec: str, transport: str, serve: Serve, watch: Watch, wait_until: Until) -> None:
    """Frames come in order, without a gap that nothing is said of, from a keyframe on, and with both clocks."""
    server = serve({"path": "cam", "codec": codec})
    cam = watch(server.url("cam"), transport=transport)
    await wait_until(lambda: len(cam.frames) >= 50, 15)
    assert cam.state is CameraState.RUNNING
    # On a busy machine the keyframe itself may come too late to be shown; the next ones need no other.
    assert cam.frames[0].keyframe or cam.dropped.get(DropCause.BEHIND)
    assert cam.frames[0].size_wh == (320, 240)
    stamps = list(cam.stamps)
    missing = len(range(stamps[0], stamps[-1] + 1)) - len(stamps)
    assert stamps == sorted(set(stamps))
    # A busy machine leaves out what it reads too late; it says of each frame that it did.
    assert missing <= sum(cam.dropped.get(cause, 0) for cause in (DropCause.BEHIND, DropCause.SHED))
    cam.assert_accounted()
    assert cam.dropped.get(DropCause.SUPERSEDED, 0) == 0


@pytest.mark.parametrize("fps", [5, 25])
@pytest.mark.parametrize(("codec", "slices"), [("h264", 1), ("h264", 4), ("h265", 1), ("mjpeg", 1)])
async def test_no_frame_waits_for_the_next_one(
    fps: int, codec: str, slices: int, serve: Serve, watch: Watch, wait_until: Until
) -> None:
    """By the sender's clock a frame arrives, and is decoded, long before the next one is due.

    A machine with too much to do is late with many; one in four shows how it is where nothing else is waited for.
    """
    server = serve({"path": "cam", "codec": codec, "fps": fps, "slices": slices, "gop": 10})
    cam = watch(server.url("cam"))
    await wait_until(lambda: len(cam.frames) >= LEARNING + 15, 20)
    sent = server.sent["cam"]
    pairs = list(zip(cam.stamps, cam.frames, strict=False))[LEARNING : LEARNING + 15]
    await wait_until(lambda: all(stamp in sent for stamp, _ in pairs), 5)
    arrival_ms = [(frame.arrived_s - sent[stamp]) * 1000 for stamp, frame in pairs]
    decoded_ms = [(frame.decoded_s - sent[stamp]) * 1000 for stamp, frame in pairs]
    assert statistics.quantiles(arrival_ms)[0] < 15
    assert statistics.quantiles(decoded_ms)[0] < 25
    assert statistics.median(arrival_ms) < 1000 / fps or fps > 5
    cam.assert_accounted()


async def test_the_cameras_own_clock_is_kept_beside_ours(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """After the first RTCP report frames carry the camera's UTC, which on one machine is ours."""
    server = serve({"path": "cam"})
    cam = watch(server.url("cam"))
    await wait_until(lambda: bool(cam.frames) and cam.frames[-1].camera_utc is not None, 15)
    frame = cam.frames[-1]
    assert frame.camera_utc is not None
    assert abs(frame.camera_utc - frame.arrived_utc) < 1.0


async def test_joining_in_the_middle_starts_at_a_keyframe(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """A second client of a shared camera drops what came before its first keyframe, counted."""
    server = serve({"path": "cam", "gop": 50})
    first = watch(server.url("cam"), name="first")
    await wait_until(lambda: len(first.frames) >= 10, 15)
    second = watch(server.url("cam"), name="second")
    await wait_until(lambda: len(second.frames) >= 5, 15)
    assert second.frames[0].keyframe
    assert second.dropped[DropCause.CORRUPT] >= 1
    second.assert_accounted()


async def test_a_slow_camera_is_not_stale(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """One frame a second is a pace, not a fault."""
    server = serve({"path": "cam", "fps": 1, "gop": 2})
    cam = watch(server.url("cam"), read_timeout_s=5.0)
    await wait_until(lambda: len(cam.frames) >= 5, 20)
    assert {change.state for change in cam.states} == {CameraState.CONNECTING, CameraState.RUNNING}


async def test_a_frozen_camera_is_noticed_and_recovers(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """Frames that repeat one frame are counted and not handed on; after the thaw they are again."""
    server = serve({"path": "cam", "gop": 10})
    cam = watch(server.url("cam"), frozen_after_s=2.0)
    await wait_until(lambda: len(cam.frames) >= 20, 15)
    server.control("freeze", "cam")
    await wait_until(lambda: cam.state is CameraState.FROZEN, 8)
    handed_on = len(cam.frames)
    await wait_until(lambda: cam.dropped.get(DropCause.FROZEN, 0) >= 20, 5)
    assert len(cam.frames) <= handed_on + 1
    server.control("thaw", "cam")
    await wait_until(lambda: cam.state is CameraState.RUNNING and len(cam.frames) > handed_on + 10, 5)
    cam.assert_accounted()


async def test_a_belt_that_may_stand_still_is_not_frozen(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """With the setting the same frame goes on being inspected."""
    server = serve({"path": "cam", "gop": 10})
    cam = watch(server.url("cam"), frozen_after_s=1.0, may_stand_still=True)
    await wait_until(lambda: len(cam.frames) >= 5, 15)
    server.control("freeze", "cam")
    await wait_until(lambda: len(cam.frames) >= 80, 10)
    assert cam.state is CameraState.RUNNING
