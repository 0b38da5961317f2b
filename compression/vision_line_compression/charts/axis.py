# SPDX-License-Identifier: AGPL-3.0-or-later
"""From values to pixels: linear and logarithmic scales, round limits and ticks, and labels that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`, linearly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`; values outside are brought to the edge."""
        low, high, value = (self._straight(one) for one in (self.low, self.high, value))
        share = (min(max(value, low), high) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values inside the scale."""
        if self.logarithmic:
            exponents = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            decades = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
            inside = [value for value in decades if self.low * 0.999 <= value <= self.high * 1.001]
            return inside if len(inside) <= most else [value for value in inside if round(log10(value), 6) % 1 == 0]
        step = nice_step((self.high - self.low) / most)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]

    def _straight(self, value: float) -> float:
        return log10(max(value, self.low)) if self.logarithmic else value


def nice_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5, 10 ... times a power of ten that is at least `least`."""
    power = 10.0 ** floor(log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def nice_range(values: Iterable[float], *, from_zero: bool = False) -> tuple[float, float]:
    """Return round limits around `values` with some air; values that are not negative get no negative limit."""
    found = sorted(values)
    low, high = (found[0], found[-1]) if found else (0.0, 1.0)
    low = min(low, 0.0) if from_zero else low
    span = high - low
    if span < 1e-9:  # one value: the axis shows it against its own size
        span = max(abs(low), abs(high), 1e-9)
    step = nice_step(span / 4)
    first = floor((low - 0.05 * span) / step) * step
    return max(first, 0.0) if low >= 0 else first, ceil((high + 0.05 * span) / step) * step


def number(value: float) -> str:
    """Return a value for a tick: at most three digits that matter."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return positions near the `wanted` ones, in their order, that keep `apart` and stay between `low` and `high`."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed: dict[int, float] = {}
    edge = low
    for index in order:
        placed[index] = max(wanted[index], edge)
        edge = placed[index] + apart
    edge = high
    for index in reversed(order):
        placed[index] = min(placed[index], edge)
        edge = placed[index] - apart
    return [placed[index] for index in range(len(wanted))]
