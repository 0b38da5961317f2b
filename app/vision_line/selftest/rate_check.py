# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measures kernel and engine times, throughput, latency, memory and power."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import numpy as np

from vision_line.devices.cuda.context import translated_errors
from vision_line.devices.cuda.engine_cache import choose_library, find_engine, target_of
from vision_line.devices.cuda.memory import open_stream
from vision_line.devices.cuda.surface import PixelFormat, SurfaceLayout
from vision_line.devices.cuda.timing import inspect_engine, time_engine, time_kernel
from vision_line.devices.tensorrt.build import open_library
from vision_line.devices.tensorrt.engine_layers import State, WithoutDetailsError, convolutions, summary
from vision_line.devices.tensorrt.engine_manifest import Library, read_manifest
from vision_line.errors import DeviceError
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.selftest.device_under_test import DeviceUnderTest, LoadResult
from vision_line.selftest.kernel_bits import Noise, open_kernel, upload
from vision_line.selftest.load_test import percentile, run_alone, run_full, run_paced
from vision_line.selftest.report import CheckOutcome, Measurement, failed, figure, passed, skipped
from vision_line.telemetry.load_history import LoadTotals
from vision_line.telemetry.process import read_usage

_NO_GPU = "there is no GPU"
_COLOUR = Colour(ColourMatrix.BT709, ColourRange.LIMITED)


def measure_kernel(dut: DeviceUnderTest) -> CheckOutcome:
    """Measure one launch of the letterbox kernel for each batch, on frames of the cameras' size."""
    gpu = dut.gpu
    if gpu is None:
        return skipped(_NO_GPU)
    layout = SurfaceLayout(PixelFormat.NV12, dut.size_wh)
    noise = Noise(layout, _COLOUR, np.random.default_rng(0).integers(0, 256, layout.nbytes, np.uint8))
    with translated_errors(DeviceError, "the kernel cannot be timed"), ExitStack() as undo:
        stream = open_stream(gpu, undo)
        frames = [(upload(gpu, noise, stream), _COLOUR) for _ in range(max(dut.settings.buckets))]
        stream.sync()
        kernel = open_kernel(gpu, stream, undo, half=bool(dut.model.gpu_variants))  # which take float16
        buckets, repeats = dut.settings.buckets, dut.settings.repeats
        times_ms = time_kernel(gpu, kernel, frames, dut.shape_hw, buckets=buckets, repeats=repeats)
    return _timed("kernel_ms", times_ms)


def measure_engine(dut: DeviceUnderTest) -> CheckOutcome:
    """Measure one run of the engine for each batch, by the GPU's clock."""
    gpu = dut.gpu
    if gpu is None:
        return skipped(_NO_GPU)
    library = choose_library()
    plan = find_engine(dut.model, dut.shape_hw, target_of(gpu, library))
    trt, settings = open_library(library), dut.settings
    times_ms = time_engine(gpu, trt, plan, dut.shape_hw, buckets=settings.buckets, repeats=settings.repeats)
    return _timed("engine_ms", times_ms)


def check_layers(dut: DeviceUnderTest) -> CheckOutcome:
    """Report what the engine computes its convolutions in; fails where one of an INT8 model computes none in INT8."""
    gpu = dut.gpu
    if gpu is None:
        return skipped(_NO_GPU)
    library = choose_library()
    if library is not Library.TENSORRT:
        return skipped(f"{library} keeps INT8 weights and computes in float")
    plan = find_engine(dut.model, dut.shape_hw, target_of(gpu, library))
    try:
        found = convolutions(inspect_engine(gpu, open_library(library), plan, dut.shape_hw))
    except WithoutDetailsError as exc:
        return skipped(str(exc))
    figures = [
        figure("convolutions", state, sum(one.state is state for one in found), "convolutions") for state in State
    ]
    said = summary(found)
    is_float = not any(one.state in {State.INT8, State.INT8_READ} for one in found)
    if is_float and read_manifest(plan).precision == "int8":
        return failed(f"an INT8 engine: {said}", figures)
    return passed(said, figures)


def measure_throughput(dut: DeviceUnderTest) -> CheckOutcome:
    """Measure the maximum number of inspected frames per second, of frames that are already decoded."""
    settings = dut.settings
    largest = min(dut.device.description.max_batch, max(settings.buckets))
    sizes = sorted({1, min(settings.cameras, largest), largest})
    seconds = settings.seconds / len(sizes)
    loads = {size: run_full(dut, size, seconds) for size in sizes}
    figures: list[Measurement] = []
    for size, load in loads.items():
        of = f"full, batches of {size}"
        figures += [
            figure("inspected_fps", of, load.inspected_fps, "frames/s"),
            figure("processor_ms", of, _processor_ms(load), "ms a frame"),
            *_power_figures(load, of),
        ]
    best = max(loads.values(), key=lambda load: load.inspected_fps)
    return passed(
        f"{best.inspected_fps:.0f} frames/s at most, decoding not counted; each takes {_processor_ms(best):.2f} ms of"
        " processor time",
        figures,
    )


