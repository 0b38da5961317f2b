# SPDX-License-Identifier: AGPL-3.0-or-later
"""A file that cannot be read ends its camera with a code at once: nothing is tried again, and no run waits for it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.stream
import numpy as np
import pytest
from PIL import Image
from tests.integration.ingest.file_runs import FRAMES, Line, write_video

from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.errors import SourceErrorCode
from vision_line.frames import CameraState, DropCause
from vision_line.ingest.probe import probe_file

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import Until


NOBODY = 65534


def make_without_video(path: Path) -> None:
    with av.open(str(path), "w", format="wav") as container:
        sound: Any = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))


def make_without_index(path: Path) -> None:
    """The power failed while it was recorded: the index is written last."""
    content = write_video(path.with_name("late-index.mp4"), b_frames=0, late_index=True).read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_two_rings(path: Path) -> None:
    """A folder in which every way down leads back up, two ways each time."""
    path.mkdir()
    (path / "a").symlink_to(path)
    (path / "b").symlink_to(path)


def save_image(path: Path, level: int = 100) -> Path:
    Image.fromarray(np.full((48, 64), level, np.uint8)).save(path)
    return path


UNREADABLE: dict[str, tuple[str, Callable[[Path], object], SourceErrorCode, str]] = {
    "empty": ("v.mp4", Path.touch, SourceErrorCode.CORRUPT, "is empty"),
    "no index": ("v.mp4", make_without_index, SourceErrorCode.CORRUPT, "cannot be read"),
    "noise": ("v.mp4", lambda p: p.write_bytes(bytes(range(256)) * 50), SourceErrorCode.FORMAT_REFUSED, "format"),
    "a text": ("v.mp4", lambda p: p.write_text("no video\n" * 400), SourceErrorCode.FORMAT_REFUSED, "format"),
    "a text as an image": ("v.png", lambda p: p.write_text("no image"), SourceErrorCode.FORMAT_REFUSED, "format"),
    "missing": ("v.mp4", lambda _: None, SourceErrorCode.NOT_FOUND, "no file"),
    "no video": ("v.wav", make_without_video, SourceErrorCode.FORMAT_REFUSED, "format"),
    "empty folder": ("folder", Path.mkdir, SourceErrorCode.NOT_FOUND, "no images"),
    "no match": ("*.png", lambda _: None, SourceErrorCode.NOT_FOUND, "no images"),
    "a link to itself": ("v.mp4", make_loop, SourceErrorCode.NOT_FOUND, "no file"),
    "an image that links to itself": ("v.png", make_loop, SourceErrorCode.NOT_FOUND, "no file"),
    "rings of links": (
        "rings/**/*.png",
        lambda p: make_two_rings(p.parents[1]),
        SourceErrorCode.NOT_FOUND,
        "no images",
    ),
    "a pipe": ("v.mp4", os.mkfifo, SourceErrorCode.NOT_FOUND, "no file"),
    "a pipe for an image": ("v.png", os.mkfifo, SourceErrorCode.NOT_FOUND, "no file"),
    "empty image": ("v.png", Path.touch, SourceErrorCode.CORRUPT, "is empty"),
    "a name that is too long": ("v" * 300, lambda _: None, SourceErrorCode.FAILED, "too long"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("loop", [False, True])
async def test_what_cannot_be_read_ends_at_once(kind: str, loop: bool, tmp_path: Path) -> None:
    """With its code and a sentence that names it, looped or not; a check finds the same."""
    name, make, code, words = UNREADABLE[kind]
    make(tmp_path / name)
    line = Line(f"file:{tmp_path}/{name}", loop=loop)
    async with asyncio.timeout(60):
        await line.run()

    assert [(change.state, change.code) for change in line.states] == [
        (CameraState.CONNECTING, None),
        (CameraState.ENDED, code),
    ]
    assert words in line.states[-1].detail
    assert not re.search(rf"camera '|{code}", line.states[-1].detail), "beside it stand the name and the code"
    assert not line.frames
    found = probe_file(line.stream, CpuDecoder)
    assert (found.code, words in found.detail) == (code, True)


@pytest.fixture
def forbidden_folder() -> Iterator[Path]:
    """A folder to which this thread, and those that it starts, come as nobody, also where the tests run as root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        ctypes.CDLL(None).setfsuid(os.geteuid())


