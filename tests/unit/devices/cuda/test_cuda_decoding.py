# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which decoder is chosen for a stream, when it is changed, and what happens when one refuses or fails."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import av
import pytest
from tests.fakes.fakecuda.driver import OUT_OF_MEMORY, FakeDriver
from tests.fakes.gpu_libraries.hwaccel import FakeHwContext
from tests.fakes.gpu_libraries.videos import opened

from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.decoders.choice import (
    BACKENDS,
    CudaDecoder,
    DecoderBackend,
    decoders_on,
)
from vision_line.devices.cuda.decoders.ffmpeg import HwDecoder
from vision_line.devices.cuda.decoders.nvdec import NvDecoder
from vision_line.devices.cuda.decoders.upload import UploadDecoder
from vision_line.devices.cuda.surface import PixelFormat, Surface
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.ports import DecodedFrame

Encode = Callable[..., io.BytesIO]

FRAMES = 12


def _backends(pynv: Any) -> tuple[DecoderBackend, ...]:
    return (
        DecoderBackend("NVDEC", partial(NvDecoder, nvc=pynv), adapts=False),
        DecoderBackend("FFmpeg", partial(HwDecoder, open_context=lambda codec, _: FakeHwContext(codec)), adapts=True),
        DecoderBackend("CPU", UploadDecoder, adapts=True),
    )


@contextmanager
def _decoding(
    gpu: GpuContext, memory: io.BytesIO, backends: tuple[DecoderBackend, ...]
) -> Iterator[tuple[CudaDecoder, list[Any]]]:
    with (
        opened(memory) as (stream, packets),
        closing(CudaDecoder(gpu, "dock-3", stream, None, backends)) as decoder,
    ):
        yield decoder, packets


def _decoded(decoder: CudaDecoder, packets: list[Any]) -> list[DecodedFrame]:
    return [frame for packet in packets for frame in decoder.decode(packet)]


def _joined(*videos: io.BytesIO) -> io.BytesIO:
    return io.BytesIO(b"".join(video.getvalue() for video in videos))


@pytest.mark.parametrize(
    ("codec", "pixels", "chosen"),
    [
        ("libx264", "yuv420p", "NVDEC"),
        ("libx265", "yuv420p10le", "NVDEC"),
        ("libsvtav1", "yuv420p10le", "NVDEC"),
        ("libx264", "yuv422p", "CPU"),
        ("mjpeg", "yuvj420p", "CPU"),
        ("png", "rgb24", "CPU"),
    ],
)
def test_best_decoder_that_takes_the_stream_is_chosen(
    gpu: GpuContext, pynv: Any, encode: Encode, codec: str, pixels: str, chosen: str
) -> None:
    """What NVDEC takes goes there, everything else is decoded on the CPU; all frames are surfaces."""
    memory = encode(codec, pixels=pixels, container="mov" if codec == "png" else "matroska")
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        assert decoder.description == ""
        frames = _decoded(decoder, packets)

        assert decoder.backend == chosen
        assert decoder.description.endswith(f": {chosen}")
    assert len(frames) == FRAMES
    assert {type(frame.data) for frame in frames} == {Surface}
    assert decoder.backend == ""


def test_frames_that_people_see_turned_are_decoded_where_they_are_turned(gpu: GpuContext, pynv: Any) -> None:
    """NVDEC would give them sideways."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mov") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame(128, 96, "yuv420p")))
        container.mux(stream.encode())
    memory.seek(0)
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        frames = _decoded(decoder, packets)
        assert decoder.backend == "CPU"
    assert [frame.size_wh for frame in frames] == [(96, 128)] * FRAMES


def test_without_its_library_ffmpeg_decodes(
    gpu: GpuContext, pynv: Any, encode: Encode, caplog: pytest.LogCaptureFixture
) -> None:
    """A backend that cannot be opened is passed over, and the log says why, once."""
    pynv.refuse = RuntimeError("libnvcuvid.so.1 not found")
    with _decoding(gpu, encode("libx264"), _backends(pynv)) as (decoder, packets), caplog.at_level("INFO"):
        assert len(_decoded(decoder, packets)) == FRAMES

        assert decoder.backend == "FFmpeg"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("camera dock-3: h264 128x96, 8 bit: FFmpeg (NVDEC: ")
    assert "libnvcuvid" in line


def test_decoder_that_fails_at_the_first_frame_is_passed_over(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """NVIDIA's decoder is made only when the first packet is parsed: that it cannot be made is no loss of a frame."""

    class Unable(NvDecoder):
        def decode(self, packet: Any) -> list[DecodedFrame]:
            raise DeviceError("NVDEC: no session is free")

    backends = (DecoderBackend("NVDEC", partial(Unable, nvc=pynv), adapts=False), *_backends(pynv)[2:])
    with _decoding(gpu, encode("libx264"), backends) as (decoder, packets):
        assert len(_decoded(decoder, packets)) == FRAMES
        assert decoder.backend == "CPU"


