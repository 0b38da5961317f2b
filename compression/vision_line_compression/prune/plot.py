# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plan as a chart: for every convolution a bar of its channels, the kept part filled."""

from __future__ import annotations

from pathlib import Path

from vision_line_compression.charts import BAR_HEIGHT, Bar, bar, bars, figure, label
from vision_line_compression.files import write_whole
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.prune.settings import Stage

_WIDTH, _TOP = 560, 64

#: Colour-blind safe, light to dark along the network.
_COLOUR: dict[Stage, str] = {
    "p1": "#88ccee",
    "p2": "#44aa99",
    "p3": "#117733",
    "p4": "#ddaa33",
    "p5": "#cc6677",
    "head": "#332288",
}
_CSS = """
svg { font: 10px sans-serif } .paper { fill: #fff } text { fill: #222 } .heading { font-size: 13px }
.removed { fill: #dfdcd4 } """ + " ".join(f".{stage} {{ fill: {colour} }}" for stage, colour in _COLOUR.items())


def plan_bars(plan: PruningPlan) -> tuple[Bar, ...]:
    """Return one bar for each convolution that the plan may narrow, in the network's order."""
    found = [
        Bar(layer.removesuffix(".conv").removeprefix("model."), entry.group.channels, len(entry.kept), entry.stage)
        for entry in plan.groups
        for layer in entry.group.written
        if not layer.endswith(".bn")
    ]
    return tuple(sorted(found, key=lambda one: [int(part) if part.isdigit() else -1 for part in one.name.split(".")]))


def write_plot(plan: PruningPlan, path: Path) -> None:
    """Write the chart of `plan` to an .svg file."""
    rows, settings = plan_bars(plan), plan.settings
    costs = ", ".join(f"{kind} {cost.share:.1%}" for kind, cost in plan.costs.items())
    title = f"Kept channels ({settings.method}, neck {settings.neck}, multiples of {settings.quantum}): {costs}"
    legend = "".join(
        bar(8 + 62 * number, 34, 10, 10, stage) + label(22 + 62 * number, 43, stage, "tick")
        for number, stage in enumerate(_COLOUR)
    )
    height = _TOP + BAR_HEIGHT * len(rows) + 14
    content = (
        bar(0, 0, _WIDTH, height, "paper")
        + label(8, 20, title, "heading")
        + legend
        + bars(rows, max((one.whole for one in rows), default=1), 8, _TOP)
    )
    write_whole(path, figure(_WIDTH, height, content, "Kept channels of each convolution", _CSS).encode())
