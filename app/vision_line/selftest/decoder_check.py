# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares each GPU decoder's frames with the CPU decoder's, and measures the rate of each decoder."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import numpy as np

from vision_line.cores import usable_cores
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.context import GpuContext, translated_errors
from vision_line.devices.cuda.decoders.choice import BACKENDS, CudaDecoder, DecoderBackend
from vision_line.devices.cuda.surface import Surface
from vision_line.devices.preprocessing.definition import PixelsRGB, letterbox_planes
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.ports import DecodedFrame, Decoder, OpenDecoder, VideoPacket
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, Measurement, failed, figure, passed, skipped
from vision_line.selftest.videos import H264, HEVC, KINDS, Video, encode_video, opened

#: Tolerance of RGB, in levels. All decoders agree on 8 bits. FFmpeg converts 10 bits to 8 depending on the layout:
#: luma and chroma may be one step off, which is up to 1.2 + 2.2 levels of blue.
MOST_LEVELS, MOST_LEVELS_10_BIT = 1, 4

#: One of this many frames is compared value by value.
COMPARE_EVERY = 8

_KINDS_TIMED = (H264, HEVC)


@dataclass(frozen=True, slots=True)
class Parity:
    """Result of one decoder on one video."""

    decoder: str
    video: str
    unsupported: str = ""  # why the decoder does not support it
    fault: str = ""  # what is wrong with its frames
    largest: int = 0  # difference of an RGB value, levels
    mean: float = 0.0

    @property
    def is_unsupported(self) -> bool:
        """Whether nothing was decoded."""
        return bool(self.unsupported)


def check_parity(dut: DeviceUnderTest) -> CheckOutcome:
    """Compare the frames of each available decoder with the CPU decoder's, for each video."""
    if dut.gpu is None:
        return skipped("the CPU's decoder is the reference itself")
    videos, missing = _videos(dut)
    found = [compare(dut.gpu, backend, video) for video in videos for backend in BACKENDS]
    figures = [value for parity in found if not parity.is_unsupported for value in _figures(parity)]
    faults = [f"{parity.decoder}, {parity.video}: {parity.fault}" for parity in found if parity.fault]
    faults += [f"{video.kind}: no decoder" for video in videos if not _is_decoded(video, found)]
    if faults:
        return failed("; ".join(faults), figures)
    return passed(". ".join(filter(None, (_used(found), missing, _unsupported_reasons(found)))), figures)


def compare(gpu: GpuContext, backend: DecoderBackend, video: Video) -> Parity:
    """Decode `video` by `backend` and on the CPU, side by side."""
    differences: list[tuple[int, float]] = []
    try:
        with opened(video) as (stream, packets), opened(video) as (cpu_stream, cpu_packets):
            decoder = CudaDecoder(gpu, "selftest", stream, None, (backend,))
            pairs = itertools.zip_longest(_decoded(decoder, packets), _decoded(CpuDecoder("", cpu_stream), cpu_packets))
            for number, (found, wanted) in enumerate(pairs):
                if fault := _mismatch(found, wanted):
                    return Parity(backend.name, str(video.kind), fault=f"frame {number}: {fault}")
                if number % COMPARE_EVERY == 0:
                    apart = np.abs(_rgb(found).astype(np.int16) - _rgb(wanted))
                    differences.append((int(apart.max()), float(apart.mean())))
    except SourceError as exc:
        refused = exc.code is SourceErrorCode.CODEC_UNSUPPORTED
        reason = str(exc)
        return Parity(backend.name, str(video.kind), reason if refused else "", "" if refused else reason)
    largest, mean = max(top for top, _ in differences), float(np.mean([mean for _, mean in differences]))
    most = MOST_LEVELS if video.kind.bits == 8 else MOST_LEVELS_10_BIT
    fault = "" if largest <= most else f"RGB differs by up to {largest} levels, {mean:.2f} in the mean"
    return Parity(backend.name, str(video.kind), fault=fault, largest=largest, mean=mean)


def measure_decoding(dut: DeviceUnderTest) -> CheckOutcome:
    """Measure the frames per second of each available decoder, at the cameras' size."""
    openers = _openers(dut)
    videos = [video for kind in _KINDS_TIMED if (video := dut.encoded(kind)) is not None]
    figures: list[Measurement] = []
    for video, (name, (opener, count)) in itertools.product(videos, openers.items()):
        rate = decoding_rate(opener, video, count, dut.settings.seconds / 2)
        if rate is not None:
            figures.append(figure("decode_fps", f"{name}, {video.kind}, {count} side by side", rate, "frames/s"))
    width, height = dut.size_wh
    if not figures:
        return failed(f"no decoder decodes {width}x{height}")
    best = max(figures, key=lambda one: one.value)
    return passed(f"{width}x{height}, at best {best.value:.0f} frames/s ({best.of})", figures)


