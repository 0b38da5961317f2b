# SPDX-License-Identifier: AGPL-3.0-or-later
"""A table of what convolutions cost in milliseconds on this computer, measured with OpenVINO."""

from __future__ import annotations

import bisect
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13

from vision_line.errors import ConfigError, DeviceError
from vision_line_compression.files import Document, FrozenModel
from vision_line_compression.prune.cost import Price, grid_hw
from vision_line_compression.prune.structure import Convolution

#: Runs of a point at least.
_LEAST_RUNS = 5

#: Types of the engine's nodes that a convolution with bias and activation becomes.
_MEASURED_NODES = ("Convolution", "GroupConvolution", "Swish", "Eltwise", "Subgraph")

#: Channels are measured at multiples of this, as plans keep them; others take slower paths through the engine.
_ALIGNMENT = 8


class ConvolutionKind(FrozenModel):
    """Convolutions that differ in their channels alone; `grid_hw` is the output's rows and columns."""

    kernel_hw: tuple[int, int]
    stride: int
    depthwise: bool
    grid_hw: tuple[int, int]


class LatencySurface(FrozenModel):
    """Milliseconds of one kind at a lattice of channels: `ms[i][j]` at `channels_in[i]`, `channels_out[j]`.

    A depthwise kind, whose two numbers are one, has a single column.
    """

    kind: ConvolutionKind
    channels_in: tuple[int, ...]
    channels_out: tuple[int, ...]
    ms: tuple[tuple[float, ...], ...]

    def at(self, channels_in: int, channels_out: int) -> float:
        """Return the time for these channels, bilinear between the measured ones, the edge's outside."""
        row, along = _place(self.channels_in, channels_in)
        column, across = _place(self.channels_out, channels_out)
        next_row, next_column = min(row + 1, len(self.ms) - 1), min(column + 1, len(self.ms[0]) - 1)
        upper = (1 - across) * self.ms[row][column] + across * self.ms[row][next_column]
        lower = (1 - across) * self.ms[next_row][column] + across * self.ms[next_row][next_column]
        return (1 - along) * upper + along * lower


class LatencyTable(Document):
    """Times of all kinds of convolution of one network at one input size."""

    size_hw: tuple[int, int]
    target: str
    surfaces: tuple[LatencySurface, ...]

    def price(self) -> Price:
        """Return the price in milliseconds; a convolution of a kind that was not measured raises ConfigError."""
        surfaces = {surface.kind: surface for surface in self.surfaces}

        def cost(layer: Convolution, channels_in: int, channels_out: int) -> float:
            kind = kind_of(layer, self.size_hw)
            if kind not in surfaces:
                raise ConfigError(f"latency table of {self.target}: has no {kind}, expected by {layer.name}")
            return surfaces[kind].at(channels_in, channels_out)

        return cost


def kind_of(layer: Convolution, size_hw: tuple[int, int]) -> ConvolutionKind:
    """Return the kind of `layer` for an input of `size_hw` pixels."""
    return ConvolutionKind(
        kernel_hw=layer.kernel_hw, stride=layer.stride, depthwise=layer.depthwise, grid_hw=grid_hw(layer, size_hw)
    )


def measure_latency(
    convolutions: Sequence[Convolution],
    size_hw: tuple[int, int],
    *,
    points: int = 4,
    seconds_each: float = 0.05,
    threads: int = 0,
) -> LatencyTable:
    """Measure every kind of convolution at a lattice of channels, alone and in float32.

    `points` channels on each axis, from a quarter to all; about kinds · points² · (seconds_each + compiling) in all.
    A point is the shortest of its runs. `threads` 0 leaves the number to the engine. Elementwise work between
    convolutions is fused by the engine or left out: the table ranks choices, and what a plan promises is checked by
    measuring the whole network.

    Raises:
        DeviceError: OpenVINO cannot compile or run.
    """
    kinds: dict[ConvolutionKind, list[Convolution]] = {}
    for layer in convolutions:
        kinds.setdefault(kind_of(layer, size_hw), []).append(layer)
    core = ov.Core()
    bench = _Bench(core, seconds_each, threads)
    surfaces = tuple(_surface(bench, kind, layers, points) for kind, layers in kinds.items())
    name = str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip()
    return LatencyTable(size_hw=size_hw, target=f"{name}, float32", surfaces=surfaces)


