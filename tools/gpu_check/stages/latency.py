# SPDX-License-Identifier: AGPL-3.0-or-later
"""How late frames come out of each decoder: packets that went in meanwhile, and the milliseconds of a call.

Clips come as an encoder writes them and as cameras send them, without the note that nothing is held back. Of those the
program goes over to the mode without delay by itself. Reordered ones show what it makes of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import av
from tools.gpu_check.findings import Findings, is_rehearsal, percentile
from tools.gpu_check.plain_sps import plain

from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.decoders.choice import CudaDecoder
from vision_line.devices.cuda.decoders.ffmpeg import open_hw_context
from vision_line.devices.cuda.decoders.nvdec import load_pynvvideocodec
from vision_line.ports import VideoPacket
from vision_line.selftest.videos import H264, HEVC, Video, VideoKind, draw_images, encode_video, opened

_REORDERED = replace(H264, options=(("preset", "veryfast"), ("bf", "2")))
_WARM_UP = 5  # calls that are not timed
_FRAME_S = 0.04
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Clip:
    """A video, and what its packets are made into."""

    name: str
    video: Video
    sent: Callable[[bytes], bytes] = bytes

    def packets(self, undo: ExitStack) -> tuple[Any, list[VideoPacket]]:
        """Return its stream and its packets."""
        stream, packets = undo.enter_context(opened(self.video))
        made = []
        for packet in packets:
            new = av.Packet(self.sent(bytes(packet)))
            new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
            new.is_keyframe = packet.is_keyframe
            made.append(new)
        return stream, made


def run(findings: Findings) -> None:
    """Decode each clip in each mode."""
    gpu, nvc = open_gpu(0), load_pynvvideocodec()
    for clip in _clips():
        for mode in ("LOW", "NATIVE", "ZERO"):
            if clip.video.kind is _REORDERED and mode == "ZERO":
                continue
            _tried(findings, f"{clip.name}: PyNvVideoCodec {mode}", partial(_by_pynv, gpu, nvc, clip, mode))
        if clip.video.kind is not _REORDERED:
            _tried(findings, f"{clip.name}: the program", partial(_by_program, gpu, clip))
        if not is_rehearsal():
            _tried(findings, f"{clip.name}: FFmpeg", partial(_by_ffmpeg, gpu, clip))
    if not is_rehearsal():
        first = _clips()[0]
        _tried(findings, "paced at 25/s: PyNvVideoCodec LOW", partial(_by_pynv, gpu, nvc, first, "LOW", _FRAME_S))
        _tried(findings, "paced at 25/s: FFmpeg", partial(_by_ffmpeg, gpu, first, _FRAME_S))


def _tried(findings: Findings, name: str, measure: Callable[[], dict[str, object]]) -> None:
    try:
        findings.note(name, measure())
    except Exception as exc:  # noqa: BLE001  one mode that does not work says nothing of the others
        findings.note(name, f"{type(exc).__name__}: {exc}")
        findings.fault(f"{name}: {exc}")


def _clips() -> list[Clip]:
    size_wh, count = ((320, 192), 12) if is_rehearsal() else ((1920, 1080), 50)
    images = draw_images(size_wh, count)

    def encoded(kind: VideoKind) -> Video:
        video = encode_video(kind, images)
        if video is None:
            raise RuntimeError(f"FFmpeg cannot encode {kind}")
        return video

    ordinary = encoded(H264)
    return [
        Clip("H.264", ordinary),
        Clip("H.264 without VUI", ordinary, plain),
        Clip("H.264 reordered", encoded(_REORDERED)),
        Clip("HEVC", encoded(HEVC)),
    ]


def _by_pynv(gpu: GpuContext, nvc: ModuleType, clip: Clip, mode: str, every_s: float = 0.0) -> dict[str, object]:
    stream = gpu.open_stream()
    decoder = nvc.CreateDecoder(
        gpuid=gpu.index,
        codec=getattr(nvc.cudaVideoCodec, {"h264": "H264", "hevc": "HEVC"}[clip.video.kind.codec]),
        cudacontext=int(gpu.device.context.handle or 0),
        cudastream=int(stream.handle),
        usedevicememory=True,
        outputColorType=nvc.OutputColorType.NATIVE,
        latency=getattr(nvc.DisplayDecodeLatencyType, mode),
    )
    with ExitStack() as undo:
        _, packets = clip.packets(undo)
        late: list[int] = []
        numbers: list[int] = []  # 0 where the library gives none: of ZERO's frames some versions do not
        calls_ms: list[float] = []
        for number, packet in enumerate(packets, 1):
            data = nvc.PacketData()
            data.bsl_data, data.bsl, data.pts = packet.buffer_ptr, packet.buffer_size, number
            data.decode_flag = int(nvc.VideoPacketFlag.ENDOFPICTURE)
            began_s = time.perf_counter()
            frames = list(decoder.Decode(data))
            stream.sync()
            calls_ms.append((time.perf_counter() - began_s) * 1000)
            numbers += [frame.getPTS() for frame in frames]
            late.append(number - len(numbers))
            time.sleep(every_s)
        flushed = [frame.getPTS() for frame in decoder.Decode(nvc.PacketData())]
    del decoder
    return {
        **_calls(calls_ms),
        "packets": len(packets),
        "out_before_the_end": len(numbers),
        "out_at_the_end": len(flushed),
        "most_packets_late": max(late, default=None),
        "numbered": all([*numbers, *flushed]),
        "in_order": all(a < b for a, b in itertools.pairwise([*numbers, *flushed]) if b),
    }


def _by_program(gpu: GpuContext, clip: Clip) -> dict[str, object]:
    """Decode `clip` several times over: frames that are held back for nothing come at once from the second on."""
    with ExitStack() as undo:
        stream, packets = clip.packets(undo)
        decoder = undo.enter_context(closing(CudaDecoder(gpu, "latency", stream)))
        late: list[int] = []
        out = 0
        for number, packet in enumerate(itertools.chain(*itertools.repeat(packets, _ROUNDS)), 1):
            packet.pts = packet.dts = number
            out += sum(1 for _ in decoder.decode(packet))
            late.append(number - out)
        out += sum(1 for _ in decoder.decode(None))
        by = decoder.backend
    rounds = [max(late[start : start + len(packets)]) for start in range(0, len(late), len(packets))]
    return {"by": by, "packets": len(late), "out": out, "most_packets_late": rounds[0], "late_at_the_end": rounds[-1]}


def _by_ffmpeg(gpu: GpuContext, clip: Clip, every_s: float = 0.0) -> dict[str, object]:
    from av.codec.context import Flags

    gpu.enter()
    with ExitStack() as undo:
        stream, packets = clip.packets(undo)
        context = open_hw_context(clip.video.kind.codec, gpu.index)
        context.extradata = None if clip.sent is plain else stream.codec_context.extradata
        context.flags |= Flags.low_delay
        calls_ms: list[float] = []
        late: list[int] = []
        out = 0
        for number, packet in enumerate(packets, 1):
            began_s = time.perf_counter()
            frames = context.decode(packet)
            gpu.device.sync()
            calls_ms.append((time.perf_counter() - began_s) * 1000)
            out += len(frames)
            late.append(number - out)
            time.sleep(every_s)
        flushed = len(context.decode(None))
    return {
        **_calls(calls_ms),
        "packets": len(packets),
        "out_before_the_end": out,
        "out_at_the_end": flushed,
        "most_packets_late": max(late, default=None),
    }


def _calls(calls_ms: Sequence[float]) -> dict[str, object]:
    timed = calls_ms[_WARM_UP:]
    return {"call_ms_p50": round(percentile(timed, 0.5), 3), "call_ms_p95": round(percentile(timed, 0.95), 3)}
