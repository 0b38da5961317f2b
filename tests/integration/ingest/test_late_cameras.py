# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real cameras whose frames are held back on the way: their age is known, and what is too old is not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.fakes.rtsp.valve import Valve

from vision_line.errors import SourceErrorCode
from vision_line.frames import CameraState, DropCause, Frame

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import GstServer, Serve, Until, Watch, Watched

LIMIT_S = 0.5  # max_staleness_ms unless set
NEAR_S = 0.7  # what the server's encoder takes now and then on a busy machine
TRIES = 3  # a machine that stalls makes frames late that nobody holds back, but hardly each time


@pytest.fixture
def valves() -> Iterator[ExitStack]:
    """Close the valves that a test opens."""
    with ExitStack() as stack:
        yield stack


def lateness(cam: Watched, server: GstServer, path: str = "cam") -> list[tuple[Frame, float]]:
    """Return each shown frame with how late it truly came, by the server's log of what it sent."""
    sent = server.sent[path]
    pairs = zip(cam.stamps, cam.frames, strict=False)
    return [(frame, frame.arrived_s - sent[stamp]) for stamp, frame in pairs if stamp in sent]


@pytest.mark.alone
@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
async def test_frames_held_back_are_known_to_be_late_and_their_neighbours_are_not(
    codec: str, serve: Serve, watch: Watch, wait_until: Until, valves: ExitStack
) -> None:
    """Three seconds of nothing, then all at once: the newest is shown, and the neighbour loses nothing."""
    server = serve({"path": "cam", "codec": codec, "gop": 25}, {"path": "well"})
    valve = valves.enter_context(Valve(server.port))
    cam = watch(server.url("cam").replace(str(server.port), str(valve.port)), read_timeout_s=10.0, stale_after_s=10.0)
    well = watch(server.url("well"), name="well")
    await wait_until(lambda: len(cam.frames) >= 30 and len(well.frames) >= 30, 20)
    for _ in range(TRIES):
        lost, before = well.dropped.get(DropCause.BEHIND, 0), len(well.stamps)
        valve.shut()
        await asyncio.sleep(3.0)
        shown = len(cam.frames)
        valve.open()
        await wait_until(lambda more=shown + 40: len(cam.frames) >= more, 20)
        if well.dropped.get(DropCause.BEHIND, 0) == lost:
            break

    assert {change.state for change in cam.states} == {CameraState.CONNECTING, CameraState.RUNNING}
    assert cam.dropped[DropCause.BEHIND] >= 25
    for frame, late_s in lateness(cam, server):
        assert late_s <= LIMIT_S + NEAR_S
        assert frame.behind_s == pytest.approx(late_s, abs=NEAR_S)
    meanwhile = well.stamps[before:]
    assert meanwhile == list(range(meanwhile[0], meanwhile[0] + len(meanwhile)))
    assert well.dropped.get(DropCause.BEHIND, 0) == lost
    cam.assert_accounted()
    well.assert_accounted()


async def test_a_delay_that_no_skipping_removes_ends_the_connection(
    serve: Serve, watch: Watch, wait_until: Until, valves: ExitStack
) -> None:
    """Each frame comes 1.5 s late though each is waited for: a new connection is fresh, and it is said why."""
    server = serve({"path": "cam", "gop": 10})
    valve = valves.enter_context(Valve(server.port))
    cam = watch(server.url("cam").replace(str(server.port), str(valve.port)), stale_after_s=10.0)
    await wait_until(lambda: len(cam.frames) >= 30, 20)
    valve.delay(1.5)
    await wait_until(lambda: SourceErrorCode.BEHIND in cam.codes, 10)
    shown = len(cam.frames)
    await wait_until(lambda: cam.state is CameraState.RUNNING and len(cam.frames) >= shown + 20, 10)

    assert all(late_s <= LIMIT_S + NEAR_S for _, late_s in lateness(cam, server))
    cam.assert_accounted()


async def test_a_share_of_the_frames_is_decoded_and_the_rest_counted(
    serve: Serve, watch: Watch, wait_until: Until
) -> None:
    """Keyframes only, of a camera with one a second, which is neither stale nor late for it; then all again."""
    server = serve({"path": "cam", "gop": 25})
    cam = watch(server.url("cam"))
    await wait_until(lambda: len(cam.frames) >= 30, 20)
    cam.camera.load.share = 1 / 25
    await wait_until(lambda: cam.dropped.get(DropCause.SHED, 0) >= 72, 10)
    keys = [frame.keyframe for frame in cam.frames[-2:]]
    cam.camera.load.share = 1.0
    shown = len(cam.frames)
    await wait_until(lambda: len(cam.frames) >= shown + 30, 10)

    assert keys == [True, True]
    assert {change.state for change in cam.states} == {CameraState.CONNECTING, CameraState.RUNNING}
    assert set(cam.dropped) <= {DropCause.SHED, DropCause.CORRUPT}
    cam.assert_accounted()