def test_full_gpu_is_no_traceback(gpu: GpuContext, pynv: Any, encode: Encode, fake_cuda: FakeDriver) -> None:
    """Where there is no memory for surfaces the reason is told, and the camera is tried again later."""
    fake_cuda.inject("cuMemAlloc", OUT_OF_MEMORY)
    backends = _backends(pynv)[:1]
    with (
        _decoding(gpu, encode("libx264"), backends) as (decoder, packets),
        pytest.raises(SourceError, match=r"CODEC_UNSUPPORTED: cuda: decoding by NVDEC: CUDA_ERROR_OUT_OF_MEMORY"),
    ):
        _decoded(decoder, packets)


def test_nobody_takes_it(gpu: GpuContext, pynv: Any, encode: Encode, fake_cuda: FakeDriver) -> None:
    """When all refuse, every reason is told."""
    fake_cuda.decoder(supported=False)
    backends = (_backends(pynv)[0], DecoderBackend("other", _refuse, adapts=True))
    with (
        _decoding(gpu, encode("libx264"), backends) as (decoder, packets),
        pytest.raises(SourceError, match="does not decode h264 of 8 bit; not today") as raised,
    ):
        _decoded(decoder, packets)
    assert raised.value.code is SourceErrorCode.CODEC_UNSUPPORTED


def _refuse(_request: Any) -> Any:
    raise DeviceError("not today")


def test_failure_while_running_is_damage(
    gpu: GpuContext, pynv: Any, encode: Encode, caplog: pytest.LogCaptureFixture
) -> None:
    """A decoder that took the stream and then fails costs frames up to the next keyframe, and no connection."""
    with _decoding(gpu, encode("libx264"), _backends(pynv)) as (decoder, packets):
        (second,) = (number for number, packet in enumerate(packets[:-1]) if number and packet.is_keyframe)
        assert len(_decoded(decoder, packets[:3])) == 3
        next(iter(pynv.alive)).Decode = _broken

        with pytest.raises(SourceError, match=r"'dock-3': CORRUPT: NVDEC: h264 .*: the engine hangs"):
            list(decoder.decode(packets[3]))
        left = len(pynv.alive)
        frames = _decoded(decoder, packets[second:])

        assert left == 0
        assert len(frames) == FRAMES - second
        assert decoder.backend == "NVDEC"
    assert "the engine hangs; it goes on at the next keyframe" in caplog.text


def _broken(_packet: Any) -> Any:
    raise RuntimeError("the engine hangs")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_change_of_size_gets_a_new_decoder(gpu: GpuContext, pynv: Any, encode: Encode, codec: str) -> None:
    """Smaller and larger frames in the same stream come in their own size; none is scaled, none is lost."""
    container = {"libx264": "h264", "libx265": "hevc"}[codec]
    sizes = [(128, 96), (96, 64), (160, 128)]
    memory = _joined(*(encode(codec, size, container=container) for size in sizes))
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        frames = _decoded(decoder, packets)
        copies = [frame.data.to_host() for frame in frames]

    assert [frame.size_wh for frame in frames] == [size for size in sizes for _ in range(FRAMES)]
    assert [(copy.width, copy.height) for copy in copies] == [frame.size_wh for frame in frames]
    assert len(pynv.opened) == len(sizes)