@pytest.mark.parametrize("name", ["v.mp4", "v.png"])
async def test_a_file_without_permission(name: str, forbidden_folder: Path) -> None:
    """FAILED, and the reason is said."""
    (forbidden_folder / name).write_bytes(b"something")
    (forbidden_folder / name).chmod(0)
    ctypes.CDLL(None).setfsuid(NOBODY)
    line = Line(f"file:{forbidden_folder}/{name}")
    await line.run()
    assert (line.states[-1].state, line.states[-1].code) == (CameraState.ENDED, SourceErrorCode.FAILED)
    assert "Permission denied" in line.states[-1].detail


async def test_images_that_vanish_are_counted_and_named(tmp_path: Path, wait_until: Until) -> None:
    """The others are inspected, and the end says that it was not all."""
    images = [save_image(tmp_path / f"{index}.png") for index in range(6)]
    line = Line(f"file:{tmp_path}", paced=True, picture_fps=2)
    task = asyncio.create_task(line.run())
    await wait_until(lambda: bool(line.frames), 20)
    images[4].unlink()
    images[5].unlink()
    async with asyncio.timeout(60):
        await task

    assert len(line.frames) == 4
    assert line.mailbox.counts().dropped == {DropCause.CORRUPT: 2}
    assert line.states[-1].code == SourceErrorCode.NOT_FOUND
    assert f"2 of 6 images, the first of them: '{images[4]}'" in line.states[-1].detail


