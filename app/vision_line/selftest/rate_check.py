# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the device is measured for: kernel and engine times, throughput, latency, memory and power."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import numpy as np

from vision_line.devices.cuda.context import translated_errors
from vision_line.devices.cuda.engine_cache import choose_library, find_engine, target_of
from vision_line.devices.cuda.scratch import open_stream
from vision_line.devices.cuda.surface import PixelFormat, SurfaceLayout
from vision_line.devices.cuda.timing import time_engine, time_kernel
from vision_line.devices.tensorrt.build import open_library
from vision_line.errors import DeviceError
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.selftest.device_under_test import DeviceUnderTest, Load
from vision_line.selftest.kernel_bits import Noise, open_kernel, upload
from vision_line.selftest.load_test import percentile, run_alone, run_full, run_paced
from vision_line.selftest.report import CheckOutcome, Measurement, failed, figure, passed, skipped
from vision_line.telemetry.load_history import LoadTotals
from vision_line.telemetry.process import read_usage

_NO_GPU = "there is no GPU"
_COLOUR = Colour(ColourMatrix.BT709, ColourRange.LIMITED)


def measure_kernel(subject: DeviceUnderTest) -> CheckOutcome:
    """Measure one launch of the letterbox kernel for each batch, on pictures of the cameras' size."""
    gpu = subject.gpu
    if gpu is None:
        return skipped(_NO_GPU)
    layout = SurfaceLayout(PixelFormat.NV12, subject.size_wh)
    noise = Noise(layout, _COLOUR, np.random.default_rng(0).integers(0, 256, layout.nbytes, np.uint8))
    with translated_errors(DeviceError, "the kernel cannot be timed"), ExitStack() as undo:
        stream = open_stream(gpu, undo)
        pictures = [(upload(gpu, noise, stream), _COLOUR) for _ in range(max(subject.settings.buckets))]
        stream.sync()
        kernel = open_kernel(gpu, stream, undo, half=False)
        buckets, repeats = subject.settings.buckets, subject.settings.repeats
        times_ms = time_kernel(gpu, kernel, pictures, subject.shape_hw, buckets=buckets, repeats=repeats)
    return _timed("kernel_ms", times_ms)


def measure_engine(subject: DeviceUnderTest) -> CheckOutcome:
    """Measure one run of the engine for each batch, by the GPU's clock."""
    gpu = subject.gpu
    if gpu is None:
        return skipped(_NO_GPU)
    library = choose_library()
    plan = find_engine(subject.model, subject.shape_hw, target_of(gpu, library))
    trt, settings = open_library(library), subject.settings
    times_ms = time_engine(gpu, trt, plan, subject.shape_hw, buckets=settings.buckets, repeats=settings.repeats)
    return _timed("engine_ms", times_ms)


def measure_throughput(subject: DeviceUnderTest) -> CheckOutcome:
    """Measure the frames a second that the device inspects at most, of pictures that are decoded already."""
    settings = subject.settings
    largest = min(subject.device.description.max_batch, max(settings.buckets))
    sizes = sorted({1, min(settings.cameras, largest), largest})
    seconds = settings.seconds / len(sizes)
    loads = {size: run_full(subject, size, seconds) for size in sizes}
    figures: list[Measurement] = []
    for size, load in loads.items():
        of = f"full, batches of {size}"
        figures += [figure("inspected_fps", of, load.inspected_fps, "frames/s"), *_power_figures(load, of)]
    best = max(loads.values(), key=lambda load: load.inspected_fps)
    return passed(f"{best.inspected_fps:.0f} frames/s at most, decoding not counted", figures)


def measure_latency(subject: DeviceUnderTest) -> CheckOutcome:
    """Measure how late results are: of single frames, and of cameras at their own pace from the packet on."""
    alone_ms = run_alone(subject, subject.settings.repeats)
    load = subject.paced = run_paced(subject)
    settings = subject.settings
    of = f"{settings.cameras} cameras at {settings.fps:g} fps"
    figures = [
        *_latency_figures("submit_to_result_ms", "one frame at a time", alone_ms),
        *_latency_figures("packet_to_result_ms", of, load.latency_ms),
        figure("frames_due", of, load.due, "frames"),
        figure("frames_inspected", of, load.inspected, "frames"),
        figure("inspected_fps", of, load.inspected_fps, "frames/s"),
    ]
    if not load.inspected:
        return failed(f"{of}: none of {load.due} frames was inspected", figures)
    share = load.inspected / load.due
    p50, p95 = (percentile(load.latency_ms, quantile) for quantile in (0.5, 0.95))
    return passed(f"{of}: {share:.0%} inspected, {p50:.1f} ms from the packet (95 %: {p95:.1f} ms)", figures)


