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
from tools.gpu_check.plain_sps import plain

from vision_line.devices.cpu.decoder import CpuDecoder
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
        DecoderBackend("NVDEC", partial(NvDecoder, nvc=pynv), can_hurry=True),
        DecoderBackend("FFmpeg", partial(HwDecoder, open_context=lambda codec, _: FakeHwContext(codec))),
        DecoderBackend("CPU", UploadDecoder),
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


def _turning(packet: Any) -> Any:
    """Return H.264's packet, that asks for a quarter turn (ITU-T H.264 D.1.27) if it is a keyframe."""
    turn = b"\x00\x00\x00\x01\x06\x2f\x03\x08\x00\x09\x80" if packet.is_keyframe else b""
    turning: Any = av.Packet(turn + bytes(packet))
    turning.is_keyframe = packet.is_keyframe
    return turning


def test_a_camera_that_turns_its_frames_may_change_its_size(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """What the next sequence says is read as what the first said, though the decoder of that one is at its end."""
    memory = _joined(*(encode("libx264", size, container="h264") for size in ((128, 96), (160, 128))))
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        frames = _decoded(decoder, [*map(_turning, packets[:-1]), None])
        assert decoder.backend == "CPU"
    assert [frame.size_wh for frame in frames] == [(96, 128)] * FRAMES + [(128, 160)] * FRAMES
    assert pynv.opened == []


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

    backends = (DecoderBackend("NVDEC", partial(Unable, nvc=pynv)), *_backends(pynv)[2:])
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
    backends = (_backends(pynv)[0], DecoderBackend("other", _refuse))
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


def _as_cameras_send(packets: list[Any]) -> list[Any]:
    """Return copies of H.264's packets that do not say how few frames are reordered, at the times they had."""
    copies: list[Any] = []
    for packet in packets[:-1]:
        copy: Any = av.Packet(plain(bytes(packet)))
        copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
        copy.is_keyframe = packet.is_keyframe
        copies.append(copy)
    return [*copies, None]


@contextmanager
def _open_order(
    gpu: GpuContext, pynv: Any, encode: Encode, frames: int = 30, options: dict[str, str] | None = None
) -> Iterator[tuple[CudaDecoder, list[Any]]]:
    memory = encode("libx264", container="mpegts", frames=frames, options=options)
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        yield decoder, _as_cameras_send(packets)


def _latencies(pynv: Any) -> list[str]:
    return [options["latency"].name for options in pynv.opened]


def _times(frames: list[DecodedFrame]) -> list[float]:
    return [round(frame.pts_s or 0.0, 3) for frame in frames]


@pytest.mark.parametrize("zero_has_pts", [False, True])
def test_a_camera_that_leaves_its_order_open_does_not_wait_for_long(
    gpu: GpuContext, pynv: Any, encode: Encode, caplog: pytest.LogCaptureFixture, zero_has_pts: bool
) -> None:
    """That the library holds frames back is noticed: from a keyframe on each comes with its packet, none is lost."""
    pynv.zero_has_pts = zero_has_pts
    with _open_order(gpu, pynv, encode) as (decoder, packets), caplog.at_level("INFO"):
        given = [list(decoder.decode(packet)) for packet in packets]
        frames = [frame for some in given for frame in some]
        shown = [frame.data.to_host().to_ndarray() for frame in frames]
    with opened(encode("libx264", container="mpegts", frames=30)) as (stream, originals):
        reader = CpuDecoder("other", stream)
        expected = [frame for packet in originals for frame in reader.decode(packet)]
        wanted = [frame.data.reformat(format="nv12").to_ndarray() for frame in expected]

    assert _latencies(pynv) == ["LOW", "ZERO"]
    assert [len(some) for some in given[:3]] == [0, 0, 0]
    assert [len(some) for some in given[-13:]] == [1] * 12 + [0]
    assert _times(frames) == _times(expected)
    assert [frame.keyframe for frame in frames] == [frame.keyframe for frame in expected]
    assert all((one == other).all() for one, other in zip(shown, wanted, strict=True))
    assert "reorders nothing; decoding waits no more" in caplog.text


def test_a_frame_that_is_lost_moves_no_others_time(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Without numbers the frames are those of the newest packets: of a packet that gives none nothing is left."""
    with _open_order(gpu, pynv, encode) as (decoder, packets):
        _decoded(decoder, packets[:20])
        assert _latencies(pynv)[-1] == "ZERO"
        rubbish: Any = av.Packet(b"\x00\x00\x00\x01\x0c\xff\x80")  # filler: no frame
        rubbish.pts, rubbish.time_base = packets[20].pts, packets[20].time_base

        assert list(decoder.decode(rubbish)) == []
        frames = _decoded(decoder, packets[24:29])
    assert _times(frames) == [round(float(packet.pts * packet.time_base), 3) for packet in packets[24:29]]


def test_a_decoder_that_is_never_prompt_is_tried_once(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Its frames have numbers without that mode, so they keep their times."""
    pynv.never_prompt = True
    with _open_order(gpu, pynv, encode) as (decoder, packets):
        frames = _decoded(decoder, packets)

    assert _latencies(pynv) == ["LOW", "ZERO", "LOW"]
    assert len(frames) == 30
    assert _times(frames) == sorted(_times(frames))


def test_without_a_mode_that_does_not_wait_it_decodes_as_before(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Later, but on NVDEC."""
    pynv.refuses_zero = True
    with _open_order(gpu, pynv, encode) as (decoder, packets):
        frames = _decoded(decoder, packets[:-1])
        assert decoder.backend == "NVDEC"
        frames += list(decoder.decode(None))

    assert _latencies(pynv) == ["LOW", "LOW"]
    assert len(frames) == 30


def test_frames_that_are_renewed_part_by_part_are_waited_for(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Another decoder would lack what the parts that are still old refer to."""
    options = {"tune": "zerolatency", "preset": "ultrafast", "x264-params": "intra-refresh=1:keyint=6"}
    with _open_order(gpu, pynv, encode, options=options) as (decoder, packets):
        assert sum(packet.is_keyframe for packet in packets[:-1]) > 2
        frames = _decoded(decoder, packets)

    assert _latencies(pynv) == ["LOW"]
    assert len(frames) == 30


def test_one_reordered_frame_between_keyframes_is_enough(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """Without waiting it would come behind the one that is shown after it."""
    options = {"bf": "1", "b-adapt": "0", "x264-params": "keyint=3:min-keyint=3:scenecut=0:open-gop=0"}
    with _open_order(gpu, pynv, encode, options=options) as (decoder, packets):
        frames = _decoded(decoder, packets)

    assert "ZERO" not in _latencies(pynv)
    assert _times(frames) == sorted(_times(frames))


def test_haste_ends_where_times_go_back(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """From the next keyframe on, and for good."""
    with _open_order(gpu, pynv, encode, frames=48) as (decoder, packets):
        packets[20].pts = packets[18].pts - 1
        frames = _decoded(decoder, packets)

    assert _latencies(pynv) == ["LOW", "ZERO", "LOW"]
    assert len(frames) == 48


def test_another_sequence_is_watched_anew(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """It may reorder: what was learned of the one before does not count."""
    with (
        _open_order(gpu, pynv, encode) as (decoder, packets),
        opened(encode("libx264", (160, 96), container="mpegts")) as (_, others),
    ):
        _decoded(decoder, packets[:20])
        _decoded(decoder, _as_cameras_send(others)[:1])

    assert _latencies(pynv) == ["LOW", "ZERO", "LOW"]


def test_order_goes_before_haste(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """A stream that reorders without saying so gives late frames too, and is decoded in order of display."""
    with _open_order(gpu, pynv, encode, options={"bf": "2", "b-adapt": "0"}) as (decoder, packets):
        _decoded(decoder, packets)

    assert "ZERO" not in _latencies(pynv)
    assert _latencies(pynv)[-1] == "NATIVE"


def test_fields_are_woven_as_on_the_cpu(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """PyNvVideoCodec deinterlaces them; also where only the parameter set says that there may be fields."""
    for params in ("interlaced=1", "fake-interlaced=1"):
        with _decoding(gpu, encode("libx264", options={"x264-params": params}), _backends(pynv)) as (decoder, packets):
            assert len(_decoded(decoder, packets)) == FRAMES
            assert decoder.backend == "FFmpeg"
    assert pynv.opened == []


def test_frames_that_begin_within_what_is_coded_are_cropped_on_the_cpu(
    gpu: GpuContext, pynv: Any, encode: Encode
) -> None:
    """Both of NVDEC's ways crop on the right and below only: all boxes would be off, by so much."""
    for codec, options, container in (
        ("libx264", {"x264-params": "crop-rect=16,8,0,0"}, "mpegts"),
        ("libx264", {"x264-params": "crop-rect=0,8,0,0"}, "matroska"),
    ):
        memory = encode(codec, options=options | {"preset": "ultrafast", "tune": "zerolatency"}, container=container)
        with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
            assert len(_decoded(decoder, packets)) == FRAMES
            assert decoder.backend == "CPU"


def test_each_sequence_gets_the_best_decoder_that_takes_it(gpu: GpuContext, pynv: Any, encode: Encode) -> None:
    """A camera that is set to what NVDEC does not take, and back, is not decoded on the CPU for good."""
    memory = _joined(*(encode("libx264", pixels=pixels, container="h264") for pixels in ("yuv422p", "yuv420p")))
    with _decoding(gpu, memory, _backends(pynv)) as (decoder, packets):
        chosen = [(list(decoder.decode(packet)), decoder.backend)[1] for packet in packets[:-1]]

    assert chosen == ["CPU"] * FRAMES + ["NVDEC"] * FRAMES


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