def _processor_ms(load: LoadResult) -> float:
    return 1000 * load.cpu_s / load.inspected if load.inspected else 0.0


def measure_latency(dut: DeviceUnderTest) -> CheckOutcome:
    """Measure latency: of single frames, and of paced cameras from the packet on."""
    alone_ms = run_alone(dut, dut.settings.repeats)
    load = dut.paced = run_paced(dut)
    settings = dut.settings
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


def measure_memory(dut: DeviceUnderTest) -> CheckOutcome:
    """Report the GPU's memory before and after opening and under load, and the process's."""
    host_mb = read_usage().max_rss_mb
    figures = [figure("host_memory_peak_mb", "process", host_mb, "MiB")]
    before, after = dut.memory_before, dut.memory_after
    if before is None or after is None:
        reason = dut.no_samples_reason or _NO_GPU
        return passed(f"{host_mb:.0f} MiB of host memory at most; GPU memory is not known: {reason}", figures)
    figures += [
        figure("gpu_memory_before_mb", "all processes", before.memory_used_mb, "MiB"),
        figure("gpu_memory_opened_mb", "all processes", after.memory_used_mb, "MiB"),
    ]
    loaded = [gpu.memory_used_mb.max for gpu in _gpus(dut) if gpu.memory_used_mb is not None]
    figures += [figure("gpu_memory_loaded_mb", "all processes", used_mb, "MiB") for used_mb in loaded]
    grown = max([after.memory_used_mb, *loaded]) - before.memory_used_mb
    return passed(f"{grown:.0f} MiB of GPU memory, {host_mb:.0f} MiB of host memory at most", figures)


def measure_power(dut: DeviceUnderTest) -> CheckOutcome:
    """Report the GPU's power under the paced load, and the energy per inspected frame."""
    if dut.gpu is None:
        return skipped(_NO_GPU)
    load = dut.paced
    if load is None:
        return skipped("the paced load did not run")
    figures = list(_power_figures(load, f"{dut.settings.cameras} cameras at {dut.settings.fps:g} fps"))
    values = {one.name: one.value for one in figures}
    if "power_w" not in values:
        return skipped(dut.no_samples_reason or "this GPU does not report its power")
    per_frame = f", {values['energy_per_frame_j']:.3f} J per inspected frame" if "energy_per_frame_j" in values else ""
    return passed(f"{values['power_w']:.1f} W on average{per_frame}", figures)


def _timed(name: str, times_ms: dict[int, float]) -> CheckOutcome:
    figures = [figure(name, f"batch of {bucket}", taken_ms, "ms") for bucket, taken_ms in times_ms.items()]
    first, last = min(times_ms), max(times_ms)
    return passed(f"{times_ms[first]:.3f} ms for {first} frame, {times_ms[last]:.3f} ms for {last}", figures)


def _latency_figures(name: str, of: str, ascending_ms: tuple[float, ...]) -> Iterator[Measurement]:
    if ascending_ms:
        for quantile in (50, 95):
            yield figure(f"{name}_p{quantile}", of, percentile(ascending_ms, quantile / 100), "ms")


def _power_figures(load: LoadResult, of: str) -> Iterator[Measurement]:
    """Yield power and energy of the GPUs: from the energy counter, where there is none from samples of the power."""
    energies_j = [energy_j for gpu in load.gpus if (energy_j := _energy_j(gpu, load.seconds)) is not None]
    if not energies_j:
        return
    yield figure("power_w", of, sum(energies_j) / load.seconds, "W")
    if load.inspected:
        yield figure("energy_per_frame_j", of, sum(energies_j) / load.inspected, "J")
    for gpu in load.gpus:
        for name in ("sm_percent", "decoder_percent", "temperature_c"):
            if (values := getattr(gpu, name)) is not None:
                yield figure(name, of, values.mean, "%" if name.endswith("percent") else "°C")


def _energy_j(gpu: LoadTotals, seconds: float) -> float | None:
    if gpu.energy_j:  # a counter that does not move is not usable
        return gpu.energy_j
    return None if gpu.power_w is None else gpu.power_w.mean * seconds


def _gpus(dut: DeviceUnderTest) -> Iterable[LoadTotals]:
    return () if dut.paced is None else dut.paced.gpus