async def test_a_damaged_image_is_counted_and_named(tmp_path: Path) -> None:
    """It can be opened, and only decoding shows that half of it is missing."""
    images = [save_image(tmp_path / f"{index}.jpg") for index in range(3)]
    content = images[1].read_bytes()
    images[1].write_bytes(content[: len(content) // 2])
    line = Line(f"file:{tmp_path}", paced=False)
    async with asyncio.timeout(60):
        await line.run()

    assert len(line.frames) == 2
    assert line.mailbox.counts().dropped == {DropCause.CORRUPT: 1}
    assert (line.states[-1].state, line.states[-1].code) == (CameraState.ENDED, SourceErrorCode.CORRUPT)
    assert f"1 of 3 images, the first of them: '{images[1]}' is damaged" in line.states[-1].detail


async def test_a_looped_video_that_becomes_unreadable_ends(tmp_path: Path, wait_until: Until) -> None:
    """It was played at least once; then it is gone, and the camera has ended with a code."""
    video = write_video(tmp_path / "v.mp4", b_frames=0)
    line = Line(f"file:{video}", loop=True)
    task = asyncio.create_task(line.run())
    await wait_until(lambda: len(line.frames) >= FRAMES, 20)
    video.unlink()
    async with asyncio.timeout(60):
        await task
    assert (line.states[-1].state, line.states[-1].code) == (CameraState.ENDED, SourceErrorCode.NOT_FOUND)


async def test_a_cover_image_is_no_video(tmp_path: Path) -> None:
    """Sound with a cover has one image, and it shows no line."""
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        sound: Any = container.add_stream("aac", rate=8000)
        cover: Any = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(64, 48, "yuvj420p")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    line = Line(f"file:{path}")
    await line.run()
    assert line.states[-1].code == SourceErrorCode.NO_VIDEO


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port that nobody may knock at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def hls(entry: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{entry}\n#EXT-X-ENDLIST\n"


def dash(entry: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1">'
        f"<BaseURL>{entry}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )


PLAYLISTS: dict[str, Callable[[str], str]] = {
    "m3u8": hls,
    "mpd": dash,
    "ffconcat": lambda entry: f"ffconcat version 1.0\nfile '{entry}'\n",
    "sdp": lambda _: (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5000 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n"
    ),
    "svg": lambda entry: f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{entry}"/></svg>',
    "asx": lambda entry: f'<asx version="3.0"><entry><ref href="{entry}"/></entry></asx>',
    "ram": lambda entry: f"{entry}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", ["own", "mp4", "ts", "jpg", "png"])
@pytest.mark.parametrize("place", ["file", "http"])
async def test_what_names_other_resources_is_refused(
    kind: str, suffix: str, place: str, tmp_path: Path, listener: socket.socket
) -> None:
    """Whatever it is called. Nothing that it names is opened: the file would block as a pipe, the port would be asked.

    The same file holds for an image.
    """
    os.mkfifo(tmp_path / "secret.ts")
    port = listener.getsockname()[1]
    entry = f"http://127.0.0.1:{port}/secret.ts" if place == "http" else f"{tmp_path}/secret.ts"
    path = tmp_path / f"v.{kind if suffix == 'own' else suffix}"
    path.write_text(PLAYLISTS[kind](entry))
    line = Line(f"file:{path}")
    async with asyncio.timeout(60):
        await line.run()

    assert line.states[-1].state is CameraState.ENDED
    assert line.states[-1].code in (SourceErrorCode.FORMAT_REFUSED, SourceErrorCode.CORRUPT)
    assert not line.frames
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("name", ["v_%03d.jpg", "v_*.jpg", "{1..3}.jpg", "concat:1.jpg|2.jpg", "[1-2].jpg"])
async def test_a_name_is_one_file(name: str, tmp_path: Path) -> None:
    """A file with a pattern for a name is that file, whatever the pattern matches."""
    for other in ("v_001.jpg", "v_002.jpg", "1.jpg", "2.jpg", "3.jpg"):
        save_image(tmp_path / other)
    save_image(tmp_path / name, 200)
    line = Line(f"file:{tmp_path}/{name}")
    await line.run()
    assert [round(level, -1) for level in line.levels] == [200]


@pytest.mark.parametrize("name", ["v_%03d.mp4", "concat:v.mp4", "http:v.mp4", "v.m3u8", "v.sdp", "v", "v?.mp4"])
async def test_a_video_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    """Its name says nothing."""
    shutil.copy(write_video(tmp_path / "source.mp4", b_frames=0), tmp_path / name)
    line = Line(f"file:{tmp_path}/{name}")
    await line.run()
    assert (len(line.frames), line.states[-1].code) == (FRAMES, None)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("v.mov", "libx264"),
        ("v.mkv", "libx264"),
        ("v.webm", "libvpx"),
        ("v.avi", "mjpeg"),
        ("v.ts", "libx264"),
        ("v.mpg", "mpeg2video"),
        ("v.flv", "libx264"),
        ("v.wmv", "msmpeg4"),
        ("v.ogv", "libvpx"),
        ("v.ivf", "libvpx"),
        ("v.nut", "mjpeg"),
        ("v.mxf", "mpeg2video"),
        ("v.h264", "libx264"),
        ("v.hevc", "libx265"),
        ("v.mjpeg", "mjpeg"),
        ("v.y4m", "rawvideo"),
    ],
)
async def test_usual_formats_are_read(name: str, codec: str, tmp_path: Path) -> None:
    """Containers and raw streams that FFmpeg writes."""
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame(64, 48, stream.pix_fmt)))
        container.mux(stream.encode())
    line = Line(f"file:{path}")
    await line.run()
    assert (len(line.frames), line.states[-1].code) == (FRAMES, None)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "tiff", "webp"])
async def test_an_image_is_known_by_its_content(kind: str, tmp_path: Path) -> None:
    """A PNG may be called .jpg."""
    with (tmp_path / "v.jpg").open("wb") as file:
        Image.fromarray(np.full((48, 64, 3), 128, np.uint8)).save(file, kind)
    line = Line(f"file:{tmp_path}/v.jpg")
    await line.run()
    assert (len(line.frames), line.states[-1].code) == (1, None)


def test_a_check_of_a_healthy_file_waits_for_nothing(tmp_path: Path) -> None:
    """Its first frames are enough."""
    video = write_video(tmp_path / "v.mp4", b_frames=2)
    stream = Stream.model_validate({"name": "a", "url": f"file:{video}", "loop": True, "paced": True})
    assert probe_file(stream, CpuDecoder).code is None
