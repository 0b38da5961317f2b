# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames decoded on the CPU and brought to the GPU: the same samples, whatever their format."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes.gpu_libraries.videos import opened

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.decoders.sequence import DecoderRequest, VideoSequence, read_sequence
from vision_line.devices.cuda.decoders.upload import RGB_AS, UploadDecoder, write_nv12, yuv_planes
from vision_line.devices.cuda.surface import PixelFormat
from vision_line.devices.preprocessing.definition import Planes, letterbox_planes
from vision_line.errors import SourceError
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import DecodedFrame

Encode = Callable[..., io.BytesIO]

FRAMES = 12
LIMITED = Colour(ColourMatrix.BT601, ColourRange.LIMITED)


@contextmanager
def _uploading(
    gpu: GpuContext, memory: io.BytesIO, colour: Colour | None = None
) -> Iterator[tuple[UploadDecoder, list[Any]]]:
    with opened(memory) as (stream, packets):
        sequence = read_sequence("dock-3", stream, packets[0])
        with closing(UploadDecoder(DecoderRequest(gpu, "dock-3", stream, colour, sequence))) as decoder:
            yield decoder, packets


def _on_cpu(memory: io.BytesIO) -> list[DecodedFrame]:
    with opened(memory) as (stream, packets):
        decoder = CpuDecoder("a", stream)
        return [frame for packet in packets for frame in decoder.decode(packet)]


@pytest.mark.parametrize(
    ("codec", "size_wh", "pixels"),
    [
        ("libx264", (128, 96), "yuv420p"),
        ("libx265", (128, 96), "yuv420p10le"),
        ("mjpeg", (129, 97), "yuvj420p"),
    ],
)
def test_uploaded_frames_are_those_of_the_cpu(
    gpu: GpuContext, encode: Encode, codec: str, size_wh: tuple[int, int], pixels: str
) -> None:
    """All frames, held to the end, equal the CPU's planes sample by sample, with their colour and times."""
    memory = encode(codec, size_wh, pixels)
    with _uploading(gpu, memory) as (decoder, packets):
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
        copies = [open_planes(frame.data.to_host()) for frame in frames]
    expected = _on_cpu(memory)

    assert len(frames) == len(expected) == FRAMES
    for number, (frame, copy, other) in enumerate(zip(frames, copies, expected, strict=True)):
        assert frame.data.format is PixelFormat.NV12
        for found, wanted in zip(copy.planes, open_planes(other.data).planes, strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert (frame.size_wh, frame.colour, frame.keyframe) == (size_wh, other.colour, other.keyframe)
        assert frame.pts_s == pytest.approx(number / 25)


def test_change_of_size_is_followed(gpu: GpuContext, encode: Encode) -> None:
    """A stream that changes its size goes on; frames of the old size that are held stay as they were."""
    joined = io.BytesIO(encode("libx264", container="h264").getvalue())
    joined.seek(0, io.SEEK_END)
    joined.write(encode("libx264", (96, 64), container="h264").getvalue())
    joined.seek(0)
    with _uploading(gpu, joined) as (decoder, packets):
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
        copies = [frame.data.to_host() for frame in frames]

    assert [frame.size_wh for frame in frames] == [(128, 96)] * FRAMES + [(96, 64)] * FRAMES
    assert [(copy.width, copy.height) for copy in copies] == [frame.size_wh for frame in frames]
    assert all(copy.to_ndarray().std() > 10 for copy in copies)


def test_override_wins_over_stream_and_rgb(gpu: GpuContext, encode: Encode) -> None:
    """The camera's own colour setting replaces what the stream says."""
    override = Colour(ColourMatrix.BT2020, ColourRange.FULL)
    with _uploading(gpu, encode("libx264"), override) as (decoder, packets):
        assert {frame.colour for packet in packets for frame in decoder.decode(packet)} == {override}


def test_damage_and_closing_are_reported(gpu: GpuContext, encode: Encode) -> None:
    """What FFmpeg refuses is CORRUPT; a closed decoder says so, and closing twice is allowed."""
    with _uploading(gpu, encode("libx264")) as (decoder, packets):
        with pytest.raises(SourceError, match=r"'dock-3': CORRUPT"):
            list(decoder.decode(av.Packet(bytes(packets[0])[:40])))
        decoder.close()
        decoder.close()
        with pytest.raises(SourceError, match="closed"):
            list(decoder.decode(packets[0]))


def test_unknown_streams_are_refused(gpu: GpuContext) -> None:
    """The CPU decoder's own checks hold here too."""
    stream: Any = type("Stream", (), {"type": "audio", "codec_context": None})()
    sequence = VideoSequence("h264", (8, 8), 8, is_420=True, reorders=False, colour=LIMITED)
    with pytest.raises(SourceError, match="NO_VIDEO"):
        UploadDecoder(DecoderRequest(gpu, "a", stream, None, sequence))


def _as_nv12(planes: Planes) -> Planes:
    width, height = planes.size_wh
    luma = np.empty((height, width), np.uint8)
    chroma = np.empty(((height + 1) // 2, (width + 1) // 2 * 2), np.uint8)
    write_nv12(planes, luma, chroma)
    return Planes((luma, chroma[:, ::2], chroma[:, 1::2]))


def _smooth_rgb(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    across, down = np.meshgrid(np.linspace(0, 255, size_wh[0]), np.linspace(0, 255, size_wh[1]))
    return np.stack([across, down, 255 - across], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv420p10le", "gray", "nv12"])
@pytest.mark.parametrize("size_wh", [(64, 48), (63, 47)])
def test_every_format_becomes_nv12(pixels: str, size_wh: tuple[int, int]) -> None:
    """Whatever the sampling, the network sees the same frame as from the original planes, within 4 of 255.

    Luma is exact; averaging finer chroma to half size moves a colour a little where it changes.
    """
    frame = av.VideoFrame.from_ndarray(_smooth_rgb(size_wh), format="rgb24").reformat(format=pixels)
    planes, colour = yuv_planes(frame)

    found = letterbox_planes(_as_nv12(planes), LIMITED, (32, 64)).astype(int)

    assert colour is None
    assert np.abs(found - letterbox_planes(open_planes(frame), LIMITED, (32, 64))).max() <= 4


def test_rgb_frames_keep_their_colours() -> None:
    """Images are RGB: as NV12, read as what they are said to be, they differ by at most 6 of 255."""
    rgb = _smooth_rgb((64, 48))
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    planes, colour = yuv_planes(frame)
    assert colour == RGB_AS

    found = letterbox_planes(_as_nv12(planes), RGB_AS, (48, 64)).astype(int)

    assert np.abs(found - rgb).max() <= 6