def _lattice(channels: list[int], points: int) -> tuple[int, ...]:
    """Spread `points` multiples of the alignment up to the widest layer, which is always one of them."""
    high = max(channels)
    low = min(channels) / 4
    aligned = {round(value / _ALIGNMENT) * _ALIGNMENT for value in np.linspace(low, high, points)[:-1]}
    return tuple(sorted({value for value in aligned if 0 < value < high} | {high}))


@dataclass(frozen=True, slots=True)
class _Bench:
    """Times one convolution at a time."""

    core: ov.Core
    seconds: float
    threads: int

    def least_ms(self, kind: ConvolutionKind, channels_in: int, channels_out: int) -> float:
        """Return the shortest run: other work on the computer only ever adds."""
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
        if self.threads:
            config["INFERENCE_NUM_THREADS"] = self.threads
        try:
            network = self.core.compile_model(_network(kind, channels_in, channels_out), "CPU", config)
            request = network.create_infer_request()
            # Uninitialised memory may hold denormal numbers, which some processors multiply a hundred times slower.
            request.get_input_tensor().data[:] = 0.5
            return min(self._runs_ms(request))
        except RuntimeError as exc:
            raise DeviceError(f"OpenVINO cannot measure a convolution: {str(exc).splitlines()[0]}") from exc

    def _runs_ms(self, request: ov.InferRequest) -> list[float]:
        request.infer()
        runs: list[float] = []
        end = time.perf_counter() + self.seconds
        while len(runs) < _LEAST_RUNS or time.perf_counter() < end:
            request.infer()
            # Not the whole run: alone, a convolution also pays for two changes of memory layout.
            nodes = [node for node in request.profiling_info if node.node_type in _MEASURED_NODES]
            runs.append(sum(node.real_time.total_seconds() for node in nodes) * 1e3)
        return runs


def _surface(bench: _Bench, kind: ConvolutionKind, layers: Sequence[Convolution], points: int) -> LatencySurface:
    read = _lattice([layer.channels[0] for layer in layers], points)
    if kind.depthwise:
        column = np.maximum.accumulate([bench.least_ms(kind, channels, channels) for channels in read])
        return LatencySurface(
            kind=kind, channels_in=read, channels_out=read[:1], ms=tuple((ms,) for ms in column.tolist())
        )
    written = _lattice([layer.channels[1] for layer in layers], points)
    times = np.array([[bench.least_ms(kind, channels, count) for count in written] for channels in read])
    # At aligned channels more work is never less time: what says so is noise, and would mislead the planner.
    rising = np.maximum.accumulate(np.maximum.accumulate(times, axis=0), axis=1)
    return LatencySurface(kind=kind, channels_in=read, channels_out=written, ms=tuple(map(tuple, rising.tolist())))


def _network(kind: ConvolutionKind, channels_in: int, channels_out: int) -> ov.Model:
    """Build convolution, bias and SiLU, what one layer of the deployed network does."""
    rows, columns = (side * kind.stride for side in kind.grid_hw)
    image = opset13.parameter([1, channels_in, rows, columns], np.float32)
    before = [side // 2 for side in kind.kernel_hw]
    options = ([kind.stride] * 2, before, before, [1, 1])
    if kind.depthwise:
        weights = np.full((channels_in, 1, 1, *kind.kernel_hw), 0.01, np.float32)
        result = opset13.group_convolution(image, weights, *options)
    else:
        weights = np.full((channels_out, channels_in, *kind.kernel_hw), 0.01, np.float32)
        result = opset13.convolution(image, weights, *options)
    bias = np.full((1, channels_out, 1, 1), 0.01, np.float32)
    return ov.Model([opset13.swish(opset13.add(result, bias))], [image], "convolution")


def _place(lattice: Sequence[int], value: int) -> tuple[int, float]:
    """Return the lattice point at or below `value` and how far it lies towards the next, 0 to 1."""
    index = max(bisect.bisect_right(lattice, value) - 1, 0)
    if index + 1 >= len(lattice) or value <= lattice[0]:
        return index, 0.0
    return index, (value - lattice[index]) / (lattice[index + 1] - lattice[index])
