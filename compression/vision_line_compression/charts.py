# SPDX-License-Identifier: AGPL-3.0-or-later
"""Charts as SVG text: scales and ticks, shapes, and what is made of them.

Colours come from the page's style sheet by classes, so that charts follow light and dark; a chart that is a file of its
own brings its style sheet with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

#: Of a chart of bars, pixels: from a row to the next, and the longest bar.
BAR_HEIGHT, BAR_WIDTH = 19, 270

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


def figure(width: float, height: float, content: str, title: str, css: str = "") -> str:
    """Return a whole chart that scales with the page; `title` says in words what it shows.

    With `css` it is a file of its own.
    """
    own = ' xmlns="http://www.w3.org/2000/svg"' if css else ""
    style = f"<style>{css}</style>" if css else ""
    return (
        f'<svg{own} viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{style}{content}</svg>"
    )


def axes(x: Scale, y: Scale, x_label: str, y_label: str, *, percent: bool = False) -> str:
    """Return grid, ticks and labels of a plot."""
    parts = []
    for value in y.ticks():
        text = f"{100 * value:g} %" if percent else number(value)
        parts += [line(x.start, y(value), x.end, y(value), "grid"), label(x.start - 8, y(value) + 4, text, "tick end")]
    for value in x.ticks():
        parts += [
            line(x(value), y.start, x(value), y.start + 5, "axis"),
            label(x(value), y.start + 19, number(value), "tick middle"),
        ]
    parts += [
        line(x.start, y.start, x.end, y.start, "axis"),
        label((x.start + x.end) / 2, y.start + 39, x_label, "axis-label middle"),
        label(x.start - 8, y.end - 12, y_label, "axis-label"),
    ]
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart: its name, what it counts, the part of it that is filled, and the style of that part."""

    name: str
    whole: int
    part: int
    style: str


def bars(rows: Sequence[Bar], most: int, left: float = 0.0, top: float = 0.0) -> str:
    """Return a bar below the other; bars are to scale with `most`, labels say part / whole."""
    parts = []
    for number, one in enumerate(rows):
        y, whole, part = top + number * BAR_HEIGHT, BAR_WIDTH * one.whole / most, BAR_WIDTH * one.part / most
        parts += [
            label(left, y + 11, one.name if len(one.name) <= 26 else f"…{one.name[-25:]}", "tick"),
            bar(left + 176, y + 1, whole, 12, "removed"),
            bar(left + 176, y + 1, part, 12, f"kept {one.style}"),
            label(left + 184 + whole, y + 11, f"{one.part} / {one.whole}", "tick"),
        ]
    return "".join(parts)


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def path(points: Sequence[tuple[float, float]], style: str) -> str:
    """Return a line through `points`."""
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="line {style}"/>'


def label(x: float, y: float, text: str, style: str) -> str:
    """Return a text; `style` holds `middle` or `end` for other alignments than left."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(text)}</text>'


def bar(x: float, y: float, width: float, height: float, style: str) -> str:
    """Return a bar with slightly rounded corners."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2" class="{style}"/>'


def marker(x: float, y: float, shape: str, style: str, title: str = "") -> str:
    """Return a `circle`, `diamond` or `square`, with `title` to read when pointed at."""
    shapes = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5"',
        "diamond": f'<path d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"',
        "square": f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"',
    }
    return f'{shapes[shape]} class="mark {style}"><title>{escape(title)}</title></{_element(shapes[shape])}>'


def _element(opening: str) -> str:
    return opening[1:].split(" ", 1)[0]
