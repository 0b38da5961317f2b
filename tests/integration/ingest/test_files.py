# SPDX-License-Identifier: AGPL-3.0-or-later
"""Videos, folders and globs of images: every image once, in order, at its pace, and then the end."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from tests.integration.ingest.file_runs import FRAMES, Line, write_video

from vision_line.cli.check import check_file
from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.frames import CameraState, Colour, ColourMatrix, ColourRange, DropCause
from vision_line.ingest.file_search import file_path
from vision_line.ingest.probe import probe
from vision_line.ports import DecodedFrame, Decoder
from vision_line.runtime.options import RunOptions

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import Serve, Until


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with B-frames."""
    return write_video(tmp_path_factory.mktemp("video") / "boards.mp4", b_frames=2)


@pytest.fixture(scope="module")
def plain_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose frames refer to earlier ones only."""
    return write_video(tmp_path_factory.mktemp("video") / "plain.mp4", b_frames=0)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of five images and a text."""
    for index in range(5):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64), 40 * index + 20, np.uint8), format="gray")
        frame.save(str(tmp_path / f"board{index}.{'png' if index % 2 else 'jpg'}"))
    (tmp_path / "readme.txt").write_text("no image")
    return tmp_path


class FaultyDecoder:
    """A decoder that reports damage at one frame: as a corrupt frame or as an error."""

    def __init__(self, camera: str, stream: Any, colour: Colour | None, *, at: int, raises: bool) -> None:
        self._decoder = CpuDecoder(camera, stream, colour)
        self._camera = camera
        self._at = at
        self._raises = raises
        self._count = 0

    def decode(self, packet: Any) -> Iterator[DecodedFrame]:
        """Decode, with the fault at its place."""
        for decoded in self._decoder.decode(packet):
            self._count += 1
            if self._count == self._at and self._raises:
                raise SourceError(self._camera, SourceErrorCode.CORRUPT, "made up")
            yield replace(decoded, corrupt=self._count == self._at)

    def close(self) -> None:
        """Close the real one."""
        self._decoder.close()


class DeviceThatFails(CpuDecoder):
    """A decoder whose frames cannot be copied to where people and the health check could look at them."""

    def decode(self, packet: Any) -> list[DecodedFrame]:
        """Decode, and lose the frames."""
        return [replace(decoded, data=self) for decoded in super().decode(packet)]

    def to_host(self) -> av.VideoFrame:
        """Fail."""
        raise DeviceError("cuda: the GPU has fallen off the bus")


async def test_a_video_is_read_whole_and_in_order(video: Path) -> None:
    """All frames arrive, in display order though the file reorders them, and the camera has ENDED."""
    line = Line(f"file:{video}")
    await line.run()
    assert [frame.sequence for frame in line.frames] == list(range(FRAMES))
    assert line.levels == sorted(line.levels)
    counts = line.mailbox.counts()
    assert (counts.arrived, counts.taken, counts.dropped) == (FRAMES, FRAMES, {})
    assert line.states[-1].state is CameraState.ENDED
    assert line.states[-1].code is None


@pytest.mark.parametrize("raises", [False, True])
async def test_damage_discards_up_to_the_next_keyframe(plain_video: Path, raises: bool) -> None:
    """A damaged frame and all that refer to it are counted as CORRUPT; the next keyframe starts again."""

    def open_decoder(camera: str, stream: Any, colour: Colour | None) -> Decoder:
        return FaultyDecoder(camera, stream, colour, at=4, raises=raises)

    line = Line(f"file:{plain_video}", open_decoder)
    await line.run()
    assert [round((level - 20) / 10) for level in line.levels] == [0, 1, 2, *range(10, FRAMES)]
    assert [frame.sequence for frame in line.frames] == list(range(len(line.frames)))
    assert line.mailbox.counts().dropped == {DropCause.CORRUPT: 7}
    assert (line.states[-1].state, line.states[-1].code) == (CameraState.ENDED, SourceErrorCode.CORRUPT)
    assert "7 of 20 frames" in line.states[-1].detail


