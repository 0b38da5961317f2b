# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a choice of widths costs: parameters, multiplications, or milliseconds, summed over the convolutions.

What no choice changes, such as the products of attention, is a fixed part of the total.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vision_line_compression.prune.groups import ChannelUnit
from vision_line_compression.prune.structure import Convolution

#: Price of one convolution with (in, out) channels.
Price = Callable[[Convolution, int, int], float]


@dataclass(frozen=True, slots=True)
class Side:
    """Width of one side of a layer: `fixed` channels and, for each (unit, times), times the unit's width."""

    fixed: int
    terms: tuple[tuple[int, int], ...]

    def width(self, widths: Sequence[int]) -> int:
        """Return the number of channels when the units have `widths`."""
        total = self.fixed
        for unit, times in self.terms:
            total += times * widths[unit]
        return total

    def times(self, unit: int) -> int:
        """Return how often the unit's channels occur here."""
        return sum(times for other, times in self.terms if other == unit)


class NetworkCost:
    """Cost of the whole network as a function of the units' widths; prices are kept, since choices come back often."""

    def __init__(
        self, convolutions: Sequence[Convolution], units: Sequence[ChannelUnit], price: Price, *, fixed: float = 0.0
    ) -> None:
        """Place each convolution between the units; `fixed` is added to every total."""
        self._price = price
        self._fixed = fixed
        self._layers = [(layer, *_sides(layer, units)) for layer in convolutions]
        self._touching: list[list[tuple[int, int, int]]] = [[] for _ in units]
        for index, (_, read, written) in enumerate(self._layers):
            for unit in {unit for unit, _ in (*read.terms, *written.terms)}:
                self._touching[unit].append((index, read.times(unit), written.times(unit)))
        self._prices: dict[tuple[int, int, int], float] = {}

    def total(self, widths: Sequence[int]) -> float:
        """Return the cost of the network whose units have `widths`."""
        layers = enumerate(self._layers)
        return self._fixed + sum(self._cost(i, read.width(widths), out.width(widths)) for i, (_, read, out) in layers)

    def around(self, unit: int, choices: Sequence[int], widths: Sequence[int]) -> list[float]:
        """Return, for each width the unit may choose, the cost of the layers that read or write it.

        This is the part of the total that the choice changes; the other units have `widths`.
        """
        costs = [0.0] * len(choices)
        for index, times_in, times_out in self._touching[unit]:
            _, read, written = self._layers[index]
            rest_in = read.width(widths) - times_in * widths[unit]
            rest_out = written.width(widths) - times_out * widths[unit]
            for position, choice in enumerate(choices):
                costs[position] += self._cost(index, rest_in + times_in * choice, rest_out + times_out * choice)
        return costs

    def _cost(self, index: int, channels_in: int, channels_out: int) -> float:
        key = index, channels_in, channels_out
        cost = self._prices.get(key)
        if cost is None:
            cost = self._prices[key] = self._price(self._layers[index][0], channels_in, channels_out)
        return cost


def parameter_price(layer: Convolution, channels_in: int, channels_out: int) -> float:
    """Count weights and the bias that batch normalisation is folded into."""
    return layer.taps * (1 if layer.depthwise else channels_in) * channels_out + channels_out


def mac_price(size_hw: tuple[int, int]) -> Price:
    """Return the price in multiplications for one image of `size_hw` pixels."""

    def price(layer: Convolution, channels_in: int, channels_out: int) -> float:
        rows, columns = grid_hw(layer, size_hw)
        return layer.taps_a_place * (1 if layer.depthwise else channels_in) * channels_out * rows * columns

    return price


def grid_hw(layer: Convolution, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the layer's output for an image of `size_hw` pixels."""
    return size_hw[0] >> layer.level, size_hw[1] >> layer.level


def _sides(layer: Convolution, units: Sequence[ChannelUnit]) -> tuple[Side, Side]:
    read: list[tuple[int, int, int]] = []
    written: list[tuple[int, int, int]] = []
    for index, unit in enumerate(units):
        for group in unit.groups:
            for member in group.members:
                if member.layer == layer.name:
                    term = index, member.times(group.channels), group.channels
                    (written if member.side == "out" else read).append(term)
    if layer.depthwise:
        read = written
    return _side(layer.channels[0], read), _side(layer.channels[1], written)


def _side(channels: int, terms: list[tuple[int, int, int]]) -> Side:
    fixed = channels - sum(times * width for _, times, width in terms)
    return Side(fixed, tuple((unit, times) for unit, times, _ in terms))
