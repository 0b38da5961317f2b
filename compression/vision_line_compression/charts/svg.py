# SPDX-License-Identifier: AGPL-3.0-or-later
"""A few shapes and axes as SVG text; colours come from the page's style sheet, so that charts follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from vision_line_compression.charts.axis import Scale, number


def figure(width: int, height: int, content: str, title: str) -> str:
    """Return a whole chart that scales with the page; `title` says in words what it shows."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{content}</svg>"
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