async def test_a_frame_that_cannot_be_copied_is_the_cameras_error(video: Path) -> None:
    """It ends neither the thread with a traceback nor the program."""
    line = Line(f"file:{video}", DeviceThatFails)
    await line.run()
    last = line.states[-1]
    assert (last.state, last.code) == (CameraState.ENDED, "FAILED")
    assert "the GPU has fallen off the bus" in last.detail


@pytest.mark.parametrize("name", ["v.mp4", "fragments.mp4", "v.mov", "v.mkv", "v.avi", "v.flv", "v.nut", "v.ts"])
async def test_a_video_that_was_cut_off_ends_with_a_code(tmp_path: Path, name: str) -> None:
    """What is there is read, and then the camera has ENDED as CORRUPT: the rest was not inspected."""
    path = write_video(tmp_path / name, b_frames=0, noise=40)
    whole = Line(f"file:{path}")
    await whole.run()
    assert (len(whole.frames), whole.states[-1].code) == (FRAMES, None)

    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    line = Line(f"file:{path}")
    async with asyncio.timeout(60):
        await line.run()

    assert 0 < len(line.frames) < FRAMES
    assert line.states[-1].state is CameraState.ENDED
    assert line.states[-1].code == SourceErrorCode.CORRUPT
    assert "cut off" in line.states[-1].detail


