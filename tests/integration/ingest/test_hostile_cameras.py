# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that lose, lie, redirect, flood or stay silent: each has its own error, bounded memory, and no neighbour."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fakes.rtsp.raw_server import PASSWORD, USER, RawCamera, Unit, encode
from tests.fakes.waiting import WAIT_S

from vision_line.frames import CameraState, DropCause

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import ServeRaw, Until, Watch

CREDENTIALS = f"{USER}:{PASSWORD}@"
GB18030_TITLE = "一号线".encode("gb18030")


@pytest.fixture(scope="module")
def h265_clip() -> list[Unit]:
    """Two seconds of H.265."""
    return encode("hevc")


@pytest.fixture(scope="module")
def long_group() -> list[Unit]:
    """One keyframe in 200 frames."""
    return encode(frames=200, group=200)


async def test_a_title_in_any_encoding_does_no_harm(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """A camera whose SDP is not UTF-8 runs like any other."""
    server = serve_raw(gbk=RawCamera(clip, title=GB18030_TITLE), zero=RawCamera(clip, title=b"\xff\x00\x80"))
    cams = [watch(server.url(path), path) for path in ("gbk", "zero")]
    await wait_until(lambda: all(len(cam.frames) >= 5 for cam in cams), 10)
    assert not any(code for cam in cams for code in cam.codes)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
async def test_lost_frames_are_corrupt_up_to_the_next_keyframe(
    codec: str,
    transport: str,
    clip: list[Unit],
    h265_clip: list[Unit],
    serve_raw: ServeRaw,
    watch: Watch,
    wait_until: Until,
) -> None:
    """Two whole frames of 25 are lost: the 18 after them in their group count as corrupt, no other does."""
    units = clip if codec == "h264" else h265_clip
    server = serve_raw(cam=RawCamera(units, codec, lose=frozenset({30, 31})))
    cam = watch(server.url("cam"), transport=transport)
    await wait_until(lambda: len(cam.frames) >= 40, 15)
    assert cam.dropped.get(DropCause.CORRUPT, 0) == 18
    cam.assert_accounted()


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("describes_sets", [True, False])
async def test_the_first_keyframe_is_shown(
    describes_sets: bool,
    codec: str,
    clip: list[Unit],
    h265_clip: list[Unit],
    serve_raw: ServeRaw,
    watch: Watch,
    wait_until: Until,
) -> None:
    """With and without parameter sets in the SDP nothing of the beginning is lost: the next keyframe may be far."""
    units = clip if codec == "h264" else h265_clip
    server = serve_raw(cam=RawCamera(units, codec, describes_sets=describes_sets))
    cam = watch(server.url("cam"))
    await wait_until(lambda: len(cam.frames) >= 3, 10)
    assert cam.frames[0].keyframe
    assert not cam.dropped
    cam.assert_accounted()


async def test_a_long_group_without_described_sets_runs_at_once(
    long_group: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """It does not wait for a second keyframe, which is 8 s away."""
    server = serve_raw(cam=RawCamera(long_group, describes_sets=False))
    cam = watch(server.url("cam"))
    assert await wait_until(lambda: len(cam.frames) >= 1, 10) < 7.0


@pytest.mark.parametrize(
    "auth",
    [("sha256",), ("md5", "sha256"), ("sha256", "md5"), ("md5-qop",), ("basic",), ("basic", "md5"), ("sha3", "md5")],
    ids="+".join,
)
async def test_the_right_password_opens_however_it_is_asked(
    auth: tuple[str, ...], clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """Basic, and Digest with MD5 or SHA-256, also where several are offered."""
    server = serve_raw(cam=RawCamera(clip, auth=auth))
    cam = watch(server.url("cam", CREDENTIALS))
    await wait_until(lambda: len(cam.frames) >= 2 or any(cam.codes), 10)
    assert not any(cam.codes), cam.states


@pytest.mark.parametrize(
    ("auth", "credentials", "says"),
    [
        (("sha3",), CREDENTIALS, "Digest SHA3-512"),
        (("md5",), "", "the URL has none"),
        (("sha256",), f"{USER}:wrong@", "rejects this name and password"),
    ],
)
async def test_a_refusal_says_why(
    auth: tuple[str, ...],
    credentials: str,
    says: str,
    clip: list[Unit],
    serve_raw: ServeRaw,
    watch: Watch,
    wait_until: Until,
) -> None:
    """A right password is never called wrong; a wrong one is tried once for each connection."""
    server = serve_raw(cam=RawCamera(clip, auth=auth))
    cam = watch(server.url("cam", credentials))
    await wait_until(lambda: "AUTH_FAILED" in cam.codes, 10)
    assert says in next(change.detail for change in cam.states if change.code == "AUTH_FAILED")
    assert server.methods[:3].count("DESCRIBE") <= 2


async def test_no_redirection_leads_to_another_source(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """Another host, port or scheme is named and never asked, whatever the camera says; not even without a password."""
    caplog.set_level(logging.INFO)
    other = serve_raw(cam=RawCamera(clip, auth=("basic",)))
    away = other.url("cam")
    server = serve_raw(
        port=RawCamera(redirect=away),
        named=RawCamera(redirect=away.replace("127.0.0.1", "localhost")),
        bait=RawCamera(redirect=away.replace("://", f"://{CREDENTIALS}")),
        secure=RawCamera(redirect=away.replace("rtsp:", "rtsps:")),
        web=RawCamera(redirect="http://127.0.0.1/"),
    )
    cams = [watch(server.url(path, CREDENTIALS), path) for path in ("port", "named", "bait", "secure", "web")]
    await wait_until(lambda: all("REDIRECTED" in cam.codes for cam in cams), 10)
    assert not other.requests
    assert f"to {away}" in next(change.detail for change in cams[0].states if change.code == "REDIRECTED")
    assert PASSWORD not in caplog.text
    assert not [line for lines in server.requests for line in lines if line.startswith("Authorization")]


async def test_a_redirection_to_another_path_is_followed_and_reported(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """The same host and port is the same camera."""
    server = serve_raw(new=RawCamera(clip, auth=("md5",)), old=RawCamera(), circle=RawCamera())
    server.redirect("old", server.url("new"))
    server.redirect("circle", server.url("circle"))
    cam, lost = watch(server.url("old", CREDENTIALS)), watch(server.url("circle"), "circle")
    await wait_until(lambda: len(cam.frames) >= 2, 10)
    await wait_until(lambda: "REDIRECTED" in lost.codes, 10)
    assert f"redirected to {server.url('new')}" in caplog.text


async def test_every_misbehaviour_is_its_cameras_own(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """Endless, huge, slow, silent, flooding and random cameras have their codes; the good one loses no frame."""
    faults = {
        "endless_header": "CORRUPT",
        "huge_body": "CORRUPT",
        "lies_about_body": "TIMEOUT",
        "dribble": "TIMEOUT",
        "silent": "TIMEOUT",
        "flood": "CORRUPT",
    }
    bad = {name: RawCamera(clip, fault=name.replace("_", " ")) for name in (*faults, "random_packets")}
    server = serve_raw(good=RawCamera(clip), **bad)
    good = watch(server.url("good"), "good")
    cams = {name: watch(server.url(name), name, connect_timeout_s=1.5, read_timeout_s=1.0) for name in bad}
    await wait_until(lambda: all(code in cams[name].codes for name, code in faults.items()), WAIT_S)
    assert not cams["random_packets"].frames
    assert not any(camera.codes.count("INTERNAL") for camera in cams.values())
    assert set(good.codes) == {None}
    assert set(good.dropped) <= {DropCause.BEHIND}  # what a busy machine sends late


@pytest.mark.parametrize("fault", ["endless header", "huge body", "dribble", "random packets", "flood"])
def test_a_hostile_camera_takes_little_memory(fault: str, clip: list[Unit], serve_raw: ServeRaw) -> None:
    """Whatever it answers, however long it goes on."""
    server = serve_raw(cam=RawCamera(clip, fault=fault))
    code = (
        "import resource, sys, threading\n"
        "from vision_line.config.models import Stream\n"
        "from vision_line.errors import SourceError\n"
        "from vision_line.ingest.camera_clock import Clocks\n"
        "from vision_line.ingest.rtsp import RtspSource\n"
        "stream = Stream.model_validate({'name': 'c', 'url': sys.argv[1], 'connect_timeout_s': 2.0})\n"
        "stop = threading.Event()\n"
        "threading.Timer(2.0, stop.set).start()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    source = RtspSource(stream, stop, Clocks())\n"
        "    for frame in source:\n"
        "        pass\n"
        "except SourceError as exc:\n"
        "    print(exc, file=sys.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, server.url("cam")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000, done.stderr  # KiB


async def test_junk_between_packets_is_skipped(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """A few bytes that belong to nothing cost no frame."""
    server = serve_raw(cam=RawCamera(clip, fault="junk"))
    cam = watch(server.url("cam"))
    await wait_until(lambda: len(cam.frames) >= 30, 10)
    assert not cam.dropped


async def test_frames_above_the_bound_are_refused(
    clip: list[Unit], h265_clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """FRAME_TOO_LARGE by what the SDP or the stream itself declares, before anything is decoded."""
    server = serve_raw(
        described=RawCamera(clip), silent=RawCamera(clip, describes_sets=False), hevc=RawCamera(h265_clip, "hevc")
    )
    cams = [watch(server.url(path), path, max_frame_pixels=192 * 100) for path in ("described", "silent", "hevc")]
    fitting = watch(server.url("described"), "fitting", max_frame_pixels=192 * 112)
    await wait_until(lambda: all("FRAME_TOO_LARGE" in cam.codes for cam in cams), 10)
    await wait_until(lambda: len(fitting.frames) >= 2, 10)
    assert not any(cam.frames for cam in cams)


async def test_the_session_is_kept_alive(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """A camera that closes sessions without a sign of life has one in time, with its authorization."""
    server = serve_raw(cam=RawCamera(clip, session_s=2.0, auth=("sha256",)))
    cam = watch(server.url("cam", CREDENTIALS))
    await wait_until(lambda: len(cam.frames) >= 90, 15)
    assert cam.state is CameraState.RUNNING
    assert not any(cam.codes)
    alive = next(lines for lines in server.requests if lines[0].startswith("GET_PARAMETER"))
    assert any("nc=" in line for line in alive)


async def test_a_frame_that_the_camera_left_out_is_missed_too(
    clip: list[Unit], serve_raw: ServeRaw, watch: Watch, wait_until: Until
) -> None:
    """Without a gap in RTP's numbers the encoder's own tell it."""
    server = serve_raw(cam=RawCamera([*clip[:30], *clip[32:]]))
    cam = watch(server.url("cam"))
    await wait_until(lambda: len(cam.frames) >= 40, 15)
    assert cam.dropped.get(DropCause.CORRUPT, 0) == 18
    cam.assert_accounted()
