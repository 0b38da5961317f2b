# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plan as a plot: for every convolution a bar of its channels, the kept part filled, in SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.prune.settings import Stage

_ROW = 15
_LEFT = 190
_BAR = 420
_TOP = 64
_WIDTH = _LEFT + _BAR + 130

#: Colour-blind safe, light to dark along the network.
_COLOUR: dict[Stage, str] = {
    "p1": "#88ccee",
    "p2": "#44aa99",
    "p3": "#117733",
    "p4": "#ddaa33",
    "p5": "#cc6677",
    "head": "#332288",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One convolution's output channels before and after."""

    layer: str
    stage: Stage
    channels: int
    kept: int


def plan_bars(plan: PruningPlan) -> tuple[Bar, ...]:
    """Return one bar for each convolution that the plan may narrow, in the network's order."""
    bars = [
        Bar(layer.removesuffix(".conv").removeprefix("model."), entry.stage, entry.group.channels, len(entry.kept))
        for entry in plan.groups
        for layer in entry.group.written
        if not layer.endswith(".bn")
    ]
    return tuple(sorted(bars, key=lambda bar: [int(part) if part.isdigit() else -1 for part in bar.layer.split(".")]))


def plot_plan(plan: PruningPlan) -> str:
    """Return the plot as SVG text; bars are to scale with each other, labels say kept / channels."""
    bars = plan_bars(plan)
    widest = max((bar.channels for bar in bars), default=1)
    height = _TOP + _ROW * len(bars) + 14
    rows = "".join(_row(index, bar, widest) for index, bar in enumerate(bars))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="10" role="img" aria-label="Kept channels of each convolution">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{_title(plan)}{_legend()}{rows}</svg>\n'
    )


def write_plot(plan: PruningPlan, path: Path) -> None:
    """Write the plot of `plan` to an .svg file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(plot_plan(plan), encoding="utf-8")


def _title(plan: PruningPlan) -> str:
    costs = ", ".join(f"{kind} {cost.share:.1%}" for kind, cost in plan.costs.items())
    settings = plan.settings
    text = f"Kept channels ({settings.method}, neck {settings.neck}, multiples of {settings.quantum}): {costs}"
    return f'<text x="8" y="20" font-size="13" fill="#222222">{escape(text)}</text>'


def _legend() -> str:
    parts = []
    for index, (stage, colour) in enumerate(_COLOUR.items()):
        x = _LEFT + index * 62
        parts.append(f'<rect x="{x}" y="34" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="43" fill="#444444">{stage.upper() if stage != "head" else stage}</text>')
    return "".join(parts)


def _row(index: int, bar: Bar, widest: int) -> str:
    y = _TOP + index * _ROW
    whole, kept = (max(_BAR * count / widest, 1.0) for count in (bar.channels, bar.kept))
    colour = _COLOUR[bar.stage]
    return (
        f'<text x="{_LEFT - 6}" y="{y + 10}" text-anchor="end" fill="#222222">{escape(bar.layer)}</text>'
        f'<rect x="{_LEFT}" y="{y + 2}" width="{whole:.1f}" height="{_ROW - 5}" fill="{colour}" opacity="0.22"/>'
        f'<rect x="{_LEFT}" y="{y + 2}" width="{kept:.1f}" height="{_ROW - 5}" fill="{colour}"/>'
        f'<text x="{_LEFT + whole + 5:.1f}" y="{y + 10}" fill="#444444">{bar.kept} / {bar.channels}</text>'
    )
