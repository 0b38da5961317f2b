# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras of one kind this box inspects as they should be: tried with more and fewer until it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vision_line import __version__
from vision_line.cores import usable_cores
from vision_line.devices.proof.processor import this_processor
from vision_line.errors import RunError
from vision_line.fleet.box_capacity import BoxCapacity, MeasuredOn
from vision_line.selftest.decoder_check import decoding_rate
from vision_line.selftest.device_under_test import DeviceUnderTest, LoadResult
from vision_line.selftest.load_test import percentile, run_full, run_paced
from vision_line.selftest.videos import H264, HEVC, VideoKind

#: So much of what is due must be inspected: a late frame at the edge of the measured time is no shortage.
DUE_SHARE = 0.99
#: More cameras are not tried: a process has reserve for some 110.
MOST_CAMERAS = 256
KINDS = {kind.codec: kind for kind in (H264, HEVC)}


@dataclass(frozen=True, slots=True)
class CameraKind:
    """The cameras that a box is measured with, and what must hold of their results."""

    size_wh: tuple[int, int]
    fps: float
    codec: str
    inspect_fps: float
    limit_ms: float

    @property
    def inspect_every(self) -> int:
        """Return of how many frames one is inspected."""
        return max(1, round(self.fps / self.inspect_fps))


def measure_capacity(
    dut: DeviceUnderTest, kind: CameraKind, load: float, on_status: Callable[[str], None]
) -> BoxCapacity:
    """Measure what the box can do for such cameras, decoding and inspecting at once; takes minutes.

    `load` is the machine's before the device was opened: an engine that is built keeps every core busy.

    Raises:
        DeviceError, SourceError: as the device and its decoders raise them.
        RunError: it cannot inspect a single one of them as it should.
    """
    on_status("decoding alone")
    pixels = kind.size_wh[0] * kind.size_wh[1] / 1e6
    decoded = {codec: rate * pixels for codec, one in KINDS.items() if (rate := _decoding_rate(dut, one)) is not None}
    if kind.codec not in decoded:
        raise RunError(f"bench: this box does not decode {kind.codec}")
    on_status("inspecting alone")
    batches = sorted({1, min(8, dut.device.description.max_batch), dut.device.description.max_batch})
    alone = max(run_full(dut, batch, dut.settings.seconds / len(batches)).inspected_fps for batch in batches)
    runs: dict[int, LoadResult] = {}

    def holds(cameras: int) -> bool:
        on_status(f"{cameras} cameras at once")
        dut.settings = replace(dut.settings, cameras=cameras, fps=kind.fps, inspect_every=kind.inspect_every)
        runs[cameras] = run = run_paced(dut)
        return is_kept(run, kind.limit_ms)

    inspected_fps = kind.fps / kind.inspect_every
    each_s = inspected_fps / alone + (kind.fps * pixels / decoded[kind.codec] if dut.gpu is None else 0.0)
    cameras = largest(holds, max(1, int(1.0 / each_s)), MOST_CAMERAS)
    if not cameras:
        raise RunError(f"bench: this box does not inspect one such camera within {kind.limit_ms:g} ms")
    return BoxCapacity(
        inspections_per_s=round(cameras * inspected_fps, 3),
        mpixels_per_s=round(cameras * kind.fps * pixels, 3),
        measured=MeasuredOn(
            vision_line=__version__,
            day_utc=datetime.now(UTC).date().isoformat(),
            processor=this_processor().name,
            cores=usable_cores(),
            load=round(load, 1),
            device=dut.device.description.name,
            model_sha256=dut.model.sha256,
            cameras=cameras,
            more_not_tried=cameras == MOST_CAMERAS,
            size_wh=kind.size_wh,
            fps=kind.fps,
            codec=kind.codec,
            inspect_fps=round(inspected_fps, 3),
            limit_ms=kind.limit_ms,
            latency_p99_ms=round(percentile(runs[cameras].latency_ms, 0.99), 1),
            decoded_mpixels_per_s={codec: round(rate, 1) for codec, rate in decoded.items()},
            inspections_alone_per_s=round(alone, 1),
        ),
    )


def is_kept(run: LoadResult, limit_ms: float) -> bool:
    """Whether what was due was inspected, 99 of 100 within the limit. Pure."""
    return run.inspected >= DUE_SHARE * run.due > 0 and percentile(run.latency_ms, 0.99) <= limit_ms


def largest(holds: Callable[[int], bool], guess: int, most: int) -> int:
    """Return the largest number from 0 to `most` that holds, where all below it do; begins with the guess. Pure."""
    low, high, step, number = 0, most + 1, 1, min(guess, most)
    while high - low > 1:
        if holds(number):
            low = number
        else:
            high = number
        if low and high <= most:
            number = (low + high) // 2
        else:
            number = min(low + step, most) if low else max(high - step, 1)
            step *= 2
        number = min(max(number, low + 1), high - 1)
    return low


def _decoding_rate(dut: DeviceUnderTest, kind: VideoKind) -> float | None:
    """Return how many frames of the cameras' size can be decoded in a second, None where they cannot."""
    video = dut.encoded(kind)
    count = usable_cores() if dut.gpu is None else dut.settings.cameras
    return None if video is None else decoding_rate(dut.open_decoder, video, count, dut.settings.seconds / 2)