def decoding_rate(opener: OpenDecoder, video: Video, count: int, seconds: float) -> float | None:
    """Return the frames per second of `count` decoders in as many threads, None when they do not open.

    Frames are dropped at once; those of a GPU have arrived in its memory.

    Raises:
        SourceError: a decoder fails while it works.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(count, "selftest-decoder") as pool:
        working = [pool.submit(_decode_until, opener, video, stop) for _ in range(count)]
        wait(working, seconds)  # no longer than it takes to refuse the video
        stop.set()
        rates = [future.result() for future in working]
    measured = [rate for rate in rates if rate is not None]
    return sum(measured) if len(measured) == count else None


def _decode_until(opener: OpenDecoder, video: Video, stop: threading.Event) -> float | None:
    """Decode `video` again and again; return the rate, counted from the first frame on, None: not supported."""
    with opened(video) as (stream, packets):
        decoder = opener("selftest", stream, None)
        try:
            first = list(decoder.decode(packets[0]))
        except SourceError as exc:
            decoder.close()
            if exc.code is SourceErrorCode.CODEC_UNSUPPORTED:
                return None
            raise
        began_s, count, newest = time.monotonic(), 0, first
        for packet in itertools.cycle(packets[1:] + packets[:1]):
            if stop.is_set():
                break
            newest = list(decoder.decode(packet))
            count += len(newest)
        for decoded in newest:
            _wait_for(decoded)
        rate = count / (time.monotonic() - began_s)
        decoder.close()
    return rate


def _wait_for(decoded: DecodedFrame) -> None:
    surface = decoded.data
    if isinstance(surface, Surface) and surface.ready is not None:
        with translated_errors(DeviceError, "a frame does not arrive"):
            surface.ready.sync()


def _openers(dut: DeviceUnderTest) -> dict[str, tuple[OpenDecoder, int]]:
    """Return the opener of each decoder, and how many of them run in parallel: on a GPU as many as there are cameras.

    A decoder without delay waits for each frame, so that few of them leave the hardware idle.
    """
    gpu = dut.gpu
    if gpu is None:
        return {"CPU": (CpuDecoder, usable_cores())}
    count = dut.settings.cameras
    return {backend.name: (partial(CudaDecoder, gpu, backends=(backend,)), count) for backend in BACKENDS}


def _videos(dut: DeviceUnderTest) -> tuple[list[Video], str]:
    """Return a small video of each kind, and a sentence about those that this FFmpeg cannot encode."""
    made = {kind: encode_video(kind, dut.small_images) for kind in KINDS}
    missing = [str(kind) for kind, video in made.items() if video is None]
    return [video for video in made.values() if video], f"not encoded here: {', '.join(missing)}" if missing else ""


def _decoded(decoder: Decoder, packets: list[VideoPacket]) -> Iterator[DecodedFrame]:
    try:
        for packet in [*packets, None]:
            yield from decoder.decode(packet)
    finally:
        decoder.close()


def _mismatch(found: DecodedFrame | None, wanted: DecodedFrame | None) -> str:
    if found is None or wanted is None:
        return "missing" if found is None else "one too many"
    if found.size_wh != wanted.size_wh:
        return f"expected {wanted.size_wh}, found {found.size_wh}"
    if found.colour != wanted.colour:
        return f"expected {wanted.colour}, found {found.colour}"
    return ""


def _rgb(decoded: DecodedFrame) -> PixelsRGB:
    """Return the frame in its own size as RGB, converted by the preprocessing definition."""
    native = decoded.data.to_host() if isinstance(decoded.data, Surface) else decoded.data
    width, height = decoded.size_wh
    return letterbox_planes(open_planes(native), decoded.colour, (height, width))


def _figures(parity: Parity) -> Iterator[Measurement]:
    of = f"{parity.decoder}, {parity.video}"
    yield figure("rgb_largest_difference", of, parity.largest, "levels")
    yield figure("rgb_mean_difference", of, parity.mean, "levels")


def _is_decoded(video: Video, found: list[Parity]) -> bool:
    return any(parity.video == str(video.kind) and not parity.is_unsupported for parity in found)


def _used(found: list[Parity]) -> str:
    names = dict.fromkeys(parity.decoder for parity in found if not parity.is_unsupported)
    largest = max(parity.largest for parity in found)
    return f"{', '.join(names)}: the CPU's frames, within {largest} levels"


def _unsupported_reasons(found: list[Parity]) -> str:
    """Return why decoders that support no video do not, each once."""
    used = {parity.decoder for parity in found if not parity.is_unsupported}
    reasons = {parity.decoder: parity.unsupported for parity in reversed(found) if parity.decoder not in used}
    return "; ".join(f"without {name}: {reason}" for name, reason in reasons.items())
