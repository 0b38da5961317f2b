# SPDX-License-Identifier: AGPL-3.0-or-later
"""A table of what convolutions cost in milliseconds on a target, in INT8 as they are inspected with."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from vision_line.errors import ConfigError
from vision_line.ports import ProgressCallback
from vision_line_compression.files import Document, FrozenModel
from vision_line_compression.prune.cost import Price, grid_hw
from vision_line_compression.prune.structure import Convolution

#: Channels are measured at multiples of this, as plans keep them; others take slower paths through the engine.
_ALIGNMENT = 8

#: The least time of a round may be so much above that of another.
_STEADY = 0.15


class ConvolutionKind(FrozenModel):
    """Convolutions that differ in their channels alone; `grid_hw` is the output's rows and columns."""

    kernel_hw: tuple[int, int]
    stride: int
    depthwise: bool
    grid_hw: tuple[int, int]
    transposed: bool = False


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


class WholeNetwork(FrozenModel):
    """The unpruned network on the target: least milliseconds of one image, and the sum of its convolutions alone."""

    float_ms: float
    """In float32 or what the target computes float in."""
    int8_ms: float
    """In INT8."""
    convolutions_ms: float
    """Of its convolutions in INT8, by the table."""


class LatencyTable(Document):
    """Times of all kinds of convolution of one network at one input size on one target."""

    size_hw: tuple[int, int]
    """Input height and width."""
    target: str
    """What was measured."""
    surfaces: tuple[LatencySurface, ...]
    """Each kind of convolution."""
    precision: Literal["fp32", "int8"] = "fp32"
    """What the convolutions were computed in."""
    network: WholeNetwork | None = None
    """The whole network; null: not measured."""

    def price(self) -> Price:
        """Return the price in milliseconds; a convolution of a kind that was not measured raises ConfigError.

        Where the whole network was measured, prices are scaled so that they add up to its time: what lies between
        convolutions grows with the channels too.
        """
        surfaces = {surface.kind: surface for surface in self.surfaces}
        scale = 1.0 if self.network is None else self.network.int8_ms / self.network.convolutions_ms

        def cost(layer: Convolution, channels_in: int, channels_out: int) -> float:
            kind = kind_of(layer, self.size_hw)
            if kind not in surfaces:
                raise ConfigError(f"latency table of {self.target}: has no {kind}, expected by {layer.name}")
            return scale * surfaces[kind].at(channels_in, channels_out)

        return cost

    def float_ms(self) -> float:
        """Return the unpruned network's time in float.

        Raises:
            ConfigError: it was not measured.
        """
        if self.network is None:
            raise ConfigError(f"latency table of {self.target}: has no time of the whole network, measure it anew")
        return self.network.float_ms


def kind_of(layer: Convolution, size_hw: tuple[int, int]) -> ConvolutionKind:
    """Return the kind of `layer` for an input of `size_hw` pixels."""
    return ConvolutionKind(
        kernel_hw=layer.kernel_hw,
        stride=layer.stride,
        depthwise=layer.depthwise,
        grid_hw=grid_hw(layer, size_hw),
        transposed=layer.transposed,
    )


class ConvolutionBench(Protocol):
    """What times one convolution at a time on a target."""

    @property
    def target(self) -> str:
        """Say what it measures on."""

    def least_ms(self, kind: ConvolutionKind, channels_in: int, channels_out: int) -> float:
        """Return the shortest run: other work on the machine only ever adds.

        Raises:
            DeviceError: the target cannot build or run it.
        """


def measure_latency(
    convolutions: Sequence[Convolution],
    size_hw: tuple[int, int],
    bench: ConvolutionBench,
    *,
    points: int = 4,
    progress: ProgressCallback | None = None,
) -> LatencyTable:
    """Measure every kind of convolution at a lattice of channels, alone and in INT8.

    `points` channels on each axis, from a quarter to all; about kinds · points² times what the bench takes. The table
    ranks choices; what a plan promises is checked by measuring the product.

    Raises:
        DeviceError: as the bench.
    """
    kinds: dict[ConvolutionKind, list[Convolution]] = {}
    for layer in convolutions:
        kinds.setdefault(kind_of(layer, size_hw), []).append(layer)
    surfaces = []
    for number, (kind, layers) in enumerate(kinds.items(), start=1):
        surfaces.append(_surface(bench, kind, layers, points))
        if progress is not None:
            progress(number, len(kinds))
    return LatencyTable(size_hw=size_hw, target=bench.target, surfaces=tuple(surfaces), precision="int8")


def with_network(
    table: LatencyTable, convolutions: Sequence[Convolution], *, float_ms: float, int8_ms: float
) -> LatencyTable:
    """Return `table` with the times of the whole network that has these `convolutions`."""
    price = table.price()
    total = sum(price(layer, *layer.channels) for layer in convolutions)
    return table.model_copy(update={"network": WholeNetwork(float_ms=float_ms, int8_ms=int8_ms, convolutions_ms=total)})


def unsteady(rounds_ms: Sequence[float]) -> str | None:
    """Say that the least times of several rounds differ too much to be those of a quiet machine; None: they do not."""
    spread = max(rounds_ms) / min(rounds_ms) - 1
    if spread <= _STEADY:
        return None
    return (
        f"the whole network took {min(rounds_ms):.3g} to {max(rounds_ms):.3g} ms in {len(rounds_ms)} rounds: something "
        f"else runs on this machine, and the latency table is not to be relied on; measure again when it is quiet"
    )


def _lattice(channels: list[int], points: int) -> tuple[int, ...]:
    """Spread `points` multiples of the alignment up to the widest layer, which is always one of them."""
    high = max(channels)
    low = min(channels) / 4
    aligned = {round(value / _ALIGNMENT) * _ALIGNMENT for value in np.linspace(low, high, points)[:-1]}
    return tuple(sorted({value for value in aligned if 0 < value < high} | {high}))


def _surface(
    bench: ConvolutionBench, kind: ConvolutionKind, layers: Sequence[Convolution], points: int
) -> LatencySurface:
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


def _place(lattice: Sequence[int], value: int) -> tuple[int, float]:
    """Return the lattice point at or below `value` and how far it lies towards the next, 0 to 1."""
    index = max(bisect.bisect_right(lattice, value) - 1, 0)
    if index + 1 >= len(lattice) or value <= lattice[0]:
        return index, 0.0
    return index, (value - lattice[index]) / (lattice[index + 1] - lattice[index])
