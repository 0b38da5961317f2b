# SPDX-License-Identifier: AGPL-3.0-or-later
"""NVDEC through PyNvVideoCodec: real streams through a fake that keeps the library's rules."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from tests.fakes.fakecuda.driver import FakeDriver
from tests.fakes.gpu_libraries.videos import opened

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.decoders.nvdec import NvDecoder, load_pynvvideocodec
from vision_line.devices.cuda.decoders.sequence import DecoderRequest, VideoSequence, read_sequence
from vision_line.devices.cuda.surface import POOL_SIZE, PixelFormat
from vision_line.errors import DeviceError, SourceError
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import DecodedFrame, EncodedVideo

Encode = Callable[..., io.BytesIO]

FRAMES = 12
API = json.loads((Path(__file__).parents[3] / "fakes" / "gpu_libraries" / "pynvvideocodec-2.2.4.json").read_text())
BLACK = Colour(ColourMatrix.BT601, ColourRange.LIMITED)


def _request(gpu: GpuContext, stream: Any, first: Any, colour: Colour | None = None) -> DecoderRequest:
    return DecoderRequest(gpu, "dock-3", stream, colour, read_sequence("dock-3", stream, first))


def _decode_all(gpu: GpuContext, pynv: Any, memory: io.BytesIO) -> tuple[list[DecodedFrame], NvDecoder]:
    with opened(memory) as (stream, packets):
        decoder = NvDecoder(_request(gpu, stream, packets[0]), pynv)
        return [frame for packet in packets for frame in decoder.decode(packet)], decoder


def _on_cpu(memory: io.BytesIO) -> list[DecodedFrame]:
    with opened(memory) as (stream, packets):
        decoder = CpuDecoder("a", stream)
        return [frame for packet in packets for frame in decoder.decode(packet)]


def _samples(frame: Any) -> list[Any]:
    """Return Y, Cb and Cr of a host frame in 8 bits, whatever its format."""
    dtype: Any = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    shift = {"nv12": 0, "p010le": 8, "yuv420p10le": 2}.get(frame.format.name, 0)
    planes = []
    for index, plane in enumerate(frame.planes):
        interleaved = index == 1 and len(frame.planes) == 2
        lines: Any = np.frombuffer(memoryview(plane), dtype).reshape(-1, plane.line_size // dtype().itemsize)
        lines = lines[: plane.height, : plane.width * (2 if interleaved else 1)] >> shift
        planes.extend([lines[:, ::2], lines[:, 1::2]] if interleaved else [lines])
    return planes


@pytest.mark.parametrize(
    ("codec", "size_wh", "pixels"),
    [
        ("libx264", (128, 96), "yuv420p"),
        ("libx264", (130, 98), "yuv420p10le"),
        ("libx265", (128, 96), "yuv420p"),
        ("libx265", (128, 96), "yuv420p10le"),
        ("libsvtav1", (128, 96), "yuv420p10le"),
    ],
)
def test_frames_are_those_of_the_cpu(
    gpu: GpuContext, pynv: Any, encode: Encode, codec: str, size_wh: tuple[int, int], pixels: str
) -> None:
    """All frames, held to the end while the decoder overwrites its own, equal the CPU's sample by sample."""
    memory = encode(codec, size_wh, pixels)
    frames, decoder = _decode_all(gpu, pynv, memory)
    expected = _on_cpu(memory)

    assert len(frames) == len(expected) == FRAMES
    assert {frame.data.format for frame in frames} == {PixelFormat.NV12 if pixels == "yuv420p" else PixelFormat.P016}
    for number, (frame, other) in enumerate(zip(frames, expected, strict=True)):
        for found, wanted in zip(_samples(frame.data.to_host()), _samples(other.data), strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert (frame.size_wh, frame.colour, frame.keyframe) == (other.size_wh, other.colour, other.keyframe)
        assert frame.pts_s == pytest.approx(number / 25)
        assert not frame.corrupt
    decoder.close()


def test_each_packet_gives_its_frame_at_once(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """A live stream is decoded without holding frames back: LOW latency, every packet marked as a whole frame."""
    with opened(encode("libx264")) as (stream, packets):
        decoder = NvDecoder(_request(gpu, stream, packets[0]), pynv)
        counts = [len(decoder.decode(packet)) for packet in packets]

    assert counts == [1] * FRAMES + [0]
    assert decoder.latency == "LOW"
    decoder.close()


def test_reordered_streams_come_in_order_of_display(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Streams with B-frames are decoded with NATIVE latency and lose none."""
    frames, decoder = _decode_all(gpu, pynv, encode("libx264", options={"bf": "2"}))
    times = [frame.pts_s or 0.0 for frame in frames]

    assert decoder.latency == "NATIVE"
    assert len(times) == FRAMES
    assert times == sorted(times)
    decoder.close()


def test_parameter_sets_outside_the_stream_are_put_in(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """A camera that sends its parameter sets only when it is asked for its description is decoded all the same."""
    with opened(encode("libx264", container="h264")) as (stream, packets):
        assert stream.codec_context.extradata.startswith(b"\x00\x00\x01")
        request = _request(gpu, stream, packets[0])
        decoder = NvDecoder(request, pynv)
        count = sum(len(decoder.decode(packet if packet is None else _stripped(packet))) for packet in packets)

    assert count == FRAMES
    decoder.close()


def _stripped(packet: Any) -> Any:
    """Return the packet without SPS and PPS."""
    units = bytes(packet).replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")[1:]
    kept = [unit for unit in units if unit[0] & 0x1F not in (7, 8)]
    bare: Any = av.Packet(b"".join(b"\x00\x00\x00\x01" + unit for unit in kept))
    bare.pts, bare.dts, bare.time_base, bare.is_keyframe = packet.pts, packet.dts, packet.time_base, packet.is_keyframe
    return bare


def test_packets_are_only_read(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """The caller's packets are as they were, so that another decoder can take them."""
    with opened(encode("libx264")) as (stream, packets):
        before = bytes(packets[0])
        decoder = NvDecoder(_request(gpu, stream, packets[0]), pynv)
        decoder.decode(packets[0])

        assert bytes(packets[0]) == before
        decoder.close()


def test_marked_packets_give_corrupt_frames(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """What the demuxer marks as damaged stays marked through the decoder, and so does its successor not."""
    with opened(encode("libx264")) as (stream, packets):
        packets[2].is_corrupt = True
        decoder = NvDecoder(_request(gpu, stream, packets[0]), pynv)
        corrupt = [frame.corrupt for packet in packets[:4] for frame in decoder.decode(packet)]

    assert corrupt == [False, False, True, False]
    decoder.close()


def test_an_override_wins(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """The camera's own colour setting replaces what the stream says."""
    override = Colour(ColourMatrix.BT2020, ColourRange.FULL)
    with opened(encode("libx264", colorspace=1, color_range=1)) as (stream, packets):
        decoder = NvDecoder(_request(gpu, stream, packets[0], override), pynv)

        assert [frame.colour for frame in decoder.decode(packets[0])] == [override]
        decoder.close()


def test_steady_state_takes_no_memory(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """While frames are dropped as they come, the pool keeps its size; held ones make it grow by as many."""
    with (
        opened(encode("libx264")) as (stream, packets),
        closing(NvDecoder(_request(gpu, stream, packets[0]), pynv)) as decoder,
    ):
        for packet in packets[:6]:
            decoder.decode(packet)
        dropped = decoder.pool.size
        held = [decoder.decode(packet) for packet in packets[6:12]]

        assert (dropped, decoder.pool.size) == (POOL_SIZE, len(held))


def test_too_many_held_frames_are_reported(
    gpu: GpuContext, pynv: Any, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no more memory may be taken, the frame is refused as damaged: counted, and never silent."""
    monkeypatch.setattr("vision_line.devices.cuda.decoders.nvdec.POOL_LIMIT", POOL_SIZE)
    with (
        opened(encode("libx264")) as (stream, packets),
        closing(NvDecoder(_request(gpu, stream, packets[0]), pynv)) as decoder,
    ):
        held = [decoder.decode(packet) for packet in packets[:POOL_SIZE]]

        with pytest.raises(SourceError, match=r"'dock-3': CORRUPT: all 4"):
            decoder.decode(packets[POOL_SIZE])
        assert len(held) == POOL_SIZE


def test_silent_scaling_is_caught(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """A decoder that makes frames of another size than the sequence's is refused before anything is copied."""
    sequence = VideoSequence("h264", (128, 80), 8, is_420=True, reorders=False, colour=BLACK)
    with (
        opened(encode("libx264", (128, 96))) as (stream, packets),
        closing(NvDecoder(DecoderRequest(gpu, "a", stream, None, sequence), pynv)) as decoder,
        pytest.raises(DeviceError, match=r"found .*\(144, 128\).* expected .*\(120, 128\)"),
    ):
        decoder.decode(packets[0])


@pytest.mark.parametrize(
    ("change", "caps", "message"),
    [
        ({"codec": "mjpeg"}, {}, "found mjpeg, expected one of h264, hevc, av1"),
        ({"is_420": False}, {}, "not 4:2:0"),
        ({"bits": 9}, {}, "9 bit"),
        ({}, {"supported": False}, "does not decode h264 of 8 bit"),
        ({"size_wh": (8192, 96)}, {}, "48x16 to 4096x4096"),
        ({"size_wh": (1920, 1080)}, {"most_macroblocks": 8159}, "at most 8159 macroblocks"),
    ],
)
def test_what_the_gpu_cannot_decode_is_refused(
    gpu: GpuContext, pynv: Any, fake_cuda: FakeDriver, change: dict[str, Any], caps: dict[str, Any], message: str
) -> None:
    """The refusal says what was found and what the decoder takes; nothing was opened."""
    fake_cuda.decoder(**caps)
    facts: dict[str, Any] = {"codec": "h264", "size_wh": (1280, 720), "bits": 8, "is_420": True} | change
    request = DecoderRequest(
        gpu, "a", cast("EncodedVideo", None), None, VideoSequence(**facts, reorders=False, colour=BLACK)
    )

    with pytest.raises(DeviceError, match=message):
        NvDecoder(request, pynv)
    assert pynv.opened == []


@pytest.mark.parametrize("kind", ["PyNvVCException", "PyNvVCExceptionUnsupported", None])
def test_the_librarys_errors_are_translated(gpu: GpuContext, pynv: Any, encode: Encode, kind: str | None) -> None:
    """Each kind of error that the library raises becomes one sentence with the stream in it."""
    pynv.refuse = (getattr(pynv, kind) if kind else RuntimeError)("out of memory\nat NvDecoder.cpp:1")
    with (
        opened(encode("libx264")) as (stream, packets),
        pytest.raises(DeviceError, match=r"^NVDEC: h264 128x96, 8 bit: out of memory$"),
    ):
        NvDecoder(_request(gpu, stream, packets[0]), pynv)


def test_a_closed_decoder_says_so(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Closing twice is allowed; decoding afterwards is not."""
    _, decoder = _decode_all(gpu, pynv, encode("libx264"))
    decoder.close()
    decoder.close()

    with pytest.raises(SourceError, match="closed"):
        decoder.decode(None)


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyNvVideoCodec the error names the command."""
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", None)

    with pytest.raises(DeviceError, match=r"pip install '\.\[cuda\]'"):
        load_pynvvideocodec()


def test_missing_video_part_of_the_driver_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container without the video capability the library fails to load, and the error says how to run it."""
    text = "libnvidia-encode.so.1: cannot open shared object file\\n\\n=== TROUBLESHOOTING STEPS ==="
    (tmp_path / "PyNvVideoCodec.py").write_text(f"raise RuntimeError('{text}')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "PyNvVideoCodec", raising=False)

    with pytest.raises(DeviceError, match=r"libnvidia-encode.*NVIDIA_DRIVER_CAPABILITIES=compute,utility,video$"):
        load_pynvvideocodec()


def test_fake_has_only_names_of_the_real_library(pynv: Any) -> None:
    """Whatever works with the fake exists, by the same name and number, in the wheel of PyNvVideoCodec 2.2."""
    enums = {name: getattr(pynv, name) for name in API["enums"] if hasattr(pynv, name)}
    for name, enum in enums.items():
        assert {member.name: int(member.value) for member in enum}.items() <= API["enums"][name].items()
    assert set(pynv.PacketData.__slots__) <= set(API["classes"]["PacketData"])
    module = sys.modules[type(pynv).__module__]
    for kind in ("DecodedFrame", "PyNvDecoder"):
        public = {name for name in vars(getattr(module, kind)) if not name.startswith("_")}
        assert public <= set(API["classes"][kind])
    assert set(_keywords(pynv.CreateDecoder)) <= set(API["functions"]["CreateDecoder"][0])


def _keywords(function: Any) -> list[str]:
    code = function.__func__.__code__
    return list(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])
