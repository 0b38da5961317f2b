# SPDX-License-Identifier: AGPL-3.0-or-later
"""NVDEC through FFmpeg: real streams through a fake that writes on the default stream as FFmpeg does."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from ctypes.util import find_library
from typing import Any

import av
import numpy as np
import pytest
from tests.fakes.gpu_libraries.hwaccel import FakeHwContext
from tests.fakes.gpu_libraries.pynv import semiplanar
from tests.fakes.gpu_libraries.videos import opened

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.decoders.ffmpeg import HwDecoder, open_hw_context
from vision_line.devices.cuda.decoders.sequence import DecoderRequest, read_sequence
from vision_line.devices.cuda.surface import PixelFormat
from vision_line.errors import DeviceError, SourceError
from vision_line.ports import DecodedFrame

Encode = Callable[..., io.BytesIO]

FRAMES = 12


def _request(gpu: GpuContext, stream: Any, first: Any) -> DecoderRequest:
    return DecoderRequest(gpu, "dock-3", stream, None, read_sequence("dock-3", stream, first))


def _fake(codec: str, device: int) -> FakeHwContext:
    assert device == 0
    return FakeHwContext(codec)


def _lines(frame: Any, index: int) -> Any:
    plane = frame.planes[index]
    dtype: Any = np.uint8 if frame.format.name == "nv12" else np.uint16
    lines = np.frombuffer(memoryview(plane), dtype).reshape(-1, plane.line_size // dtype().itemsize)
    return lines[: plane.height, : plane.width * (index + 1)]


@pytest.mark.parametrize(
    ("codec", "pixels", "pixel_format"),
    [
        ("libx264", "yuv420p", PixelFormat.NV12),
        ("libx265", "yuv420p", PixelFormat.NV12),
        ("libx265", "yuv420p10le", PixelFormat.P016),
    ],
)
def test_frames_are_those_of_the_cpu(
    gpu: GpuContext, encode: Encode, codec: str, pixels: str, pixel_format: PixelFormat
) -> None:
    """All frames, held where FFmpeg put them, equal the CPU's sample by sample, in order, with colour and time."""
    memory = encode(codec, (130, 98), pixels, colorspace=1, color_range=1)
    with opened(memory) as (stream, packets):
        decoder = HwDecoder(_request(gpu, stream, packets[0]), _fake)
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
    expected: list[DecodedFrame] = []
    with opened(memory) as (stream, packets):
        reference = CpuDecoder("a", stream)
        expected = [frame for packet in packets for frame in reference.decode(packet)]

    assert len(frames) == len(expected) == FRAMES
    for number, (frame, other) in enumerate(zip(frames, expected, strict=True)):
        assert frame.data.format is pixel_format
        copy = frame.data.to_host()
        _, luma, chroma = semiplanar(other.data)
        np.testing.assert_array_equal(_lines(copy, 0), luma)
        np.testing.assert_array_equal(_lines(copy, 1), chroma)
        assert (frame.size_wh, frame.colour, frame.keyframe) == (other.size_wh, other.colour, other.keyframe)
        assert frame.pts_s == pytest.approx(number / 25)
    decoder.close()


def test_the_event_is_needed(gpu: GpuContext, encode: Encode) -> None:
    """Read without waiting for the default stream, a frame is not there: so each one carries its event."""
    with opened(encode("libx264")) as (stream, packets):
        decoder = HwDecoder(_request(gpu, stream, packets[0]), _fake)
        (frame,) = decoder.decode(packets[0])
        surface = frame.data
        waited = surface.ready
        surface.ready = None
        without = surface.to_host().to_ndarray()
        surface.ready = waited

        assert not np.array_equal(without, surface.to_host().to_ndarray())
        decoder.close()


def test_frames_keep_ffmpegs_memory(gpu: GpuContext, encode: Encode) -> None:
    """FFmpeg gets its memory back when a frame is dropped, and not before."""
    contexts: list[FakeHwContext] = []

    def open_context(codec: str, device: int) -> FakeHwContext:
        contexts.append(_fake(codec, device))
        return contexts[0]

    with opened(encode("libx264")) as (stream, packets):
        decoder = HwDecoder(_request(gpu, stream, packets[0]), open_context)
        for packet in packets[:6]:
            decoder.decode(packet)
        dropped = contexts[0].allocated
        held = [decoder.decode(packet) for packet in packets[6:12]]

    assert dropped <= 4  # two planes each of the present and the last frame
    assert contexts[0].allocated >= 2 * len(held)
    decoder.close()


def test_what_ffmpeg_cannot_take_is_refused(gpu: GpuContext, encode: Encode) -> None:
    """Other codecs and sampling are told before anything is opened."""
    for codec, pixels in (("mjpeg", "yuvj420p"), ("libx264", "yuv444p")):
        with opened(encode(codec, pixels=pixels)) as (stream, packets):
            request = _request(gpu, stream, packets[0])
            with pytest.raises(DeviceError, match=r"found .* expected 4:2:0 of"):
                HwDecoder(request, _fake)


def test_missing_driver_is_one_sentence(gpu: GpuContext, encode: Encode) -> None:
    """FFmpeg's own refusal is translated."""

    def refuse(codec: str, device: int) -> Any:
        raise av.error.PermissionError(1, "Operation not permitted", codec)

    with opened(encode("libx264")) as (stream, packets):
        request = _request(gpu, stream, packets[0])

        with pytest.raises(DeviceError, match=r"^FFmpeg cannot use the GPU: Operation not permitted$"):
            HwDecoder(request, refuse)


@pytest.mark.skipif(find_library("cuda") is not None, reason="there is a driver")
def test_real_ffmpeg_without_a_driver_refuses(gpu: GpuContext, encode: Encode) -> None:
    """Where there is no driver, FFmpeg says so at opening, in an error that is translated."""
    with opened(encode("libx264")) as (stream, packets):
        request = _request(gpu, stream, packets[0])

        with pytest.raises(DeviceError, match=r"^FFmpeg cannot use the GPU: "):
            HwDecoder(request, open_hw_context)


def test_leaving_the_gpu_is_refused(gpu: GpuContext, encode: Encode) -> None:
    """A frame in the host's memory is not taken for one on the GPU."""

    def open_software(codec: str, device: int) -> Any:
        return av.CodecContext.create(codec, "r")

    with opened(encode("libx264")) as (stream, packets):
        decoder = HwDecoder(_request(gpu, stream, packets[0]), open_software)
        with pytest.raises(DeviceError, match=r"found a frame in yuv420p \(no samples\)"):
            decoder.decode(packets[0])


def test_damage_and_closing_are_reported(gpu: GpuContext, encode: Encode) -> None:
    """What FFmpeg refuses is CORRUPT, marked packets give corrupt frames, a closed decoder says so."""
    with (
        opened(encode("libx264")) as (stream, packets),
        closing(HwDecoder(_request(gpu, stream, packets[0]), _fake)) as decoder,
    ):
        packets[0].is_corrupt = True
        assert [frame.corrupt for frame in decoder.decode(packets[0])] == [True]
        with pytest.raises(SourceError, match=r"'dock-3': CORRUPT"):
            decoder.decode(av.Packet(bytes(packets[1])[:12]))
        decoder.close()
        decoder.close()
        with pytest.raises(SourceError, match="closed"):
            decoder.decode(None)