def test_change_of_depth_gets_a_new_decoder(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """From 8 to 10 bit the frames become 16-bit samples."""
    memory = _joined(encode("libx265", container="hevc"), encode("libx265", pixels="yuv420p10le", container="hevc"))
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        formats = [frame.data.format for frame in _decoded(decoder, packets)]

    assert formats == [PixelFormat.NV12] * FRAMES + [PixelFormat.P016] * FRAMES


def test_repeated_parameter_sets_change_nothing(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Keyframes of the same sequence go to the same decoder."""
    with _decoding(gpu, encode("libx264", container="h264"), _backends(pynv)) as (decoder, packets):
        assert sum(packet.is_keyframe for packet in packets[:-1]) == 2
        _decoded(decoder, packets)

    assert len(pynv.opened) == 1


def test_reordering_that_was_not_announced_is_seen(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """A stream whose timestamps step back is decoded in order of display from its next keyframe on."""
    memory = encode("libx264", options={"bf": "2", "b-adapt": "0"}, frames=24)
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        reader = _Unannounced(decoder)
        latencies = []
        for packet in packets:
            list(reader.decode(packet))
            latencies.append(pynv.opened[-1]["latency"].name)

    assert latencies[0] == "LOW"
    assert latencies[-1] == "NATIVE"


class _Unannounced:
    """Hides from a decoder what the stream says of its own order."""

    def __init__(self, decoder: CudaDecoder) -> None:
        self._decoder = decoder

    def decode(self, packet: Any) -> Iterator[DecodedFrame]:
        """Decode with the announcement taken away."""
        with pytest.MonkeyPatch.context() as patch:
            module = sys.modules[CudaDecoder.__module__]
            read = module.read_sequence
            patch.setattr(module, "read_sequence", lambda *args: _in_order(read(*args)))
            yield from self._decoder.decode(packet)


def _in_order(sequence: Any) -> Any:
    from dataclasses import replace

    return replace(sequence, reorders=False)


def test_after_damage_the_next_keyframe_begins(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """A first frame that cannot be read is CORRUPT; the decoder is there for the next one."""
    with _decoding(gpu, encode("libx264"), _backends(pynv)) as (decoder, packets):
        with pytest.raises(SourceError, match="CORRUPT"):
            list(decoder.decode(av.Packet(b"\x00\x00\x99\x05\x65none")))

        assert len(_decoded(decoder, packets)) == FRAMES


def test_without_nvidias_software_the_cpu_decodes(
    gpu: GpuContext, encode: Encode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The product's own row of backends ends at the CPU, and the log names each refusal."""
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", None)
    with _decoding(gpu, encode("libx264", pixels="yuv422p"), BACKENDS) as (decoder, packets), caplog.at_level("INFO"):
        assert sum(len(list(decoder.decode(packet))) for packet in packets) == FRAMES

    (line,) = [record.getMessage() for record in caplog.records]
    assert "PyNvVideoCodec is not installed" in line
    assert "FFmpeg on the GPU: found h264" in line
    assert "this is no Jetson" in line


def test_closed_decoder_says_so(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Flushing before the first frame gives nothing; closing twice is allowed, decoding afterwards is not."""
    with _decoding(gpu, encode("libx264"), _backends(pynv)) as (decoder, packets):
        assert _decoded(decoder, [None]) == []
        decoder.close()
        decoder.close()
        with pytest.raises(SourceError, match="closed"):
            _decoded(decoder, packets)


def test_streams_without_video_are_refused_at_opening(gpu: GpuContext) -> None:
    """What the CPU decoder refuses is refused here, before any thread of the GPU's is touched."""
    stream: Any = type("Stream", (), {"type": "video", "codec_context": None})()
    with pytest.raises(SourceError, match="CODEC_UNSUPPORTED"):
        CudaDecoder(gpu, "a", stream)


def test_cameras_start_before_the_device(gpu: GpuContext, encode: Encode) -> None:
    """A decoder can be opened by the GPU's number alone."""
    with (
        opened(encode("mjpeg", pixels="yuvj420p")) as (stream, packets),
        closing(decoders_on(gpu.index)("a", stream, None)) as decoder,
    ):
        assert len(list(decoder.decode(packets[0]))) == 1


def test_nothing_is_left_on_the_gpu(gpu: GpuContext, pynv: Any, encode: Encode, fake_cuda: FakeDriver) -> None:
    """When decoder and frames are gone, so are their memory, streams and events."""
    from cuda.core import LEGACY_DEFAULT_STREAM

    before = fake_cuda.live()
    with _decoding(gpu, encode("libx264"), _backends(pynv)) as (decoder, packets):
        frames = _decoded(decoder, packets)
    held = fake_cuda.live()
    del frames, decoder

    assert held.get("device bytes", 0) > before.get("device bytes", 0)
    gc.collect()
    LEGACY_DEFAULT_STREAM.sync()
    assert fake_cuda.live() == before
