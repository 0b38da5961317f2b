# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras in trouble: named errors, quick recovery, no trace of a password, and no harm to their neighbours."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.fakes.rtsp.raw_server import RawCamera
from tests.fakes.waiting import WAIT_S

from vision_line.config.load import fill_placeholders
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.frames import CameraState, Colour

if TYPE_CHECKING:
    from tests.fakes.rtsp.raw_server import Unit
    from tests.integration.ingest.conftest import Serve, ServeRaw, Until, Watch

PASSWORD = "s3cret-Word"  # noqa: S105  of a test server


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


@pytest.mark.parametrize("method", ["basic", "digest"])
async def test_the_right_password_opens(method: str, serve: Serve, watch: Watch, wait_until: Until) -> None:
    """Basic and digest authentication work."""
    server = serve({"path": "cam"}, auth={"method": method, "user": "line", "password": PASSWORD})
    cam = watch(server.url("cam", f"line:{PASSWORD}@"))
    await wait_until(lambda: len(cam.frames) >= 5, 15)


@pytest.mark.parametrize("method", ["basic", "digest"])
async def test_any_password_opens(method: str, serve: Serve, watch: Watch, wait_until: Until) -> None:
    """Also one with characters that mean something in a URL, given as it is."""
    password = "p/w#?@:%41'& ä"  # noqa: S105  of a test server
    server = serve({"path": "cam"}, auth={"method": method, "user": "line", "password": password})
    url, problems = fill_placeholders(server.url("cam", "line:{PASSWORD}@"), {"PASSWORD": password})
    cam = watch(url)
    await wait_until(lambda: len(cam.frames) >= 5 or any(cam.codes), 15)
    assert (problems, any(cam.codes)) == ([], False)