async def test_a_length_in_the_header_of_the_file_shows_that_it_was_cut_off(tmp_path: Path) -> None:
    """Of a Matroska file whose track says no length of its own."""
    path = write_video(tmp_path / "v.mkv", b_frames=0, noise=40)
    untagged = path.read_bytes().replace(b"DURATION", b"SOMETHIN")
    path.write_bytes(untagged)
    whole = Line(f"file:{path}")
    await whole.run()
    assert (len(whole.frames), whole.states[-1].code) == (FRAMES, None)

    path.write_bytes(untagged[: len(untagged) * 2 // 3])
    line = Line(f"file:{path}")
    await line.run()
    assert line.states[-1].code == SourceErrorCode.CORRUPT
    assert "of 0.80 s" in line.states[-1].detail


async def test_a_video_that_begins_between_keyframes_is_whole_from_the_first_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a piece of a longer one: what refers to the rest is counted and named, and is no damage."""
    path = write_video(tmp_path / "v.h264", b_frames=0)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    path.write_bytes(b"".join(packets[3:]))
    line = Line(f"file:{path}")
    await line.run()
    assert line.states[-1].code is None
    assert line.mailbox.counts().dropped == {DropCause.CORRUPT: 7}
    assert "the first 7 frames" in caplog.text


async def test_a_video_with_longer_sound_is_whole(tmp_path: Path) -> None:
    """The frames of a video may end before its sound does."""
    line = Line(f"file:{write_video(tmp_path / 'v.mkv', b_frames=2, sound_s=3.0)}")
    async with asyncio.timeout(60):
        await line.run()

    assert (len(line.frames), line.states[-1].code) == (FRAMES, None)


async def test_a_paced_video_takes_its_time(video: Path) -> None:
    """20 frames at 25 fps take about 0.8 s."""
    line = Line(f"file://{video}", paced=True)
    started_s = time.monotonic()
    await line.run()
    assert 0.6 < time.monotonic() - started_s < 20.0
    assert len(line.frames) == FRAMES


async def test_a_looped_video_goes_on(video: Path, wait_until: Until) -> None:
    """The numbers go on over the end of the file, until cancelled."""
    line = Line(f"file:{video}", loop=True)
    task = asyncio.create_task(line.run())
    await wait_until(lambda: len(line.frames) >= 3 * FRAMES, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [frame.sequence for frame in line.frames] == list(range(len(line.frames)))


@pytest.mark.parametrize("pattern", ["", "/board*", "/*.[jp][pn]g"])
async def test_images_of_a_folder_or_glob(images: Path, pattern: str) -> None:
    """All images in the order of their names; other files are left out."""
    line = Line(f"file:{images}{pattern}")
    await line.run()
    assert [round((level - 20) / 40) for level in line.levels] == [0, 1, 2, 3, 4]
    assert all(frame.keyframe for frame in line.frames)


async def test_a_broken_image_is_counted(images: Path) -> None:
    """It counts as a frame that arrived and was corrupt; the others are inspected."""
    (images / "board2.jpg").write_bytes(b"no image at all")
    line = Line(f"file:{images}")
    await line.run()
    assert len(line.frames) == 4
    assert line.mailbox.counts().dropped == {DropCause.CORRUPT: 1}


async def test_damaged_images_are_counted_and_not_evaluated(images: Path) -> None:
    """Cut short in the midst of its data: FFmpeg would fill it up without a word."""
    noise = np.random.default_rng(1).integers(0, 255, (48, 64), np.uint8)
    for index in (0, 2):
        av.VideoFrame.from_ndarray(noise, format="gray").save(str(images / f"board{index}.jpg"))
    whole = (images / "board2.jpg").read_bytes()
    (images / "board2.jpg").write_bytes(whole[: len(whole) // 2])
    line = Line(f"file:{images}")
    await line.run()
    assert [frame.sequence for frame in line.frames] == [0, 1, 2, 3]
    assert line.mailbox.counts().dropped == {DropCause.CORRUPT: 1}


async def test_a_colour_setting_overrides_the_file(video: Path) -> None:
    """One overridden value leaves the other to the stream or the rule."""
    line = Line(f"file:{video}", colour_matrix="bt2020")
    await line.run()
    assert line.frames[0].colour.matrix is ColourMatrix.BT2020
    assert line.frames[0].colour.range is ColourRange.LIMITED


def test_a_probe_describes_a_video(video: Path) -> None:
    """Codec, size, pace, colour and the time to the first frame."""
    result = probe(Stream.model_validate({"name": "file", "url": f"file:{video}"}), CpuDecoder, 5.0)
    assert (result.codec, result.size_wh, result.code) == ("h264", (64, 48), None)
    assert result.fps == pytest.approx(25.0, rel=0.01)
    assert result.time_to_first_frame_s is not None
    assert result.colour is not None


def test_a_probe_names_what_is_wrong() -> None:
    """The code and one sentence."""
    result = probe(Stream.model_validate({"name": "cam", "url": "rtsp://u:secret@127.0.0.1:1/c"}), CpuDecoder, 5.0)
    assert result.code is SourceErrorCode.REFUSED
    assert "secret" not in result.detail


def test_a_probe_describes_a_camera(serve: Serve) -> None:
    """The pace is the camera's own, not that of the arrivals."""
    server = serve({"path": "cam", "codec": "h265", "fps": 10})
    result = probe(Stream.model_validate({"name": "cam", "url": server.url("cam")}), CpuDecoder, 10.0)
    assert (result.codec, result.size_wh) == ("hevc", (320, 240))
    assert result.fps == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:a/b.mp4", "a/b.mp4"), ("file:///a/b.mp4", "/a/b.mp4"), ("file:/a/*.png", "/a/*.png")],
)
def test_paths_of_file_urls(url: str, path: str) -> None:
    """With and without the empty host."""
    assert file_path(url) == path


def test_check_refuses_a_camera_that_sends_too_few_frames(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rate is known once it was probed: 10 frames a second never give a part 25 inspections in 2 s."""
    monkeypatch.chdir(tmp_path)
    server = serve({"path": "cam", "fps": 10})
    camera = f'[[stream]]\nname = "cam"\nurl = "{server.url("cam")}"\n'
    file = tmp_path / "streams.toml"

    file.write_text(f"config_version = 1\n{camera}min_hits = 25\n", encoding="utf-8")
    assert check_file(RunOptions(file), probe=True) == 2
    said = capsys.readouterr().err
    # measured: a busy machine moves it a little
    place = r"\S+streams\.toml:4: stream\[cam\]\.url"
    found = re.match(
        rf"{place}: found (\S+) frames/s; 25 inspections \(min_hits\) within 2 s \(dwell_s\) need 12\.5 insp", said
    )
    assert found, said
    assert 8.0 < float(found[1]) < 12.5

    file.write_text(f"config_version = 1\n{camera}min_hits = 15\n", encoding="utf-8")
    assert check_file(RunOptions(file), probe=True) == 0
