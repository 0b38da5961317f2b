# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever a source holds is that source's own affair: foreign tags do no harm, faults and huge frames stay alone."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from vision_line.config.models import Stream
from vision_line.frames import CameraState, Colour, StateChange
from vision_line.ingest.camera import Camera
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ports import Decoder

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import Serve, Until, Watch, Watched

MARK = "title-in-ascii"
GB18030_TITLE = "一号产线相机".encode("gb18030")


def write_avi(path: Path, tag: bytes, size_wh: tuple[int, int] = (64, 48)) -> Path:
    """Write five frames with a title of these bytes, which FFmpeg itself would not write."""
    width, height = size_wh
    with av.open(str(path), "w") as container:
        container.metadata["title"] = MARK
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        for index in range(5):
            grey = np.full((height * 3 // 2, width), 40 * index, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="yuvj420p")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    data = path.read_bytes()
    assert MARK.encode() in data
    path.write_bytes(data.replace(MARK.encode(), tag.ljust(len(MARK), b" ")[: len(MARK)]))
    return path


def has_ended(cam: Watched) -> bool:
    """Whether a file came to its end."""
    return any(change.state is CameraState.ENDED for change in cam.states)


@pytest.mark.parametrize(
    "tag", [GB18030_TITLE, b"\xff\xfe\x00\x80", bytes(range(0x80, 0x8E))], ids=lambda tag: tag.hex()
)
async def test_tags_in_any_encoding_do_no_harm(tag: bytes, tmp_path: Path, watch: Watch, wait_until: Until) -> None:
    """A title that is not UTF-8 is nothing to a video's frames."""
    cam = watch(f"file:{write_avi(tmp_path / 'tagged.avi', tag)}", paced=False)
    await wait_until(lambda: has_ended(cam), 10)
    assert (len(cam.frames), any(cam.codes)) == (5, False)


async def test_a_fault_of_ours_is_one_cameras_error_and_reported_once(
    tmp_path: Path, serve: Serve, watch: Watch, wait_until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """The camera is INTERNAL and retried slowly, its traceback is logged once; its neighbour never notices."""
    caplog.set_level(logging.INFO)
    url = f"file:{write_avi(tmp_path / 'a.avi', b'')}"
    server = serve({"path": "cam", "fps": 10})

    tried: list[str] = []

    def failing(camera: str, stream: Any, colour: Colour | None) -> Decoder:
        tried.append(camera)
        raise ZeroDivisionError("made up")

    states: list[StateChange] = []
    stream = Stream.model_validate({"name": "bad", "url": server.url("cam")})
    mailbox = NewestFrame(lambda: None)
    camera = Camera(stream, failing, mailbox, states.append, asyncio.Semaphore(4), chance=lambda: 0.0)
    running = asyncio.create_task(camera.run())
    good = watch(url, "good", paced=False, loop=True)
    attempts = "camera bad: a fault of vision-line"
    await wait_until(lambda: any(change.code == "INTERNAL" for change in states), 10)
    await wait_until(lambda: len(tried) >= 3, 10)  # the second one has ended
    frames = len(good.frames)
    await wait_until(lambda: len(good.frames) > frames, 10)
    assert not running.done()
    assert caplog.text.count(attempts) == 1
    assert caplog.text.count("ZeroDivisionError: made up") == 1
    assert "ZeroDivisionError" in next(change.detail for change in states if change.code == "INTERNAL")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    good_codes = set(good.codes)
    assert good_codes == {None}


async def test_frames_above_the_bound_have_a_code_of_their_own(tmp_path: Path, watch: Watch, wait_until: Until) -> None:
    """A video or a frame of more pixels than `max_frame_pixels` is refused before anything is decoded."""
    path = write_avi(tmp_path / "large.avi", b"", (320, 240))
    stills = (tmp_path / "large.jpg", tmp_path / "large.png")
    for still in stills:
        av.VideoFrame.from_ndarray(np.zeros((240, 320), np.uint8), format="gray").save(str(still))
    large = [watch(f"file:{name}", name.suffix[1:], max_frame_pixels=320 * 239) for name in (path, *stills)]
    fitting = watch(f"file:{path}", "fitting", max_frame_pixels=320 * 240, paced=False)
    await wait_until(lambda: all("FRAME_TOO_LARGE" in cam.codes for cam in large), 10)
    await wait_until(lambda: has_ended(fitting), 10)
    assert [len(cam.frames) for cam in (*large, fitting)] == [0, 0, 0, 5]


def test_a_frame_whose_size_only_decoding_shows_takes_no_memory(tmp_path: Path) -> None:
    """FFmpeg itself decodes while it looks for the parameters of a PNG: that is bounded too."""
    path = tmp_path / "huge.png"
    av.VideoFrame.from_ndarray(np.zeros((10_000, 10_000), np.uint8), format="gray").save(str(path))
    code = (
        "import resource, sys\nfrom vision_line.ingest.file_formats import open_container\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "open_container(sys.argv[1], 1 << 20).close()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30_000  # KiB; the image has 100 MB