@pytest.mark.parametrize("method", ["basic", "digest"])
async def test_a_wrong_password_is_named_and_never_shown(
    method: str, serve: Serve, watch: Watch, wait_until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """AUTH_FAILED, at the slow pace, with the password in no message and no log."""
    caplog.set_level(logging.DEBUG)
    server = serve({"path": "cam"}, auth={"method": method, "user": "line", "password": "other"})
    cam = watch(server.url("cam", f"line:{PASSWORD}@"))
    await wait_until(lambda: "AUTH_FAILED" in cam.codes, 10)
    assert PASSWORD not in caplog.text
    assert PASSWORD not in str(cam.states)


async def test_an_unknown_path_is_not_found(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """NOT_FOUND."""
    server = serve({"path": "cam"})
    cam = watch(server.url("other"))
    await wait_until(lambda: "NOT_FOUND" in cam.codes, 10)


async def test_nobody_listening_is_refused(watch: Watch, wait_until: Until) -> None:
    """REFUSED, again and again, without a frame."""
    cam = watch("rtsp://127.0.0.1:1/cam")
    await wait_until(lambda: "REFUSED" in cam.codes, 5)
    assert cam.state is CameraState.RECONNECTING


async def test_an_unknown_host_is_named(watch: Watch, wait_until: Until) -> None:
    """NAME_UNKNOWN (the top-level domain `invalid` never resolves, RFC 2606)."""
    cam = watch("rtsp://camera.invalid/cam")
    await wait_until(lambda: "NAME_UNKNOWN" in cam.codes, 10)


async def test_a_silent_server_times_out(silent_port: int, watch: Watch, wait_until: Until) -> None:
    """TIMEOUT by the connection's own timeout, so no thread has to be abandoned."""
    cam = watch(f"rtsp://127.0.0.1:{silent_port}/cam", read_timeout_s=0.5, connect_timeout_s=20.0)
    took_s = await wait_until(lambda: "TIMEOUT" in cam.codes, 5)
    assert took_s < 20
    assert cam.camera.abandoned == (0, 0)


async def test_no_tls_where_tls_is_asked(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """TLS_FAILED when the camera answers rtsps without TLS."""
    server = serve({"path": "cam"})
    cam = watch(server.url("cam").replace("rtsp:", "rtsps:"), read_timeout_s=1.0)
    await wait_until(lambda: any(code is not None for code in cam.codes), 10)
    assert "TLS_FAILED" in cam.codes


async def test_hanging_connections_are_abandoned_and_capped(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """Connections that nothing can interrupt are left behind, at most three at a time, and end when they wake."""
    wakes = threading.Event()

    def hanging(camera: str, stream: Any, colour: Colour | None) -> CpuDecoder:
        wakes.wait(60)
        return CpuDecoder(camera, stream, colour)

    server = serve_raw(cam=RawCamera(clip))
    cam = watch(server.url("cam"), read_timeout_s=0.2, connect_timeout_s=0.2, open_decoder=hanging)
    await wait_until(lambda: "ABANDONED_LIMIT" in cam.codes, 25)
    assert cam.camera.abandoned == (3, 3)
    assert not cam.frames
    wakes.set()
    await wait_until(lambda: len(cam.frames) >= 2, 15)
    assert cam.camera.abandoned == (3, 0)


@pytest.mark.timeout(900)
async def test_a_killed_server_comes_back_and_others_notice_nothing(
    serve: Serve, watch: Watch, wait_until: Until
) -> None:
    """After a kill -9 and a restart the camera's numbers go on, and its neighbours lose no frame and no time."""
    faulted, steady = serve({"path": "cam"}), serve({"path": "one"}, {"path": "two", "codec": "h265"})
    cam = watch(faulted.url("cam"), name="cam")
    others = [watch(steady.url(path), name=path) for path in ("one", "two")]
    await wait_until(lambda: all(len(watched.frames) >= 20 for watched in (cam, *others)), 20)
    for _ in range(2):
        reported = len(cam.codes)
        faulted.kill()
        # An outage has a length: the camera notices it, and tries at least once in vain.
        await wait_until(lambda reported=reported: "REFUSED" in cam.codes[reported:], WAIT_S)
        before = len(cam.frames)
        faulted.start()
        await wait_until(lambda before=before: len(cam.frames) > before and cam.state is CameraState.RUNNING, WAIT_S)
    for watched in others:
        watched.assert_accounted()
        assert watched.stamps == list(range(watched.stamps[0], watched.stamps[0] + len(watched.stamps)))
        assert {change.state for change in watched.states} == {CameraState.CONNECTING, CameraState.RUNNING}
        arrivals = [frame.arrived_s for frame in watched.frames]
        assert max(b - a for a, b in itertools.pairwise(arrivals[12:])) < 5.0
    cam.assert_accounted()


async def test_a_camera_that_falls_silent_is_stale_and_then_opened_again(
    serve: Serve, watch: Watch, wait_until: Until
) -> None:
    """STALE after two seconds, RUNNING at the first frame after it; silent for longer, RECONNECTING."""
    server = serve({"path": "cam"})
    cam = watch(server.url("cam"), read_timeout_s=6.0)
    await wait_until(lambda: len(cam.frames) >= 20, 15)
    server.control("pause", "cam")
    took_s = await wait_until(lambda: cam.state is CameraState.STALE, 5)
    assert took_s > 1.5
    server.control("resume", "cam")
    await wait_until(lambda: cam.state is CameraState.RUNNING, 3)
    assert cam.states[-2].state is CameraState.STALE
    server.control("pause", "cam")
    await wait_until(lambda: cam.state is CameraState.RECONNECTING, 12)
    cam.assert_accounted()


async def test_cancelling_stops_the_thread_at_once(serve: Serve, watch: Watch, wait_until: Until) -> None:
    """A running camera's thread ends with its next packet."""
    server = serve({"path": "cam"})
    cam = watch(server.url("cam"))
    await wait_until(lambda: len(cam.frames) >= 5, 15)
    task = next(task for task in asyncio.all_tasks() if "Camera.run" in repr(task.get_coro()))
    started_s = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started_s < 20.0
    assert cam.camera.abandoned == (0, 0)


async def test_many_silent_cameras_do_not_keep_a_healthy_one_waiting(
    silent_port: int, serve: Serve, watch: Watch, wait_until: Until
) -> None:
    """The limit on openings is for bursts: behind sixteen dead cameras a healthy one runs within seconds."""
    server = serve({"path": "cam"})
    dead = [watch(f"rtsp://127.0.0.1:{silent_port}/cam", name=f"dead{number}") for number in range(16)]
    cam = watch(server.url("cam"))
    took_s = await wait_until(lambda: bool(cam.frames), 20)
    assert took_s < 7  # of sixteen, four at a time, each of 2 s, it would be 8
    await wait_until(lambda: all("TIMEOUT" in camera.codes for camera in dead), 10)


async def test_frames_that_the_device_cannot_read_are_a_fault_of_the_camera(
    serve: Serve, watch: Watch, wait_until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is given up with CODEC_UNSUPPORTED, said once, and tried again at the slow pace."""
    server = serve({"path": "cam"})
    cam = watch(server.url("cam"))
    await wait_until(lambda: len(cam.frames) >= 5, 15)
    cam.camera.reject("camera 'cam': frame 5 cannot be converted: 7 planes")
    await wait_until(lambda: cam.state is CameraState.RECONNECTING, 2)
    assert cam.states[-1].code == "CODEC_UNSUPPORTED"
    assert cam.states[-1].detail == "frame 5 cannot be converted: 7 planes"
    took_s = await wait_until(lambda: cam.state is CameraState.RUNNING, 10)
    assert took_s >= 1.0
    assert sum("CODEC_UNSUPPORTED" in message for message in caplog.messages) == 1