def measure_memory(subject: DeviceUnderTest) -> CheckOutcome:
    """Tell the memory of the GPU around the device's opening and under load, and of the process."""
    host_mb = read_usage().max_rss_mb
    figures = [figure("host_memory_peak_mb", "process", host_mb, "MiB")]
    before, after = subject.memory_before, subject.memory_after
    if before is None or after is None:
        reason = subject.silence or _NO_GPU
        return passed(f"{host_mb:.0f} MiB of the host's at most; of a GPU's nothing is told: {reason}", figures)
    figures += [
        figure("gpu_memory_before_mb", "all processes", before.memory_used_mb, "MiB"),
        figure("gpu_memory_opened_mb", "all processes", after.memory_used_mb, "MiB"),
    ]
    loaded = [gpu.memory_used_mb.max for gpu in _gpus(subject) if gpu.memory_used_mb is not None]
    figures += [figure("gpu_memory_loaded_mb", "all processes", used_mb, "MiB") for used_mb in loaded]
    grown = max([after.memory_used_mb, *loaded]) - before.memory_used_mb
    return passed(f"{grown:.0f} MiB of the GPU's, {host_mb:.0f} MiB of the host's at most", figures)


def measure_power(subject: DeviceUnderTest) -> CheckOutcome:
    """Tell what the GPU needed under the paced load, and for each inspected frame of it."""
    if subject.gpu is None:
        return skipped(_NO_GPU)
    load = subject.paced
    if load is None:
        return skipped("the paced load did not run")
    figures = list(_power_figures(load, f"{subject.settings.cameras} cameras at {subject.settings.fps:g} fps"))
    told = {one.name: one.value for one in figures}
    if "power_w" not in told:
        return skipped(subject.silence or "this GPU does not tell its power")
    per_frame = f", {told['energy_per_frame_j']:.3f} J for each inspected frame" if "energy_per_frame_j" in told else ""
    return passed(f"{told['power_w']:.1f} W in the mean{per_frame}", figures)


def _timed(name: str, times_ms: dict[int, float]) -> CheckOutcome:
    figures = [figure(name, f"batch of {bucket}", taken_ms, "ms") for bucket, taken_ms in times_ms.items()]
    first, last = min(times_ms), max(times_ms)
    return passed(f"{times_ms[first]:.3f} ms for {first} picture, {times_ms[last]:.3f} ms for {last}", figures)


def _latency_figures(name: str, of: str, ascending_ms: tuple[float, ...]) -> Iterator[Measurement]:
    if ascending_ms:
        for quantile in (50, 95):
            yield figure(f"{name}_p{quantile}", of, percentile(ascending_ms, quantile / 100), "ms")


def _power_figures(load: Load, of: str) -> Iterator[Measurement]:
    """Yield power and energy of the GPUs: from the energy counter, where there is none from samples of the power."""
    energies_j = [energy_j for gpu in load.gpus if (energy_j := _energy_j(gpu, load.seconds)) is not None]
    if not energies_j:
        return
    yield figure("power_w", of, sum(energies_j) / load.seconds, "W")
    if load.inspected:
        yield figure("energy_per_frame_j", of, sum(energies_j) / load.inspected, "J")
    for gpu in load.gpus:
        for name in ("sm_percent", "decoder_percent", "temperature_c"):
            if (told := getattr(gpu, name)) is not None:
                yield figure(name, of, told.mean, "%" if name.endswith("percent") else "°C")


def _energy_j(gpu: LoadTotals, seconds: float) -> float | None:
    if gpu.energy_j:  # a counter that stands still counts nothing
        return gpu.energy_j
    return None if gpu.power_w is None else gpu.power_w.mean * seconds


def _gpus(subject: DeviceUnderTest) -> Iterable[LoadTotals]:
    return () if subject.paced is None else subject.paced.gpus
