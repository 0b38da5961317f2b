# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU decoder on real encoded streams: frames, colour descriptions, damage."""

from __future__ import annotations

import gc
import io
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from vision_line.devices.cpu.decoder import CpuDecoder, describe_colour
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import DecodedFrame

FRAMES = 12


def _encode(
    codec: str,
    size_wh: tuple[int, int] = (128, 96),
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    **colour: int,
) -> io.BytesIO:
    """Encode a few moving frames; `colour` are attributes of the codec context."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = size_wh
        stream.pix_fmt = pixels
        for name, value in colour.items():
            setattr(stream.codec_context, name, value)
        for number in range(FRAMES):
            rgb = np.full((size_wh[1], size_wh[0], 3), 40, np.uint8)
            rgb[:, number * 8 : number * 8 + 16] = 200
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixels)
            for name, value in colour.items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    memory.seek(0)
    return memory


def _decoded(memory: io.BytesIO, colour: Colour | None = None) -> list[DecodedFrame]:
    with av.open(memory, "r") as container:
        stream = container.streams.video[0]
        with closing(CpuDecoder("a", stream, colour)) as decoder:
            # the demuxer's last packet is empty: it flushes
            return [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mjpeg"])
def test_every_frame_comes_out(codec: str) -> None:
    """H.264, H.265 and MJPEG: all frames, whole, in presentation order, the first a keyframe."""
    frames = _decoded(_encode(codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p"))

    assert len(frames) == FRAMES
    assert {frame.size_wh for frame in frames} == {(128, 96)}
    assert not any(frame.corrupt for frame in frames)
    assert frames[0].keyframe
    times = [frame.pts_s for frame in frames]
    assert times == sorted(times, key=lambda time: time or 0)


def test_a_frame_that_is_let_go_is_gone() -> None:
    """Its pixels do not wait for the garbage collector, which comes by once in minutes."""
    video = _encode("libx264", options={"g": "4"})
    gc.collect()
    gc.disable()
    try:
        frames = _decoded(video)
        kept = _frames_in_memory()
        del frames
        left = _frames_in_memory()
    finally:
        gc.enable()

    assert kept - left == FRAMES


def _frames_in_memory() -> int:
    # by type alone: others in this process have objects that do something when they are asked what they are
    return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"tune": "zerolatency"}),
        ("libx265", {"tune": "zerolatency"}),
        ("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1"}),
        ("mjpeg", {}),
    ],
)
def test_no_frame_is_held_back(codec: str, options: dict[str, str]) -> None:
    """Each packet of a stream without reordering gives its frame at once: a decoder's threads would keep some."""
    memory = _encode(codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p", options=options)
    with av.open(memory, "r") as container:
        stream = container.streams.video[0]
        with closing(CpuDecoder("a", stream)) as decoder:
            given = [len(list(decoder.decode(packet))) for packet in container.demux(stream) if packet.size]

    assert given == [1] * FRAMES


@pytest.mark.parametrize(
    ("codec", "size_wh", "colour", "expected"),
    [
        ("libx264", (128, 96), {}, Colour(ColourMatrix.BT601, ColourRange.LIMITED, assumed=True)),
        ("libx264", (128, 720), {}, Colour(ColourMatrix.BT709, ColourRange.LIMITED, assumed=True)),
        ("libx264", (128, 96), {"colorspace": 1, "color_range": 1}, Colour(ColourMatrix.BT709, ColourRange.LIMITED)),
        ("libx264", (128, 720), {"colorspace": 6, "color_range": 2}, Colour(ColourMatrix.BT601, ColourRange.FULL)),
        ("libx264", (128, 96), {"colorspace": 9, "color_range": 1}, Colour(ColourMatrix.BT2020, ColourRange.LIMITED)),
        ("mjpeg", (128, 720), {}, Colour(ColourMatrix.BT601, ColourRange.FULL)),
    ],
)
def test_the_colour_is_the_streams_or_the_rules(
    codec: str, size_wh: tuple[int, int], colour: dict[str, int], expected: Colour
) -> None:
    """What the stream says counts; what it leaves out follows the rule and is marked as assumed."""
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"

    frames = _decoded(_encode(codec, size_wh, pixels, None, **colour))

    assert {frame.colour for frame in frames} == {expected}


def test_full_range_formats_need_no_flag() -> None:
    """A `yuvj` frame is full range though it does not say so."""
    frame = av.VideoFrame(64, 48, "yuvj420p")

    assert describe_colour(frame, "h264").range is ColourRange.FULL


@pytest.mark.parametrize("levels", [np.uint8, np.uint16])
def test_grey_tiffs_have_all_their_levels(levels: type[np.unsignedinteger[Any]], tmp_path: Path) -> None:
    """FFmpeg does not say that they do, and what is darker than 16 or brighter than 235 would be gone."""
    grey = np.linspace(0, np.iinfo(levels).max, 64).astype(levels)
    cv2.imwrite(str(tmp_path / "grey.tiff"), np.tile(grey, (48, 1)))
    with av.open(str(tmp_path / "grey.tiff")) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))

        assert describe_colour(frame, stream.codec_context.name).range is ColourRange.FULL


def test_an_override_wins() -> None:
    """The camera's own setting replaces what the stream says."""
    override = Colour(ColourMatrix.BT2020, ColourRange.FULL)

    frames = _decoded(_encode("libx264", colorspace=1, color_range=1), override)

    assert {frame.colour for frame in frames} == {override}


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mjpeg"])
def test_damage_is_refused(codec: str) -> None:
    """A packet that was cut in half raises CORRUPT with the camera's name; the decoder goes on with the next."""
    refused, decoded = [], 0
    with av.open(_encode(codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p"), "r") as container:
        stream = container.streams.video[0]
        decoder = CpuDecoder("dock-3", stream)
        for number, packet in enumerate(container.demux(stream)):
            try:
                decoded += len(list(decoder.decode(_half(packet) if number == 2 else packet)))
            except SourceError as exc:
                refused.append((exc.code, exc.camera))

    assert refused == [(SourceErrorCode.CORRUPT, "dock-3")]
    assert decoded == FRAMES - 1


def _half(packet: Any) -> Any:
    half = av.Packet(bytes(packet)[: packet.size // 2])
    half.pts, half.dts, half.time_base = packet.pts, packet.dts, packet.time_base
    return half


def test_frames_of_a_marked_packet_are_corrupt() -> None:
    """What the demuxer marks as damaged is damaged, even where it can be decoded."""
    with av.open(_encode("mjpeg", pixels="yuvj420p"), "r") as container:
        stream = container.streams.video[0]
        packet = next(iter(container.demux(stream)))
        packet.is_corrupt = True

        assert [frame.corrupt for frame in CpuDecoder("a", stream).decode(packet)] == [True]


def test_a_stream_without_codec_is_unsupported() -> None:
    """FFmpeg lists streams whose codec it does not know; PyAV gives them no codec context."""
    stream: Any = SimpleNamespace(type="video", codec_context=None)

    with pytest.raises(SourceError, match="CODEC_UNSUPPORTED"):
        CpuDecoder("a", stream)


def test_audio_is_no_camera() -> None:
    """A stream without video is NO_VIDEO before anything is decoded."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    memory.seek(0)

    with av.open(memory, "r") as container, pytest.raises(SourceError, match="NO_VIDEO"):
        CpuDecoder("a", container.streams[0])  # type: ignore[arg-type]


def test_a_closed_decoder_says_so() -> None:
    """Closing twice is allowed; decoding afterwards is not."""
    with av.open(_encode("libx264"), "r") as container:
        decoder = CpuDecoder("a", container.streams.video[0])
        decoder.close()
        decoder.close()

        with pytest.raises(SourceError, match="closed"):
            list(decoder.decode(None))
